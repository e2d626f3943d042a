//! The header of a WebSocket frame: two to ten bytes from a server, six to fourteen from a client.
//!
//! [`encode`] writes an unmasked header with FIN set, on the stack, because a server neither masks nor fragments.
//! [`decode`] reads a client's header and refuses an illegal one at the first byte that proves it. [`super::Decoder`]
//! checks which frame may follow which. RFC 6455 section 5.2.

use std::ops::Deref;

use super::ProtocolError;

/// The longest header: two bytes, eight of length, four of masking key.
pub const MAX_LEN: usize = 14;

/// The longest payload of a control frame. RFC 6455 section 5.5.
pub const MAX_CONTROL_PAYLOAD: usize = 125;

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;

/// The reserved bits that must be 0: all three, unless an extension has given one a meaning.
pub(super) const RESERVED_BITS: u8 = 0x70;

/// The reserved bits that must be 0 with permessage-deflate: RSV1 says that a message is compressed (RFC 7692, 6).
pub(super) const RESERVED_BITS_DEFLATE: u8 = 0x30;

const MASK: u8 = 0x80;

/// The type of a frame. RFC 6455 section 5.2; the other ten values are reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// The next fragment of a message.
    Continuation = 0x0,
    /// A text message, or its first fragment.
    Text = 0x1,
    /// A binary message, or its first fragment.
    Binary = 0x2,
    /// The closing handshake.
    Close = 0x8,
    /// Asks for a pong.
    Ping = 0x9,
    /// Answers a ping, or comes unsolicited.
    Pong = 0xa,
}

impl Opcode {
    const fn decode(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    /// Whether this is a close, ping or pong: short, never fragmented, and allowed between the fragments of a message.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// An encoded header of a server's frame. Derefs to its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    bytes: [u8; 10],
    len: u8,
}

impl Deref for Header {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&self.bytes)
    }
}

/// The header of a complete, unmasked frame with `len` bytes of payload, in the shortest form. A control frame may have
/// at most [`MAX_CONTROL_PAYLOAD`] bytes.
#[must_use]
pub fn encode(opcode: Opcode, len: usize) -> Header {
    debug_assert!(!opcode.is_control() || len <= MAX_CONTROL_PAYLOAD, "a control frame is never this long");
    let first = FIN | opcode as u8;
    let mut bytes = [0; 10];
    let used = if let Some(short) = u8::try_from(len).ok().filter(|&short| short < 126) {
        bytes = [first, short, 0, 0, 0, 0, 0, 0, 0, 0];
        2
    } else if let Ok(medium) = u16::try_from(len) {
        let [a, b] = medium.to_be_bytes();
        bytes = [first, 126, a, b, 0, 0, 0, 0, 0, 0];
        4
    } else {
        let [a, b, c, d, e, f, g, h] = (len as u64).to_be_bytes();
        bytes.copy_from_slice(&[first, 127, a, b, c, d, e, f, g, h]);
        10
    };
    Header { bytes, len: used }
}

/// [`encode`] for a data frame whose payload is compressed (RFC 7692, 6: RSV1 on the first frame of the message).
#[must_use]
pub(crate) fn encode_compressed(opcode: Opcode, len: usize) -> Header {
    let mut header = encode(opcode, len);
    header.bytes[0] |= RSV1;
    header
}

/// A decoded header of a client's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether this frame ends its message; always set on a control frame.
    pub fin: bool,
    /// Whether the message that begins with this frame is compressed; false unless compression was agreed.
    pub compressed: bool,
    /// The type of the frame.
    pub opcode: Opcode,
    /// The declared length of the payload in bytes, below 2^63. Only a claim of the peer: never allocate memory by it.
    pub len: u64,
    /// The masking key.
    pub key: [u8; 4],
}

/// Decodes the header at the start of `input`: the header and its length in bytes, or `None` when it is not complete.
///
/// # Errors
/// When no client may send these bytes. An incomplete header is refused too as soon as it proves that.
pub fn decode(input: &[u8]) -> Result<Option<(FrameHeader, usize)>, ProtocolError> {
    decode_with(input, RESERVED_BITS)
}

/// [`decode`], with the bits that are reserved on this connection.
#[inline]
pub(super) fn decode_with(input: &[u8], reserved: u8) -> Result<Option<(FrameHeader, usize)>, ProtocolError> {
    let Some(head) = head(input, reserved)? else { return Ok(None) };
    let Some(&key) = input.get(head.size..).and_then(<[u8]>::first_chunk::<4>) else { return Ok(None) };
    let Head { fin, compressed, opcode, len, size } = head;
    Ok(Some((FrameHeader { fin, compressed, opcode, len, key }, size + key.len())))
}

