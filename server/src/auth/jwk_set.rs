//! A set of keys in JSON (JWKS, RFC 7517): which of its keys are taken, and why the others are not.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::key::Key;

/// The most keys of a set. Issuers have two or three; each is a signature to check where a token names none.
const MAX_KEYS: usize = 100;

/// The longest `kid` that is taken, in bytes.
pub(super) const MAX_KID: usize = 256;

/// What a set holds.
#[derive(Debug, Default)]
pub(super) struct JwkSet {
    /// The keys that can check tokens, each once, with all algorithms that it is listed for.
    pub(super) keys: Vec<Key>,
    /// Why the others are not taken, one line each.
    pub(super) ignored: Vec<String>,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// A member that is not there and one that is `null` are the same.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Reads a set. Keys of other kinds and for other purposes are left out (RFC 7517 section 5).
///
/// # Errors
/// It is no set, or nothing in it can check a token.
pub(super) fn read(json: &[u8]) -> Result<JwkSet, String> {
    let document: Document<'_> = serde_json::from_slice(json)
        .map_err(|_| "no JWKS: a JSON object with an array `keys` is expected".to_owned())?;
    let mut set = JwkSet::default();
    for (position, raw) in document.keys.iter().enumerate() {
        let jwk = serde_json::from_str::<Jwk>(raw.get());
        let name = match jwk.as_ref().ok().and_then(|jwk| jwk.kid.as_deref()) {
            Some(kid) if kid.len() <= MAX_KID => format!("key {kid:?}"),
            _ => format!("key number {}", position + 1),
        };
        let taken = if set.keys.len() >= MAX_KEYS {
            Err(format!("the set has more than {MAX_KEYS}"))
        } else {
            jwk.map_err(|_| "no JWK".to_owned()).and_then(key)
        };
        match taken {
            // Some issuers list an RSA key once for each algorithm.
            Ok(key) => match set.keys.iter_mut().find(|other| other.is_same(&key)) {
                Some(other) => {
                    if !other.add_algorithms(&key) {
                        set.ignored.push(format!("{name} is there twice"));
                    }
                }
                None => set.keys.push(key),
            },
            Err(reason) => set.ignored.push(format!("{name} is not used: {reason}")),
        }
        if set.ignored.len() > MAX_KEYS {
            return Err("more keys in it are useless than a set has".to_owned());
        }
    }
    if set.keys.is_empty() {
        let reason = set.ignored.first().map_or("it is empty", String::as_str);
        return Err(format!("no key in it can check a token: {reason}"));
    }
    Ok(set)
}

fn key(jwk: Jwk) -> Result<Key, String> {
    if jwk.kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID) {
        return Err(format!("its kid is longer than {MAX_KID} bytes"));
    }
    if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
        return Err("it is not for signatures (use)".to_owned());
    }
    if jwk.key_ops.as_ref().is_some_and(|operations| operations.iter().all(|operation| operation != "verify")) {
        return Err("it is not for checking signatures (key_ops)".to_owned());
    }
    let bytes = |member: &Option<String>, name: &str| {
        let text = member.as_deref().ok_or_else(|| format!("it has no {name}"))?;
        // Some issuers pad, which RFC 7515 section 2 forbids.
        URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| format!("its {name} is not base64url"))
    };
    let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => Key::rsa(&bytes(&jwk.n, "n")?, &bytes(&jwk.e, "e")?)?,
        ("EC", Some(curve @ ("P-256" | "P-384"))) => {
            let point = [vec![4], bytes(&jwk.x, "x")?, bytes(&jwk.y, "y")?].concat();
            if curve == "P-256" { Key::p256(&point)? } else { Key::p384(&point)? }
        }
        ("OKP", Some("Ed25519")) => Key::ed25519(&bytes(&jwk.x, "x")?)?,
        // A secret that is published is none.
        ("oct", _) => return Err("it is a secret, which does not belong into a JWKS".to_owned()),
        _ => return Err("its kind is not known; RSA, P-256, P-384 and Ed25519 are".to_owned()),
    };
    let key = key.named(jwk.kid);
    let Some(alg) = jwk.alg else { return Ok(key) };
    let algorithm = alg.parse::<Algorithm>().ok().or_else(|| (alg == "Ed25519").then_some(Algorithm::EdDSA));
    algorithm
        .and_then(|algorithm| key.only_for(algorithm))
        .ok_or_else(|| "its alg does not fit it, or is not known".to_owned())
}
