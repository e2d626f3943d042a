//! Tables for what the scanner promises, and serde_json as the oracle for the rest.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::value::RawValue;

use super::*;

const UNLIMITED: Limits = Limits { depth: MAX_DEPTH, number_length: usize::MAX };

fn items(text: &str, limits: &Limits) -> Result<Vec<String>, JsonError> {
    Ok(array_items(text, limits)?.iter().map(|span| span.of(text).to_owned()).collect())
}

#[test]
fn whole_values_pass() {
    #[rustfmt::skip]
    let table = [
        "null", "true", "false", "0", "-0", "-1.5e+10", "1E-3", "1e999", "\"\"", "\"a\"", "[]", "{}", " [ ] ", "\t\r\n{ }\n",
        r#"[1,[2,[3,{"a":[]}]],{}]"#, r#"{"a":1,"a":2,"__proto__":{"b":null}}"#,
        r#""\"\\\/\b\f\n\r\t\u0000\uD83D\ude00""#,
        // Lone surrogates are no text, but legal JSON.
        r#""\ud800""#, r#""\udc00\ud800""#,
        "\"\u{7f}\u{2028}é漢😀\"", "\"12345678\\\"12345678\"",
    ];
    for text in table {
        assert_eq!(check(text, &Limits::default()), Ok(()), "{text}");
    }
}

#[test]
fn anything_else_is_refused() {
    #[rustfmt::skip]
    let table = [
        "", " ", "nul", "nulll", "True", "NaN", "Infinity", "undefined", "'a'", "a", ",", ":", "]", "}",
        "01", "-", "+1", "1.", ".5", "1e", "1e+", "0x1", "1.e1", "--1", "1 2", "- 1", "00",
        "[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1}", "[1]]", "[1],", "[]]", "[}",
        "{", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,", "{\"a\":1,}", "{a:1}", "{1:1}", "{\"a\",1}", "{\"a\" 1}", "{\"a\":1]", "{,}", "{]",
        "{\"a\":1 \"b\":2}", "{\"a\"::1}",
        "\"", "\"a", "\"\\\"", "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\\u+123\"", "\"a\nb\"", "\"\0\"", "\"1234567\u{1f}\"", "\"a\"b",
        "\u{feff}[]", "[]\u{feff}", "\u{a0}1", "\u{c}1", "// x\n1", "1;",
    ];
    for text in table {
        assert_eq!(check(text, &Limits::default()), Err(JsonError::Syntax), "{text:?}");
    }
}

#[test]
fn items_come_with_their_slices() {
    let text = " [ 1 , \"a,]\" ,[2,3], { \"k\" : [ ] } ,null ] ";
    let expected = ["1", "\"a,]\"", "[2,3]", "{ \"k\" : [ ] }", "null"].map(str::to_owned);
    assert_eq!(items(text, &Limits::default()), Ok(expected.to_vec()));
    assert_eq!(items("[ ]", &Limits::default()), Ok(vec![]));
    for text in ["", "1", "{}", "\"[]\"", "[1]x", "[1],", "[1,]", "[,]", "[1", "["] {
        assert_eq!(items(text, &Limits::default()), Err(JsonError::Syntax), "{text}");
    }
}

#[test]
fn depth_is_limited_and_measured() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let objects = |levels: usize| "{\"a\":".repeat(levels) + "1" + &"}".repeat(levels);
    for limit in [1, 2, 32, 127, 128] {
        let limits = Limits { depth: limit, ..Limits::default() };
        let levels = limit as usize;
        for text in [nested(levels), objects(levels)] {
            assert_eq!(check(&text, &limits), Ok(()), "{limit}");
            assert_eq!(depth(&text), levels);
        }
        for text in [nested(levels + 1), objects(levels + 1)] {
            assert_eq!(check(&text, &limits), Err(JsonError::TooDeep), "{limit}");
        }
        assert!(array_items(&nested(levels), &limits).is_ok());
        assert_eq!(array_items(&nested(levels + 1), &limits), Err(JsonError::TooDeep));
    }
    // No limit goes beyond what the scanner can hold.
    assert_eq!(check(&nested(129), &Limits { depth: u32::MAX, ..Limits::default() }), Err(JsonError::TooDeep));
    let flat = Limits { depth: 0, ..Limits::default() };
    assert_eq!(check("1", &flat), Ok(()));
    assert_eq!(check("[]", &flat), Err(JsonError::TooDeep));
    assert_eq!(array_items("[]", &flat), Err(JsonError::TooDeep));
    // Brackets in strings are none, siblings do not add up, mixed containers close in turn.
    for (text, expected) in [("\"[[\"", 0), ("1", 0), ("[]", 1), ("[[],{},[]]", 2), ("{\"[\":[{\"a\":\"}\"}]}", 3)] {
        assert_eq!(depth(text), expected, "{text}");
        assert_eq!(check(text, &Limits { depth: expected as u32, ..Limits::default() }), Ok(()));
    }
    let mixed = "[{\"a\":".repeat(64) + "0" + &"}]".repeat(64);
    assert_eq!(check(&mixed, &Limits::default()), Ok(()));
    assert_eq!(check(&mixed.replace("}]}]", "]}}]"), &Limits::default()), Err(JsonError::Syntax));
}

