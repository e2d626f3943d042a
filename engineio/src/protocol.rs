//! [`Protocol`]: which revision of Engine.IO a session speaks.

use crate::packet::{self, DecodeError, Inbound};

/// The revision of the protocol. The handshake decides it, and it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Protocol {
    /// Engine.IO v3, spoken by version 2 clients of Socket.IO: the client pings, payloads carry lengths.
    V3,
    /// Engine.IO v4: the server pings, payloads are separated by 0x1e.
    #[default]
    V4,
}

impl Protocol {
    /// The revision that the query parameter `EIO` names: `4` is v4, everything else is v3, also a missing parameter,
    /// as in the reference. Whether v3 is allowed is decided elsewhere.
    #[must_use]
    pub fn from_query(version: Option<&str>) -> Self {
        if version == Some("4") { Self::V4 } else { Self::V3 }
    }

    /// The number: 3 or 4.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::V3 => 3,
            Self::V4 => 4,
        }
    }

    /// Decodes the text of a WebSocket frame.
    ///
    /// When it is not a packet of this revision.
    /// When it is no packet of this revision.
    pub fn decode_text(self, text: &str) -> Result<Inbound<'_>, DecodeError> {
        match self {
            Self::V3 => packet::v3::decode(text),
            Self::V4 => packet::decode(text),
        }
    }

    /// Decodes the bytes of a binary WebSocket frame: in v4 they are the message, in v3 the message follows its type.
    ///
    /// # Errors
    /// When it is not a packet of this revision; never in v4.
    pub fn decode_binary(self, bytes: &[u8]) -> Result<Inbound<'_>, DecodeError> {
        match self {
            Self::V3 => packet::v3::binary(bytes),
            Self::V4 => Ok(packet::binary(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_but_four_is_three() {
        for (version, expected) in [
            (Some("4"), Protocol::V4),
            (Some("3"), Protocol::V3),
            (Some("5"), Protocol::V3),
            (Some("04"), Protocol::V3),
            (Some(""), Protocol::V3),
            (None, Protocol::V3),
        ] {
            assert_eq!(Protocol::from_query(version), expected, "{version:?}");
        }
    }

    #[test]
    fn a_binary_frame_begins_with_its_type_in_v3_only() {
        let message = |bytes: &'static [u8]| Ok(packet::binary(bytes));
        assert_eq!(Protocol::V4.decode_binary(b"\x04a"), message(b"\x04a"));
        assert_eq!(Protocol::V3.decode_binary(b"\x04a"), message(b"a"));
        assert_eq!(Protocol::V4.decode_text("bAQ=="), message(b"\x01"));
        assert_eq!(Protocol::V3.decode_text("b4AQ=="), message(b"\x01"));
    }
}
