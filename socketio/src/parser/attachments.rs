//! Placeholders: what stands in the JSON for an attachment, `{"_placeholder":true,"num":0}`.

use std::{borrow::Cow, fmt};

use smallvec::SmallVec;

use super::error::DecodeError;
use crate::json::{self, Container, Span, Token};

/// The JSON of an attachment's placeholder; made by [`placeholder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placeholder {
    num: usize,
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{\"_placeholder\":true,\"num\":{}}}", self.num)
    }
}

/// What to write into the arguments for attachment `num`, the first being 0: `write!(args, "{}", placeholder(0))`.
#[must_use]
pub const fn placeholder(num: usize) -> Placeholder {
    Placeholder { num }
}

/// What is known of an open object.
#[derive(Clone, Copy, Default)]
struct Candidate {
    start: usize,
    /// Where the `true` of its last `_placeholder` stands.
    flag: Option<Span>,
    num: Option<Num>,
}

/// A placeholder, or what a client takes for one.
#[derive(Clone, Copy)]
struct Found {
    /// Where the object begins and ends.
    object: (usize, usize),
    /// Where the `true` of its `_placeholder` stands.
    flag: Span,
    num: Option<Num>,
}

/// The value of the last `num` of an object.
#[derive(Clone, Copy)]
struct Num {
    place: Span,
    /// `None` unless it is written as plain digits.
    value: Option<usize>,
}

/// Every placeholder in a checked text, at any depth, by its `num`: `None` where it has none.
///
/// As in JavaScript, keys may be escaped, the last of equal keys counts, further keys do not matter. The number must
/// be written as plain digits: peers that took any JavaScript number read beside the array (CVE-2022-2421) or at 0.5.
fn placeholders(valid: &str) -> SmallVec<[Found; 4]> {
    let mut found = SmallVec::new();
    // As deep as the text at most, whose depth is limited.
    let mut objects: SmallVec<[Candidate; 16]> = SmallVec::new();
    let mut key = None;
    let mut tokens = json::tokens(valid);
    while let Some(token) = tokens.next() {
        let scalar = match token {
            Token::Key(raw) => {
                key = Some(raw);
                continue;
            }
            Token::Scalar(raw) => raw,
            Token::Open(_) => "",
            Token::Close(Container::Array) => continue,
            Token::Close(Container::Object) => {
                if let Some(Candidate { start, flag: Some(flag), num }) = objects.pop() {
                    found.push(Found { object: (start, tokens.position()), flag, num });
                }
                continue;
            }
        };
        if let (Some(key), Some(object)) = (key.take(), objects.last_mut()) {
            let place = || Span::new(tokens.position().saturating_sub(scalar.len()), tokens.position());
            match json::unquote(key).as_deref() {
                Ok("_placeholder") => object.flag = if scalar == "true" { place() } else { None },
                Ok("num") => object.num = place().map(|place| Num { place, value: index(scalar) }),
                _ => {}
            }
        }
        if token == Token::Open(Container::Object) {
            objects.push(Candidate { start: tokens.position().saturating_sub(1), ..Candidate::default() });
        }
    }
    found
}

/// Whether every placeholder in a checked text has the number of an attachment.
pub(super) fn check(valid: &str, attachments: usize) -> Result<(), DecodeError> {
    let good = |found: &Found| found.num.and_then(|num| num.value).is_some_and(|value| value < attachments);
    if placeholders(valid).iter().all(good) { Ok(()) } else { Err(DecodeError::Placeholder) }
}

/// How many placeholders there are in a checked text.
pub(crate) fn count(valid: &str) -> usize {
    placeholders(valid).len()
}

/// The placeholders of this many attachments in a checked text, in order: where each begins and ends, and its number. One
/// within another is a part of that.
pub(super) fn places(valid: &str, attachments: usize) -> SmallVec<[(usize, usize, usize); 4]> {
    let number = |found: &Found| found.num.and_then(|num| num.value).filter(|value| *value < attachments);
    let mut places: SmallVec<[(usize, usize, usize); 4]> = placeholders(valid)
        .iter()
        .filter_map(|found| number(found).map(|number| (found.object.0, found.object.1, number)))
        .collect();
    places.sort_unstable();
    let mut end = 0;
    places.retain(|place| {
        let is_outer = place.0 >= end;
        end = if is_outer { place.1 } else { end };
        is_outer
    });
    places
}

