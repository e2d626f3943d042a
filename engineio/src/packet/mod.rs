//! One Engine.IO packet.
//!
//! Two enums, because the directions differ: [`Inbound`] is what a client may send, [`Outbound`] what a server may
//! send. Both transports share the text form: a type digit followed by the data, or `b` followed by base64 for a binary
//! message. What a packet means in a session's state is decided in [`crate::session`]; several packets in one HTTP body
//! are read in [`crate::payload`]. Engine.IO protocol v4, "Packet encoding" and "Packet types". The differences of v3
//! are in [`v3`].

pub mod v3;

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The payload of a message packet. It borrows from the input if the bytes lie there unchanged. It is owned if they had
/// to be reassembled (a fragmented WebSocket message) or decoded (base64).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(Cow<'a, str>),
    /// A binary message.
    Binary(Cow<'a, [u8]>),
}

impl Message<'_> {
    /// The same message, independent of the input it was borrowed from. Copies only what was borrowed.
    #[must_use]
    pub fn into_owned(self) -> Message<'static> {
        match self {
            Self::Text(text) => Message::Text(Cow::Owned(text.into_owned())),
            Self::Binary(bytes) => Message::Binary(Cow::Owned(bytes.into_owned())),
        }
    }

    /// The length of the data in bytes, without packet type or base64.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether the message carries no data. Such a message is legal.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A packet as a client may send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound<'a> {
    /// `1`: the client ends the session.
    Close,
    /// `2`: with the data `probe` it asks for the upgrade. On an open session it is the heartbeat in v3, and an error
    /// in v4.
    Ping(&'a str),
    /// `3`: the answer to a ping, with the data after the type.
    Pong(&'a str),
    /// `4`, `b`, or a WebSocket binary frame.
    Message(Message<'a>),
    /// `5`: the upgrade is complete.
    Upgrade,
    /// `6`, and also `0`: from a client neither means anything, and both are ignored, as the reference does.
    Noop,
}

/// Why a text is not a packet. Always the peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// There is no type: the packet is an empty string.
    #[error("empty packet")]
    Empty,
    /// The first character is neither `0` to `6` nor `b`.
    #[error("unknown packet type")]
    UnknownType,
    /// The data after `b` is not base64 of the standard alphabet with padding, or has stray bits.
    #[error("invalid base64 in a binary packet")]
    Base64,
    /// The length before a packet of a v3 payload is not a number, or not the length of the packet.
    #[error("invalid length of a packet in a payload")]
    Length,
    /// A string of a binary v3 payload is not UTF-8.
    #[error("a string in a binary payload is not UTF-8")]
    Utf8,
}

/// Decodes one packet in text form: a WebSocket text frame, or one item of a polling payload. On both transports a
/// leading `b` makes it a binary message in base64; `b` alone is an empty message.
///
/// Data after the types that carry none (`0`, `1`, `5`, `6`) is ignored.
///
/// # Errors
/// When the text is empty, its type unknown, or its base64 not strictly in the standard form.
pub fn decode(text: &str) -> Result<Inbound<'_>, DecodeError> {
    let mut chars = text.chars();
    let packet_type = chars.next().ok_or(DecodeError::Empty)?;
    let data = chars.as_str();
    match packet_type {
        '4' => Ok(Inbound::Message(Message::Text(Cow::Borrowed(data)))),
        '3' => Ok(Inbound::Pong(data)),
        '2' => Ok(Inbound::Ping(data)),
        // Strict on purpose: a lossy decoder would pass on bytes that nobody sent.
        'b' => STANDARD
            .decode(data)
            .map(|bytes| Inbound::Message(Message::Binary(Cow::Owned(bytes))))
            .map_err(|_| DecodeError::Base64),
        '1' => Ok(Inbound::Close),
        '5' => Ok(Inbound::Upgrade),
        '0' | '6' => Ok(Inbound::Noop),
        _ => Err(DecodeError::UnknownType),
    }
}

/// Reads a WebSocket binary frame: always a message, without a type byte, and legal when empty.
#[must_use]
pub const fn binary(bytes: &[u8]) -> Inbound<'_> {
    Inbound::Message(Message::Binary(Cow::Borrowed(bytes)))
}

/// A packet as a server may send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outbound<'a> {
    /// `0` with the handshake as JSON.
    Open(&'a str),
    /// `1`: the server ends the session.
    Close,
    /// `2`: the heartbeat.
    Ping,
    /// `3`: the answer to a client's probe, with the data of that ping.
    Pong(&'a str),
    /// `4`, or `b` with base64.
    Message(Message<'a>),
    /// `6`: means nothing; answers a waiting poll during the upgrade.
    Noop,
}

impl Outbound<'_> {
    /// Appends the packet in text form: as in a polling payload and in a WebSocket text frame. A binary message becomes
    /// `b` and base64. (On a WebSocket it goes out in a binary frame, without this function.)
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Open(handshake) => text(b'0', handshake, out),
            Self::Close => out.push(b'1'),
            Self::Ping => out.push(b'2'),
            Self::Pong(data) => text(b'3', data, out),
            Self::Message(Message::Text(data)) => text(b'4', data, out),
            Self::Message(Message::Binary(bytes)) => base64(bytes, out),
            Self::Noop => out.push(b'6'),
        }
    }
}

