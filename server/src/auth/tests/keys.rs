//! Public keys: tokens of the libraries that users have, the attacks on them, and what is no key for this server.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::LazyLock};

use serde::Deserialize;

use super::*;

/// What `tokens/make.py` made.
#[derive(Deserialize)]
pub(super) struct Fixtures {
    pub(super) keys: BTreeMap<String, FixtureKey>,
    pub(super) tokens: Vec<FixtureToken>,
}

#[derive(Deserialize)]
pub(super) struct FixtureKey {
    pub(super) pem: String,
    pub(super) jwk: Option<serde_json::Value>,
}

#[derive(Deserialize)]
pub(super) struct FixtureToken {
    library: String,
    pub(super) key: String,
    algorithm: String,
    pub(super) kid: Option<String>,
    pub(super) token: String,
}

pub(super) static FIXTURES: LazyLock<Fixtures> =
    LazyLock::new(|| serde_json::from_str(include_str!("tokens/tokens.json")).unwrap());

/// A verifier that has these keys in files, in this order.
fn with_pem(names: &[&str], auth: Auth) -> Result<Verifier, String> {
    let directory = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = names.iter().map(|name| directory.path().join(name)).collect();
    for (name, path) in names.iter().zip(&paths) {
        fs::write(path, &FIXTURES.keys[*name].pem).unwrap();
    }
    Verifier::load(&Auth { jwt_public_key: paths, ..auth }).map_err(|error| error.to_string())
}

fn accepts(verifier: &Verifier, token: &str) -> bool {
    verifier.verify(token, now()).is_ok()
}

#[test]
fn tokens_of_every_library_are_taken_with_their_key_and_with_no_other() {
    let expecting = |audience: &str| Auth {
        issuer: Some("https://issuer.example/".to_owned()),
        audience: vec![audience.to_owned()],
        ..Auth::default()
    };
    for name in FIXTURES.keys.keys().filter(|name| FIXTURES.tokens.iter().any(|token| token.key == **name)) {
        let verifier = with_pem(&[name], expecting("chat")).unwrap();
        let (elsewhere, issuer) = (with_pem(&[name], expecting("somewhere")).unwrap(), "https://issuer.example");
        let foreign = with_pem(&[name], Auth { issuer: Some(issuer.to_owned()), ..Auth::default() }).unwrap();
        for token in &FIXTURES.tokens {
            let FixtureToken { library, key, algorithm, token, .. } = token;
            let case = format!("{library} {algorithm} with {key}, checked with {name}");
            if key != name {
                assert!(!accepts(&verifier, token), "{case}");
                continue;
            }
            assert_eq!(verifier.verify(token, now()).map(|claims| claims.sub), Ok(library.clone()), "{case}");
            for verifier in [&elsewhere, &foreign] {
                assert_eq!(verifier.verify(token, now()).unwrap_err().code(), "claims_invalid", "{case}");
            }
            let (message, signature) = token.rsplit_once('.').unwrap();
            let flipped = if signature.starts_with('A') { 'B' } else { 'A' };
            assert!(!accepts(&verifier, &format!("{message}.{flipped}{}", &signature[1..])), "{case}, changed");
        }
    }
    assert!(FIXTURES.tokens.iter().map(|token| &token.library).collect::<std::collections::BTreeSet<_>>().len() == 4);
}

