//! A client's messages to packets.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{attachments, error::DecodeError};
use crate::json::{self, Span};
use crate::packet::{AckId, Args, Event, Excess, OversizeEvent, Packet, PacketType, is_reserved};

/// What one packet may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of the payload, whose outer array (EVENT, ACK) or object (CONNECT) has depth 1.
    pub json: json::Limits,
    /// Attachments of one packet. Official clients (socket.io-parser from 4.2.6) take no more than 10 either.
    pub attachments: usize,
    /// Bytes of all attachments of one packet.
    pub attachment_bytes: usize,
    /// Bytes of a namespace's name. It is echoed in a refusal, so a long one would be reflected.
    pub nsp_length: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { json: json::Limits::default(), attachments: 10, attachment_bytes: 4 << 20, nsp_length: 256 }
    }
}

/// Puts one client's messages together. Idle it owns no memory; after an error it is idle again.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Boxed: a packet whose attachments are not all there.
    pending: Option<Box<Pending>>,
}

#[derive(Debug)]
struct Pending {
    /// `None`: it exceeded a limit, and its attachments are skipped.
    packet: Option<BinaryPacket>,
    /// Attachments still due, at least 1.
    missing: usize,
    /// Bytes of the attachments that came.
    bytes: usize,
}

/// A packet with all its attachments. It owns them and a copy of the text, because they came in several messages.
#[derive(Debug)]
pub struct BinaryPacket {
    text: Box<str>,
    layout: Layout,
    attachments: Vec<Bytes>,
    /// How many bytes of attachments came, if that is more than the limit. Then none is kept.
    oversize_bytes: Option<usize>,
}

impl BinaryPacket {
    /// The packet: an event, one that is too large, or an ack.
    #[must_use]
    pub fn packet(&self) -> Packet<'_> {
        match (self.layout.clone().into_packet(&self.text, &self.attachments), self.oversize_bytes) {
            (Packet::Event { nsp, ack, event: Event { name, .. } }, Some(bytes)) => {
                let (excess, bytes) = (Excess::AttachmentBytes, self.text.len() + bytes);
                Packet::Oversize { nsp, ack, event: OversizeEvent { name, excess, bytes } }
            }
            (packet, _) => packet,
        }
    }

    /// The same event without its attachments, which exceed their limit: so many bytes of them came.
    fn oversize(self, bytes: usize) -> Result<Self, DecodeError> {
        match self.layout.content {
            Content::Event { .. } => Ok(Self { attachments: Vec::new(), oversize_bytes: Some(bytes), ..self }),
            Content::Ack { .. } => Err(DecodeError::AttachmentsTooLarge),
        }
    }
}

impl Decoder {
    /// Whether attachments are due. Whoever holds the decoder limits the time this lasts.
    #[must_use]
    pub const fn awaiting(&self) -> bool {
        self.pending.is_some()
    }

    /// The namespace of the packet whose attachments are due: whether the client may send there can be told already. `None`, too, where
    /// they are skipped.
    #[must_use]
    pub fn awaited_nsp(&self) -> Option<&str> {
        let packet = self.pending.as_ref()?.packet.as_ref()?;
        packet.text.get(packet.layout.nsp.clone()).map(|nsp| if nsp.is_empty() { "/" } else { nsp })
    }

