//! [`DecodeError`]: what a client did wrong.

use crate::{json::JsonError, packet::Excess};

/// What the client did wrong. The connection is to be closed: what follows cannot be trusted to be a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// An empty text message, or one that starts with no packet type.
    #[error("unknown packet type")]
    UnknownType,
    /// CONNECT_ERROR, which only servers send.
    #[error("packet type not allowed for a client")]
    ServerPacket,
    /// A binary packet whose number of attachments is missing, zero, or not plain digits and a dash.
    #[error("invalid number of attachments")]
    AttachmentCount,
    /// More than [`Limits::attachments`](super::Limits::attachments). An event is [`Packet::Oversize`](crate::packet::Packet::Oversize).
    #[error("too many attachments")]
    TooManyAttachments,
    /// More than [`Limits::attachment_bytes`](super::Limits::attachment_bytes). Likewise.
    #[error("attachments too large")]
    AttachmentsTooLarge,
    /// More than [`Limits::nsp_length`](super::Limits::nsp_length).
    #[error("namespace too long")]
    NamespaceTooLong,
    /// An ack id beyond 64 bits.
    #[error("ack id too large")]
    AckIdTooLarge,
    /// An ACK without an id.
    #[error("ack without an id")]
    MissingAckId,
    /// The payload is not JSON of the right kind, or exceeds a limit. A missing one is [`JsonError::Syntax`].
    #[error("invalid payload: {0}")]
    Payload(#[from] JsonError),
    /// The payload of CONNECT is not an object.
    #[error("connect payload must be an object")]
    ConnectPayload,
    /// A DISCONNECT with a payload.
    #[error("disconnect must not have a payload")]
    DisconnectPayload,
    /// An event without a name, or with one that is not a string of Unicode text.
    #[error("invalid event name")]
    EventName,
    /// An event with a name that means something to servers and clients themselves.
    #[error("reserved event name")]
    ReservedEvent,
    /// A placeholder that points to no attachment.
    #[error("invalid placeholder")]
    Placeholder,
    /// Text where the next attachment was due.
    #[error("text instead of an attachment")]
    MissingAttachment,
    /// A message that is no packet in MessagePack.
    #[error("no packet in MessagePack")]
    MessagePack,
    /// Binary where no attachment was due.
    #[error("unexpected attachment")]
    UnexpectedAttachment,
}

impl DecodeError {
    /// What the packet has too much of, if it is one by its form.
    pub(super) const fn excess(self) -> Option<Excess> {
        match self {
            Self::Payload(JsonError::TooDeep) => Some(Excess::Depth),
            Self::Payload(JsonError::NumberTooLong) => Some(Excess::NumberLength),
            Self::TooManyAttachments => Some(Excess::Attachments),
            _ => None,
        }
    }
}
