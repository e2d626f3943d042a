//! Tokens as an attacker, a careless issuer and a careful one would send them.

mod claims;
mod keys;
mod mutated;
mod published;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};

use super::claims::Rooms;
use super::*;
use crate::config::{Auth, Secret};

const NOW: u64 = 1_800_000_000;
const SECRET: &str = "a secret of this test, more than 32 bytes long";
const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn auth() -> Auth {
    Auth { jwt_secret: Some(Secret::new(SECRET)), ..Auth::default() }
}

fn now() -> Duration {
    Duration::from_secs(NOW)
}

/// A token of exactly these texts, signed as `algorithm` says, whatever the header says.
fn craft(header: &str, payload: &str, secret: &str, algorithm: Algorithm) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let signature = crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret.as_bytes()), algorithm).unwrap();
    format!("{message}.{signature}")
}

fn verify_payload(auth: &Auth, payload: &str) -> Result<Claims, AuthError> {
    Verifier::new(auth).verify(&craft(HS256, payload, SECRET, Algorithm::HS256), now())
}

fn code_of(auth: &Auth, payload: &str) -> &'static str {
    verify_payload(auth, payload).map_or_else(AuthError::code, |_| "ok")
}

fn code_of_token(token: &str) -> &'static str {
    Verifier::new(&auth()).verify(token, now()).map_or_else(AuthError::code, |_| "ok")
}

