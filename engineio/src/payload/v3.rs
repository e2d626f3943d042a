//! Several packets in one HTTP body, as Engine.IO protocol v3 writes them: each preceded by its length.
//!
//! | form | a record |
//! |---|---|
//! | text | the length of the packet in UTF-16 code units, in digits; `:`; the packet in text form |
//! | binary (`application/octet-stream`) | 0 for a string or 1 for bytes; the decimal digits of the length in bytes, one byte (0 to 9) each; 0xff; the packet |
//!
//! The text form is for bodies without binary, and for peers that cannot accept it; a binary packet in it is `b4` and
//! base64. A false length is noticed before its packet is read, and allocates nothing. Engine.IO protocol v3,
//! "Payload".

use std::iter::FusedIterator;

use super::error::{self, MAX_IDLE_PACKETS};
use crate::packet::{self, DecodeError, Inbound};

/// The most digits a length may have; no body is long enough to need more.
const MAX_DIGITS: usize = 10;

/// The first byte of a record of the binary form that holds text.
const STRING: u8 = 0;

/// The first byte of a record of the binary form that holds bytes.
const BINARY: u8 = 1;

/// The byte after the length in the binary form.
const END_OF_LENGTH: u8 = 0xff;

/// One record without its length.
#[derive(Debug, Clone, Copy)]
enum Record<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl Record<'_> {
    /// Whether the packet only keeps the server busy. A ping counts although it is answered: an honest client sends one
    /// for each heartbeat.
    fn is_idle(&self) -> bool {
        matches!(self, Self::Text(text) if text.is_empty() || text.starts_with(['0', '2', '3', '5', '6']))
    }
}

/// The part of a body that has not been decoded yet.
#[derive(Debug, Clone, Copy)]
enum Rest<'a> {
    Text(&'a str),
    Binary(&'a [u8]),
}

impl<'a> Rest<'a> {
    const fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Binary(bytes) => bytes.is_empty(),
        }
    }

    /// Takes the first record.
    fn next(&mut self) -> Result<Record<'a>, DecodeError> {
        match self {
            Self::Text(rest) => {
                let (length, after) = rest.split_once(':').ok_or(DecodeError::Length)?;
                let units = number(length.bytes().map(|byte| byte.wrapping_sub(b'0')))?;
                let (packet, next) = split_units(after, units).ok_or(DecodeError::Length)?;
                *rest = next;
                Ok(Record::Text(packet))
            }
            Self::Binary(rest) => {
                let (kind, after) = rest.split_first().ok_or(DecodeError::Empty)?;
                // The end marker must come within the digits that a length may have.
                let digits = after.iter().take(MAX_DIGITS + 1).position(|byte| *byte == END_OF_LENGTH);
                let (length, after) = digits.and_then(|at| after.split_at_checked(at)).ok_or(DecodeError::Length)?;
                let length = number(length.iter().copied())?;
                let (packet, next) =
                    after.get(1..).and_then(|after| after.split_at_checked(length)).ok_or(DecodeError::Length)?;
                *rest = next;
                match *kind {
                    STRING if packet.is_empty() => Err(DecodeError::Empty),
                    STRING => std::str::from_utf8(packet).map(Record::Text).map_err(|_| DecodeError::Utf8),
                    BINARY => Ok(Record::Bytes(packet)),
                    _ => Err(DecodeError::Length),
                }
            }
        }
    }
}

/// The number that `digits` (values, not characters) make. Node accepts everything that JavaScript reads as a number,
/// also `1e1` and `0x2`, but no encoder writes those.
fn number(digits: impl ExactSizeIterator<Item = u8>) -> Result<usize, DecodeError> {
    if digits.len() == 0 || digits.len() > MAX_DIGITS {
        return Err(DecodeError::Length);
    }
    let number = digits.map(|digit| (digit <= 9).then_some(u64::from(digit))).try_fold(0_u64, |number, digit| {
        // At most ten digits: no overflow.
        digit.map(|digit| number * 10 + digit)
    });
    number.and_then(|number| usize::try_from(number).ok()).ok_or(DecodeError::Length)
}

