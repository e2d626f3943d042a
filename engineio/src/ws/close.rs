//! Close frames: valid codes, encoding and decoding.
//!
//! The session decides when to send one. RFC 6455 sections 5.5.1 and 7.4.

use std::str;

use super::ProtocolError;
use super::header::{self, MAX_CONTROL_PAYLOAD, Opcode};

/// The longest reason in bytes: a control payload minus the code.
pub const MAX_REASON: usize = MAX_CONTROL_PAYLOAD - 2;

/// Whether a close code may be sent: those of RFC 6455 section 7.4.1, those registered since (1012 to 1014), and those
/// free for libraries and applications (3000 to 4999). 1004 to 1006 and 1015 are never sent.
#[must_use]
pub const fn is_valid(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Appends a complete unmasked close frame. The reason is cut to at most 123 bytes, between two characters. Without a
/// code, or with a code that may not be sent, the frame has neither code nor reason (the peer sees 1005).
pub fn encode(code: Option<u16>, reason: &str, out: &mut Vec<u8>) {
    let Some(code) = code.filter(|&code| is_valid(code)) else {
        out.extend_from_slice(&header::encode(Opcode::Close, 0));
        return;
    };
    let (reason, _) = reason.split_at(reason.floor_char_boundary(MAX_REASON));
    out.extend_from_slice(&header::encode(Opcode::Close, 2 + reason.len()));
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// Decodes the unmasked payload of a close frame: code and reason, or `None` if it is empty.
///
/// # Errors
/// When the code is incomplete or may not be sent, or the reason is not UTF-8.
pub(super) fn decode(payload: &[u8]) -> Result<Option<(u16, &str)>, ProtocolError> {
    if payload.is_empty() {
        return Ok(None);
    }
    // 5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer".
    let (&code, reason) = payload.split_first_chunk::<2>().ok_or(ProtocolError::TruncatedCloseCode)?;
    let code = u16::from_be_bytes(code);
    if !is_valid(code) {
        return Err(ProtocolError::InvalidCloseCode);
    }
    let reason = str::from_utf8(reason).map_err(|_| ProtocolError::InvalidUtf8)?;
    Ok(Some((code, reason)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_which_codes_may_be_sent() {
        let valid = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
        for code in 0..=u16::MAX {
            let in_a_free_range = (3000..=4999).contains(&code);
            assert_eq!(is_valid(code), valid.contains(&code) || in_a_free_range, "{code}");
        }
    }

    #[test]
    fn encodes_whole_frames() {
        let table: &[(Option<u16>, &str, &[u8])] = &[
            (None, "", b"\x88\x00"),
            (None, "a reason needs a code", b"\x88\x00"),
            (Some(1000), "", b"\x88\x02\x03\xe8"),
            (Some(1009), "big", b"\x88\x05\x03\xf1big"),
            (Some(1005), "never travels", b"\x88\x00"),
            (Some(0), "", b"\x88\x00"),
        ];
        for (code, reason, expected) in table {
            let mut out = Vec::new();
            encode(*code, reason, &mut out);
            assert_eq!(out, *expected, "{code:?} {reason:?}");
        }
    }

    #[test]
    fn cuts_a_reason_between_two_characters() {
        for (reason, kept) in [
            ("a".repeat(122), 122),
            ("a".repeat(123), 123),
            ("a".repeat(124), 123),
            ("a".repeat(70_000), 123),
            ("€".repeat(41), 123),
            ("€".repeat(42), 123),
            (format!("a{}", "€".repeat(41)), 121),
            (format!("ab{}", "𝄞".repeat(31)), 122),
        ] {
            let mut out = Vec::new();
            encode(Some(1001), &reason, &mut out);
            assert_eq!(out.len(), 4 + kept);
            assert_eq!(usize::from(out[1]), 2 + kept);
            assert_eq!(decode(&out[2..]), Ok(Some((1001, &reason[..kept]))));
        }
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "the rows of a table")]
    fn decodes_a_payload_or_says_why_not() {
        use ProtocolError as E;
        let table: &[(&[u8], Result<Option<(u16, &str)>, E>)] = &[
            (b"", Ok(None)),
            (b"\x03\xe8", Ok(Some((1000, "")))),
            (b"\x0f\xa0bye \xe2\x82\xac", Ok(Some((4000, "bye €")))),
            (b"\x03", Err(E::TruncatedCloseCode)),
            (b"\x00\x00", Err(E::InvalidCloseCode)),
            (b"\x03\xe7", Err(E::InvalidCloseCode)),
            (b"\x03\xec", Err(E::InvalidCloseCode)),
            (b"\x03\xed", Err(E::InvalidCloseCode)),
            (b"\x03\xee", Err(E::InvalidCloseCode)),
            (b"\x03\xf7", Err(E::InvalidCloseCode)),
            (b"\x13\x88", Err(E::InvalidCloseCode)),
            (b"\x03\xe8\xff", Err(E::InvalidUtf8)),
            (b"\x03\xe8\xed\xa0\x80", Err(E::InvalidUtf8)),
            (b"\x03\xe8\xe2\x82", Err(E::InvalidUtf8)),
        ];
        for (payload, expected) in table {
            assert_eq!(decode(payload), *expected, "{payload:02x?}");
        }
    }
}
