//! A client's message to the text and the attachments that the JSON format would have.

use std::io::Write as _;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{
    date,
    read::{Reader, Value},
};
use crate::{
    json::{self, JsonError, MAX_DEPTH},
    packet::{Packet, PacketType},
    parser::{attachments, decode, decode::Limits, error::DecodeError},
};

/// Whole numbers up to this one have a double of their own.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A client's packet, not yet checked: its text as in the JSON format, and its attachments.
#[derive(Debug)]
pub struct Unpacked {
    text: String,
    attachments: Vec<Bytes>,
}

impl Unpacked {
    /// The packet.
    ///
    /// # Errors
    /// No packet that a client may send, or a limit exceeded.
    pub fn packet(&self, limits: &Limits) -> Result<Packet<'_>, DecodeError> {
        decode::decode_whole(&self.text, &self.attachments, limits)
    }
}

/// The members of a packet.
#[derive(Default)]
struct Members<'a> {
    kind: Option<u64>,
    nsp: Option<&'a str>,
    id: Option<u64>,
    data: Option<&'a [u8]>,
}

/// Takes a client's message apart. The text takes up to seven times the bytes of the message.
///
/// # Errors
/// The message is no packet in MessagePack, or exceeds a limit. Data that looks like a placeholder is refused beside binary
/// data: as JSON it would stand for a part of that.
pub fn unpack(bytes: &[u8], limits: &Limits) -> Result<Unpacked, DecodeError> {
    let Members { kind, nsp, id, data } = members(bytes)?;
    let kind =
        kind.and_then(|kind| u8::try_from(kind).ok()).filter(|kind| *kind <= 4).ok_or(DecodeError::UnknownType)?;
    let kind = PacketType::from_digit(b'0' + kind).ok_or(DecodeError::UnknownType)?;
    // A comma ends a name in the JSON format, so no namespace has one.
    let nsp = nsp.filter(|nsp| nsp.starts_with('/') && !nsp.contains(',')).ok_or(DecodeError::MessagePack)?;
    let mut converter = Converter { text: Vec::new(), attachments: Vec::new(), attachment_bytes: 0, limits };
    let text = &mut converter.text;
    text.push(kind.digit());
    text.extend_from_slice(nsp.as_bytes());
    text.push(b',');
    if let (Some(id), PacketType::Event | PacketType::Ack) = (id, kind) {
        write_display(text, id);
    }
    let header = text.len();
    if let Some(data) = data {
        converter.value(&mut Reader::new(data))?;
    }
    let Converter { text, attachments, .. } = converter;
    // Never fails: it was made of strings.
    let text = String::from_utf8(text).map_err(|_| DecodeError::MessagePack)?;
    if !attachments.is_empty() {
        if kind == PacketType::Connect {
            return Err(DecodeError::ConnectPayload);
        }
        if attachments::count(text.get(header..).unwrap_or_default()) != attachments.len() {
            return Err(DecodeError::Placeholder);
        }
    }
    Ok(Unpacked { text, attachments })
}

/// The members of the map that a packet is. Others than those of the format are left out; the last of equal ones counts.
fn members(bytes: &[u8]) -> Result<Members<'_>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let Value::Map(pairs) = reader.value()? else { return Err(DecodeError::MessagePack) };
    let mut members = Members::default();
    for _ in 0..pairs {
        let Value::Str(key) = reader.value()? else { return Err(DecodeError::MessagePack) };
        let raw = reader.skip()?;
        match (key, Reader::new(raw).value()?) {
            ("type", Value::Unsigned(kind)) => members.kind = Some(kind),
            ("nsp", Value::Str(nsp)) => members.nsp = Some(nsp),
            ("id", Value::Unsigned(id)) => members.id = Some(id),
            ("id" | "data", Value::Undefined) => {}
            ("data", _) => members.data = Some(raw),
            ("type" | "nsp" | "id", _) => return Err(DecodeError::MessagePack),
            _ => {}
        }
    }
    if reader.rest().is_empty() { Ok(members) } else { Err(DecodeError::MessagePack) }
}

/// Writing to memory does not fail.
fn write_display(text: &mut Vec<u8>, value: impl std::fmt::Display) {
    let _ = write!(text, "{value}");
}

/// An array or a map that is not complete.
struct Open {
    left: u32,
    is_map: bool,
    is_empty: bool,
}