/// Whether a checked text holds an object that a client takes for a placeholder. Data of a packet without attachments may
/// look so; beside attachments of another packet it would be taken for one of them.
#[must_use]
pub fn has_placeholders(valid: &str) -> bool {
    !placeholders(valid).is_empty()
}

/// Whether a checked text has a place for each of this many attachments.
#[must_use]
pub fn all_placed(valid: &str, attachments: usize) -> bool {
    if attachments == 0 {
        return true;
    }
    let found = placeholders(valid);
    (0..attachments).all(|num| found.iter().filter_map(|found| found.num).any(|placed| placed.value == Some(num)))
}

/// The text with every placeholder's number raised by `offset`: for joining packets, whose attachments then follow each
/// other, into one.
#[must_use]
pub fn renumber(valid: &str, offset: usize) -> String {
    let mut nums: SmallVec<[Num; 4]> = placeholders(valid).into_iter().filter_map(|found| found.num).collect();
    nums.sort_by_key(|num| num.place.start());
    let mut text = String::with_capacity(valid.len() + nums.len());
    let mut copied = 0;
    for Num { place, value } in nums {
        let Some(value) = value else { continue };
        text.push_str(valid.get(copied..place.start()).unwrap_or_default());
        text.push_str(&(value.saturating_add(offset)).to_string());
        copied = place.end();
    }
    text.push_str(valid.get(copied..).unwrap_or_default());
    text
}

/// The text with the `_placeholder` of everything that a client would take for a placeholder turned from `true` into `"true"`:
/// data that only looks like one may then stand beside attachments of other packets. A client would replace it by one of
/// them, and no other spelling of the same value is safe from that.
#[must_use]
pub fn disguise(valid: &str) -> Cow<'_, str> {
    let mut flags: SmallVec<[Span; 4]> = placeholders(valid).into_iter().map(|found| found.flag).collect();
    if flags.is_empty() {
        return Cow::Borrowed(valid);
    }
    flags.sort_by_key(|flag| flag.start());
    let mut text = String::with_capacity(valid.len() + 2 * flags.len());
    let mut copied = 0;
    for flag in flags {
        text.push_str(valid.get(copied..flag.start()).unwrap_or_default());
        text.push_str("\"true\"");
        copied = flag.end();
    }
    text.push_str(valid.get(copied..).unwrap_or_default());
    Cow::Owned(text)
}

