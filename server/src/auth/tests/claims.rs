//! What a signed token may say, and what is refused although it is signed.

use super::*;

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
        ((1 << 53) + 1, "ok"),
        (u64::MAX, "ok"),
    ] {
        assert_eq!(with(format!(r#""exp":{exp}"#)), expected, "exp {exp}");
    }
    for (date, expected) in
        [(0, "ok"), (NOW, "ok"), (NOW + 5, "ok"), (NOW + 6, "token_not_yet_valid"), (1 << 53, "token_not_yet_valid")]
    {
        assert_eq!(with(format!(r#""exp":{},"nbf":{date}"#, NOW + 60)), expected, "nbf {date}");
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
fn dates_are_numbers_however_they_are_written() {
    let lenient = Auth { require_exp: false, ..auth() };
    for (date, past) in [
        ("1900000000.5", false),
        ("1900000000.0", false),
        ("1.9e9", false),
        ("1.9E+9", false),
        ("19000000000000e-4", false),
        ("1900000000000", false),
        ("9007199254740993", false),
        ("18446744073709551616", false),
        ("99999999999999999999999999", false),
        ("1e400", false),
        ("1700000000.5", true),
        ("1.7e9", true),
        ("1e-400", true),
        ("0", true),
        ("-0", true),
        ("-0.0", true),
        ("-1", true),
        ("-1.5e300", true),
        ("-1e400", true),
    ] {
        let code = |name: &str| code_of(&lenient, &format!(r#"{{"sub":"alice","{name}":{date}}}"#));
        assert_eq!(code("exp"), if past { "token_expired" } else { "ok" }, "exp {date}");
        assert_eq!(code("nbf"), if past { "ok" } else { "token_not_yet_valid" }, "nbf {date}");
        assert_eq!(code("iat"), "ok", "iat {date}");
    }
    // Not a moment too late or too early.
    let strict = Auth { leeway: Duration::ZERO, ..auth() };
    let verifier = Verifier::new(&strict);
    let token = craft(HS256, &format!(r#"{{"sub":"alice","exp":{NOW}.5}}"#), SECRET, Algorithm::HS256);
    assert!(verifier.verify(&token, now() + Duration::from_millis(499)).is_ok());
    assert_eq!(verifier.verify(&token, now() + Duration::from_millis(500)), Err(AuthError::Expired));
    let kept = verify_payload(&strict, r#"{"sub":"alice","exp":1.9000000005e9}"#).unwrap().exp;
    assert_eq!(kept, Some(Duration::from_millis(1_900_000_000_500)));
}

#[test]
fn a_date_of_the_wrong_type_is_not_an_absent_one() {
    let lenient = Auth { require_exp: false, ..auth() };
    for wrong in
        [r#""never""#, r#""99999999999""#, r#""1900000000""#, r#""""#, "[]", "[1900000000]", "{}", "true", "false"]
    {
        for name in ["exp", "nbf"] {
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
        ("1.5", "claims_invalid"),
        (r#"["alice"]"#, "claims_invalid"),
        ("{}", "claims_invalid"),
        ("true", "claims_invalid"),
    ] {
        assert_eq!(code_of(&auth(), &payload_with(&format!(r#""sub":{sub},"#))), expected, "{sub}");
    }
    assert_eq!(code_of(&auth(), &payload_with("")), "claims_invalid", "no sub");
}

#[test]
fn a_user_id_that_is_a_whole_number_is_its_digits() {
    let sub = |sub: &str| verify_payload(&auth(), &payload_with(&format!(r#""sub":{sub},"#)));
    let (fits, long) = ("1".repeat(128), "1".repeat(129));
    for (sent, expected) in [
        ("1", Some("1")),
        ("0", Some("0")),
        ("-0", Some("0")),
        ("-7", Some("-7")),
        ("42.0", Some("42")),
        ("1e3", Some("1000")),
        ("-1.5E1", Some("-15")),
        ("1000e-3", Some("1")),
        ("-0.0", Some("0")),
        // Ids beyond 2^53 are common, and other readers would round them.
        ("9007199254740993", Some("9007199254740993")),
        ("18446744073709551615", Some("18446744073709551615")),
        ("9007199254740991.0", Some("9007199254740991")),
        ("9007199254740993.0", None),
        ("1e16", None),
        ("1e400", None),
        ("1.5", None),
        ("1e-3", None),
        (&fits, Some(&fits)),
        (&long, None),
    ] {
        match (sub(sent), expected) {
            (Ok(claims), Some(expected)) => {
                assert_eq!((claims.sub.as_str(), claims.name.as_str()), (expected, expected), "{sent}");
            }
            (result, _) => assert_eq!(result.map_err(AuthError::code).err(), Some("claims_invalid"), "{sent}"),
        }
    }
}

#[test]
fn a_claim_that_is_null_is_absent() {
    let nothing = r#""sub":"u1","name":null,"username":null,"rooms":null,"iss":null,"aud":null,"nbf":null,"iat":null,"#;
    let claims = verify_payload(&auth(), &payload_with(nothing)).unwrap();
    assert_eq!((claims.name.as_str(), claims.rooms), ("u1", None));
    let lenient = Auth { require_exp: false, ..auth() };
    assert_eq!(verify_payload(&lenient, r#"{"sub":"u1","exp":null}"#).unwrap().exp, None);
    assert_eq!(code_of(&auth(), r#"{"sub":"u1","exp":null}"#), "claims_invalid", "exp is required");
    assert_eq!(code_of(&auth(), &payload_with(r#""sub":null,"#)), "claims_invalid", "and so is sub");
    // Where the configuration asks for one, none is not enough.
    for (members, issuer, audience) in
        [(r#""iss":null,"aud":"chat","#, Some("me"), "chat"), (r#""iss":"me","aud":null,"#, Some("me"), "chat")]
    {
        let auth = Auth { issuer: issuer.map(str::to_owned), audience: vec![audience.to_owned()], ..auth() };
        assert_eq!(code_of(&auth, &payload_with(&format!(r#""sub":"u1",{members}"#))), "claims_invalid", "{members}");
    }
    // Twice is twice, whatever stands there.
    assert_eq!(code_of(&auth(), &payload_with(r#""sub":"u1","name":null,"name":"x","#)), "claims_invalid");
}

#[test]
fn a_token_from_an_issuer_whose_clock_is_ahead_is_taken() {
    for iat in [NOW + 6, NOW + 3600, 1 << 60] {
        assert_eq!(code_of(&auth(), &payload_with(&format!(r#""sub":"alice","iat":{iat},"#))), "ok", "iat {iat}");
    }
    assert_eq!(code_of(&auth(), &payload_with(&format!(r#""sub":"a","nbf":{},"#, NOW + 6))), "token_not_yet_valid");
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
        (r#""name":"\u2800\u200b","username":"al","#, Some("al")),
        (r#""name":"\u3164","#, Some("u1")),
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
    assert_eq!(rooms("null"), Ok(None), "as if there were no such claim");
    for wrong in [
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
