//! Packets of a server to frames, in JSON. [`super::Encoder`] chooses between this and other formats.
//!
//! The text is handed on in parts and copied once, into the frame; nothing here allocates but for names with escapes.
//! JSON arguments come raw and go verbatim: they must be valid, which what a [`super::Decoder`] gave is. Servers keep
//! to ten attachments: official clients disconnect at more.

use bytes::Bytes;
use engineio::SharedFrame;

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
    let comma: &[u8] = if args.is_empty() { b"" } else { b"," };
    let kind = if attachments.is_empty() { PacketType::Event } else { PacketType::BinaryEvent };
    let body: [&[u8]; 8] = [b"[\"", &name, b"\"", comma, args.as_bytes(), b",\"", &offset, b"\"]"];
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
        // `/` goes without saying.
        let (nsp, comma): (&str, &[u8]) = if self.nsp == "/" { ("", b"") } else { (self.nsp, b",") };
        let count = Digits::new(self.kind.is_binary().then_some(attachments.len() as u64));
        let dash: &[u8] = if self.kind.is_binary() { b"-" } else { b"" };
        let ack = Digits::new(self.ack.map(|id| id.0));
        let kind = [self.kind.digit()];
        let head = [kind.as_slice(), count.as_bytes(), dash, nsp.as_bytes(), comma, ack.as_bytes()];
        let parts: smallvec::SmallVec<[&[u8]; 14]> = head.iter().chain(body).copied().collect();
        SharedFrame::message(&parts, attachments)
    }
}

/// A number's decimal digits, or none.
struct Digits {
    /// `u64::MAX` has 20.
    buffer: [u8; 20],
    start: usize,
}

impl Digits {
    fn new(number: Option<u64>) -> Self {
        let mut digits = Self { buffer: [b'0'; 20], start: 20 };
        let Some(mut number) = number else { return digits };
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