    /// Takes a text message. `None`: it announced attachments, which come as binary messages. An event that exceeds a limit is a packet
    /// at once ([`Packet::Oversize`]), and its attachments are skipped as they come.
    ///
    /// # Errors
    /// No packet that a client may send, another packet that exceeds a limit, or attachments due.
    pub fn decode_text<'a>(&mut self, text: &'a str, limits: &Limits) -> Result<Option<Packet<'a>>, DecodeError> {
        if self.pending.take().is_some() {
            return Err(DecodeError::MissingAttachment);
        }
        let header = Header::scan(text, limits)?;
        let layout = match header.kind {
            PacketType::Connect => return connect(&header, limits).map(Some),
            PacketType::Disconnect => return disconnect(&header).map(Some),
            PacketType::ConnectError => return Err(DecodeError::ServerPacket),
            PacketType::Event | PacketType::BinaryEvent => match Layout::event(text, &header, limits) {
                Ok(layout) => layout,
                Err(error) => return self.skip(text.len(), &header, error).map(Some),
            },
            PacketType::Ack | PacketType::BinaryAck => Layout::ack(text, &header, limits)?,
        };
        if !header.kind.is_binary() {
            return Ok(Some(layout.into_packet(text, &[])));
        }
        attachments::check(header.payload, header.attachments)?;
        // Room for `header.attachments` is safe to ask for: it is at most `limits.attachments`.
        let attachments = Vec::with_capacity(header.attachments);
        let packet = Some(BinaryPacket { text: text.into(), layout, attachments, oversize_bytes: None });
        self.pending = Some(Box::new(Pending { packet, missing: header.attachments, bytes: 0 }));
        Ok(None)
    }

    /// Makes a packet of an event that only exceeds a limit, and has its attachments skipped. Any other error stays one.
    #[cold]
    fn skip<'a>(&mut self, bytes: usize, header: &Header<'a>, error: DecodeError) -> Result<Packet<'a>, DecodeError> {
        let excess = error.excess().ok_or(error)?;
        let Header { nsp, ack, payload, attachments, .. } = *header;
        let name = event_name(json::first_item(payload)?)?;
        if attachments > 0 {
            self.pending = Some(Box::new(Pending { packet: None, missing: attachments, bytes: 0 }));
        }
        Ok(Packet::Oversize { nsp, ack, event: OversizeEvent { name, excess, bytes } })
    }

    /// Takes a binary message and copies it. `None`: more attachments are due, or it was the attachment of a packet that exceeds a limit.
    /// Of an event whose attachments are too large, those that are still due are skipped.
    ///
    /// # Errors
    /// No attachment is due, or those of an ack exceed their limit.
    pub fn decode_binary(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<BinaryPacket>, DecodeError> {
        let mut pending = self.pending.take().ok_or(DecodeError::UnexpectedAttachment)?;
        pending.missing = pending.missing.saturating_sub(1);
        if let Some(packet) = &mut pending.packet {
            pending.bytes = pending.bytes.saturating_add(bytes.len());
            if pending.bytes > limits.attachment_bytes {
                return self.skip_attachments(pending);
            }
            packet.attachments.push(Bytes::copy_from_slice(bytes));
            if pending.missing == 0 {
                return Ok(pending.packet);
            }
        }
        if pending.missing > 0 {
            self.pending = Some(pending);
        }
        Ok(None)
    }

    /// The attachments that came are too large. Those of an event that are still due are skipped.
    #[cold]
    fn skip_attachments(&mut self, mut pending: Box<Pending>) -> Result<Option<BinaryPacket>, DecodeError> {
        let oversize = pending.packet.take().map(|packet| packet.oversize(pending.bytes)).transpose()?;
        if pending.missing > 0 {
            self.pending = Some(pending);
        }
        Ok(oversize)
    }
}

/// A packet whose attachments came with it: the text does not announce them.
pub(super) fn decode_whole<'a>(
    text: &'a str,
    attachments: &'a [Bytes],
    limits: &Limits,
) -> Result<Packet<'a>, DecodeError> {
    let header = Header::scan(text, limits)?;
    let layout = match header.kind {
        PacketType::Connect => return connect(&header, limits),
        PacketType::Disconnect => return disconnect(&header),
        PacketType::ConnectError => return Err(DecodeError::ServerPacket),
        PacketType::Event | PacketType::BinaryEvent => Layout::event(text, &header, limits)?,
        PacketType::Ack | PacketType::BinaryAck => Layout::ack(text, &header, limits)?,
    };
    Ok(layout.into_packet(text, attachments))
}

/// What comes before the JSON.
struct Header<'a> {
    kind: PacketType,
    attachments: usize,
    nsp: &'a str,
    /// Where `nsp` stands in the text; empty if it does not.
    nsp_place: Range<usize>,
    ack: Option<AckId>,
    payload: &'a str,
}

impl<'a> Header<'a> {
    fn scan(text: &'a str, limits: &Limits) -> Result<Self, DecodeError> {
        let digit = text.as_bytes().first().copied().ok_or(DecodeError::UnknownType)?;
        let kind = PacketType::from_digit(digit).ok_or(DecodeError::UnknownType)?;
        let rest = text.get(1..).unwrap_or_default();
        let (attachments, rest) = if kind.is_binary() { attachment_count(rest)? } else { (0, rest) };
        let nsp_start = text.len().saturating_sub(rest.len());
        let (name, rest) = namespace(rest, limits)?;
        let nsp_place = nsp_start..nsp_start + name.len();
        let nsp = if name.is_empty() { "/" } else { name };
        let (ack, payload) = ack_id(rest)?;
        Ok(Self { kind, attachments, nsp, nsp_place, ack, payload })
    }

    const fn check_attachments(&self, limits: &Limits) -> Result<(), DecodeError> {
        if self.attachments > limits.attachments { Err(DecodeError::TooManyAttachments) } else { Ok(()) }
    }
}

/// The name of an event, of which this is the first item.
fn event_name(raw: &str) -> Result<Cow<'_, str>, DecodeError> {
    // Numbers, which the reference takes, have no use here and made peers fail (CVE-2023-32695).
    if json::kind(raw) != json::Kind::String {
        return Err(DecodeError::EventName);
    }
    let name = json::unquote(raw).map_err(|_| DecodeError::EventName)?;
    if is_reserved(&name) { Err(DecodeError::ReservedEvent) } else { Ok(name) }
}

fn split_digits(text: &str) -> (&str, &str) {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at_checked(length).unwrap_or((text, ""))
}

