//! A server's packets in MessagePack.
//!
//! JSON goes through twice: arrays and maps begin with their lengths, so these are counted first.

use std::borrow::Cow;

use bytes::Bytes;
use engineio::{Message, SharedFrame, packet::Outbound};
use smallvec::SmallVec;

use crate::{
    json::{self, Container, Token},
    packet::{AckId, PacketType},
    parser::attachments,
};

/// Whole numbers beyond this one go as doubles, which is what JavaScript makes of them.
const EXACT: u64 = 1 << 53;

/// The answer to a CONNECT. In protocol v4 it has no id.
pub(in crate::parser) fn connect(nsp: &str, sid: Option<&str>, pid: Option<&str>) -> SharedFrame {
    let mut packer = Packer::begin(PacketType::Connect, nsp, None, sid.is_some());
    if let Some(sid) = sid {
        packer.str("data");
        packer.map(1 + usize::from(pid.is_some()));
        packer.str("sid");
        packer.str(sid);
        if let Some(pid) = pid {
            packer.str("pid");
            packer.str(pid);
        }
    }
    packer.frame()
}

/// The refusal of a CONNECT. `data` is JSON.
pub(in crate::parser) fn connect_error(nsp: &str, message: &str, data: Option<&str>) -> SharedFrame {
    let mut packer = Packer::begin(PacketType::ConnectError, nsp, None, true);
    packer.str("data");
    packer.map(1 + usize::from(data.is_some()));
    packer.str("message");
    packer.str(message);
    if let Some(data) = data {
        packer.str("data");
        packer.values(&Values::scan(data, &[]));
    }
    packer.frame()
}

/// The refusal of a CONNECT in protocol v4: the data, or the message if there is none.
pub(in crate::parser) fn connect_error_v4(nsp: &str, message: &str, data: Option<&str>) -> SharedFrame {
    let mut packer = Packer::begin(PacketType::ConnectError, nsp, None, true);
    packer.str("data");
    match data {
        Some(data) => packer.values(&Values::scan(data, &[])),
        None => packer.str(message),
    }
    packer.frame()
}

/// The client is put out of `nsp`. Clients take no data, not even null.
pub(in crate::parser) fn disconnect(nsp: &str) -> SharedFrame {
    Packer::begin(PacketType::Disconnect, nsp, None, false).frame()
}

/// An event. See [`crate::parser::encode::event`].
pub(in crate::parser) fn event(
    nsp: &str,
    ack: Option<AckId>,
    name: &str,
    args: &str,
    attachments: &[Bytes],
) -> SharedFrame {
    let mut packer = Packer::begin(PacketType::Event, nsp, ack, true);
    let args = Values::scan(args, attachments);
    packer.str("data");
    packer.array(args.len() + 1);
    packer.str(name);
    packer.values(&args);
    packer.frame()
}

/// The answer to a client's event.
pub(in crate::parser) fn ack(nsp: &str, id: AckId, args: &str, attachments: &[Bytes]) -> SharedFrame {
    let mut packer = Packer::begin(PacketType::Ack, nsp, Some(id), true);
    let args = Values::scan(args, attachments);
    packer.str("data");
    packer.array(args.len());
    packer.values(&args);
    packer.frame()
}

/// JSON values joined by commas, with the lengths of all that is in them.
struct Values<'a> {
    json: &'a str,
    attachments: &'a [Bytes],
    /// Where the placeholders stand, and the numbers of their attachments.
    places: SmallVec<[(usize, usize, usize); 4]>,
    /// First that of the values themselves, then those of the arrays and objects, in the order in which they open.
    lengths: SmallVec<[usize; 8]>,
}

/// A token of JSON, or a whole placeholder.
enum Piece<'a> {
    Token(Token<'a>),
    Attachment(&'a Bytes),
}

impl<'a> Values<'a> {
    fn scan(json: &'a str, attachments: &'a [Bytes]) -> Self {
        let places =
            if attachments.is_empty() { SmallVec::new() } else { attachments::places(json, attachments.len()) };
        let mut values = Self { json, attachments, places, lengths: SmallVec::new() };
        let mut lengths: SmallVec<[usize; 8]> = SmallVec::from_slice(&[0]);
        // What is open: which length is its, and whether it is an object, whose keys are counted.
        let mut open: SmallVec<[(usize, bool); 8]> = SmallVec::from_slice(&[(0, false)]);
        for piece in values.pieces() {
            let (index, is_object) = open.last().copied().unwrap_or_default();
            let counts = match piece {
                Piece::Token(Token::Close(_)) => {
                    open.pop();
                    continue;
                }
                Piece::Token(Token::Key(_)) => true,
                Piece::Token(Token::Open(_) | Token::Scalar(_)) | Piece::Attachment(_) => !is_object,
            };
            if let Some(length) = lengths.get_mut(index) {
                *length += usize::from(counts);
            }
            if let Piece::Token(Token::Open(container)) = piece {
                open.push((lengths.len(), container == Container::Object));
                lengths.push(0);
            }
        }
        values.lengths = lengths;
        values
    }

    fn len(&self) -> usize {
        self.lengths.first().copied().unwrap_or_default()
    }

    fn pieces(&self) -> impl Iterator<Item = Piece<'a>> + use<'_, 'a> {
        let mut tokens = json::tokens(self.json);
        let mut places = self.places.iter().peekable();
        std::iter::from_fn(move || {
            let token = tokens.next()?;
            let start = tokens.position().saturating_sub(1);
            let place = places.next_if(|place| token == Token::Open(Container::Object) && place.0 == start);
            let attachment = place.and_then(|(_, end, number)| Some((end, self.attachments.get(*number)?)));
            let Some((end, attachment)) = attachment else { return Some(Piece::Token(token)) };
            tokens.seek(*end);
            Some(Piece::Attachment(attachment))
        })
    }
}

