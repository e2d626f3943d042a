//! `socketio::json`: the scanner against serde_json.
//!
//! The first two bytes are limits (depth, length of numbers; 255 stands for none), the rest the text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use socketio::json::{self, JsonError, Kind, Limits, MAX_DEPTH};

use crate::input::Input;

/// Runs the target. See the module.
pub fn json(data: &[u8]) {
    let mut input = Input::new(data);
    let (depth, number_length) = (input.byte(), input.byte());
    let limits = Limits {
        depth: if depth == 255 { u32::MAX } else { depth.into() },
        number_length: if number_length == 255 { usize::MAX } else { number_length.into() },
    };
    let Ok(text) = std::str::from_utf8(input.rest()) else { return };

    let mut quoted = Vec::new();
    json::quote(text, &mut quoted);
    assert_eq!(serde_json::from_slice::<String>(&quoted).expect("a quoted text is JSON"), text);
    let quoted = String::from_utf8(quoted).expect("a quoted text is text");
    assert_eq!(json::unquote(&quoted).as_deref(), Ok(text));

    // Unchecked text gives nonsense, but must not panic.
    let _ = (json::depth(text), json::kind(text), json::members(text).count(), json::unquote(text));

    let checked = json::check(text, &limits);
    let items = json::array_items(text, &limits);
    // A raw value is checked as by our scanner: full syntax, but unpaired surrogates and numbers and depth of any size.
    let Ok(raw) = serde_json::from_str::<&RawValue>(text) else {
        assert!(checked.is_err() && items.is_err(), "{text:?}");
        return;
    };
    let raw = raw.get();
    assert_eq!(text.trim_matches([' ', '\t', '\n', '\r']), raw);
    let (depth, longest) = measure(raw);
    assert_eq!(json::depth(text), depth, "{text:?}");
    let (deep, long) = (depth > limits.depth.min(MAX_DEPTH) as usize, longest > limits.number_length);
    match checked {
        Ok(()) => assert!(!deep && !long, "{text:?}"),
        Err(JsonError::TooDeep) => assert!(deep, "{text:?}"),
        Err(JsonError::NumberTooLong) => assert!(long, "{text:?}"),
        Err(error) => panic!("{error}: {text:?}"),
    }
    if checked.is_ok() {
        check_value(text, raw, &limits);
    } else {
        assert!(items.is_err(), "{text:?}");
    }
}

/// Checks the slices of a valid text within the limits.
fn check_value(text: &str, raw: &str, limits: &Limits) {
    let kind = match raw.as_bytes() {
        [b'{', ..] => Kind::Object,
        [b'[', ..] => Kind::Array,
        [b'"', ..] => Kind::String,
        b"true" => Kind::Bool(true),
        b"false" => Kind::Bool(false),
        b"null" => Kind::Null,
        _ => Kind::Number,
    };
    assert_eq!(json::kind(text), kind);
    match json::array_items(text, limits) {
        Ok(items) => {
            let expected: Vec<&RawValue> = serde_json::from_str(text).expect("an array");
            assert!(items.iter().map(|item| item.of(text)).eq(expected.iter().map(|item| item.get())), "{text:?}");
        }
        Err(error) => assert_eq!((error, kind == Kind::Array), (JsonError::Syntax, false), "{text:?}"),
    }
    if kind == Kind::String {
        // The same text, or both refuse: an unpaired surrogate.
        let expected = serde_json::from_str::<String>(raw).ok();
        assert_eq!(json::unquote(raw).as_deref().ok(), expected.as_deref());
    }
    let members: Vec<(&str, &str)> = json::members(text).collect();
    match serde_json::from_str::<Members>(text) {
        Ok(Members(expected)) => {
            let expected = expected.iter().map(|(key, value)| (key.clone(), value.get()));
            let ours = members.iter().map(|(key, value)| (json::unquote(key).expect("text").into_owned(), *value));
            assert!(ours.eq(expected), "{text:?}");
        }
        // serde_json does not accept a key with an unpaired surrogate.
        Err(_) => assert!(members.is_empty() == (kind != Kind::Object), "{text:?}"),
    }
}

/// The greatest depth of a valid text, and the length of its longest number.
fn measure(valid: &str) -> (usize, usize) {
    let (mut open, mut deepest, mut number, mut longest) = (0_usize, 0, 0_usize, 0);
    let (mut string, mut escaped) = (false, false);
    for byte in valid.bytes() {
        if string {
            string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        number = match byte {
            b'0'..=b'9' | b'-' => number + 1,
            b'+' | b'.' | b'e' | b'E' if number > 0 => number + 1,
            _ => 0,
        };
        longest = longest.max(number);
        match byte {
            b'"' => string = true,
            b'[' | b'{' => open += 1,
            b']' | b'}' => open -= 1,
            _ => {}
        }
        deepest = deepest.max(open);
    }
    (deepest, longest)
}

/// An object as serde_json sees it: in order and with its duplicates.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    members.push(entry);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
