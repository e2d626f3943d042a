//! Messages of Engine.IO to packets of Socket.IO and back, in one of two formats ([`Parser`]). That of MessagePack is in
//! [`msgpack`].
//!
//! In JSON, a packet is one text message and, if it has attachments, as many binary messages after it: `5` (the type), `2-`
//! (attachments), `/chat,` (namespace), `13` (ack id), then JSON with a placeholder for each attachment.
//! [`Decoder`] puts a client's messages together, [`encode`] builds frames for one or many recipients.
//!
//! Left to others: whether a packet is allowed now (joined, not joined), timing out a packet whose attachments do not
//! come, and closing the connection on a [`DecodeError`]. Socket.IO protocol v5, "Packet encoding".

pub mod attachments;
mod decode;
pub mod encode;
mod encoder;
mod error;
pub mod msgpack;
#[cfg(test)]
mod tests;
pub(crate) mod v4;

pub use decode::{BinaryPacket, Decoder, Limits};
pub use encoder::{Encoder, Parser};
pub use error::DecodeError;
