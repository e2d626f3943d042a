//! One key that checks tokens: what it is, which algorithms it is for, and where it comes from.
//!
//! The algorithms follow from the key's type, never from a token: that is what stops a token that is signed with a public key
//! as if it were a secret (RFC 8725 section 2.1).

use std::fmt;

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, crypto};

use crate::config::Secret;

/// The algorithms of an RSA key that names none.
const RSA: &[Algorithm] =
    &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
/// The algorithms of a secret, where the configuration pins none.
const SECRET: &[Algorithm] = &[Algorithm::HS256];

/// Bits of the RSA keys that are taken (RFC 7518 section 3.3; the upper bound is the library's).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A key, and what it may be used for.
#[derive(Clone)]
pub(super) struct Key {
    /// Its name in a JWKS.
    kid: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
    /// What tells it from others, to find duplicates. Empty for secrets.
    material: Vec<u8>,
}

impl fmt::Debug for Key {
    /// Without the key: it may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("kid", &self.kid).field("algorithms", &self.algorithms).finish_non_exhaustive()
    }
}

impl Key {
    /// A secret; `pinned` are the algorithms of the configuration, which may be none.
    pub(super) fn secret(secret: &Secret, pinned: &[Algorithm]) -> Self {
        let hmac = pinned.iter().copied().filter(|algorithm| algorithm.family() == AlgorithmFamily::Hmac);
        let algorithms = if pinned.is_empty() { SECRET.to_vec() } else { hmac.collect() };
        Self { kid: None, algorithms, key: DecodingKey::from_secret(secret.expose()), material: Vec::new() }
    }

    /// An RSA key, from modulus and exponent.
    ///
    /// # Errors
    /// It is too short, or longer than what is taken.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, String> {
        let leading = modulus.iter().take_while(|byte| **byte == 0).count();
        let modulus = &modulus[leading..];
        let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) {
            let (least, most) = (RSA_BITS.start(), RSA_BITS.end());
            return Err(format!("an RSA key of {bits} bits; {least} to {most} are taken"));
        }
        if exponent.is_empty() {
            return Err("an RSA key without exponent".to_owned());
        }
        let key = DecodingKey::from_rsa_raw_components(modulus, exponent);
        Ok(Self::public(RSA, key, [modulus, exponent].concat()))
    }

    /// A point on the curve P-256, uncompressed.
    ///
    /// # Errors
    /// It has another form.
    pub(super) fn p256(point: &[u8]) -> Result<Self, String> {
        Self::ec(point, 32, Algorithm::ES256)
    }

    /// A point on the curve P-384, uncompressed.
    ///
    /// # Errors
    /// It has another form.
    pub(super) fn p384(point: &[u8]) -> Result<Self, String> {
        Self::ec(point, 48, Algorithm::ES384)
    }

    fn ec(point: &[u8], coordinate: usize, algorithm: Algorithm) -> Result<Self, String> {
        if point.len() != 2 * coordinate + 1 || point.first() != Some(&4) {
            return Err("a point of an elliptic curve in a form that is not taken".to_owned());
        }
        Ok(Self::public(&[algorithm], DecodingKey::from_ec_der(point), point.to_vec()))
    }

    /// An Ed25519 key.
    ///
    /// # Errors
    /// It has not 32 bytes.
    pub(super) fn ed25519(key: &[u8]) -> Result<Self, String> {
        if key.len() != 32 {
            return Err(format!("an Ed25519 key of {} bytes; it has 32", key.len()));
        }
        Ok(Self::public(&[Algorithm::EdDSA], DecodingKey::from_ed_der(key), key.to_vec()))
    }

    fn public(algorithms: &[Algorithm], key: DecodingKey, material: Vec<u8>) -> Self {
        Self { kid: None, algorithms: algorithms.to_vec(), key, material }
    }

    /// The same key under a name.
    pub(super) fn named(mut self, kid: Option<String>) -> Self {
        self.kid = kid;
        self
    }

    /// The same key for one algorithm only; `None` if it is not for that one at all.
    pub(super) fn only_for(mut self, algorithm: Algorithm) -> Option<Self> {
        self.algorithms.retain(|own| *own == algorithm);
        (!self.algorithms.is_empty()).then_some(self)
    }

    /// The same key for those of `pinned` only, unless nothing is pinned.
    pub(super) fn pinned(mut self, pinned: &[Algorithm]) -> Self {
        self.algorithms.retain(|own| pinned.is_empty() || pinned.contains(own));
        self
    }

    /// It is for the algorithms of `other` too. Whether it was not before.
    pub(super) fn add_algorithms(&mut self, other: &Self) -> bool {
        let before = self.algorithms.len();
        for algorithm in &other.algorithms {
            if !self.algorithms.contains(algorithm) {
                self.algorithms.push(*algorithm);
            }
        }
        self.algorithms.len() > before
    }

    /// Its name, if it has one.
    pub(super) fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// What it may be used for; nothing, if what is pinned is for other keys.
    pub(super) fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// Whether whoever knows it can make tokens.
    pub(super) fn is_secret(&self) -> bool {
        self.material.is_empty()
    }

    /// Whether both are the same key under the same name, for whichever algorithms.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.kid == other.kid && !self.material.is_empty() && self.material == other.material
    }

    /// Whether the signature is by this key. Whoever asks has made sure that it is a key for `algorithm`.
    pub(super) fn has_signed(&self, message: &str, signature: &str, algorithm: Algorithm) -> bool {
        crypto::verify(signature, message.as_bytes(), &self.key, algorithm).unwrap_or(false)
    }
}
