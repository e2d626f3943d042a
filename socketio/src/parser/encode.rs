//! Packets of a server to frames, in JSON. [`super::Encoder`] chooses between this and other formats.
//!
//! The text is handed on in parts and copied once, into the frame; nothing here allocates but for names with escapes.
//! JSON arguments come raw and go verbatim: they must be valid, which what a [`super::Decoder`] gave is. Servers keep
//! to ten attachments: official clients disconnect at more.

use bytes::Bytes;
use engineio::SharedFrame;
use smallvec::{SmallVec, smallvec};

use crate::json;
use crate::packet::{AckId, PacketType};

/// The answer to a CONNECT: the client has joined `nsp` as socket `sid`.
#[must_use]
pub fn connect(nsp: &str, sid: &str) -> SharedFrame {
    let sid = json::escape(sid);
    Head::new(PacketType::Connect, nsp).frame(&[b"{\"sid\":\"", &sid, b"\"}"], &[])
}

/// [`connect`], with the private id by which the client may get its socket back.
#[must_use]
pub fn connect_with_pid(nsp: &str, sid: &str, pid: &str) -> SharedFrame {
    let (sid, pid) = (json::escape(sid), json::escape(pid));
    Head::new(PacketType::Connect, nsp).frame(&[b"{\"sid\":\"", &sid, b"\",\"pid\":\"", &pid, b"\"}"], &[])
}

/// The refusal of a CONNECT. `data` is raw JSON for the client's error object; without it the key is left out.
#[must_use]
pub fn connect_error(nsp: &str, message: &str, data: Option<&str>) -> SharedFrame {
    let message = json::escape(message);
    let (key, data) = data.map_or(("", ""), |data| (",\"data\":", data));
    let body: [&[u8]; 6] = [b"{\"message\":\"", &message, b"\"", key.as_bytes(), data.as_bytes(), b"}"];
    Head::new(PacketType::ConnectError, nsp).frame(&body, &[])
}

/// The answer to a CONNECT in protocol v4, whose clients make their ids themselves.
pub(super) fn connect_v4(nsp: &str) -> SharedFrame {
    Head::new(PacketType::Connect, nsp).frame(&[], &[])
}

/// The refusal of a CONNECT in protocol v4, where the packet is called ERROR: the data, or the message if there is none.
pub(super) fn connect_error_v4(nsp: &str, message: &str, data: Option<&str>) -> SharedFrame {
    let head = Head::new(PacketType::ConnectError, nsp);
    match data {
        Some(data) => head.frame(&[data.as_bytes()], &[]),
        None => head.frame(&[b"\"", &json::escape(message), b"\""], &[]),
    }
}

/// The client is put out of `nsp`.
#[must_use]
pub fn disconnect(nsp: &str) -> SharedFrame {
    Head::new(PacketType::Disconnect, nsp).frame(&[], &[])
}

/// An event. `args` is the raw JSON of the arguments joined by commas, empty for none; with attachments it holds a
/// [placeholder](super::attachments::placeholder) for each, and without it is plain data whatever it holds. So what
/// came in a text packet must not go out with attachments unseen: data that looks like a placeholder would become one.
#[must_use]
pub fn event(nsp: &str, ack: Option<AckId>, name: &str, args: &str, attachments: &[Bytes]) -> SharedFrame {
    let name = json::escape(name);
    let end_of_name: &[u8] = if args.is_empty() { b"\"" } else { b"\"," };
    let kind = if attachments.is_empty() { PacketType::Event } else { PacketType::BinaryEvent };
    let head = Head { ack, ..Head::new(kind, nsp) };
    head.frame(&[b"[\"", &name, end_of_name, args.as_bytes(), b"]"], attachments)
}

/// [`event`], followed by the offset by which a client says what it has when it comes back ([`recovery`](crate::recovery)).
#[must_use]
pub fn event_with_offset(nsp: &str, name: &str, args: &str, offset: &str, attachments: &[Bytes]) -> SharedFrame {
    let (name, offset) = (json::escape(name), json::escape(offset));
    let end_of_name: &[u8] = if args.is_empty() { b"\"" } else { b"\"," };
    let kind = if attachments.is_empty() { PacketType::Event } else { PacketType::BinaryEvent };
    let body: [&[u8]; 7] = [b"[\"", &name, end_of_name, args.as_bytes(), b",\"", &offset, b"\"]"];
    Head::new(kind, nsp).frame(&body, attachments)
}

/// The answer to a client's event. `args` as for [`event`].
#[must_use]
pub fn ack(nsp: &str, id: AckId, args: &str, attachments: &[Bytes]) -> SharedFrame {
    let kind = if attachments.is_empty() { PacketType::Ack } else { PacketType::BinaryAck };
    let head = Head { ack: Some(id), ..Head::new(kind, nsp) };
    head.frame(&[b"[", args.as_bytes(), b"]"], attachments)
}

/// What comes before the JSON.
struct Head<'a> {
    kind: PacketType,
    nsp: &'a str,
    ack: Option<AckId>,
}

impl<'a> Head<'a> {
    const fn new(kind: PacketType, nsp: &'a str) -> Self {
        Self { kind, nsp, ack: None }
    }

    /// The only place where parts become a frame.
    fn frame(&self, body: &[&[u8]], attachments: &[Bytes]) -> SharedFrame {
        // In one piece, because each part costs a copy of its own.
        let mut start: SmallVec<[u8; 32]> = smallvec![self.kind.digit()];
        if self.kind.is_binary() {
            start.extend_from_slice(Digits::new(attachments.len() as u64).as_bytes());
            start.push(b'-');
        }
        // `/` goes without saying.
        if self.nsp != "/" {
            start.extend_from_slice(self.nsp.as_bytes());
            start.push(b',');
        }
        if let Some(AckId(id)) = self.ack {
            start.extend_from_slice(Digits::new(id).as_bytes());
        }
        let mut parts: SmallVec<[&[u8]; 8]> = smallvec![&*start];
        parts.extend_from_slice(body);
        SharedFrame::message(&parts, attachments)
    }
}

/// A number's decimal digits.
struct Digits {
    /// `u64::MAX` has 20.
    buffer: [u8; 20],
    start: usize,
}

impl Digits {
    fn new(mut number: u64) -> Self {
        let mut digits = Self { buffer: [b'0'; 20], start: 20 };
        for (place, digit) in digits.buffer.iter_mut().enumerate().rev() {
            *digit = b'0' + (number % 10) as u8;
            digits.start = place;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        digits
    }

    fn as_bytes(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }
}
