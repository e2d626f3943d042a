//! One Engine.IO packet.
//!
//! Two enums, because the directions differ: [`Inbound`] is what a client may send, [`Outbound`] what a server may
//! send. Engine.IO protocol v4, "Packet encoding" and "Packet types".

use std::borrow::Cow;

/// The payload of a message packet. Borrowed from the input where the bytes lie there as they are, owned where they
/// had to be reassembled (a fragmented WebSocket message) or decoded (base64).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(Cow<'a, str>),
    /// A binary message.
    Binary(Cow<'a, [u8]>),
}
