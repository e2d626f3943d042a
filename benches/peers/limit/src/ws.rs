//! RFC 6455 frames of the server's side. Clients' messages are unmasked where they lie in the read buffer. Fragmented
//! messages are refused: no Socket.IO client sends them.

use std::ops::Range;

use sha1::{Digest, Sha1};

/// Longest message taken, in bytes: Engine.IO's default `maxPayload`.
pub(crate) const MAX_PAYLOAD: usize = 1_000_000;

/// Opcodes with the FIN bit, as they stand in the first byte.
pub(crate) const TEXT: u8 = 0x81;
pub(crate) const BINARY: u8 = 0x82;
pub(crate) const CLOSE: u8 = 0x88;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;

/// What stands at the start of a read buffer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scan {
    /// A whole frame: its first byte and where its payload lies, now unmasked. The next frame follows the payload.
    Frame(u8, Range<usize>),
    /// The rest is still to come.
    Incomplete,
    /// What no client may send, or what this server does not support.
    Invalid,
}

/// The frame at `start` of `bytes`.
pub(crate) fn scan(bytes: &mut [u8], start: usize) -> Scan {
    let Some([first, second, rest @ ..]) = bytes.get(start..) else { return Scan::Incomplete };
    let (first, second) = (*first, *second);
    // A client must mask (section 5.1).
    if !matches!(first, TEXT | BINARY | CLOSE | PING | PONG) || second & 0x80 == 0 {
        return Scan::Invalid;
    }
    let (len, header) = match second & 0x7f {
        126 => match rest.first_chunk::<2>() {
            Some(len) => (usize::from(u16::from_be_bytes(*len)), 4),
            None => return Scan::Incomplete,
        },
        127 => match rest.first_chunk::<8>() {
            Some(len) => (usize::try_from(u64::from_be_bytes(*len)).unwrap_or(usize::MAX), 10),
            None => return Scan::Incomplete,
        },
        short => (usize::from(short), 2),
    };
    // A control frame is short (section 5.5).
    if len > MAX_PAYLOAD || (first >= CLOSE && len > 125) {
        return Scan::Invalid;
    }
    let body = start + header + 4;
    let Some((head, payload)) = bytes.split_at_mut_checked(body) else { return Scan::Incomplete };
    let (Some(mask), Some(payload)) = (head.last_chunk::<4>(), payload.get_mut(..len)) else {
        return Scan::Incomplete;
    };
    unmask(payload, *mask);
    Scan::Frame(first, body..body + len)
}

/// Undoes the mask (section 5.3), 16 bytes at a time.
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let wide = u128::from(u32::from_ne_bytes(mask)) * 0x1_00000001_00000001_00000001;
    let (chunks, rest) = payload.as_chunks_mut::<16>();
    for chunk in chunks {
        *chunk = (u128::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// Appends the head of a frame of `len` bytes.
pub(crate) fn push_head(out: &mut Vec<u8>, first: u8, len: usize) {
    out.push(first);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(short @ ..=125), _) => out.push(short),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

/// Appends a frame.
pub(crate) fn push_frame(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    push_head(out, first, payload.len());
    out.extend_from_slice(payload);
}

/// The SHA-1 digest that a `Sec-WebSocket-Accept` is made of (section 4.2.2).
pub(crate) fn accept(key: &[u8]) -> [u8; 20] {
    Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        push_head(&mut bytes, first, payload.len());
        bytes[1] |= 0x80;
        let mask = [1, 2, 3, 0xff];
        bytes.extend_from_slice(&mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
        bytes
    }

    #[test]
    fn unmasks_each_length_form_and_waits_for_every_missing_byte() {
        for len in [0, 1, 15, 16, 17, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..len).map(|byte| byte as u8).collect();
            let frame = masked(if len < 126 { PING } else { BINARY }, &payload);
            for cut in (0..frame.len()).take(15).chain([frame.len() - 1]) {
                assert_eq!(scan(&mut frame[..cut].to_vec(), 0), Scan::Incomplete, "{len} bytes cut at {cut}");
            }
            let mut two = [b"before".as_slice(), &frame].concat();
            let Scan::Frame(_, range) = scan(&mut two, 6) else { panic!("{len} bytes") };
            assert_eq!((&two[range.clone()], range.end), (&payload[..], two.len()));
        }
    }

    #[test]
    fn refuses_what_it_must_or_does_not_support() {
        let unmasked = [TEXT, 1, b'x'];
        for frame in
            [&unmasked[..], &[0x01, 0x80], &[0xc1, 0x80], &[PING, 0xfe, 0, 126], &[TEXT, 0xff, 1, 0, 0, 0, 0, 0, 0, 0]]
        {
            assert_eq!(scan(&mut frame.to_vec(), 0), Scan::Invalid, "{frame:x?}");
        }
    }

    #[test]
    fn accepts_the_key_of_the_rfc() {
        use base64::prelude::{BASE64_STANDARD, Engine};
        assert_eq!(BASE64_STANDARD.encode(accept(b"dGhlIHNhbXBsZSBub25jZQ==")), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
