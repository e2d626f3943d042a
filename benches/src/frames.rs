//! RFC 6455 frames as a client sees them: [`scan`] finds the frames a server sent in a read buffer, [`encode_text`],
//! [`encode_binary`] and [`encode_pong`] append masked frames to an output buffer.
//!
//! Supports only what the measured servers send: complete, unmasked messages. A fragmented message is refused, not
//! reassembled, and UTF-8 is not checked. [`crate::handshake`] does the handshake before the frames.

/// The type of a frame (RFC 6455, section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// A whole text message.
    Text,
    /// A whole binary message.
    Binary,
    /// Close.
    Close,
    /// Ping; it must be answered with a pong with the same payload.
    Ping,
    /// Pong.
    Pong,
}

/// One frame, borrowed from the read buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its type.
    pub opcode: Opcode,
    /// Its payload.
    pub payload: &'a [u8],
    /// Its length in the buffer, in bytes, header included.
    pub len: usize,
}

/// Why bytes are not a frame that a server may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A server must not mask (RFC 6455, section 5.1).
    #[error("masked frame from a server")]
    Masked,
    /// No extension was negotiated (RFC 6455, section 5.2).
    #[error("reserved bits or opcode in {0:#04x}")]
    Reserved(u8),
    /// Legal (RFC 6455, section 5.4), but the generator does not reassemble.
    #[error("fragmented message, which the generator does not reassemble")]
    Fragmented,
    /// Longer than any message of a benchmark.
    #[error("frame of {0} bytes")]
    TooLong(u64),
}

/// Longest payload accepted, in bytes: Engine.IO's default `maxPayload`.
pub const MAX_PAYLOAD: u64 = 1_000_000;

/// The frame at the start of `bytes`; `None` if it is not complete yet.
///
/// # Errors
/// [`FrameError`] if no server may send this.
#[inline]
pub fn scan(bytes: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    let opcode = match first {
        0x81 => Opcode::Text,
        0x82 => Opcode::Binary,
        0x88 => Opcode::Close,
        0x89 => Opcode::Ping,
        0x8a => Opcode::Pong,
        0x00..=0x02 | 0x80 => return Err(FrameError::Fragmented),
        other => return Err(FrameError::Reserved(*other)),
    };
    if second & 0x80 != 0 {
        return Err(FrameError::Masked);
    }
    let (length, body) = match second {
        126 => {
            let Some((extended, body)) = rest.split_first_chunk::<2>() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*extended)), body)
        }
        127 => {
            let Some((extended, body)) = rest.split_first_chunk::<8>() else { return Ok(None) };
            (u64::from_be_bytes(*extended), body)
        }
        short => (u64::from(*short), rest),
    };
    if length > MAX_PAYLOAD {
        return Err(FrameError::TooLong(length));
    }
    let Some(payload) = usize::try_from(length).ok().and_then(|length| body.get(..length)) else { return Ok(None) };
    Ok(Some(Frame { opcode, payload, len: bytes.len() - body.len() + payload.len() }))
}

/// Appends `payload` to `out` as one masked text frame.
pub fn encode_text(payload: &[u8], out: &mut Vec<u8>) {
    encode(0x81, payload, out);
}

/// Appends `payload` to `out` as one masked binary frame.
pub fn encode_binary(payload: &[u8], out: &mut Vec<u8>) {
    encode(0x82, payload, out);
}

/// Appends to `out` the pong that answers a ping with `payload`.
pub fn encode_pong(payload: &[u8], out: &mut Vec<u8>) {
    encode(0x8a, payload, out);
}

/// The fixed masking key. RFC 6455, section 10.3, wants keys to be unpredictable to protect proxies, and there is no
/// proxy on loopback. It is not zero, so a server cannot skip the unmasking.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn encode(first: u8, payload: &[u8], out: &mut Vec<u8>) {
    out.push(first);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ ..=125), _) => out.push(0x80 | short),
        (_, Ok(medium)) => {
            out.push(0x80 | 126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn server_frame(payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x81];
        match payload.len() {
            len @ ..=125 => bytes.push(len as u8),
            len @ ..=0xffff => {
                bytes.push(126);
                bytes.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                bytes.push(127);
                bytes.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn scans_each_length_form_and_waits_for_every_missing_byte() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let payload = vec![b'x'; len];
            let bytes = server_frame(&payload);
            let frame = scan(&bytes).unwrap().unwrap();
            assert_eq!((frame.opcode, frame.payload, frame.len), (Opcode::Text, &payload[..], bytes.len()));
            for cut in (0..bytes.len()).take(12).chain([bytes.len() - 1]) {
                assert_eq!(scan(&bytes[..cut]), Ok(None), "{len} bytes cut at {cut}");
            }
        }
    }

    #[test]
    fn refuses_what_a_server_must_not_send() {
        let cases: [(&[u8], FrameError); 7] = [
            (&[0x81, 0x80], FrameError::Masked),
            (&[0x01, 0x00], FrameError::Fragmented),
            (&[0x80, 0x00], FrameError::Fragmented),
            (&[0xc1, 0x00], FrameError::Reserved(0xc1)),
            (&[0x83, 0x00], FrameError::Reserved(0x83)),
            (&[0x09, 0x00], FrameError::Reserved(0x09)),
            (&[0x81, 127, 0xff, 0, 0, 0, 0, 0, 0, 0], FrameError::TooLong(0xff00_0000_0000_0000)),
        ];
        for (bytes, error) in cases {
            assert_eq!(scan(bytes), Err(error), "{bytes:x?}");
        }
    }

    #[test]
    fn masks_with_the_right_header() {
        for len in [0, 5, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..len).map(|i| i as u8).collect();
            let mut bytes = Vec::new();
            encode_text(&payload, &mut bytes);
            // Without the mask bit and the mask, the bytes must be what a server would have sent.
            let header = server_frame(&payload).len() - len;
            let mut unmasked = bytes[..header].to_vec();
            unmasked[1] &= 0x7f;
            let key = bytes[header..header + 4].to_vec();
            unmasked.extend(bytes[header + 4..].iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]));
            assert_eq!(bytes[1] & 0x80, 0x80);
            assert_eq!(unmasked, server_frame(&payload), "{len} bytes");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_never_reaches_beyond_the_buffer(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(Some(frame)) = scan(&bytes) {
                prop_assert!(frame.len <= bytes.len() && frame.payload.len() <= frame.len);
            }
        }
    }
}