/// A payload that is right but for `members`, which come first.
fn payload_with(members: &str) -> String {
    format!(r#"{{{members}"exp":{}}}"#, NOW + 60)
}

#[test]
fn a_token_that_is_right_in_every_way() {
    let claims =
        verify_payload(&auth(), &payload_with(r#""sub":"alice","name":"Alice","rooms":["a","b","a"],"#)).unwrap();
    let rooms = Some(Rooms { any: false, ids: vec!["a".to_owned(), "b".to_owned()] });
    assert_eq!(
        claims,
        Claims {
            sub: "alice".to_owned(),
            name: "Alice".to_owned(),
            exp: Some(Duration::from_secs(NOW + 60)),
            iat: None,
            rooms
        }
    );
}

#[test]
fn header_and_form() {
    let payload = payload_with(r#""sub":"alice","#);
    let signed = |header: &str| craft(header, &payload, SECRET, Algorithm::HS256);
    let good = signed(HS256);
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (head, body) = message.split_once('.').unwrap();
    let fillings = ["", " ", "  "].map(|filling| URL_SAFE.encode(format!("{payload}{filling}")));
    let padded = fillings.iter().find(|text| text.ends_with('=')).unwrap();
    let padded_message = format!("{head}.{padded}");
    let sign_raw = |text: &str| {
        crypto::sign(text.as_bytes(), &EncodingKey::from_secret(SECRET.as_bytes()), Algorithm::HS256).unwrap()
    };
    let mut rows = vec![
        ("the good one".to_owned(), good.clone(), "ok"),
        ("empty".to_owned(), String::new(), "token_missing"),
        ("no dots".to_owned(), "token".to_owned(), "token_invalid"),
        ("dots only".to_owned(), "..".to_owned(), "token_invalid"),
        ("signature stripped, dot kept".to_owned(), format!("{message}."), "token_invalid"),
        ("signature stripped".to_owned(), message.to_owned(), "token_invalid"),
        ("four parts".to_owned(), format!("{good}.{signature}"), "token_invalid"),
        (
            "four parts, signed over three".to_owned(),
            format!("{message}.x.{}", sign_raw(&format!("{message}.x"))),
            "token_invalid",
        ),
        ("signature padded".to_owned(), format!("{good}="), "token_invalid"),
        ("newline at the end".to_owned(), format!("{good}\n"), "token_invalid"),
        ("space before".to_owned(), format!(" {good}"), "token_invalid"),
        ("newline within".to_owned(), format!("{head}\n.{body}.{signature}"), "token_invalid"),
        (
            "another payload".to_owned(),
            format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(payload_with(r#""sub":"mallory","#))),
            "token_invalid",
        ),
        (
            "payload padded, signed so".to_owned(),
            format!("{padded_message}.{}", sign_raw(&padded_message)),
            "token_invalid",
        ),
        (
            "signature in plain base64".to_owned(),
            {
                let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
                format!("{message}.{}", STANDARD.encode(bytes))
            },
            "token_invalid",
        ),
        ("another secret".to_owned(), craft(HS256, &payload, "another secret", Algorithm::HS256), "token_invalid"),
        ("no secret".to_owned(), craft(HS256, &payload, "", Algorithm::HS256), "token_invalid"),
        (
            "a public key as secret".to_owned(),
            craft(
                HS256,
                &payload,
                "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n",
                Algorithm::HS256,
            ),
            "token_invalid",
        ),
        (
            "HS512 is not pinned".to_owned(),
            craft(r#"{"alg":"HS512"}"#, &payload, SECRET, Algorithm::HS512),
            "token_invalid",
        ),
        ("signed with HS512, says HS256".to_owned(), craft(HS256, &payload, SECRET, Algorithm::HS512), "token_invalid"),
    ];
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":"NONE"}"#,
        r#"{"alg":"nOnE"}"#,
        r#"{"alg":""}"#,
        r#"{}"#,
        r#"{"typ":"JWT"}"#,
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":256}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"HS256 "}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"ES256"}"#,
        r#"{"alg":"EdDSA"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","\u0061lg":"none"}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AA"}}"#,
        r#"{"alg":"HS256","jku":"http://evil.example/jwks"}"#,
        r#"{"alg":"HS256","x5u":"http://evil.example/x"}"#,
        "[]",
        "null",
        "",
        r#""HS256""#,
        r#"{"alg":"HS256"} x"#,
        r#"{"alg":"HS256""#,
    ] {
        rows.push((format!("signed, header {header}"), signed(header), "token_invalid"));
        let unsigned = format!("{}.{body}.", URL_SAFE_NO_PAD.encode(header));
        rows.push((format!("unsigned, header {header}"), unsigned, "token_invalid"));
    }
    for kid in ["../../dev/null", "' OR 1=1", ""] {
        rows.push((format!("kid {kid}"), signed(&format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#)), "ok"));
        let forged = craft(&format!(r#"{{"alg":"HS256","kid":"{kid}"}}"#), &payload, "", Algorithm::HS256);
        rows.push((format!("kid {kid}, empty secret"), forged, "token_invalid"));
    }
    for (case, token, expected) in rows {
        assert_eq!(code_of_token(&token), expected, "{case}");
    }
}

#[test]
fn a_token_of_max_token_bytes_is_read_and_one_byte_more_is_not() {
    let payload = payload_with(r#""sub":"alice","roles":["admin","editor"],"#);
    let rest = URL_SAFE_NO_PAD.encode(&payload).len() + 43 + 2;
    for limit in [8192, 65_536] {
        let verifier = Verifier::new(&Auth { max_token_bytes: limit, ..auth() });
        let mut seen = [0, 0];
        for length in limit - 3..=limit + 4 {
            // Three bytes make four characters; of some lengths there is no token.
            let header_length = (length - rest) * 3 / 4;
            let filling = "k".repeat(header_length - r#"{"alg":"HS256","kid":""}"#.len());
            let header = format!(r#"{{"alg":"HS256","kid":"{filling}"}}"#);
            if (header_length * 4).div_ceil(3) + rest != length {
                continue;
            }
            let token = craft(&header, &payload, SECRET, Algorithm::HS256);
            assert_eq!(token.len(), length);
            let code = verifier.verify(&token, now()).map_or_else(AuthError::code, |_| "ok");
            assert_eq!(code, if length <= limit { "ok" } else { "token_invalid" }, "{length}");
            seen[usize::from(length > limit)] += 1;
        }
        assert!(seen.iter().all(|seen| *seen >= 2), "both sides of {limit} were tried: {seen:?}");
    }
    let many_roles: Vec<String> = (0..400).map(|n| format!("\"organisation/role-{n:04}\"")).collect();
    let payload = payload_with(&format!(r#""sub":"alice","roles":[{}],"#, many_roles.join(",")));
    assert!(payload.len() > 9_800);
    assert_eq!(code_of(&auth(), &payload), "ok", "a token of many roles, by default");
}

#[test]
fn no_token_survives_a_change() {
    let good = craft(HS256, &payload_with(r#""sub":"alice","#), SECRET, Algorithm::HS256);
    assert_eq!(code_of_token(&good), "ok");
    for at in 0..good.len() {
        assert_ne!(code_of_token(&good[..at]), "ok", "cut at {at}");
        let (before, after) = (&good[..at], &good[at + 1..]);
        assert_eq!(code_of_token(&format!("{before}{after}")), "token_invalid", "without {at}");
        for other in ['A', 'B', '-', '_', '.', '=', '+', ' ', '\0', 'é'] {
            if !good[at..].starts_with(other) {
                assert_eq!(code_of_token(&format!("{before}{other}{after}")), "token_invalid", "{other:?} at {at}");
            }
        }
    }
}

#[test]
fn what_a_header_may_say_besides() {
    let payload = payload_with(r#""sub":"alice","#);
    for (header, expected) in [
        (r#"{"alg":"HS256"}"#, "ok"),
        (r#"{"alg":"HS256","typ":"jwt"}"#, "ok"),
        (r#"{"alg":"HS256","typ":"at+jwt","cty":"x"}"#, "ok"),
        (r#"{"typ":null,"alg":"HS256","kid":null,"jku":null,"jwk":null,"x5u":null}"#, "ok"),
        (r#"{"alg":"HS256","kid":7}"#, "ok"),
        (r#"{"alg":"HS256","x5t":"AA","x5c":[]}"#, "ok"),
        (r#"{"alg":"HS256","crit":null}"#, "token_invalid"),
        (r#"{"alg":"HS256","crit":["exp"]}"#, "token_invalid"),
        (r#"{"alg":"Hs256"}"#, "token_invalid"),
        (r#"{"alg":null}"#, "token_invalid"),
    ] {
        assert_eq!(code_of_token(&craft(header, &payload, SECRET, Algorithm::HS256)), expected, "{header}");
    }
}

#[test]
fn secrets_and_algorithms_are_the_configurations() {
    let payload = payload_with(r#""sub":"alice","#);
    let old = craft(HS256, &payload, "the previous secret", Algorithm::HS256);
    let rotated = Auth { jwt_previous_secret: Some(Secret::new("the previous secret")), ..auth() };
    assert_eq!(code_of_token(&old), "token_invalid");
    assert!(Verifier::new(&rotated).verify(&old, now()).is_ok());
    assert!(Verifier::new(&rotated).verify(&craft(HS256, &payload, SECRET, Algorithm::HS256), now()).is_ok());
    let none = Auth { jwt_secret: None, ..auth() };
    assert_eq!(code_of(&none, &payload), "token_invalid", "without a secret every token is refused");
    for (pinned, name) in [(Algorithm::HS256, "HS256"), (Algorithm::HS384, "HS384"), (Algorithm::HS512, "HS512")] {
        let verifier = Verifier::new(&Auth { algorithms: vec![pinned], ..auth() });
        for used in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let token = craft(&format!(r#"{{"alg":"{used:?}"}}"#), &payload, SECRET, used);
            assert_eq!(verifier.verify(&token, now()).is_ok(), used == pinned, "{name} pinned, {used:?} used");
        }
    }
}

#[test]
fn the_server_takes_what_it_signs() {
    let rooms = ["a".to_owned(), "*".to_owned()];
    let request =
        TokenRequest { sub: "alice", name: Some("Alice"), rooms: Some(&rooms), lifetime: Duration::from_secs(3600) };
    let configured = Auth {
        algorithms: vec![Algorithm::HS384, Algorithm::HS256],
        issuer: Some("me".to_owned()),
        audience: vec!["chat".to_owned()],
        ..auth()
    };
    for auth in [auth(), configured] {
        let token = sign(&auth, &request, now()).unwrap();
        let claims = Verifier::new(&auth).verify(&token, now()).unwrap();
        let rooms = Some(Rooms { any: true, ids: vec!["a".to_owned()] });
        assert_eq!(
            claims,
            Claims {
                sub: "alice".to_owned(),
                name: "Alice".to_owned(),
                exp: Some(Duration::from_secs(NOW + 3600)),
                iat: Some(Duration::from_secs(NOW)),
                rooms
            }
        );
        let later = now() + Duration::from_secs(3605);
        assert_eq!(Verifier::new(&auth).verify(&token, later), Err(AuthError::Expired));
    }
}

#[test]
fn what_the_server_would_refuse_is_not_signed() {
    let good = TokenRequest { sub: "alice", name: None, rooms: None, lifetime: Duration::from_secs(1) };
    let long = "u".repeat(129);
    let empty_room = [String::new()];
    for (request, expected) in [
        (TokenRequest { sub: "", ..good }, SignError::Sub),
        (TokenRequest { sub: &long, ..good }, SignError::Sub),
        (TokenRequest { sub: "a\n", ..good }, SignError::Sub),
        (TokenRequest { name: Some("\u{7}"), ..good }, SignError::Name),
        (TokenRequest { rooms: Some(&empty_room), ..good }, SignError::Rooms),
        (TokenRequest { lifetime: Duration::MAX, ..good }, SignError::Lifetime),
        (TokenRequest { lifetime: Duration::from_secs(1 << 53), ..good }, SignError::Lifetime),
    ] {
        assert_eq!(sign(&auth(), &request, now()), Err(expected), "{request:?}");
    }
    assert_eq!(sign(&Auth::default(), &good, now()), Err(SignError::Secret));
}

#[test]
fn nothing_prints_a_secret() {
    let auth = auth();
    for text in [format!("{auth:?}"), format!("{:?}", Verifier::new(&auth)), format!("{:?}", auth.jwt_secret)] {
        assert!(!text.contains("secret of this test"), "{text}");
    }
}
