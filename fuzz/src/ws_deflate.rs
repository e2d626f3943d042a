//! permessage-deflate, `engineio::ws::deflate`: messages that a client compressed or not, and messages that a server
//! compresses.
//!
//! The first byte chooses the direction and the limit on messages, the second how the stream is cut. For input the rest
//! is the stream itself or a script of messages, see [`script`]; for output see [`outwards`].

use std::borrow::Cow;

use bytes::Bytes;
use engineio::{
    SharedFrame, Wire,
    ws::{
        Decoder, Item, ProtocolError,
        deflate::{Deflate, MAX_WINDOW_BITS, MIN_WINDOW_BITS},
    },
};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use miniz_oxide::inflate::{
    TINFLStatus,
    core::{DecompressorOxide, decompress, inflate_flags},
};

use crate::{input::Input, wire, ws_frames};

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];
/// An empty final block.
const LAST: [u8; 2] = [3, 0];

/// Runs the target. See the module.
pub fn ws_deflate(data: &[u8]) {
    let mut input = Input::new(data);
    let (mode, cut) = (input.byte(), usize::from(input.byte()));
    let max_message = if mode & 2 == 0 { 300 } else { 70_000 };
    if mode & 1 == 1 {
        return outwards(&mut input, cut);
    }
    let mut expected = Vec::new();
    let stream = if mode & 4 == 0 { script(&mut input, max_message, &mut expected) } else { input.rest().to_vec() };
    let outcome = ws_frames::decode_all(Decoder::with_deflate, max_message, &stream, cut);
    for (at, expected) in expected.iter().enumerate() {
        match (expected, outcome.items.get(at)) {
            (Ok(expected), Some(item)) => assert_eq!(item, expected),
            (Err(expected), None) => {
                let error = outcome.error.expect("an error");
                assert!(expected.contains(&error), "{error:?}, expected one of {expected:?}");
                break;
            }
            (expected, item) => panic!("{item:?} {:?}, expected {expected:?}", outcome.error),
        }
    }
}

/// The message, or the errors with which it may be refused. If it has two faults, either may be found first.
type Expected = Result<Item<'static>, &'static [ProtocolError]>;

/// For each message a byte chooses: text or binary; compressed here, or a payload made up by the fuzzer; a level;
/// whether it is in fragments, with pings in between. After a frame of any other kind nothing is expected, but the
/// stream goes on.
fn script(input: &mut Input<'_>, max: usize, expected: &mut Vec<Expected>) -> Vec<u8> {
    let (mut stream, mut sure) = (Vec::new(), true);
    // Few enough for an unoptimised build.
    while !input.is_empty() && expected.len() < 6 && stream.len() < 140_000 {
        let (choice, level) = (input.byte(), u32::from(input.byte() % 10));
        let text = choice & 1 == 0;
        let payload = match choice >> 1 & 3 {
            0 => compress(input.record(), level),
            1 => {
                let count = 1 + usize::from(input.byte()) * 4;
                compress(&input.record().repeat(count), level)
            }
            2 => input.record().to_vec(),
            _ => {
                let first = input.byte();
                wire::client_frame(first, [choice, 1, 2, 3], input.record(), &mut stream);
                sure = false;
                continue;
            }
        };
        if sure {
            expected.push(read(&payload, text, max));
        }
        let opcode = if text { 1 } else { 2 };
        if choice & 8 == 0 {
            wire::client_frame(FIN | RSV1 | opcode, [choice, 7, 0, 9], &payload, &mut stream);
            continue;
        }
        let mut pieces = payload.chunks(1 + usize::from(input.byte())).peekable();
        let mut first = RSV1 | opcode;
        while let Some(piece) = pieces.next() {
            let fin = if pieces.peek().is_none() { FIN } else { 0 };
            wire::client_frame(fin | first, [choice, 7, 0, 9], piece, &mut stream);
            first = 0;
        }
        // An empty payload has no pieces, so it is sent as one empty frame.
        if first != 0 {
            wire::client_frame(FIN | first, [choice, 7, 0, 9], &[], &mut stream);
        }
    }
    stream
}

/// As every client does: compress, flush, remove the tail.
fn compress(message: &[u8], level: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 1000 + 100);
    let mut compress = Compress::new(Compression::new(level), false);
    compress.compress_vec(message, &mut out, FlushCompress::Sync).expect("compresses");
    match out.strip_suffix(&TAIL) {
        Some(short) => short.to_vec(),
        // An empty message has nothing to flush: RFC 7692, 7.2.3.6.
        None => vec![0],
    }
}