/// Writes MessagePack, each value in its shortest form.
struct Packer {
    out: Vec<u8>,
}

impl Packer {
    /// Everything but the data.
    fn begin(kind: PacketType, nsp: &str, id: Option<AckId>, has_data: bool) -> Self {
        let mut packer = Self { out: Vec::with_capacity(64) };
        packer.map(2 + usize::from(id.is_some()) + usize::from(has_data));
        packer.str("type");
        packer.unsigned(u64::from(kind.digit() - b'0'));
        packer.str("nsp");
        packer.str(nsp);
        if let Some(AckId(id)) = id {
            packer.str("id");
            packer.unsigned(id);
        }
        packer
    }

    fn frame(self) -> SharedFrame {
        SharedFrame::packet(&Outbound::Message(Message::Binary(Cow::Owned(self.out))))
    }

    fn values(&mut self, values: &Values<'_>) {
        let mut lengths = values.lengths.iter().copied().skip(1);
        for piece in values.pieces() {
            match piece {
                Piece::Attachment(bytes) => self.bin(bytes),
                Piece::Token(Token::Open(Container::Array)) => self.array(lengths.next().unwrap_or_default()),
                Piece::Token(Token::Open(Container::Object)) => self.map(lengths.next().unwrap_or_default()),
                Piece::Token(Token::Key(raw)) => self.str(&json::unquote_lossy(raw)),
                Piece::Token(Token::Scalar(raw)) => self.scalar(raw),
                Piece::Token(Token::Close(_)) => {}
            }
        }
    }

    fn scalar(&mut self, raw: &str) {
        match raw.as_bytes().first() {
            Some(b'"') => self.str(&json::unquote_lossy(raw)),
            Some(b't') => self.out.push(0xc3),
            Some(b'f') => self.out.push(0xc2),
            Some(b'n') | None => self.out.push(0xc0),
            Some(_) => self.number(raw),
        }
    }

    fn number(&mut self, raw: &str) {
        match raw.parse::<i64>() {
            Ok(number) if number.unsigned_abs() <= EXACT => self.integer(number),
            // What is out of range is infinite, as in JavaScript.
            _ => {
                self.out.push(0xcb);
                self.out.extend_from_slice(&raw.parse().unwrap_or(f64::NAN).to_be_bytes());
            }
        }
    }

    fn integer(&mut self, number: i64) {
        match number {
            0.. => self.unsigned(number.unsigned_abs()),
            -32..0 => self.out.push(number as u8),
            -0x80..-32 => self.push(0xd0, &(number as i8).to_be_bytes()),
            -0x8000..-0x80 => self.push(0xd1, &(number as i16).to_be_bytes()),
            -0x8000_0000..-0x8000 => self.push(0xd2, &(number as i32).to_be_bytes()),
            _ => self.push(0xd3, &number.to_be_bytes()),
        }
    }

    fn unsigned(&mut self, number: u64) {
        match number {
            0..=0x7f => self.out.push(number as u8),
            0x80..=0xff => self.push(0xcc, &[number as u8]),
            0x100..=0xffff => self.push(0xcd, &(number as u16).to_be_bytes()),
            0x1_0000..=0xffff_ffff => self.push(0xce, &(number as u32).to_be_bytes()),
            _ => self.push(0xcf, &number.to_be_bytes()),
        }
    }

    fn str(&mut self, text: &str) {
        match text.len() {
            length @ 0..=0x1f => self.out.push(0xa0 | length as u8),
            length => self.length(Some(0xd9), 0xda, length),
        }
        self.out.extend_from_slice(text.as_bytes());
    }

    fn bin(&mut self, bytes: &[u8]) {
        self.length(Some(0xc4), 0xc5, bytes.len());
        self.out.extend_from_slice(bytes);
    }

    fn array(&mut self, items: usize) {
        match items {
            0..=0xf => self.out.push(0x90 | items as u8),
            _ => self.length(None, 0xdc, items),
        }
    }

    fn map(&mut self, pairs: usize) {
        match pairs {
            0..=0xf => self.out.push(0x80 | pairs as u8),
            _ => self.length(None, 0xde, pairs),
        }
    }

    /// A length of one byte, if there is a format for that, of two, or of four. A text or array of more than 4 GiB would be cut
    /// off; nothing of that size can be queued.
    fn length(&mut self, one: Option<u8>, two: u8, length: usize) {
        match (one, length) {
            (Some(one), 0..=0xff) => self.push(one, &[length as u8]),
            (_, 0..=0xffff) => self.push(two, &(length as u16).to_be_bytes()),
            _ => self.push(two + 1, &(length as u32).to_be_bytes()),
        }
    }

    fn push(&mut self, format: u8, bytes: &[u8]) {
        self.out.push(format);
        self.out.extend_from_slice(bytes);
    }
}