/// `2-`. Peers that read any JavaScript number here take `1e1` or ` 1`, and those that take `0` wait for ever.
fn attachment_count(text: &str) -> Result<(usize, &str), DecodeError> {
    let (digits, rest) = split_digits(text);
    let rest = rest.strip_prefix('-').ok_or(DecodeError::AttachmentCount)?;
    if digits.is_empty() || digits.bytes().all(|digit| digit == b'0') {
        return Err(DecodeError::AttachmentCount);
    }
    // Only overflow can fail here.
    let count = digits.parse().map_err(|_| DecodeError::TooManyAttachments)?;
    Ok((count, rest))
}

/// `/chat,`, or nothing for the main namespace. A query string is part of the name.
fn namespace<'a>(text: &'a str, limits: &Limits) -> Result<(&'a str, &'a str), DecodeError> {
    if !text.starts_with('/') {
        return Ok(("", text));
    }
    // Without a comma the name goes to the end, as in `0/chat`.
    let (nsp, rest) = text.split_once(',').unwrap_or((text, ""));
    if nsp.len() > limits.nsp_length {
        return Err(DecodeError::NamespaceTooLong);
    }
    Ok((nsp, rest))
}

fn ack_id(text: &str) -> Result<(Option<AckId>, &str), DecodeError> {
    let (digits, rest) = split_digits(text);
    if digits.is_empty() {
        return Ok((None, rest));
    }
    // Only overflow can fail here; leading zeros are dropped.
    let id = digits.parse().map_err(|_| DecodeError::AckIdTooLarge)?;
    Ok((Some(AckId(id)), rest))
}

/// An ack id has no meaning here or in [`disconnect`]; like the reference, do not mind it.
fn connect<'a>(header: &Header<'a>, limits: &Limits) -> Result<Packet<'a>, DecodeError> {
    if header.payload.is_empty() {
        return Ok(Packet::Connect { nsp: header.nsp, auth: None });
    }
    json::check(header.payload, &limits.json)?;
    if json::kind(header.payload) != json::Kind::Object {
        return Err(DecodeError::ConnectPayload);
    }
    Ok(Packet::Connect { nsp: header.nsp, auth: Some(json::trim(header.payload)) })
}

fn disconnect<'a>(header: &Header<'a>) -> Result<Packet<'a>, DecodeError> {
    if header.payload.is_empty() {
        Ok(Packet::Disconnect { nsp: header.nsp })
    } else {
        Err(DecodeError::DisconnectPayload)
    }
}

/// An event or ack as places in its text, so that it can be kept beside the text while attachments are due.
#[derive(Debug, Clone)]
struct Layout {
    /// Empty for the main namespace, which need not stand in the text.
    nsp: Range<usize>,
    /// Where the payload starts.
    payload: usize,
    /// In the payload.
    items: SmallVec<[Span; 4]>,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    /// `name` only if it had escapes; else it lies in the first item.
    Event {
        ack: Option<AckId>,
        name: Option<String>,
    },
    Ack {
        id: AckId,
    },
}

impl Layout {
    fn new(text: &str, header: &Header<'_>, content: Content, items: SmallVec<[Span; 4]>) -> Self {
        // The payload is the text's end.
        let payload = text.len().saturating_sub(header.payload.len());
        Self { nsp: header.nsp_place.clone(), payload, items, content }
    }

    fn event(text: &str, header: &Header<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        header.check_attachments(limits)?;
        let items = json::array_items(header.payload, &limits.json)?;
        let raw = items.first().ok_or(DecodeError::EventName)?.of(header.payload);
        let name = match event_name(raw)? {
            Cow::Borrowed(_) => None,
            Cow::Owned(name) => Some(name),
        };
        Ok(Self::new(text, header, Content::Event { ack: header.ack, name }, items))
    }

    fn ack(text: &str, header: &Header<'_>, limits: &Limits) -> Result<Self, DecodeError> {
        let id = header.ack.ok_or(DecodeError::MissingAckId)?;
        header.check_attachments(limits)?;
        let items = json::array_items(header.payload, &limits.json)?;
        Ok(Self::new(text, header, Content::Ack { id }, items))
    }

    /// `text` is the one this was made from.
    fn into_packet<'a>(self, text: &'a str, attachments: &'a [Bytes]) -> Packet<'a> {
        let nsp = text.get(self.nsp).filter(|nsp| !nsp.is_empty()).unwrap_or("/");
        let payload = text.get(self.payload..).unwrap_or_default();
        match self.content {
            Content::Event { ack, name } => {
                let raw = self.items.first().map_or("", |span| span.of(payload));
                let unquoted = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
                let name = name.map_or(Cow::Borrowed(unquoted), Cow::Owned);
                let args = Args::new(payload, self.items, 1, attachments);
                Packet::Event { nsp, ack, event: Event { name, args } }
            }
            Content::Ack { id } => Packet::Ack { nsp, id, args: Args::new(payload, self.items, 0, attachments) },
        }
    }
}
