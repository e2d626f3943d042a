//! Several packets in one HTTP body.
//!
//! [`decode`] reads the body of a POST of protocol v4, [`Encoder`] builds the answer to a poll. The bodies of v3 are
//! read by [`v3`] and built by [`poll_v3`]; [`Form`] says which reader a body needs. Single packets are read by
//! [`crate::packet`].

mod error;
pub mod poll_v3;
pub mod v3;
mod v4;

use std::iter::FusedIterator;

pub use error::{DecodeError, MAX_IDLE_PACKETS};
pub use v4::{Encoder, Packets, SEPARATOR, decode};

use crate::packet::{self, Inbound};

/// How to read the body of a POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Protocol v4: packets separated by 0x1e.
    V4,
    /// Protocol v3: packets in text form, each preceded by its length.
    V3Text,
    /// Protocol v3 with the content type `application/octet-stream`.
    V3Binary,
}

impl Form {
    /// Decodes a body of this form.
    ///
    /// # Errors
    /// When the body as a whole is refused. A fault of one packet is that item's error.
    pub fn decode(self, body: &[u8]) -> Result<AnyPackets<'_>, DecodeError> {
        match self {
            Self::V4 => decode(body).map(AnyPackets::V4),
            Self::V3Text => v3::decode_text(body).map(AnyPackets::V3),
            Self::V3Binary => v3::decode_binary(body).map(AnyPackets::V3),
        }
    }
}

/// The packets of a payload of either revision, in order; see [`Packets`].
#[derive(Debug, Clone)]
pub enum AnyPackets<'a> {
    /// Protocol v4.
    V4(Packets<'a>),
    /// Protocol v3.
    V3(v3::Packets<'a>),
}

impl<'a> Iterator for AnyPackets<'a> {
    type Item = Result<Inbound<'a>, packet::DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::V4(packets) => packets.next(),
            Self::V3(packets) => packets.next(),
        }
    }
}

impl FusedIterator for AnyPackets<'_> {}
