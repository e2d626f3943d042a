//! `engineio::ws`: the decoder against every way of cutting a stream, and against tungstenite.
//!
//! The first byte chooses the limit on messages, and whether the rest is the stream itself or a script of frames (byte
//! with FIN, RSV and opcode, length, payload) that are masked and encoded correctly. The second byte chooses how the
//! stream is cut.

use std::borrow::Cow;

use engineio::ws::{
    Decoder, Item, ProtocolError, close,
    header::{self, Opcode},
};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, Role},
};

use crate::{input::Input, wire};

/// The result of decoding a stream.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) items: Vec<Item<'static>>,
    pub(crate) error: Option<ProtocolError>,
}

/// Runs the target. See the module.
pub fn ws_frames(data: &[u8]) {
    let mut input = Input::new(data);
    let (mode, cut) = (input.byte(), usize::from(input.byte()));
    let max_message = if mode & 2 == 0 { 300 } else { 70_000 };
    let stream = if mode & 1 == 0 { input.rest().to_vec() } else { script(&mut input) };

    let whole = decode_all(Decoder::new, max_message, &stream, cut);
    agrees_with_tungstenite(max_message, &stream, &whole);
    is_read_back(&whole.items);
}

fn script(input: &mut Input<'_>) -> Vec<u8> {
    let mut stream = Vec::new();
    while !input.is_empty() {
        let first = input.byte();
        let key = [first, 0, 0xa5, input.byte()];
        match input.byte() {
            // Long payloads made of few bytes, up to both longer forms of the length.
            255 if stream.len() <= 70_000 => {
                let len = usize::from(u16::from_be_bytes([input.byte(), input.byte()])) + 2;
                wire::client_frame(first, key, &vec![input.byte(); len], &mut stream);
            }
            len => wire::client_frame(first, key, input.bytes(len.into()), &mut stream),
        }
    }
    stream
}

