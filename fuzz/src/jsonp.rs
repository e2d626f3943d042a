//! `engineio::http::jsonp`: the form that a client posts, and the script that answers its polls.
//!
//! If the first byte is odd, the rest is the body of a POST. If it is even, the rest is a line with the number of the
//! function and then a payload.

use std::borrow::Cow;

use engineio::http::jsonp as engine;

use crate::input::Input;

/// Runs the target. See the module.
pub fn jsonp(data: &[u8]) {
    let mut input = Input::new(data);
    if input.byte() & 1 == 1 {
        posted(input.rest());
    } else if let Ok(text) = std::str::from_utf8(input.rest()) {
        let (number, payload) = text.split_once('\n').unwrap_or_default();
        answered(number, payload);
        comes_back(payload);
    }
}

/// What our decoder reads from a form, a lenient decoder finds there too. It refuses a form only if no decoder could
/// read it.
fn posted(body: &[u8]) {
    let read = engine::form_data(body);
    let mut fields = body.split(|byte| *byte == b'&').filter(|field| field.starts_with(b"d="));
    let (Some(field), None) = (fields.next(), fields.next()) else {
        assert_eq!(read, None, "one field, or nothing");
        return;
    };
    let (_, value) = form_urlencoded::parse(field).next().expect("a field");
    let escapes = field.split(|byte| *byte == b'%').skip(1);
    let sound = escapes.clone().all(|after| after.len() >= 2 && after[..2].iter().all(u8::is_ascii_hexdigit));
    match read {
        Some(read) => assert!(sound && read == two_passes(&value), "{read:?}, leniently {value:?}"),
        None => assert!(!sound || value.contains('\u{fffd}'), "{value:?}"),
    }
    if let Some(read) = engine::form_data(body) {
        assert!(read.len() <= body.len(), "it gets no longer");
    }
}

/// What Node does with line ends, in its two steps: `\n` unless a backslash precedes it, then `\\n`.
fn two_passes(text: &str) -> String {
    let (mut first, mut rest) = (String::new(), text);
    while let Some(character) = rest.chars().next() {
        let (taken, put) = if rest.starts_with("\\\\n") {
            (3, Cow::Borrowed("\\\\n"))
        } else if rest.starts_with("\\n") {
            (2, Cow::Borrowed("\n"))
        } else {
            (character.len_utf8(), Cow::Owned(character.to_string()))
        };
        first.push_str(&put);
        rest = &rest[taken..];
    }
    first.replace("\\\\n", "\\n")
}

/// Checks that a script is one call of one function with one string, the payload, for every JavaScript parser.
fn answered(number: &str, payload: &str) {
    let script = engine::script(number, payload);
    let (call, string) = script.split_once("](").expect("a call");
    let digits = call.strip_prefix("___eio[").expect("a call");
    assert!(digits.bytes().all(|byte| byte.is_ascii_digit()));
    assert!(digits.chars().eq(number.chars().filter(char::is_ascii_digit)));
    let string = string.strip_suffix(");").expect("the end of a call");
    assert_eq!(serde_json::from_str::<String>(string).ok().as_deref(), Some(payload));
    // In old parsers every line terminator ends a string.
    assert!(!string.contains(['\u{2028}', '\u{2029}']) && !string.bytes().any(|byte| byte < b' '), "{string:?}");
}

/// Checks that the official client's encoding of a payload decodes to that payload.
fn comes_back(payload: &str) {
    // The encoding has only one form for a backslash before a line feed and for a backslash before `n`, and a lone
    // carriage return does not survive a form.
    if payload.contains("\\\n") || payload.contains('\r') {
        return;
    }
    let escaped = payload.replace("\\n", "\\\n").replace('\n', "\\n");
    let value: String = form_urlencoded::byte_serialize(escaped.as_bytes()).collect();
    assert_eq!(engine::form_data(format!("d={value}").as_bytes()).as_deref(), Some(payload), "{value}");
}
