//! [`Parser`]: which format packets have, and [`Encoder`]: a server's packets in that format.

use bytes::Bytes;
use engineio::SharedFrame;

use super::{encode, msgpack::pack};
use crate::packet::AckId;

/// The format of packets. All clients of a server must use the same one, because a packet does not say which it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Parser {
    /// Text with JSON; attachments follow in messages of their own. What clients use unless they are told otherwise.
    #[default]
    Json,
    /// MessagePack, each packet in one binary message: `socket.io-msgpack-parser`.
    Msgpack,
}

/// Encodes a server's packets in the format of its clients ([`Config::encoder`](crate::Config::encoder)).
///
/// Arguments are given as JSON, with a [placeholder](super::attachments::placeholder) for each attachment, whatever the
/// format is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoder(Parser);

impl Encoder {
    /// An encoder of this format.
    #[must_use]
    pub const fn new(parser: Parser) -> Self {
        Self(parser)
    }

    /// The answer to a CONNECT: the client has joined `nsp` as socket `sid`. In protocol v4 the client makes its id itself,
    /// and the answer has none. `pid` is the private id by which the client may get its socket back.
    #[must_use]
    pub fn connect(self, nsp: &str, sid: Option<&str>, pid: Option<&str>) -> SharedFrame {
        match (self.0, sid, pid) {
            (Parser::Json, Some(sid), None) => encode::connect(nsp, sid),
            (Parser::Json, Some(sid), Some(pid)) => encode::connect_with_pid(nsp, sid, pid),
            (Parser::Json, None, _) => encode::connect_v4(nsp),
            (Parser::Msgpack, sid, pid) => pack::connect(nsp, sid, pid),
        }
    }

    /// The refusal of a CONNECT. `data` is JSON.
    #[must_use]
    pub fn connect_error(self, nsp: &str, message: &str, data: Option<&str>) -> SharedFrame {
        match self.0 {
            Parser::Json => encode::connect_error(nsp, message, data),
            Parser::Msgpack => pack::connect_error(nsp, message, data),
        }
    }

    /// The refusal of a CONNECT in protocol v4: the data, or the message if there is none, as in Node.
    #[must_use]
    pub fn connect_error_v4(self, nsp: &str, message: &str, data: Option<&str>) -> SharedFrame {
        match self.0 {
            Parser::Json => encode::connect_error_v4(nsp, message, data),
            Parser::Msgpack => pack::connect_error_v4(nsp, message, data),
        }
    }

    /// The client is put out of `nsp`.
    #[must_use]
    pub fn disconnect(self, nsp: &str) -> SharedFrame {
        match self.0 {
            Parser::Json => encode::disconnect(nsp),
            Parser::Msgpack => pack::disconnect(nsp),
        }
    }

    /// An event. `args` are JSON values joined by commas.
    #[must_use]
    pub fn event(self, nsp: &str, ack: Option<AckId>, name: &str, args: &str, attachments: &[Bytes]) -> SharedFrame {
        match self.0 {
            Parser::Json => encode::event(nsp, ack, name, args, attachments),
            Parser::Msgpack => pack::event(nsp, ack, name, args, attachments),
        }
    }

    /// The answer to a client's event. `args` as for [`Encoder::event`].
    #[must_use]
    pub fn ack(self, nsp: &str, id: AckId, args: &str, attachments: &[Bytes]) -> SharedFrame {
        match self.0 {
            Parser::Json => encode::ack(nsp, id, args, attachments),
            Parser::Msgpack => pack::ack(nsp, id, args, attachments),
        }
    }
}