#[test]
fn several_keys_and_a_secret_stand_side_by_side() {
    let verifier = with_pem(&["rsa", "p256", "p384", "ed25519"], auth()).unwrap();
    for token in &FIXTURES.tokens {
        assert_eq!(accepts(&verifier, &token.token), token.key != "rsa-other", "{} {}", token.algorithm, token.key);
    }
    assert!(accepts(&verifier, &craft(HS256, &payload_with(r#""sub":"alice","#), SECRET, Algorithm::HS256)));
    // Several in one file.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys.pem");
    let keys = ["rsa", "ed25519"].map(|name| format!("a comment\n{}", FIXTURES.keys[name].pem));
    fs::write(&path, keys.concat()).unwrap();
    let verifier = Verifier::load(&Auth { jwt_public_key: vec![path], ..Auth::default() }).unwrap();
    let counts = |name: &str| {
        FIXTURES.tokens.iter().filter(|token| token.key == name).all(|token| accepts(&verifier, &token.token))
    };
    assert!(counts("rsa") && counts("ed25519") && !counts("p256"));
}

#[test]
fn a_public_key_is_never_a_secret() {
    for name in ["rsa", "p256", "p384", "ed25519"] {
        let pem = &FIXTURES.keys[name].pem;
        let der = rustls_pki_types::pem::from_buf(&mut pem.as_bytes()).unwrap().unwrap().1;
        for auth in [
            Auth::default(),
            auth(),
            Auth {
                algorithms: vec![
                    Algorithm::HS256,
                    Algorithm::RS256,
                    Algorithm::ES256,
                    Algorithm::ES384,
                    Algorithm::EdDSA,
                ],
                ..auth()
            },
        ] {
            let verifier = with_pem(&[name], auth).unwrap();
            for secret in [pem.as_bytes(), pem.trim_end().as_bytes(), &der] {
                for (header, algorithm) in [
                    (HS256, Algorithm::HS256),
                    (r#"{"alg":"HS384"}"#, Algorithm::HS384),
                    (r#"{"alg":"HS512"}"#, Algorithm::HS512),
                    (r#"{"alg":"RS256"}"#, Algorithm::HS256),
                    (r#"{"alg":"ES256"}"#, Algorithm::HS256),
                    (r#"{"alg":"EdDSA"}"#, Algorithm::HS256),
                ] {
                    let message = format!(
                        "{}.{}",
                        URL_SAFE_NO_PAD.encode(header),
                        URL_SAFE_NO_PAD.encode(payload_with(r#""sub":"mallory","#))
                    );
                    let key = EncodingKey::from_secret(secret);
                    let signature = crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
                    let refused = verifier.verify(&format!("{message}.{signature}"), now());
                    assert_eq!(refused.unwrap_err().code(), "token_invalid", "{name} {header}");
                }
            }
        }
    }
}

#[test]
fn what_is_pinned_holds_for_keys_of_every_kind() {
    let pinned = [Algorithm::PS256, Algorithm::ES384];
    let verifier = with_pem(&["rsa", "p384"], Auth { algorithms: pinned.to_vec(), ..Auth::default() }).unwrap();
    for token in FIXTURES.tokens.iter().filter(|token| ["rsa", "p384"].contains(&token.key.as_str())) {
        let expected = ["PS256", "ES384"].contains(&token.algorithm.as_str());
        assert_eq!(accepts(&verifier, &token.token), expected, "{}", token.algorithm);
    }
    let error = with_pem(&["ed25519"], Auth { algorithms: pinned.to_vec(), ..Auth::default() }).unwrap_err();
    assert!(error.contains("auth.algorithms names no algorithm"), "{error}");
}

#[test]
fn keys_that_are_not_taken_are_refused_with_a_reason() {
    for (name, reason) in
        [("rsa-1024", "of 1024 bits"), ("p521", "of a kind"), ("secp256k1", "of a kind"), ("ed448", "of a kind")]
    {
        let error = with_pem(&[name], Auth::default()).unwrap_err();
        assert!(error.starts_with("auth.jwt_public_key: ") && error.contains(reason), "{error}");
    }
    let missing = Auth { jwt_public_key: vec!["/nowhere".into()], ..Auth::default() };
    assert!(Verifier::load(&missing).unwrap_err().to_string().contains("/nowhere cannot be read"));
}

#[test]
fn a_key_that_is_cut_or_changed_does_not_stop_the_server() {
    for name in ["rsa", "p256", "ed25519"] {
        let der = rustls_pki_types::pem::from_buf(&mut FIXTURES.keys[name].pem.as_bytes()).unwrap().unwrap().1;
        let pem =
            |der: &[u8]| format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der));
        assert!(pem::keys(pem(&der).as_bytes()).is_ok());
        for at in 0..der.len() {
            assert!(pem::keys(pem(&der[..at]).as_bytes()).is_err(), "{name} cut at {at}");
            let mut changed = der.clone();
            changed[at] ^= 0x80;
            let _ = pem::keys(pem(&changed).as_bytes());
        }
    }
}