#[test]
fn numbers_are_limited_in_length() {
    for number in ["1".repeat(40), format!("-{}", "1".repeat(39)), format!("0.{}", "1".repeat(38))] {
        assert_eq!(check(&number, &Limits::default()), Ok(()), "{number}");
        let longer = number + "1";
        assert_eq!(check(&longer, &Limits::default()), Err(JsonError::NumberTooLong), "{longer}");
        assert_eq!(items(&format!("[0,{longer}]"), &Limits::default()), Err(JsonError::NumberTooLong));
    }
    assert_eq!(check(&format!("1e{}", "0".repeat(39)), &Limits::default()), Err(JsonError::NumberTooLong));
}

#[test]
fn huge_input_takes_linear_time() {
    let started = Instant::now();
    let deep = "[".repeat(100_000);
    assert_eq!(check(&deep, &Limits::default()), Err(JsonError::TooDeep));
    assert_eq!(check(&(deep.clone() + &"]".repeat(100_000)), &Limits::default()), Err(JsonError::TooDeep));
    assert_eq!(depth(&deep), 100_000);
    assert_eq!(check(&"7".repeat(1_000_000), &Limits::default()), Err(JsonError::NumberTooLong));
    assert_eq!(check(&"\"".repeat(999_999), &Limits::default()), Err(JsonError::Syntax));
    let keys: Vec<String> = (0..100_000).map(|key| format!("\"k{key}\":{key}")).collect();
    let object = format!("{{{}}}", keys.join(","));
    assert_eq!(check(&object, &Limits::default()), Ok(()));
    assert_eq!(members(&object).count(), 100_000);
    let array = format!("[{}]", "0,".repeat(500_000) + "0");
    assert_eq!(array_items(&array, &Limits::default()).map(|items| items.len()), Ok(500_001));
    // About 6 MB in an unoptimised build; what is quadratic would take minutes.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[test]
fn members_of_objects() {
    let found: Vec<_> = members(" { \"a\" : 1 , \"b,\\\"\":{\"c\":[2]},\"a\":\"x}\" } ").collect();
    assert_eq!(found, [("\"a\"", "1"), ("\"b,\\\"\"", "{\"c\":[2]}"), ("\"a\"", "\"x}\"")]);
    for text in ["{}", " { } ", "[]", "[1]", "1", "\"{\"", "null", ""] {
        assert_eq!(members(text).count(), 0, "{text}");
    }
    let deepest = format!("{{\"a\":{}{}}}", "[".repeat(127), "]".repeat(127));
    assert_eq!(check(&deepest, &Limits::default()), Ok(()));
    assert_eq!(members(&deepest).count(), 1);
}

#[test]
fn kinds() {
    let table = [
        ("null", Kind::Null),
        ("true", Kind::Bool(true)),
        ("false", Kind::Bool(false)),
        ("0", Kind::Number),
        ("-1", Kind::Number),
        ("\"1\"", Kind::String),
        (" [1]", Kind::Array),
        ("\n{}", Kind::Object),
    ];
    for (text, expected) in table {
        assert_eq!(kind(text), expected, "{text}");
    }
}

#[test]
fn unquoting() {
    let table = [
        (r#""""#, Ok("")),
        (r#""abc""#, Ok("abc")),
        (r#""\"\\\/\b\f\n\r\t|""#, Ok("\"\\/\u{8}\u{c}\n\r\t|")),
        (r#""é\u00e9\u0000\u2028""#, Ok("éé\0\u{2028}")),
        (r#""\uD83D\uDE00!""#, Ok("😀!")),
        (r#""\\ud800""#, Ok("\\ud800")),
        (r#""\ud800""#, Err(LoneSurrogate)),
        (r#""\udc00""#, Err(LoneSurrogate)),
        (r#""\ud800x""#, Err(LoneSurrogate)),
        (r#""\ud800\n""#, Err(LoneSurrogate)),
        (r#""\ud800\u0041""#, Err(LoneSurrogate)),
        (r#""\ud800\ud800\udc00""#, Err(LoneSurrogate)),
        (r#""\udc00\ud800""#, Err(LoneSurrogate)),
    ];
    for (raw, expected) in table {
        assert_eq!(unquote(raw).as_deref(), expected.as_ref().copied(), "{raw}");
    }
    assert!(matches!(unquote("\"plain\""), Ok(Cow::Borrowed("plain"))));
}

#[test]
fn quoting_escapes_only_what_must_be() {
    let mut out = b"x".to_vec();
    quote("a\"\\/\u{8}\u{c}\n\r\t\0\u{1f}\u{7f}é\u{2028}\u{2029}😀", &mut out);
    let expected = "x\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\u{7f}é\u{2028}\u{2029}😀\"";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    assert!(matches!(escape("plain"), Cow::Borrowed(b"plain")));
}

#[test]
fn every_byte_is_seen_at_every_place_of_a_word() {
    for place in 0..20 {
        for byte in 0..=0x7f_u8 {
            let mut content = "é234567é234567é23".to_owned();
            content.insert(content.char_indices().map(|(at, _)| at).find(|at| *at >= place).unwrap(), byte.into());
            let literal = format!("\"{content}\"");
            let plain = byte >= 0x20 && byte != b'"' && byte != b'\\';
            let oracle = serde_json::from_str::<&RawValue>(&literal).is_ok();
            assert_eq!(check(&literal, &Limits::default()).is_ok(), oracle, "{literal:?}");
            assert!(!plain || oracle);
            let mut quoted = Vec::new();
            quote(&content, &mut quoted);
            assert_eq!(serde_json::from_slice::<String>(&quoted).unwrap(), content);
        }
    }
}

/// Valid JSON with all sorts of whitespace and spelling.
fn valid() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        "-?(0|[1-9][0-9]{0,5})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?",
        "\"([ !#-\\[\\]-~é漢😀]|\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-fA-F]{4}){0,12}\"",
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let space = "[ \t\r\n]{0,2}";
        let items = proptest::collection::vec((space, inner.clone(), space).prop_map(|(a, b, c)| a + &b + &c), 0..6);
        let member = (space, "\"[a-z_\\\\n]{0,9}\"", space, inner).prop_map(|(a, b, c, d)| {
            format!("{a}{}{c}:{d}", if b.contains('\\') { "\"\\u0061\"".to_owned() } else { b })
        });
        prop_oneof![
            items.prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec(member, 0..6).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// Pieces of JSON in any order: mostly invalid, but near to valid.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => proptest::sample::select(vec![
            "[", "]", "{", "}", ",", ":", "\"", "\\", "0", "1", "-", ".", "e", "+", "\"a\"", "\"a\":", "null", "true",
            "false", " ", "\n", "\\u", "d800", "\u{1f}", "é", "\\n",
        ])
        .prop_map(str::to_owned),
        1 => valid(),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Valid JSON with one byte changed, put in or taken out.
fn damaged() -> impl Strategy<Value = String> {
    (valid(), any::<proptest::sample::Index>(), "[\\[\\]{},:\"\\\\0-9a-f. \n\u{1}-]", 0..3).prop_map(
        |(text, at, with, how)| {
            let mut chars: Vec<char> = text.chars().collect();
            let at = at.index(chars.len());
            let with = with.chars().next().unwrap();
            match how {
                0 => chars[at] = with,
                1 => chars.insert(at, with),
                _ => drop(chars.remove(at)),
            }
            chars.into_iter().collect()
        },
    )
}

fn agrees_with_serde_json(text: &str) -> Result<(), TestCaseError> {
    // A raw value is checked as ours: full syntax, surrogates unpaired, numbers of any size.
    let oracle = serde_json::from_str::<&RawValue>(text);
    prop_assert_eq!(check(text, &UNLIMITED).is_ok(), oracle.is_ok(), "{:?}", text);
    if let Ok(raw) = &oracle {
        prop_assert_eq!(trim(text), raw.get());
        prop_assert_eq!(kind(text) == Kind::Object, raw.get().starts_with('{'));
        let deep = depth(text) as u32;
        prop_assert_eq!(check(text, &Limits { depth: deep, ..UNLIMITED }), Ok(()));
        if deep > 0 {
            prop_assert_eq!(check(text, &Limits { depth: deep - 1, ..UNLIMITED }), Err(JsonError::TooDeep));
        }
    }
    let oracle = serde_json::from_str::<Vec<&RawValue>>(text);
    let ours = items(text, &UNLIMITED);
    prop_assert_eq!(ours.is_ok(), oracle.is_ok(), "{:?}", text);
    if let (Ok(ours), Ok(oracle)) = (&ours, &oracle) {
        prop_assert!(ours.iter().eq(oracle.iter().map(|raw| raw.get())), "{:?}", text);
    }
    // For strings: the same text, or both refuse (a lone surrogate).
    if check(text, &UNLIMITED).is_ok() && kind(text) == Kind::String {
        let oracle = serde_json::from_str::<String>(text);
        let ours = unquote(trim(text));
        prop_assert_eq!(ours.as_deref().ok(), oracle.as_deref().ok(), "{:?}", text);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn valid_text_as_serde_json(text in valid()) {
        prop_assert_eq!(check(&text, &Limits::default()), Ok(()), "{:?}", text);
        agrees_with_serde_json(&text)?;
    }

    #[test]
    fn pieces_as_serde_json(text in pieces()) {
        agrees_with_serde_json(&text)?;
    }

    #[test]
    fn damaged_text_as_serde_json(text in damaged()) {
        agrees_with_serde_json(&text)?;
    }

    #[test]
    fn any_text_as_serde_json(text in any::<String>()) {
        agrees_with_serde_json(&text)?;
        // What was not checked before gives nonsense, but no panic.
        let _ = (depth(&text), kind(&text), members(&text).count(), unquote(&text), tokens(&text).count());
    }

    #[test]
    fn members_as_serde_json(values in proptest::collection::vec(("[a-z]{0,4}", valid()), 0..6)) {
        let text = format!("{{{}}}", values.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect::<Vec<_>>().join(","));
        let found: Vec<(String, String)> = members(&text).map(|(k, v)| (unquote(k).unwrap().into_owned(), v.to_owned())).collect();
        prop_assert_eq!(found, values);
    }

    #[test]
    fn tokens_cover_all_but_separators(text in valid()) {
        let length: usize = tokens(&text)
            .map(|token| match token {
                Token::Open(_) | Token::Close(_) => 1,
                Token::Key(raw) => raw.len() + 1,
                Token::Scalar(raw) => raw.len(),
            })
            .sum();
        let compact = serde_json::from_str::<&RawValue>(&text).unwrap().get();
        prop_assert!(length <= compact.len());
        let keys = tokens(&text).filter(|token| matches!(token, Token::Key(_))).count();
        if kind(&text) == Kind::Object && depth(&text) == 1 {
            prop_assert_eq!(keys, members(&text).count());
        }
    }

    #[test]
    fn quoted_text_comes_back(text in any::<String>()) {
        let mut raw = Vec::new();
        quote(&text, &mut raw);
        let raw = String::from_utf8(raw).unwrap();
        prop_assert_eq!(check(&raw, &Limits::default()), Ok(()));
        let back = unquote(&raw);
        prop_assert_eq!(back.as_deref(), Ok(text.as_str()));
        prop_assert_eq!(serde_json::from_str::<String>(&raw).unwrap(), text);
    }
}