/// Splits `text` after `units` UTF-16 code units, which is what JavaScript counts: a character beyond the basic plane
/// is two. `None` when the text is shorter, or when the split would fall within such a character.
fn split_units(text: &str, units: usize) -> Option<(&str, &str)> {
    let mut left = units;
    for (at, character) in text.char_indices() {
        if left == 0 {
            return text.split_at_checked(at);
        }
        left = left.checked_sub(character.len_utf16())?;
    }
    (left == 0).then_some((text, ""))
}

/// Decodes a body of the text form.
///
/// # Errors
/// When the body is not UTF-8, or has more than [`super::MAX_IDLE_PACKETS`] packets that have no effect.
pub fn decode_text(body: &[u8]) -> Result<Packets<'_>, error::DecodeError> {
    Packets::new(Rest::Text(std::str::from_utf8(body).map_err(|_| error::DecodeError::Utf8)?))
}

/// Decodes a body of the binary form.
///
/// # Errors
/// When the body has more than [`super::MAX_IDLE_PACKETS`] packets that have no effect.
pub fn decode_binary(body: &[u8]) -> Result<Packets<'_>, error::DecodeError> {
    Packets::new(Rest::Binary(body))
}

/// The packets of one v3 payload, in order. Ends after the first faulty packet (the packets before it have been
/// returned) and after a close packet. A record of length 0 is skipped in the text form and an error in the binary
/// form, as in the reference.
#[derive(Debug, Clone)]
pub struct Packets<'a> {
    rest: Option<Rest<'a>>,
}

impl<'a> Packets<'a> {
    fn new(rest: Rest<'a>) -> Result<Self, error::DecodeError> {
        let (mut records, mut idle) = (rest, 0);
        while let Ok(record) = records.next() {
            idle += usize::from(record.is_idle());
            if idle > MAX_IDLE_PACKETS {
                return Err(error::DecodeError::TooManyIdlePackets);
            }
        }
        Ok(Self { rest: Some(rest) })
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = Result<Inbound<'a>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let mut rest = self.rest.take()?;
            let packet = match rest.next() {
                Ok(Record::Text("")) if !rest.is_empty() => {
                    self.rest = Some(rest);
                    continue;
                }
                // A client with nothing to say sends this record and nothing else.
                Ok(Record::Text("")) => return None,
                Ok(Record::Text(text)) => packet::v3::decode(text),
                Ok(Record::Bytes(bytes)) => packet::v3::binary(bytes),
                Err(error) => Err(error),
            };
            if !matches!(packet, Err(_) | Ok(Inbound::Close)) && !rest.is_empty() {
                self.rest = Some(rest);
            }
            return Some(packet);
        }
    }
}

impl FusedIterator for Packets<'_> {}

/// Appends one packet in the text form.
pub(crate) fn push_text(packet: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(utf16_len(packet).to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(packet);
}

/// Appends one packet, given in two pieces, in the binary form.
pub(crate) fn push_binary(is_text: bool, packet: [&[u8]; 2], out: &mut Vec<u8>) {
    let len: usize = packet.iter().map(|piece| piece.len()).sum();
    out.push(if is_text { STRING } else { BINARY });
    out.extend(len.to_string().bytes().map(|digit| digit.wrapping_sub(b'0')));
    out.push(END_OF_LENGTH);
    packet.iter().for_each(|piece| out.extend_from_slice(piece));
}

/// How many UTF-16 code units the UTF-8 text has: two for each character of four bytes, one for each other.
fn utf16_len(text: &[u8]) -> usize {
    text.iter().map(|byte| usize::from(byte & 0xc0 != 0x80) + usize::from(*byte >= 0xf0)).sum()
}

#[cfg(test)]
mod tests;