fn owned(item: Item<'_>) -> Item<'static> {
    match item {
        Item::Text(text) => Item::Text(Cow::Owned(text.into_owned())),
        Item::Binary(bytes) => Item::Binary(Cow::Owned(bytes.into_owned())),
        Item::Ping(bytes) => Item::Ping(Cow::Owned(bytes.into_owned())),
        Item::Pong => Item::Pong,
        Item::Close(close) => Item::Close(close.map(|(code, reason)| (code, Cow::Owned(reason.into_owned())))),
    }
}

/// Decodes a stream, and checks that the result is the same however it is cut.
pub(crate) fn decode_all(new: fn(usize) -> Decoder, max_message: usize, stream: &[u8], cut: usize) -> Outcome {
    let whole = decode(new(max_message), max_message, [stream]);
    // At every byte; a long stream in a thousand pieces, or the run would take too long.
    let least = (stream.len() / 1_000).max(1);
    for size in [least, cut.max(least)] {
        assert_eq!(decode(new(max_message), max_message, stream.chunks(size)), whole, "cut every {size} bytes");
    }
    let (start, end) = stream.split_at(cut.min(stream.len()));
    assert_eq!(decode(new(max_message), max_message, [start, end]), whole, "cut once at {cut}");
    whole
}

/// Decodes the pieces one by one, and checks what the decoder promises about its memory and its end.
pub(crate) fn decode<'a>(
    mut decoder: Decoder,
    max_message: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Outcome {
    let (mut items, mut error, mut fed) = (Vec::new(), None, 0);
    for piece in pieces {
        fed += piece.len();
        let mut bytes = piece.to_vec();
        let mut input = bytes.as_mut_slice();
        loop {
            let before = input.len();
            let over = error.is_some() || matches!(items.last(), Some(Item::Close(_)));
            match decoder.decode(&mut input) {
                Ok(Some(item)) => {
                    assert!(!over, "nothing comes after the end");
                    assert!(input.len() < before || before == 0, "an item consumes bytes");
                    items.push(owned(item));
                }
                Ok(None) => break,
                Err(why) => {
                    assert!(!over, "nothing comes after the end");
                    error = Some(why);
                }
            }
        }
        assert!(input.is_empty(), "all input is consumed");
        let buffered = decoder.buffered();
        assert!(buffered <= 2 * fed.min(max_message + header::MAX_CONTROL_PAYLOAD) + 256, "{buffered} for {fed} bytes");
        if error.is_some() || matches!(items.last(), Some(Item::Close(_))) {
            assert_eq!(buffered, 0, "nothing is kept after the end");
        }
    }
    for item in &items {
        match item {
            Item::Text(text) => assert!(text.len() <= max_message),
            Item::Binary(bytes) => assert!(bytes.len() <= max_message),
            Item::Ping(bytes) => assert!(bytes.len() <= header::MAX_CONTROL_PAYLOAD),
            Item::Pong => {}
            Item::Close(frame) => {
                assert!(
                    frame.as_ref().is_none_or(|(code, why)| close::is_valid(*code) && why.len() <= close::MAX_REASON)
                );
            }
        }
    }
    Outcome { items, error }
}

fn same(ours: &Item<'_>, theirs: &Message) -> bool {
    match (ours, theirs) {
        (Item::Text(ours), Message::Text(theirs)) => **ours == **theirs,
        (Item::Binary(ours), Message::Binary(theirs)) | (Item::Ping(ours), Message::Ping(theirs)) => **ours == **theirs,
        (Item::Pong, Message::Pong(_)) | (Item::Close(None), Message::Close(None)) => true,
        // 1014 was registered after RFC 6455; tungstenite counts it as reserved, and replaces it.
        (Item::Close(Some((1014, _))), Message::Close(Some(_))) => true,
        (Item::Close(Some((code, reason))), Message::Close(Some(theirs))) => {
            *code == u16::from(theirs.code) && **reason == *theirs.reason
        }
        _ => false,
    }
}

/// The same items and the same verdict, except for these differences:
/// - We refuse at the byte that proves a fault, tungstenite when the frame is complete: it gets a made-up rest of that
///   frame.
/// - We refuse a length that is not in its shortest form (RFC 6455, 5.2, "MUST"); tungstenite accepts it.
/// - We refuse a close code that may not be sent (7.4); tungstenite replaces it with 1002.
/// - If a frame has several faults and is too long, tungstenite sees the length first.
fn agrees_with_tungstenite(max_message: usize, stream: &[u8], Outcome { items, error }: &Outcome) {
    let mut made_up = stream.to_vec();
    if error.is_some() {
        made_up.resize(stream.len() + max_message + header::MAX_LEN, 0);
    }
    let (messages, code) = wire::tungstenite(Role::Server, max_message, &made_up);
    let agreed = items.iter().zip(&messages).take_while(|(ours, theirs)| same(ours, theirs)).count();
    assert_eq!(agreed, items.len(), "ours: {items:?} {error:?}; tungstenite's: {messages:?} {code:?}");
    match error {
        Some(ProtocolError::NonMinimalLength) => {}
        // A short control frame with a longer form of the length.
        Some(ProtocolError::ControlTooLong)
            if matches!(messages.get(agreed), Some(Message::Ping(_) | Message::Pong(_) | Message::Close(_))) => {}
        Some(ProtocolError::InvalidCloseCode) => {
            let replaced = messages.get(agreed);
            assert!(
                matches!(replaced, Some(Message::Close(Some(CloseFrame { code, .. }))) if u16::from(*code) == 1002)
                    || code == Some(1007),
                "{replaced:?} {code:?}"
            );
        }
        error => {
            assert_eq!(messages.len(), agreed, "tungstenite goes on: {messages:?}; ours: {error:?}");
            let ours = error.map(ProtocolError::close_code);
            assert!(ours == code || (ours == Some(1002) && code == Some(1009)), "{error:?}, tungstenite: {code:?}");
        }
    }
}

/// A client can read what a server writes: the items are encoded as a server's frames and read back.
fn is_read_back(items: &[Item<'_>]) {
    let mut bytes = Vec::new();
    for item in items {
        let (opcode, payload) = match item {
            Item::Text(text) => (Opcode::Text, text.as_bytes()),
            Item::Binary(payload) => (Opcode::Binary, &**payload),
            Item::Ping(payload) => (Opcode::Ping, &**payload),
            Item::Pong => (Opcode::Pong, &b""[..]),
            Item::Close(frame) => {
                let (code, reason) = frame.as_ref().map_or((None, ""), |(code, reason)| (Some(*code), &**reason));
                close::encode(code, reason, &mut bytes);
                continue;
            }
        };
        bytes.extend_from_slice(&header::encode(opcode, payload.len()));
        bytes.extend_from_slice(payload);
    }
    let (messages, code) = wire::tungstenite(Role::Client, usize::MAX, &bytes);
    assert_eq!(code, None);
    assert!(items.len() == messages.len() && items.iter().zip(&messages).all(|(ours, theirs)| same(ours, theirs)));
}
