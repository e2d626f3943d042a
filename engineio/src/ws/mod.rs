//! The RFC 6455 codec of the server side.
//!
//! Works on slices: a client's bytes go into [`Decoder`], messages and control frames come out. A server's frame is a
//! [`header`] in front of its payload. One extension is supported, permessage-deflate. The session answers pings and
//! closes, and decides what a message means.
//!
//! | module | what it holds |
//! |---|---|
//! | [`handshake`] | from request headers to the accept key |
//! | [`extensions`] | negotiation of a client's offers |
//! | [`deflate`] | compressed messages (RFC 7692) |
//! | [`header`] | the frame header, both ways |
//! | [`mask`] | removes a client's mask |
//! | [`utf8`] | text that arrives in pieces |
//! | [`close`] | close codes and frames |

pub mod close;
mod decoder;
pub mod deflate;
pub mod extensions;
pub mod handshake;
pub mod header;
pub mod mask;
pub mod utf8;

#[cfg(test)]
mod tests;

pub use decoder::{Decoder, Item, MAX_FRAGMENTS};

/// How a client broke the WebSocket protocol. The connection must fail: send a close frame with
/// [`close_code`](Self::close_code), then end it. RFC 6455 section 7.1.7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// RSV1, RSV2 or RSV3 is set, and no extension gives it a meaning.
    #[error("reserved bits are set")]
    ReservedBits,
    /// An opcode from 3 to 7 or 11 to 15.
    #[error("reserved opcode")]
    ReservedOpcode,
    /// The frame is not masked.
    #[error("frame is not masked")]
    Unmasked,
    /// A close, ping or pong without FIN.
    #[error("control frame is fragmented")]
    FragmentedControl,
    /// A close, ping or pong with more than 125 bytes.
    #[error("control frame is too long")]
    ControlTooLong,
    /// A length that would have fit a shorter form.
    #[error("payload length is not in its shortest form")]
    NonMinimalLength,
    /// A length of 2^63 or more.
    #[error("payload length has its most significant bit set")]
    LengthOverflow,
    /// A continuation without a message to continue.
    #[error("continuation without a message to continue")]
    UnexpectedContinuation,
    /// A new message before the last fragment of the current one.
    #[error("new message within a fragmented message")]
    ExpectedContinuation,
    /// A close frame with a payload of one byte.
    #[error("close frame with half a code")]
    TruncatedCloseCode,
    /// A close code that may not be sent.
    #[error("invalid close code")]
    InvalidCloseCode,
    /// A text message or a close reason that is not UTF-8.
    #[error("text is not UTF-8")]
    InvalidUtf8,
    /// A message longer than this side accepts, all its fragments together.
    #[error("message is too big")]
    MessageTooBig,
    /// A message in more than [`MAX_FRAGMENTS`] fragments.
    #[error("message has too many fragments")]
    TooManyFragments,
    /// A compressed message that does not inflate.
    #[error("compressed message is not valid deflate")]
    InvalidDeflate,
}

impl ProtocolError {
    /// The code of the close frame to send. RFC 6455 section 7.4.1.
    #[must_use]
    pub const fn close_code(self) -> u16 {
        match self {
            Self::InvalidUtf8 | Self::InvalidDeflate => 1007,
            Self::MessageTooBig | Self::TooManyFragments => 1009,
            Self::ReservedBits
            | Self::ReservedOpcode
            | Self::Unmasked
            | Self::FragmentedControl
            | Self::ControlTooLong
            | Self::NonMinimalLength
            | Self::LengthOverflow
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::TruncatedCloseCode
            | Self::InvalidCloseCode => 1002,
        }
    }
}