/// The message as another inflater reads it.
fn read(payload: &[u8], text: bool, max: usize) -> Expected {
    const INVALID: &[ProtocolError] = &[ProtocolError::InvalidDeflate];
    if payload.len() > max {
        return Err(&[ProtocolError::MessageTooBig]);
    }
    if payload.is_empty() {
        return Err(INVALID);
    }
    let input = [payload, &TAIL, &LAST].concat();
    let mut out = vec![0; max + 1];
    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let more = flags | inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
    let (.., own) = decompress(&mut DecompressorOxide::new(), payload, &mut out, 0, more);
    let (status, taken, made) = decompress(&mut DecompressorOxide::new(), &input, &mut out, 0, flags);
    out.truncate(made);
    if status == TINFLStatus::HasMoreOutput || made > max {
        return Err(&[ProtocolError::MessageTooBig, ProtocolError::InvalidDeflate]);
    }
    // 7.2.3.4: the message may contain a final block, followed by a byte 0.
    let inside = payload.get(taken..).is_some_and(|rest| matches!(rest, [] | [0]));
    // 7.2.1: the removed tail holds no data.
    let whole = inside || (made == own && [input.len(), payload.len() + TAIL.len()].contains(&taken));
    if status != TINFLStatus::Done || !whole {
        return Err(if made > 0 { &[ProtocolError::InvalidDeflate, ProtocolError::MessageTooBig] } else { INVALID });
    }
    if !text {
        return Ok(Item::Binary(Cow::Owned(out)));
    }
    String::from_utf8(out).map(|text| Item::Text(Cow::Owned(text))).map_err(|_| &[ProtocolError::InvalidUtf8][..])
}

/// The input is a window, a level and a threshold, a text, and attachments (also long ones made of few bytes). A peer
/// with that window must be able to read the compressed frames, and so must our own decoder.
fn outwards(input: &mut Input<'_>, threshold: usize) {
    let window_bits = MIN_WINDOW_BITS + input.byte() % (MAX_WINDOW_BITS - MIN_WINDOW_BITS + 1);
    let deflate = Deflate { window_bits, threshold, level: input.byte() % 12 };
    let text = String::from_utf8_lossy(input.record()).repeat(1 + usize::from(input.byte()) % 16);
    let mut attachments = Vec::new();
    while !input.is_empty() && attachments.len() < 3 {
        let count = 1 + usize::from(input.byte()) % 16;
        attachments.push(Bytes::from(input.record().repeat(count)));
    }
    let frame = SharedFrame::message(&[text.as_bytes()], &attachments);
    let adapted = frame.adapt(Wire { deflate: Some(deflate), ..Wire::default() });
    assert!(adapted.websocket().len() <= frame.websocket().len(), "compression never makes it longer");
    let sent: Vec<_> = wire::server_frames(frame.websocket()).collect();
    let received: Vec<_> = wire::server_frames(adapted.websocket()).collect();
    assert_eq!(sent.len(), received.len());
    let mut masked = Vec::new();
    for ((first, payload), (came_as, came)) in sent.iter().zip(&received) {
        let compressed = *came_as != *first;
        assert!(!compressed || (*came_as == first | RSV1 && payload.len() >= threshold), "{came_as:02x}");
        let read = if compressed { inflate_by_steps(came, window_bits) } else { came.to_vec() };
        assert!(read == *payload, "window {window_bits}");
        wire::client_frame(*came_as, [1, 2, 3, 4], came, &mut masked);
    }
    let longest = sent.iter().map(|(_, payload)| payload.len()).max().unwrap_or_default();
    let outcome = ws_frames::decode_all(Decoder::with_deflate, longest, &masked, threshold);
    assert_eq!(outcome.error, None);
    let items = outcome.items.iter().map(|item| match item {
        Item::Text(text) => text.as_bytes(),
        Item::Binary(bytes) => bytes,
        other => panic!("{other:?} was never sent"),
    });
    assert!(items.eq(sent.iter().map(|(_, payload)| *payload)));
    if longest > 0 {
        let outcome = ws_frames::decode(Decoder::with_deflate(longest - 1), longest - 1, [&*masked]);
        assert_eq!(outcome.error, Some(ProtocolError::MessageTooBig));
    }
}

/// A peer with no larger window. It inflates in small steps, or the output buffer would serve as a window.
pub(crate) fn inflate_by_steps(payload: &[u8], window_bits: u8) -> Vec<u8> {
    let mut inflater = Decompress::new_with_window_bits(false, window_bits);
    let (mut rest, mut out) = (&*[payload, &TAIL].concat(), Vec::new());
    loop {
        let mut step = Vec::with_capacity(200);
        let before = inflater.total_in();
        inflater.decompress_vec(&rest[..rest.len().min(100)], &mut step, FlushDecompress::Sync).expect("inflates");
        rest = &rest[(inflater.total_in() - before) as usize..];
        out.extend_from_slice(&step);
        if rest.is_empty() && step.len() < step.capacity() {
            return out;
        }
    }
}
