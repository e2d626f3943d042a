//! Packets in MessagePack, as `socket.io-msgpack-parser` of the official clients has them.
//!
//! A packet is one binary message: a map of `type` (a number, without those of packets with attachments), `data`, `nsp`, and
//! `id` if an acknowledgement is meant. Binary data stands where it belongs, in the arguments.
//!
//! Everything else in this crate has arguments as JSON, with placeholders and attachments. [`unpack()`] makes that from a
//! client's message, by way of the text that the JSON format would have, so that the same checks apply to both formats. The
//! functions of `pack` go the other way.
//!
//! JSON has fewer kinds of values. What JavaScript's own `JSON.stringify` makes of the others counts here too: `NaN` and the
//! infinities become `null`, a date becomes its ISO text, a member that is undefined is left out.
//! MessagePack specification (github.com/msgpack/msgpack), with the extension types of notepack.io 2.

mod date;
pub(super) mod pack;
mod read;
#[cfg(test)]
mod tests;
mod unpack;

pub use unpack::{Unpacked, unpack};
