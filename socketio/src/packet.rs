//! The packets a client may send, as views of the received text and its attachments.
//!
//! JSON stays raw: a slice of the text, checked for syntax and limits by [`crate::parser`]. CONNECT_ERROR is not here,
//! because only servers send it. Socket.IO protocol v5, "Packet types".

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::json::Span;

/// The number by which one side tells which EVENT an ACK answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AckId(pub u64);

impl fmt::Display for AckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The first character of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketType {
    /// `0`: join a namespace, or the confirmation of it.
    Connect,
    /// `1`: leave a namespace.
    Disconnect,
    /// `2`
    Event,
    /// `3`: the answer to an event.
    Ack,
    /// `4`: a server's refusal of a CONNECT.
    ConnectError,
    /// `5`: an event with attachments.
    BinaryEvent,
    /// `6`: an ack with attachments.
    BinaryAck,
}

impl PacketType {
    /// The type with this digit.
    #[must_use]
    pub const fn from_digit(digit: u8) -> Option<Self> {
        Some(match digit {
            b'0' => Self::Connect,
            b'1' => Self::Disconnect,
            b'2' => Self::Event,
            b'3' => Self::Ack,
            b'4' => Self::ConnectError,
            b'5' => Self::BinaryEvent,
            b'6' => Self::BinaryAck,
            _ => return None,
        })
    }

    /// The digit of this type.
    #[must_use]
    pub const fn digit(self) -> u8 {
        match self {
            Self::Connect => b'0',
            Self::Disconnect => b'1',
            Self::Event => b'2',
            Self::Ack => b'3',
            Self::ConnectError => b'4',
            Self::BinaryEvent => b'5',
            Self::BinaryAck => b'6',
        }
    }

    /// Whether the number of attachments follows the digit.
    #[must_use]
    pub const fn is_binary(self) -> bool {
        matches!(self, Self::BinaryEvent | Self::BinaryAck)
    }
}

/// One packet from a client. An event or ack with attachments is the same variant as one without.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet<'a> {
    /// The client wants to join a namespace.
    Connect {
        /// The namespace, with its leading slash.
        nsp: &'a str,
        /// The handshake's `auth`: the raw JSON of an object.
        auth: Option<&'a str>,
    },
    /// The client leaves a namespace.
    Disconnect {
        /// The namespace, with its leading slash.
        nsp: &'a str,
    },
    /// The client emits.
    Event {
        /// The namespace, with its leading slash.
        nsp: &'a str,
        /// The client awaits an ACK with this id.
        ack: Option<AckId>,
        /// Name and arguments.
        event: Event<'a>,
    },
    /// The client emits something that exceeds a limit. Attachments that come after it are skipped.
    Oversize {
        /// The namespace, with its leading slash.
        nsp: &'a str,
        /// The client awaits an ACK with this id.
        ack: Option<AckId>,
        /// What is known of the event.
        event: OversizeEvent<'a>,
    },
    /// The client answers an event of this server.
    Ack {
        /// The namespace, with its leading slash.
        nsp: &'a str,
        /// The id of the event, as this server gave it; a client may send any.
        id: AckId,
        /// The arguments of the answer.
        args: Args<'a>,
    },
}

impl<'a> Packet<'a> {
    /// The namespace, with its leading slash.
    #[must_use]
    pub const fn nsp(&self) -> &'a str {
        match self {
            Self::Connect { nsp, .. } | Self::Disconnect { nsp } => nsp,
            Self::Event { nsp, .. } | Self::Oversize { nsp, .. } | Self::Ack { nsp, .. } => nsp,
        }
    }
}

/// What a client emitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// The event's name, unescaped; never a reserved one.
    pub name: Cow<'a, str>,
    /// The arguments after the name.
    pub args: Args<'a>,
}

/// An event that exceeds one of the parser's [`Limits`](crate::parser::Limits). Its arguments were not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OversizeEvent<'a> {
    /// The event's name, unescaped; never a reserved one.
    pub name: Cow<'a, str>,
    /// Which limit.
    pub excess: Excess,
    /// How many bytes of it came.
    pub bytes: usize,
}

/// What an event has too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Excess {
    /// Arrays or objects within each other ([`depth`](crate::json::Limits::depth)).
    #[error("nested too deeply")]
    Depth,
    /// Characters of a number ([`number_length`](crate::json::Limits::number_length)).
    #[error("a number is too long")]
    NumberLength,
    /// Attachments ([`attachments`](crate::parser::Limits::attachments)).
    #[error("too many attachments")]
    Attachments,
    /// Bytes of its attachments ([`attachment_bytes`](crate::parser::Limits::attachment_bytes)).
    #[error("attachments too large")]
    AttachmentBytes,
}

/// The arguments of an event or ack: raw JSON of each, and the attachments their placeholders point to.
#[derive(Clone)]
pub struct Args<'a> {
    /// The JSON array the spans lie in.
    payload: &'a str,
    items: SmallVec<[Span; 4]>,
    /// Items before the first argument: 1 for an event, whose name is the first item.
    skip: usize,
    attachments: &'a [Bytes],
}

impl<'a> Args<'a> {
    pub(crate) const fn new(
        payload: &'a str,
        items: SmallVec<[Span; 4]>,
        skip: usize,
        attachments: &'a [Bytes],
    ) -> Self {
        Self { payload, items, skip, attachments }
    }

    fn spans(&self) -> &[Span] {
        self.items.get(self.skip..).unwrap_or_default()
    }

    /// How many arguments there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans().len()
    }

    /// Whether there are no arguments.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans().is_empty()
    }

    /// The raw JSON of argument `index`, the first being 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&'a str> {
        self.spans().get(index).map(|span| span.of(self.payload))
    }

    /// The raw JSON of each argument.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a str> + use<'_, 'a> {
        self.spans().iter().map(|span| span.of(self.payload))
    }

    /// The attachments, in the order of their numbers. A placeholder in an argument has the number of one of them.
    #[must_use]
    pub const fn attachments(&self) -> &'a [Bytes] {
        self.attachments
    }

    /// All arguments verbatim, joined by commas as they were sent: what [`Encoder::event`](crate::parser::Encoder::event) takes.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        match self.spans() {
            [] => "",
            [first, .., last] => self.payload.get(first.start()..last.end()).unwrap_or_default(),
            [only] => only.of(self.payload),
        }
    }
}

impl fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Args").field("raw", &self.raw()).field("attachments", &self.attachments).finish()
    }
}

/// Equal where each argument and each attachment is, whatever whitespace stands between the arguments.
impl PartialEq for Args<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter()) && self.attachments == other.attachments
    }
}

impl Eq for Args<'_> {}

/// Whether servers and clients emit events of this name to themselves, so that no packet may have it. `error` and `message`
/// are ordinary names.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    matches!(name, "connect" | "connect_error" | "disconnect" | "disconnecting" | "newListener" | "removeListener")
}