/// The opcode and payload length of a header that is complete except perhaps for its key; `None` if the length is not
/// complete. So a frame that is too long is refused even if the peer never sends the key, and holds no memory.
pub(super) fn declared(input: &[u8], reserved: u8) -> Option<(Opcode, u64)> {
    head(input, reserved).ok().flatten().map(|head| (head.opcode, head.len))
}

/// A header without its masking key.
struct Head {
    fin: bool,
    compressed: bool,
    opcode: Opcode,
    len: u64,
    /// How many bytes come before the key.
    size: usize,
}

fn head(input: &[u8], reserved: u8) -> Result<Option<Head>, ProtocolError> {
    let Some(&first) = input.first() else { return Ok(None) };
    // 5.2: "MUST be 0 unless an extension is negotiated".
    let compressed = first & RESERVED_BITS != 0 && is_compressed(first, reserved)?;
    let fin = first & FIN != 0;
    let opcode = Opcode::decode(first & 0x0f).ok_or(ProtocolError::ReservedOpcode)?;
    // 5.5: control frames "MUST NOT be fragmented".
    if opcode.is_control() && !fin {
        return Err(ProtocolError::FragmentedControl);
    }

    let Some(&second) = input.get(1) else { return Ok(None) };
    // 5.1: a server closes the connection upon a frame that is not masked.
    if second & MASK == 0 {
        return Err(ProtocolError::Unmasked);
    }
    let short = second & !MASK;
    // 5.5: control frames "MUST have a payload length of 125 bytes or less".
    if opcode.is_control() && usize::from(short) > MAX_CONTROL_PAYLOAD {
        return Err(ProtocolError::ControlTooLong);
    }

    let extended = input.get(2..).unwrap_or_default();
    let (len, size) = match short {
        126 => {
            let Some(&bytes) = extended.first_chunk::<2>() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(bytes)), 4)
        }
        127 => {
            let Some(&bytes) = extended.first_chunk::<8>() else { return Ok(None) };
            (u64::from_be_bytes(bytes), 10)
        }
        short => (u64::from(short), 2),
    };
    // 5.2: "the most significant bit MUST be 0"; "the minimal number of bytes MUST be used to encode the length".
    if len > i64::MAX as u64 {
        return Err(ProtocolError::LengthOverflow);
    }
    if (size == 4 && len < 126) || (size == 10 && len <= u64::from(u16::MAX)) {
        return Err(ProtocolError::NonMinimalLength);
    }
    Ok(Some(Head { fin, compressed, opcode, len, size }))
}

