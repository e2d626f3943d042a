//! Tokens as an attacker, a careless issuer and a careful one would send them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};

use super::claims::Rooms;
use super::*;
use crate::config::Secret;

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
        Claims { sub: "alice".to_owned(), name: "Alice".to_owned(), exp: Some(NOW + 60), iat: None, rooms }
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
fn a_token_of_8_kib_is_read_and_one_byte_more_is_not() {
    // Three characters in base64url carry a byte more or less; the header's filling makes the length exact.
    let payload = payload_with(r#""sub":"alice","#);
    let exact = |length: usize| {
        (0..9000).find_map(|filling| {
            let header = format!(r#"{{"alg":"HS256","kid":"{}"}}"#, "k".repeat(filling));
            (URL_SAFE_NO_PAD.encode(&header).len() + URL_SAFE_NO_PAD.encode(&payload).len() + 43 + 2 == length)
                .then(|| craft(&header, &payload, SECRET, Algorithm::HS256))
        })
    };
    let mut seen = 0;
    for length in 8189..=8196 {
        let Some(token) = exact(length) else { continue };
        assert_eq!(token.len(), length);
        assert_eq!(code_of_token(&token), if length <= 8192 { "ok" } else { "token_invalid" }, "{length}");
        seen += 1;
    }
    assert!(seen >= 4, "both sides of the limit were tried");
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
fn times() {
    let with = |members: String| code_of(&auth(), &format!(r#"{{"sub":"alice",{members}}}"#));
    for (exp, expected) in [
        (NOW + 60, "ok"),
        (NOW, "ok"),
        (NOW - 4, "ok"),
        (NOW - 5, "token_expired"),
        (NOW - 6, "token_expired"),
        (0, "token_expired"),
        (1 << 53, "ok"),
        ((1 << 53) + 1, "claims_invalid"),
    ] {
        assert_eq!(with(format!(r#""exp":{exp}"#)), expected, "exp {exp}");
    }
    for start in ["nbf", "iat"] {
        for (date, expected) in [
            (0, "ok"),
            (NOW, "ok"),
            (NOW + 5, "ok"),
            (NOW + 6, "token_not_yet_valid"),
            (1 << 53, "token_not_yet_valid"),
        ] {
            assert_eq!(with(format!(r#""exp":{},"{start}":{date}"#, NOW + 60)), expected, "{start} {date}");
        }
    }
    assert_eq!(with(r#""nbf":0"#.to_owned()), "claims_invalid", "exp is required");
    let lenient = Auth { require_exp: false, ..auth() };
    assert_eq!(verify_payload(&lenient, r#"{"sub":"alice"}"#).unwrap().exp, None);
    assert_eq!(code_of(&lenient, &format!(r#"{{"sub":"alice","exp":{}}}"#, NOW - 60)), "token_expired");
    let strict = Auth { leeway: Duration::ZERO, ..auth() };
    assert_eq!(code_of(&strict, &format!(r#"{{"sub":"alice","exp":{NOW}}}"#)), "token_expired");
    let endless = Auth { leeway: Duration::MAX, ..auth() };
    assert_eq!(code_of(&endless, r#"{"sub":"alice","exp":1,"nbf":9007199254740992}"#), "ok", "no overflow");
}

#[test]
fn a_date_of_the_wrong_type_is_not_an_absent_one() {
    let lenient = Auth { require_exp: false, ..auth() };
    for wrong in [
        r#""never""#,
        r#""99999999999""#,
        r#""1900000000""#,
        "null",
        "[]",
        "[1900000000]",
        "{}",
        "true",
        "false",
        "-1",
        "-0",
        "1.5",
        "1900000000.0",
        "19e8",
        "1e400",
        "-1e400",
        "9007199254740993",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999",
    ] {
        for name in ["exp", "nbf", "iat"] {
            let payload = format!(r#"{{"sub":"alice","{name}":{wrong}}}"#);
            assert_eq!(code_of(&lenient, &payload), "claims_invalid", "{payload}");
        }
    }
}

#[test]
fn payloads_that_are_no_object_of_unique_claims() {
    let exp = NOW + 60;
    for payload in [
        "",
        " ",
        "null",
        "[]",
        "42",
        r#""alice""#,
        "true",
        "{",
        "{}",
        "not json",
        r#"{"sub":"alice""#,
        &format!(r#"{{"sub":"alice","exp":{exp},"sub":"bob"}}"#),
        &format!(r#"{{"sub":"alice","exp":{exp},"\u0073ub":"bob"}}"#),
        &format!(r#"{{"sub":"alice","exp":{exp},"exp":{exp}}}"#),
        &format!(r#"{{"sub":"alice","exp":{exp},"other":1,"other":1}}"#),
        &format!(r#"{{"sub":"alice","exp":{exp}}} x"#),
        &format!(r#"{{"sub":"alice","exp":{exp},}}"#),
        &format!(r#"[{{"sub":"alice","exp":{exp}}}]"#),
        &"[".repeat(5000),
        &format!(r#"{{"sub":{}"#, "[".repeat(5000)),
    ] {
        assert_eq!(code_of(&auth(), payload), "claims_invalid", "{payload:.60}");
    }
    let deep = format!(r#""sub":"alice","other":{}{},"#, "[".repeat(2500), "]".repeat(2500));
    assert_eq!(code_of(&auth(), &payload_with(&deep)), "ok", "a claim nobody reads may hold anything");
    assert_eq!(code_of(&auth(), &payload_with(r#""sub":"alice","other":1e400,"#)), "ok");
    let latin1 = [br#"{"sub":"al"#.as_slice(), b"\xe9", format!(r#"","exp":{exp}}}"#).as_bytes()].concat();
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(HS256), URL_SAFE_NO_PAD.encode(latin1));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    assert_eq!(code_of_token(&format!("{message}.{signature}")), "claims_invalid", "not UTF-8");
}

#[test]
fn user_ids() {
    let fits = "u".repeat(128);
    let long = "u".repeat(129);
    let long_in_bytes = "é".repeat(65);
    for (sub, expected) in [
        (r#""alice""#, "ok"),
        (r#"" ""#, "ok"),
        (r#""😀""#, "ok"),
        (&format!("\"{fits}\""), "ok"),
        (&format!("\"{long}\""), "claims_invalid"),
        (&format!("\"{long_in_bytes}\""), "claims_invalid"),
        (r#""""#, "claims_invalid"),
        (r#""a\u0000""#, "claims_invalid"),
        (r#""a\nb""#, "claims_invalid"),
        (r#""\u0085""#, "claims_invalid"),
        (r#""\u007f""#, "claims_invalid"),
        (r#""\ud800""#, "claims_invalid"),
        ("null", "claims_invalid"),
        ("1", "claims_invalid"),
        (r#"["alice"]"#, "claims_invalid"),
        ("{}", "claims_invalid"),
        ("true", "claims_invalid"),
    ] {
        assert_eq!(code_of(&auth(), &payload_with(&format!(r#""sub":{sub},"#))), expected, "{sub}");
    }
    assert_eq!(code_of(&auth(), &payload_with("")), "claims_invalid", "no sub");
}

#[test]
fn names() {
    let name = |members: &str| {
        verify_payload(&auth(), &payload_with(&format!(r#""sub":"u1",{members}"#))).map(|claims| claims.name)
    };
    let long = "ñ".repeat(200);
    for (members, expected) in [
        ("", Some("u1")),
        (r#""name":"Al","#, Some("Al")),
        (r#""username":"al","#, Some("al")),
        (r#""name":"Al","username":"al","#, Some("Al")),
        (r#""name":null,"username":"al","#, Some("al")),
        (r#""name":"  ","username":"al","#, Some("al")),
        (r#""name":"","#, Some("u1")),
        (r#""name":" Al ","#, Some("Al")),
        (&format!(r#""name":"{long}","#), Some(&long[..256])),
        (r#""name":"A\u0007l","#, None),
        (r#""name":"A\nl","#, None),
        (r#""name":7,"#, None),
        (r#""name":["Al"],"#, None),
        (r#""username":{},"#, None),
    ] {
        assert_eq!(name(members).as_deref().ok(), expected, "{members:.40}");
        if expected.is_none() {
            assert_eq!(name(members).unwrap_err().code(), "claims_invalid", "{members}");
        }
    }
}

#[test]
fn rooms() {
    let rooms = |claim: &str| {
        verify_payload(&auth(), &payload_with(&format!(r#""sub":"u1","rooms":{claim},"#))).map(|claims| claims.rooms)
    };
    let list = |any: bool, ids: &[&str]| Some(Rooms { any, ids: ids.iter().map(|id| (*id).to_owned()).collect() });
    let fits = "r".repeat(128);
    assert_eq!(rooms("[]"), Ok(list(false, &[])), "no room at all, which is not the same as no claim");
    assert_eq!(rooms(r#"["*"]"#), Ok(list(true, &[])));
    assert_eq!(rooms(r#"["b","*","a","b"]"#), Ok(list(true, &["b", "a"])));
    assert_eq!(rooms(r#"["**"]"#), Ok(list(false, &["**"])), "only the star alone stands for any");
    assert_eq!(rooms(&format!(r#"["{fits}"]"#)), Ok(list(false, &[&fits])));
    for wrong in [
        "null",
        r#""*""#,
        r#""a""#,
        "{}",
        "1",
        "true",
        "[1]",
        "[null]",
        r#"["a",["b"]]"#,
        r#"[""]"#,
        r#"["a\u0000"]"#,
        &format!(r#"["{fits}r"]"#),
    ] {
        assert_eq!(rooms(wrong).map_err(AuthError::code), Err("claims_invalid"), "{wrong}");
    }
    assert_eq!(verify_payload(&auth(), &payload_with(r#""sub":"u1","#)).unwrap().rooms, None);
}

#[test]
fn issuer_and_audience_where_configured() {
    let parties =
        Auth { issuer: Some("me".to_owned()), audience: vec!["chat".to_owned(), "talk".to_owned()], ..auth() };
    for (members, expected) in [
        (r#""iss":"me","aud":"chat","#, "ok"),
        (r#""iss":"me","aud":"talk","#, "ok"),
        (r#""iss":"me","aud":["x","chat"],"#, "ok"),
        (r#""iss":"you","aud":"chat","#, "claims_invalid"),
        (r#""aud":"chat","#, "claims_invalid"),
        (r#""iss":null,"aud":"chat","#, "claims_invalid"),
        (r#""iss":["me"],"aud":"chat","#, "claims_invalid"),
        (r#""iss":"ME","aud":"chat","#, "claims_invalid"),
        (r#""iss":"me","#, "claims_invalid"),
        (r#""iss":"me","aud":"x","#, "claims_invalid"),
        (r#""iss":"me","aud":[],"#, "claims_invalid"),
        (r#""iss":"me","aud":["x"],"#, "claims_invalid"),
        (r#""iss":"me","aud":[1,"chat"],"#, "claims_invalid"),
        (r#""iss":"me","aud":null,"#, "claims_invalid"),
        (r#""iss":"me","aud":{"chat":1},"#, "claims_invalid"),
        (r#""iss":"me","aud":"","#, "claims_invalid"),
    ] {
        let payload = payload_with(&format!(r#""sub":"u1",{members}"#));
        assert_eq!(code_of(&parties, &payload), expected, "{members}");
        assert_eq!(code_of(&auth(), &payload), "ok", "not configured, not looked at: {members}");
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
            Claims { sub: "alice".to_owned(), name: "Alice".to_owned(), exp: Some(NOW + 3600), iat: Some(NOW), rooms }
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
