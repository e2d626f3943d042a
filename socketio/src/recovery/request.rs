//! [`RecoveryRequest`]: what a CONNECT says about an earlier session.

use std::borrow::Cow;

use crate::json;

/// A client asks to come back as the socket that it was. Both texts are what the client sends; nothing is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryRequest<'a> {
    /// The private id that came with the answer to the client's last CONNECT.
    pub pid: &'a str,
    /// The last argument of the last event the client got, if that was a string. `None` when it got no such event.
    pub offset: Option<&'a str>,
}

/// The texts of a [`RecoveryRequest`], without their escapes.
#[derive(Debug)]
pub(crate) struct RequestTexts<'a> {
    pid: Cow<'a, str>,
    offset: Option<Cow<'a, str>>,
}

impl<'a> RequestTexts<'a> {
    /// Reads `pid` and `offset` from a CONNECT's payload. `None` without a pid, or when one of the two is not a string.
    pub(crate) fn read(auth: Option<&'a str>) -> Option<Self> {
        let (mut pid, mut offset) = (None, None);
        // Of a key that comes twice the last value counts, as in JavaScript.
        for (key, value) in json::members(auth?) {
            match key {
                r#""pid""# => pid = Some(value),
                r#""offset""# => offset = Some(value),
                _ => {}
            }
        }
        let text = |value: &'a str| match json::kind(value) {
            json::Kind::String => json::unquote(json::trim(value)).ok(),
            _ => None,
        };
        let pid = text(pid?)?;
        match offset {
            Some(offset) => Some(Self { pid, offset: Some(text(offset)?) }),
            None => Some(Self { pid, offset: None }),
        }
    }

    pub(crate) fn as_request(&self) -> RecoveryRequest<'_> {
        RecoveryRequest { pid: &self.pid, offset: self.offset.as_deref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_texts_are_taken() {
        for (auth, expected) in [
            (None, None),
            (Some("{}"), None),
            (Some(r#"{"offset":"a"}"#), None),
            (Some(r#"{"pid":1}"#), None),
            (Some(r#"{"pid":null,"offset":"a"}"#), None),
            (Some(r#"{"pid":["a"]}"#), None),
            (Some(r#"{"pid":"a","offset":1}"#), None),
            (Some(r#"{"pid":"\ud800"}"#), None),
            (Some(r#"{"pid":"a"}"#), Some(("a", None))),
            (Some(r#"{"token":{"pid":"b"},"pid":"a","offset":"b"}"#), Some(("a", Some("b")))),
            (Some(r#"{"pid":"b", "pid" : "a\n" ,"offset":"\u00e9"}"#), Some(("a\n", Some("é")))),
        ] {
            let texts = RequestTexts::read(auth);
            let read = texts.as_ref().map(|texts| (texts.as_request().pid, texts.as_request().offset));
            assert_eq!(read, expected, "{auth:?}");
        }
    }
}