/// Whether a first byte with reserved bits marks a compressed message; an error if it may not.
#[cold]
const fn is_compressed(first: u8, reserved: u8) -> Result<bool, ProtocolError> {
    // RFC 7692, 6.1: on control frames and on all but the first fragment RSV1 "MUST NOT" be set.
    match Opcode::decode(first & 0x0f) {
        Some(Opcode::Text | Opcode::Binary) if first & reserved == 0 => Ok(first & RSV1 != 0),
        _ => Err(ProtocolError::ReservedBits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; 4] = [1, 2, 3, 4];

    #[test]
    fn encodes_the_shortest_form() {
        let table: &[(Opcode, usize, &[u8])] = &[
            (Opcode::Text, 0, &[0x81, 0]),
            (Opcode::Binary, 125, &[0x82, 125]),
            (Opcode::Text, 126, &[0x81, 126, 0, 126]),
            (Opcode::Text, 255, &[0x81, 126, 0, 255]),
            (Opcode::Text, 65_535, &[0x81, 126, 0xff, 0xff]),
            (Opcode::Text, 65_536, &[0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
            (Opcode::Close, 2, &[0x88, 2]),
            (Opcode::Ping, 0, &[0x89, 0]),
            (Opcode::Pong, 125, &[0x8a, 125]),
        ];
        for (opcode, len, expected) in table {
            assert_eq!(&*encode(*opcode, *len), *expected, "{opcode:?} {len}");
        }
    }

    #[test]
    fn decodes_each_length_form() {
        let table: &[(&[u8], bool, Opcode, u64)] = &[
            (&[0x81, 0x80], true, Opcode::Text, 0),
            (&[0x02, 0x80 | 125], false, Opcode::Binary, 125),
            (&[0x80, 0xfe, 0, 126], true, Opcode::Continuation, 126),
            (&[0x82, 0xfe, 0xff, 0xff], true, Opcode::Binary, 65_535),
            (&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0], true, Opcode::Binary, 65_536),
            (&[0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], true, Opcode::Binary, i64::MAX as u64),
            (&[0x88, 0x82], true, Opcode::Close, 2),
            (&[0x89, 0xfd], true, Opcode::Ping, 125),
            (&[0x8a, 0x80], true, Opcode::Pong, 0),
        ];
        for (head, fin, opcode, len) in table {
            let bytes = [head, &KEY[..], b"payload"].concat();
            let size = head.len() + 4;
            let header = FrameHeader { fin: *fin, compressed: false, opcode: *opcode, len: *len, key: KEY };
            assert_eq!(decode(&bytes), Ok(Some((header, size))), "{head:?}");
            for cut in 0..size {
                assert_eq!(decode(&bytes[..cut]), Ok(None), "{head:?} cut at {cut}");
            }
            assert_eq!(declared(head, RESERVED_BITS), Some((*opcode, *len)));
            assert_eq!(declared(&head[..head.len() - 1], RESERVED_BITS), None);
        }
    }

    #[test]
    fn rsv1_is_allowed_on_a_first_frame_if_deflate_was_agreed() {
        let decode = |first| decode_with(&[first, 0x80, 1, 2, 3, 4], RESERVED_BITS_DEFLATE);
        for first in [0xc1, 0xc2, 0x41, 0x42] {
            assert!(decode(first).unwrap().is_some_and(|(header, _)| header.compressed), "{first:02x}");
        }
        assert!(decode(0x81).unwrap().is_some_and(|(header, _)| !header.compressed));
        for first in [0xc0, 0x40, 0xc8, 0xc9, 0xca, 0xa1, 0x91, 0xe1] {
            assert_eq!(decode(first), Err(ProtocolError::ReservedBits), "{first:02x}");
        }
        assert_eq!(&*encode_compressed(Opcode::Text, 300), &[0xc1, 126, 1, 44]);
    }

    #[test]
    fn refuses_at_the_byte_that_proves_it() {
        use ProtocolError as E;
        let mut table: Vec<(Vec<u8>, E)> = vec![
            (vec![0xc1], E::ReservedBits),
            (vec![0xa1], E::ReservedBits),
            (vec![0x91], E::ReservedBits),
            (vec![0x74], E::ReservedBits),
            (vec![0x08], E::FragmentedControl),
            (vec![0x09], E::FragmentedControl),
            (vec![0x0a], E::FragmentedControl),
            (vec![0x81, 0x05], E::Unmasked),
            (vec![0x82, 0x7f], E::Unmasked),
            (vec![0x88, 0xfe], E::ControlTooLong),
            (vec![0x89, 0xfe], E::ControlTooLong),
            (vec![0x8a, 0xff], E::ControlTooLong),
            (vec![0x81, 0xfe, 0, 0], E::NonMinimalLength),
            (vec![0x81, 0xfe, 0, 125], E::NonMinimalLength),
            (vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], E::NonMinimalLength),
            (vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 5], E::NonMinimalLength),
            (vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1], E::LengthOverflow),
            (vec![0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], E::LengthOverflow),
        ];
        table.extend((0x83..=0x87).chain(0x8b..=0x8f).map(|first| (vec![first], E::ReservedOpcode)));
        for (bytes, error) in table {
            assert_eq!(decode(&bytes), Err(error), "{bytes:02x?}");
            assert_eq!(decode(&bytes[..bytes.len() - 1]), Ok(None), "{bytes:02x?} is not proven earlier");
            assert_eq!(error.close_code(), 1002);
        }
    }

    proptest! {
        #[test]
        fn an_encoded_and_masked_header_is_decoded(len in prop_oneof![0..200_usize, 65_000..66_000_usize, any::<usize>()]) {
            let len = len & (usize::MAX >> 1);
            let mut bytes = encode(Opcode::Binary, len).to_vec();
            bytes[1] |= MASK;
            bytes.extend(KEY);
            let header =
                FrameHeader { fin: true, compressed: false, opcode: Opcode::Binary, len: len as u64, key: KEY };
            prop_assert_eq!(decode(&bytes), Ok(Some((header, bytes.len()))));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..MAX_LEN + 2)) {
            if let Ok(Some((_, size))) = decode(&bytes) {
                prop_assert!(size <= bytes.len() && size <= MAX_LEN);
            }
        }
    }
}
