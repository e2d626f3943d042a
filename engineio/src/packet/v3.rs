//! One packet of Engine.IO protocol v3, where it differs from v4: a binary packet carries its type.
//!
//! Text is as in [`super`]: a type digit and data. Binary is the type as one byte and the data; where only text can be
//! sent, it is `b4` and base64. Engine.IO protocol v3, "Encoding".

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{DecodeError, Inbound, Message};

/// The type byte of a binary message: the number, not the digit.
pub(crate) const BINARY_MESSAGE: u8 = 4;

/// The prefix of a binary message in base64.
pub(crate) const BASE64_MESSAGE: &[u8] = b"b4";

/// Decodes one packet in text form.
///
/// # Errors
/// As [`super::decode`]; also when the type after `b` is not that of a message, since nothing else is binary.
pub fn decode(text: &str) -> Result<Inbound<'_>, DecodeError> {
    let Some(typed) = text.strip_prefix('b') else { return super::decode(text) };
    let data = typed.strip_prefix('4').ok_or(DecodeError::UnknownType)?;
    let bytes = STANDARD.decode(data).map_err(|_| DecodeError::Base64)?;
    Ok(Inbound::Message(Message::Binary(bytes.into())))
}

/// Decodes one packet in binary form: a type byte, which must be that of a message, then the data.
///
/// # Errors
/// When the type is missing or is not that of a message.
pub const fn binary(bytes: &[u8]) -> Result<Inbound<'_>, DecodeError> {
    match bytes.split_first() {
        Some((&BINARY_MESSAGE, data)) => Ok(super::binary(data)),
        Some(_) => Err(DecodeError::UnknownType),
        None => Err(DecodeError::Empty),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_as_in_v4_and_base64_carries_its_type() {
        let table: &[(&str, Result<Inbound<'_>, DecodeError>)] = &[
            ("4€", Ok(Inbound::Message(Message::Text("€".into())))),
            ("2", Ok(Inbound::Ping(""))),
            ("2probe", Ok(Inbound::Ping("probe"))),
            ("5", Ok(Inbound::Upgrade)),
            ("1", Ok(Inbound::Close)),
            ("b4", Ok(super::super::binary(b""))),
            ("b4AQIDBA==", Ok(super::super::binary(&[1, 2, 3, 4]))),
            ("b", Err(DecodeError::UnknownType)),
            ("b2AQ==", Err(DecodeError::UnknownType)),
            ("bAQIDBA==", Err(DecodeError::UnknownType)),
            ("b4AQI", Err(DecodeError::Base64)),
            ("b4!", Err(DecodeError::Base64)),
            ("", Err(DecodeError::Empty)),
            ("7", Err(DecodeError::UnknownType)),
        ];
        for (text, expected) in table {
            assert_eq!(decode(text), *expected, "{text:?}");
        }
    }

    #[test]
    fn a_binary_packet_begins_with_the_number_of_its_type() {
        for (bytes, expected) in [
            (&b"\x04"[..], Ok(super::super::binary(b""))),
            (b"\x04\x00\xff", Ok(super::super::binary(b"\x00\xff"))),
            (b"", Err(DecodeError::Empty)),
            (b"4a", Err(DecodeError::UnknownType)),
            (b"\x02", Err(DecodeError::UnknownType)),
            (b"\xff", Err(DecodeError::UnknownType)),
        ] {
            assert_eq!(binary(bytes), expected, "{bytes:?}");
        }
    }
}
