//! permessage-deflate: messages are compressed one by one (RFC 7692).
//!
//! Neither side keeps its window from one message to the next (`*_no_context_takeover`). This costs some compression.
//! In return, a message to many is compressed once, and a connection owns no compressor. A compressor's state is 40 KB
//! to 260 KB; so each thread has one for each window size, and uses it for one message at a time.

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::ProtocolError;

/// The smallest window that the compressor supports. 256 bytes (8 bits) would be legal too.
pub const MIN_WINDOW_BITS: u8 = 9;

/// The largest window of deflate.
pub const MAX_WINDOW_BITS: u8 = 15;

/// How many window sizes there are.
pub(crate) const WINDOWS: usize = (MAX_WINDOW_BITS - MIN_WINDOW_BITS) as usize + 1;

/// The end of a flush, which the sender removes (7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// An empty final block: appending it shows whether a message is complete.
const LAST: [u8; 2] = [3, 0];

/// The first capacity for an inflated message, in bytes; it grows as needed.
const FIRST_ROOM: usize = 1024;

/// The option `per_message_deflate` of Node's server. Off unless set; `default()` has Node's values.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PerMessageDeflate {
    /// Messages of fewer bytes go uncompressed. Default 1024.
    pub threshold: usize,
    /// The compression level, from 0 (none) to 9 (best). Default 6. Node's `zlibDeflateOptions.level`.
    pub level: u8,
    /// The largest window to compress with, as a power of two, 9 to 15. Default 15.
    pub server_max_window_bits: u8,
}

impl Default for PerMessageDeflate {
    fn default() -> Self {
        Self { threshold: 1024, level: 6, server_max_window_bits: MAX_WINDOW_BITS }
    }
}

/// How this side compresses on one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deflate {
    /// The window, as a power of two, 9 to 15.
    pub window_bits: u8,
    /// Messages of fewer bytes go uncompressed.
    pub threshold: usize,
    /// The compression level, from 0 to 9.
    pub level: u8,
}

impl Deflate {
    /// The index of the window size among all sizes.
    pub(crate) const fn index(self) -> usize {
        self.window_bits.saturating_sub(MIN_WINDOW_BITS) as usize
    }
}

/// One thread's compressors, one for each window size, with the level each has.
type Compressors = [Option<(u8, Compress)>; WINDOWS];

thread_local! {
    static COMPRESSORS: RefCell<Compressors> = const { RefCell::new([const { None }; WINDOWS]) };
    static DECOMPRESSOR: RefCell<Option<Decompress>> = const { RefCell::new(None) };
}

/// The compressed message without the tail; `None` when it is below the threshold, or would not get shorter.
pub(crate) fn compress(message: &[u8], deflate: Deflate) -> Option<Vec<u8>> {
    if message.is_empty() || message.len() < deflate.threshold {
        return None;
    }
    let mut out = Vec::with_capacity(message.len());
    COMPRESSORS.with_borrow_mut(|compressors| {
        let slot = compressors.get_mut(deflate.index())?;
        let level = deflate.level.min(9);
        let (_, compressor) = match slot {
            Some(kept) if kept.0 == level => kept,
            other => {
                let bits = deflate.window_bits.clamp(MIN_WINDOW_BITS, MAX_WINDOW_BITS);
                other.insert((level, Compress::new_with_window_bits(Compression::new(level.into()), false, bits)))
            }
        };
        compressor.reset();
        // 7.2.1: compress, flush, remove the tail. If the output buffer is full, nothing was gained.
        compressor.compress_vec(message, &mut out, FlushCompress::Sync).ok()?;
        (compressor.total_in() == message.len() as u64 && out.len() < out.capacity()).then_some(())
    })?;
    out.truncate(out.strip_suffix(&TAIL)?.len());
    Some(out)
}

/// Inflates `payload`, all fragments of a message joined, to at most `max` bytes.
///
/// # Errors
/// [`ProtocolError::MessageTooBig`] beyond `max`; [`ProtocolError::InvalidDeflate`] when it is not valid.
pub(super) fn inflate(payload: &[u8], max: usize) -> Result<Vec<u8>, ProtocolError> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        // A client's window is never limited, so one decompressor serves all clients.
        let decompressor = kept.get_or_insert_with(|| Decompress::new(false));
        decompressor.reset(false);
        let mut out = Vec::new();
        // An empty message is one byte (7.2.3.6); no byte at all is a truncated one.
        if payload.is_empty() {
            return Err(ProtocolError::InvalidDeflate);
        }
        let (rest, ended) = inflate_some(decompressor, payload, &mut out, max)?;
        if ended {
            // 7.2.3.4: a final block is followed by a byte 0, the start of the empty block whose rest is the tail.
            return if matches!(rest, [] | [0]) { Ok(out) } else { Err(ProtocolError::InvalidDeflate) };
        }
        // 7.2.2: append the tail and inflate. To a complete message the tail adds no data, and another block can
        // follow. In a truncated message it would be read as data, and the application would get bytes that nobody
        // sent.
        let len = out.len();
        let (mut rest, mut ended) = inflate_some(decompressor, &TAIL, &mut out, max)?;
        if !ended {
            (rest, ended) = inflate_some(decompressor, &LAST, &mut out, max)?;
        }
        if ended && rest.is_empty() && out.len() == len { Ok(out) } else { Err(ProtocolError::InvalidDeflate) }
    })
}