fn text(packet_type: u8, data: &str, out: &mut Vec<u8>) {
    out.reserve(1 + data.len());
    out.push(packet_type);
    out.extend_from_slice(data.as_bytes());
}

/// Appends `b` and the base64 of `bytes`, encoded straight into `out`.
fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    // No slice in memory is long enough to overflow this.
    let len = bytes.len().div_ceil(3) * 4;
    out.reserve(1 + len);
    out.push(b'b');
    let start = out.len();
    out.resize(start + len, 0);
    let written = out.get_mut(start..).map(|room| STANDARD.encode_slice(bytes, room));
    assert!(matches!(written, Some(Ok(n)) if n == len), "the space is exactly the length of the base64");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text_message(data: &str) -> Inbound<'_> {
        Inbound::Message(Message::Text(Cow::Borrowed(data)))
    }

    #[test]
    fn decodes_every_type_a_client_may_send() {
        let table: &[(&str, Inbound<'_>)] = &[
            ("0", Inbound::Noop),
            ("0{\"sid\":\"x\"}", Inbound::Noop),
            ("1", Inbound::Close),
            ("2", Inbound::Ping("")),
            ("2probe", Inbound::Ping("probe")),
            ("2:40", Inbound::Ping(":40")),
            ("3", Inbound::Pong("")),
            ("3probe", Inbound::Pong("probe")),
            ("4", text_message("")),
            ("4hello", text_message("hello")),
            ("4€\0", text_message("€\0")),
            ("4bAQID", text_message("bAQID")),
            ("5", Inbound::Upgrade),
            ("6", Inbound::Noop),
            ("b", binary(b"")),
            ("bAQIDBA==", binary(&[1, 2, 3, 4])),
            ("b+/+/", binary(&[0xfb, 0xff, 0xbf])),
        ];
        for (text, expected) in table {
            assert_eq!(decode(text).as_ref(), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn refuses_text_that_is_not_a_packet() {
        let table = [
            ("", DecodeError::Empty),
            ("7", DecodeError::UnknownType),
            ("7abc", DecodeError::UnknownType),
            ("9", DecodeError::UnknownType),
            ("x", DecodeError::UnknownType),
            ("B", DecodeError::UnknownType),
            (" 4", DecodeError::UnknownType),
            ("\u{664}", DecodeError::UnknownType),
            ("\u{feff}4", DecodeError::UnknownType),
            ("b!!!!", DecodeError::Base64),
            ("bAQIDBA", DecodeError::Base64),
            ("bAQIDBA=", DecodeError::Base64),
            ("bAQIDBB==", DecodeError::Base64),
            ("bAQID\n", DecodeError::Base64),
            ("b-_-_", DecodeError::Base64),
            ("b=", DecodeError::Base64),
            ("bAQ==AQ==", DecodeError::Base64),
            ("b€", DecodeError::Base64),
        ];
        for (text, expected) in table {
            assert_eq!(decode(text), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn encodes_every_type_a_server_may_send() {
        let table: &[(Outbound<'_>, &str)] = &[
            (Outbound::Open("{}"), "0{}"),
            (Outbound::Close, "1"),
            (Outbound::Ping, "2"),
            (Outbound::Pong("probe"), "3probe"),
            (Outbound::Message(Message::Text(Cow::Borrowed("€"))), "4€"),
            (Outbound::Message(Message::Binary(Cow::Borrowed(&[1, 2, 3, 4]))), "bAQIDBA=="),
            (Outbound::Message(Message::Binary(Cow::Borrowed(&[]))), "b"),
            (Outbound::Noop, "6"),
        ];
        for (packet, expected) in table {
            let mut out = b"before".to_vec();
            packet.encode(&mut out);
            assert_eq!(out, [b"before", expected.as_bytes()].concat(), "{packet:?}");
        }
    }

    #[test]
    fn a_message_knows_its_length_and_can_outlive_its_input() {
        let (text, bytes) = (String::from("€"), vec![0_u8]);
        let messages = [Message::Text(Cow::Borrowed(&text)), Message::Binary(Cow::Borrowed(&bytes))];
        let owned: Vec<Message<'static>> = messages.into_iter().map(Message::into_owned).collect();
        drop((text, bytes));
        assert_eq!(owned, [Message::Text(Cow::Borrowed("€")), Message::Binary(Cow::Borrowed(&[0]))]);
        assert_eq!(owned.iter().map(Message::len).collect::<Vec<_>>(), [3, 1]);
        assert!(owned.iter().all(|message| !message.is_empty()));
        assert!(Message::Text(Cow::Borrowed("")).is_empty());
    }

    proptest! {
        #[test]
        fn a_text_message_survives_encoding_and_decoding(data in ".*") {
            let mut out = Vec::new();
            Outbound::Message(Message::Text(Cow::Borrowed(&data))).encode(&mut out);
            prop_assert_eq!(decode(std::str::from_utf8(&out).unwrap()), Ok(text_message(&data)));
        }

        #[test]
        fn a_binary_message_survives_encoding_and_decoding(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = Vec::new();
            Outbound::Message(Message::Binary(Cow::Borrowed(&data))).encode(&mut out);
            prop_assert_eq!(decode(std::str::from_utf8(&out).unwrap()), Ok(binary(&data)));
        }

        #[test]
        fn no_text_panics(text in "[0-9b]?.*") {
            let _ = decode(&text);
        }
    }
}
