//! Public keys in PEM, as `openssl pkey -pubout` writes them: SubjectPublicKeyInfo (RFC 5280 section 4.1, RFC 7468 section 13).

use std::io::Cursor;

use rustls_pki_types::{
    alg_id,
    pem::{self, SectionKind},
};

use super::key::Key;

/// All public keys of a PEM text, in their order.
///
/// # Errors
/// There is none, or something else beside: what it is, and what to do.
pub(super) fn keys(text: &[u8]) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    let mut reader = Cursor::new(text);
    loop {
        match pem::from_buf(&mut reader) {
            Ok(None) => break,
            Ok(Some((SectionKind::PublicKey, der))) => keys.push(key(&der)?),
            Ok(Some((SectionKind::Certificate, _))) => {
                return Err("holds a certificate; take its key: openssl x509 -in FILE -noout -pubkey".to_owned());
            }
            Ok(Some((SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey, _))) => {
                return Err(
                    "holds a private key, which this server must not know; give it the public one: openssl pkey -in FILE \
                     -pubout"
                        .to_owned(),
                );
            }
            Ok(Some(_)) => return Err("holds something that is no public key".to_owned()),
            Err(_) => return Err("is not valid PEM".to_owned()),
        }
    }
    // The reader passes over what it does not know.
    if text.windows(PKCS1.len()).any(|window| window == PKCS1) {
        let advice = "holds a key in PKCS#1; write it in the usual form: openssl rsa -RSAPublicKey_in -in FILE -pubout";
        return Err(advice.to_owned());
    }
    if keys.is_empty() { Err("holds no public key in PEM".to_owned()) } else { Ok(keys) }
}

const PKCS1: &[u8] = b"-----BEGIN RSA PUBLIC KEY-----";

/// Tags of DER.
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const SEQUENCE: u8 = 0x30;

/// The key in a SubjectPublicKeyInfo.
fn key(der: &[u8]) -> Result<Key, String> {
    let broken = || "holds a public key that is cut off or damaged".to_owned();
    let (algorithm, bits) = parts(der).ok_or_else(broken)?;
    if algorithm == &*alg_id::RSA_ENCRYPTION {
        let (modulus, exponent) = rsa(bits).ok_or_else(broken)?;
        Key::rsa(modulus, exponent)
    } else if algorithm == &*alg_id::ECDSA_P256 {
        Key::p256(bits)
    } else if algorithm == &*alg_id::ECDSA_P384 {
        Key::p384(bits)
    } else if algorithm == &*alg_id::ED25519 {
        Key::ed25519(bits)
    } else {
        Err("of a kind that is not taken; RSA, P-256, P-384 and Ed25519 are".to_owned())
    }
    .map_err(|reason| if reason.starts_with("holds") { reason } else { format!("holds a key {reason}") })
}

/// Algorithm and key of a SubjectPublicKeyInfo.
fn parts(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (info, rest) = take(der, SEQUENCE)?;
    let (algorithm, key) = take(info, SEQUENCE)?;
    let (bits, after) = take(key, BIT_STRING)?;
    // The first byte of a BIT STRING says how many bits of the last one are not used.
    let bits = bits.strip_prefix(&[0])?;
    (rest.is_empty() && after.is_empty()).then_some((algorithm, bits))
}

/// Modulus and exponent of an RSAPublicKey (RFC 8017 appendix A.1.1).
fn rsa(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (numbers, rest) = take(der, SEQUENCE)?;
    let (modulus, exponent) = take(numbers, INTEGER)?;
    let (exponent, after) = take(exponent, INTEGER)?;
    (rest.is_empty() && after.is_empty()).then_some((modulus, exponent))
}

/// The content of the value at the beginning, if it has this tag, and what follows on it.
fn take(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let der = der.strip_prefix(&[tag])?;
    let (first, der) = der.split_first()?;
    let (length, der) = match first {
        0..=0x7f => (usize::from(*first), der),
        0x81 => der.split_first().map(|(length, der)| (usize::from(*length), der))?,
        0x82 => der.split_first_chunk().map(|(length, der)| (usize::from(u16::from_be_bytes(*length)), der))?,
        // No key is longer than 64 KiB.
        _ => return None,
    };
    der.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_public_key_is_told_apart() {
        let pem = |label: &str| format!("-----BEGIN {label}-----\nMCowBQYDK2Vw\n-----END {label}-----\n");
        for (text, reason) in [
            (String::new(), "no public key"),
            ("secret".to_owned(), "no public key"),
            (pem("CERTIFICATE"), "openssl x509"),
            (pem("PRIVATE KEY"), "private key"),
            (pem("RSA PRIVATE KEY"), "private key"),
            (pem("EC PRIVATE KEY"), "private key"),
            (pem("RSA PUBLIC KEY"), "PKCS#1"),
            (pem("PUBLIC KEY"), "cut off"),
            (pem("PUBLIC KEY").replace("MCow", "M*ow"), "not valid PEM"),
            ("-----BEGIN PUBLIC KEY-----\nMCow".to_owned(), "not valid PEM"),
        ] {
            let error = keys(text.as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn der_is_read_within_its_bounds() {
        assert_eq!(take(&[0x30, 1, 7, 8], SEQUENCE), Some((&[7][..], &[8][..])));
        assert_eq!(take(&[0x30, 0x81, 1, 7], SEQUENCE), Some((&[7][..], &[][..])));
        assert_eq!(take(&[0x30, 0x82, 0, 1, 7], SEQUENCE), Some((&[7][..], &[][..])));
        for broken in
            [&[][..], &[0x30], &[0x30, 2, 7], &[0x31, 0], &[0x30, 0x80], &[0x30, 0x84, 0, 0, 0, 0], &[0x30, 0x82, 0]]
        {
            assert_eq!(take(broken, SEQUENCE), None, "{broken:?}");
        }
    }
}