/// Inflates `input` as far as it goes. Returns the rest of it, and whether the final block ended.
fn inflate_some<'i>(
    decompressor: &mut Decompress,
    mut input: &'i [u8],
    out: &mut Vec<u8>,
    max: usize,
) -> Result<(&'i [u8], bool), ProtocolError> {
    loop {
        if out.len() == out.capacity() {
            // Doubles the buffer, up to one byte more than the limit, which is enough to prove that the limit is
            // exceeded.
            let room = out.len().max(FIRST_ROOM).min(max.saturating_sub(out.len()).saturating_add(1));
            out.reserve_exact(room);
        }
        let before = decompressor.total_in();
        let status = decompressor.decompress_vec(input, out, FlushDecompress::Sync);
        let taken = usize::try_from(decompressor.total_in() - before).unwrap_or(usize::MAX);
        input = input.get(taken..).unwrap_or_default();
        if out.len() > max {
            return Err(ProtocolError::MessageTooBig);
        }
        match status {
            Ok(Status::StreamEnd) => return Ok((input, true)),
            // The buffer is not full: this input gives no more output.
            Ok(_) if out.len() < out.capacity() => return Ok((input, false)),
            Ok(_) => {}
            Err(_) => return Err(ProtocolError::InvalidDeflate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: Deflate = Deflate { window_bits: 15, threshold: 0, level: 6 };

    #[test]
    fn the_rfc_s_examples_inflate() {
        let table: &[(&[u8], &[u8])] = &[
            // 7.2.3.1, 7.2.3.3 (no compression), 7.2.3.4 (final block), 7.2.3.5 (two blocks), 7.2.3.6 (empty).
            (&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], b"Hello"),
            (&[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00], b"Hello"),
            (&[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], b"Hello"),
            (&[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00], b"Hello"),
            (&[0x00], b""),
            (&[0x02, 0x00], b""),
        ];
        for (payload, expected) in table {
            assert_eq!(inflate(payload, 100).as_deref(), Ok(*expected), "{payload:02x?}");
        }
    }

    #[test]
    fn invalid_deflate_is_refused() {
        for payload in [&b""[..], &[0x06], &[0x07, 0xff], &[0xff; 20], &[0x00, 0x05, 0x00, 0x05, 0x00, 1, 2, 3, 4, 5]] {
            assert_eq!(inflate(payload, 100), Err(ProtocolError::InvalidDeflate), "{payload:02x?}");
        }
        // Nothing may follow a final block.
        let final_block = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        assert_eq!(inflate(&[&final_block[..], b"\x00more"].concat(), 100), Err(ProtocolError::InvalidDeflate));
        // The decompressor still works for the next message.
        assert_eq!(inflate(&final_block, 100).as_deref(), Ok(&b"Hello"[..]));
    }

    #[test]
    fn a_message_that_is_cut_short_is_refused() {
        let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
        let whole = compress(b"a longer text, that is cut; a longer text", ALL).unwrap();
        for message in [&stored[..], &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], &whole] {
            assert!(inflate(message, 100).is_ok());
            // One byte can be complete: an empty message.
            for end in 2..message.len() {
                let cut = message.get(..end).unwrap();
                assert_eq!(inflate(cut, 100), Err(ProtocolError::InvalidDeflate), "{cut:02x?}");
            }
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = compress(&vec![0; 4_000_000], ALL).unwrap();
        assert!(bomb.len() < 5_000);
        assert_eq!(inflate(&bomb, 100_000), Err(ProtocolError::MessageTooBig));
        assert_eq!(inflate(&bomb, 3_999_999), Err(ProtocolError::MessageTooBig));
        let whole = inflate(&bomb, 4_000_000).unwrap();
        assert_eq!((whole.len(), whole.capacity() <= 4_000_001), (4_000_000, true));
    }

    #[test]
    fn an_incompressible_message_stays_uncompressed() {
        assert_eq!(compress(b"", ALL), None);
        assert_eq!(compress(b"abc", ALL), None);
        let threshold = Deflate { threshold: 1024, ..ALL };
        assert_eq!(compress(&[b'a'; 1023], threshold), None);
        assert!(compress(&[b'a'; 1024], threshold).is_some());
    }

    #[test]
    fn a_small_window_reaches_back_no_further() {
        // Two equal blocks of noise: only a window of more than a block finds the second.
        let mut state = 1_u32;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8 & 0x3f
        })
        .take(2_000)
        .collect();
        let message = [&noise[..], &noise[..]].concat();
        let peer_of_9 = |window_bits| {
            let out = compress(&message, Deflate { window_bits, ..ALL }).unwrap();
            let mut inflated = Vec::with_capacity(5_000);
            let mut peer = Decompress::new_with_window_bits(false, 9);
            // In small steps, or the output buffer would serve as the window.
            for piece in out.chunks(50) {
                let mut step = Vec::with_capacity(1_000);
                peer.decompress_vec(piece, &mut step, FlushDecompress::Sync).ok()?;
                inflated.extend(step);
            }
            Some(inflated == message)
        };
        assert_eq!(peer_of_9(9), Some(true));
        assert_ne!(peer_of_9(15), Some(true), "a larger window must fail, or this test proves nothing");
    }

    proptest! {
        #[test]
        fn compressed_messages_inflate(
            message in proptest::collection::vec(b'a'..b'e', 0..3000), window_bits in 9..=15_u8, level in 0..=9_u8,
        ) {
            if let Some(out) = compress(&message, Deflate { window_bits, threshold: 0, level }) {
                prop_assert!(out.len() < message.len());
                prop_assert_eq!(inflate(&out, message.len()), Ok(message.clone()));
                prop_assert_eq!(inflate(&out, message.len() - 1), Err(ProtocolError::MessageTooBig));
            }
        }

        #[test]
        fn no_payload_panics_or_exceeds_the_limit(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(message) = inflate(&payload, 1000) {
                prop_assert!(message.len() <= 1000);
            }
        }
    }
}