/// Writes values as JSON.
struct Converter<'a> {
    text: Vec<u8>,
    attachments: Vec<Bytes>,
    attachment_bytes: usize,
    limits: &'a Limits,
}

impl Converter<'_> {
    /// One value with all that is in it. What is open is on a list, so there is no recursion.
    fn value(&mut self, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let depth = self.limits.json.depth.min(MAX_DEPTH) as usize;
        let mut open: SmallVec<[Open; 8]> = SmallVec::new();
        let mut value = reader.value()?;
        loop {
            if let Value::Array(left) | Value::Map(left) = value {
                if open.len() >= depth {
                    return Err(JsonError::TooDeep.into());
                }
                let is_map = matches!(value, Value::Map(_));
                self.text.push(if is_map { b'{' } else { b'[' });
                open.push(Open { left, is_map, is_empty: true });
            } else {
                self.scalar(value)?;
            }
            value = loop {
                let Some(inner) = open.last_mut() else { return Ok(()) };
                if inner.left == 0 {
                    self.text.push(if inner.is_map { b'}' } else { b']' });
                    open.pop();
                    continue;
                }
                inner.left -= 1;
                let key = if inner.is_map { Some(reader.value()?) } else { None };
                let next = reader.value()?;
                // `JSON.stringify` leaves out members that are undefined. In an array they are null.
                if key.is_some() && next == Value::Undefined {
                    continue;
                }
                if !std::mem::replace(&mut inner.is_empty, false) {
                    self.text.push(b',');
                }
                if let Some(key) = key {
                    self.key(key)?;
                }
                break next;
            };
        }
    }

    fn scalar(&mut self, value: Value<'_>) -> Result<(), DecodeError> {
        match value {
            Value::Bool(true) => self.text.extend_from_slice(b"true"),
            Value::Bool(false) => self.text.extend_from_slice(b"false"),
            Value::Unsigned(number) => write_display(&mut self.text, number),
            Value::Signed(number) => write_display(&mut self.text, number),
            Value::Float(number) => self.float(number),
            Value::Str(text) => json::quote(text, &mut self.text),
            Value::Bin(bytes) => self.attachment(bytes)?,
            Value::Date(milliseconds) => match date::iso_text(milliseconds) {
                Some(text) => json::quote(&text, &mut self.text),
                None => self.text.extend_from_slice(b"null"),
            },
            // As notepack.io gives it to an application.
            Value::Extension(kind, bytes) => {
                self.text.push(b'[');
                write_display(&mut self.text, kind);
                self.text.push(b',');
                self.attachment(bytes)?;
                self.text.push(b']');
            }
            Value::Nil | Value::Undefined | Value::Array(_) | Value::Map(_) => self.text.extend_from_slice(b"null"),
        }
        Ok(())
    }

    fn float(&mut self, number: f64) {
        if !number.is_finite() {
            self.text.extend_from_slice(b"null");
        } else if number.trunc() == number && number.abs() <= EXACT {
            // Without `.0`, and -0 as 0, as JavaScript writes them.
            write_display(&mut self.text, number as i64);
        } else {
            // With an exponent where there would be many zeros.
            let _ = write!(self.text, "{number:?}");
        }
    }

    fn attachment(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        if self.attachments.len() >= self.limits.attachments {
            return Err(DecodeError::TooManyAttachments);
        }
        self.attachment_bytes = self.attachment_bytes.saturating_add(bytes.len());
        if self.attachment_bytes > self.limits.attachment_bytes {
            return Err(DecodeError::AttachmentsTooLarge);
        }
        write_display(&mut self.text, attachments::placeholder(self.attachments.len()));
        self.attachments.push(Bytes::copy_from_slice(bytes));
        Ok(())
    }

    /// The name of a member: JavaScript makes a string of any key.
    fn key(&mut self, key: Value<'_>) -> Result<(), DecodeError> {
        match key {
            Value::Str(text) => json::quote(text, &mut self.text),
            Value::Nil | Value::Bool(_) | Value::Unsigned(_) | Value::Signed(_) => {
                self.text.push(b'"');
                self.scalar(key)?;
                self.text.push(b'"');
            }
            Value::Float(number) => {
                self.text.push(b'"');
                if number.is_finite() {
                    self.float(number)
                } else {
                    write_display(&mut self.text, number)
                }
                self.text.push(b'"');
            }
            _ => return Err(DecodeError::MessagePack),
        }
        self.text.push(b':');
        Ok(())
    }
}