/// A JSON number of plain digits. JSON has no leading zeros or plus sign, and `-` is no digit.
fn index(scalar: &str) -> Option<usize> {
    if !scalar.is_empty() && scalar.bytes().all(|byte| byte.is_ascii_digit()) { scalar.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_must_have_the_number_of_an_attachment() {
        let refused = Err(DecodeError::Placeholder);
        #[rustfmt::skip]
        let table = [
            (r#"{"_placeholder":true,"num":0}"#, Ok(())),
            (r#"{"num":1,"_placeholder":true}"#, Ok(())),
            (r#" [ { "a" : { "_placeholder" : true , "num" : 1 } } ] , 2"#, Ok(())),
            // The same one twice, further keys, none at all.
            (r#"{"_placeholder":true,"num":1},{"_placeholder":true,"num":1}"#, Ok(())),
            (r#"{"_placeholder":true,"num":1,"x":[]}"#, Ok(())),
            (r#""x",1"#, Ok(())),
            // No placeholders.
            (r#"{"_placeholder":false,"num":9}"#, Ok(())),
            (r#"{"_placeholder":"true","num":9}"#, Ok(())),
            (r#"{"_placeholder":1,"num":9}"#, Ok(())),
            (r#"{"_placeholder":[true],"num":9}"#, Ok(())),
            (r#"["_placeholder",true,"num",9]"#, Ok(())),
            (r#"{"a":"_placeholder","b":true}"#, Ok(())),
            (r#"{"num":9,"a":{"_placeholder":true,"num":0}}"#, Ok(())),
            // The last of equal keys counts.
            (r#"{"_placeholder":true,"num":9,"num":0}"#, Ok(())),
            (r#"{"_placeholder":true,"num":0,"num":9}"#, refused),
            (r#"{"_placeholder":false,"num":9,"_placeholder":true}"#, refused),
            (r#"{"_placeholder":true,"num":9,"_placeholder":{}}"#, Ok(())),
            (r#"{"_placeholder":true,"num":0,"num":{"num":0}}"#, refused),
            // Out of range, no number, no integer, another spelling.
            (r#"{"_placeholder":true,"num":2}"#, refused),
            (r#"{"_placeholder":true,"num":-1}"#, refused),
            (r#"{"_placeholder":true,"num":-0}"#, refused),
            (r#"{"_placeholder":true,"num":0.5}"#, refused),
            (r#"{"_placeholder":true,"num":1.0}"#, refused),
            (r#"{"_placeholder":true,"num":1e0}"#, refused),
            (r#"{"_placeholder":true,"num":1e3}"#, refused),
            (r#"{"_placeholder":true,"num":99999999999999999999999}"#, refused),
            (r#"{"_placeholder":true,"num":"0"}"#, refused),
            (r#"{"_placeholder":true,"num":"splice"}"#, refused),
            (r#"{"_placeholder":true,"num":null}"#, refused),
            (r#"{"_placeholder":true,"num":[0]}"#, refused),
            (r#"{"_placeholder":true,"num":{}}"#, refused),
            (r#"{"_placeholder":true}"#, refused),
            // Deep, beside a good one, escaped key.
            (r#"[[{"a":[1,{"_placeholder":true,"num":7}]}]]"#, refused),
            (r#"{"_placeholder":true,"num":0,"a":{"_placeholder":true}}"#, refused),
            (r#"{"a":{"num":0},"_placeholder":true}"#, refused),
            (r#"{"\u005fplaceholder":true,"num":7}"#, refused),
        ];
        for (text, expected) in table {
            json::check(&format!("[{text}]"), &json::Limits::default()).expect(text);
            assert_eq!(check(text, 2), expected, "{text}");
        }
    }

    #[test]
    fn renumbering_touches_placeholders_only() {
        for (text, expected) in [
            (r#"{"_placeholder":true,"num":0}"#, r#"{"_placeholder":true,"num":10}"#),
            (r#"[{"num" : 1 ,"_placeholder":true},7]"#, r#"[{"num" : 11 ,"_placeholder":true},7]"#),
            (r#"{"num":1,"a":[{"_placeholder":true,"num":2}]}"#, r#"{"num":1,"a":[{"_placeholder":true,"num":12}]}"#),
            (
                r#"{"a":{"_placeholder":true,"num":0},"_placeholder":true,"num":3}"#,
                r#"{"a":{"_placeholder":true,"num":10},"_placeholder":true,"num":13}"#,
            ),
            (r#"{"_placeholder":false,"num":0}"#, r#"{"_placeholder":false,"num":0}"#),
            (r#""num""#, r#""num""#),
        ] {
            assert_eq!(renumber(text, 10), expected);
            assert_eq!(has_placeholders(text), text != expected, "{text}");
        }
    }

    #[test]
    fn what_is_disguised_is_no_placeholder_and_otherwise_as_it_was() {
        for (text, expected) in [
            (r#"{"_placeholder":true,"num":0}"#, r#"{"_placeholder":"true","num":0}"#),
            (r#"[{"num":1, "_placeholder" : true },true]"#, r#"[{"num":1, "_placeholder" : "true" },true]"#),
            (
                r#"{"_placeholder":true,"a":{"\u005fplaceholder":true}}"#,
                r#"{"_placeholder":"true","a":{"\u005fplaceholder":"true"}}"#,
            ),
            (r#"{"_placeholder":true,"_placeholder":false}"#, r#"{"_placeholder":true,"_placeholder":false}"#),
            (r#"{"_placeholder":true,"_placeholder":true}"#, r#"{"_placeholder":true,"_placeholder":"true"}"#),
            (
                r#"{"_placeholder":1,"x":"{\"_placeholder\":true}"}"#,
                r#"{"_placeholder":1,"x":"{\"_placeholder\":true}"}"#,
            ),
        ] {
            json::check(text, &json::Limits::default()).expect(text);
            assert_eq!(disguise(text), expected);
            assert!(!has_placeholders(&disguise(text)), "{text}");
        }
    }

    #[test]
    fn every_attachment_has_a_place_or_not() {
        let text = format!("[{},{{\"a\":{}}}]", placeholder(1), placeholder(0));
        for (attachments, expected) in [(0, true), (1, true), (2, true), (3, false)] {
            assert_eq!(all_placed(&text, attachments), expected, "{attachments}");
        }
        assert!(!all_placed("5", 1));
    }

    #[test]
    fn a_made_placeholder_passes() {
        let text = placeholder(3).to_string();
        assert_eq!(text, r#"{"_placeholder":true,"num":3}"#);
        assert_eq!(check(&text, 4), Ok(()));
        assert_eq!(check(&text, 3), Err(DecodeError::Placeholder));
    }
}
