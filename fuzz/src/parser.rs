//! `socketio::parser`: decodes a client's messages to packets, and encodes packets.
//!
//! The first byte chooses the limits (even: the default ones). The rest is messages separated by 0xff, a byte that no
//! text contains: `b` and bytes for a binary message, else text.

use bytes::Bytes;
use engineio::SharedFrame;
use serde_json::value::{RawValue, Value};
use socketio::{
    Args, Event,
    json::{self, JsonError},
    packet::{Excess, Packet, is_reserved},
    parser::{DecodeError, Decoder, Limits, encode},
};
use tokio_tungstenite::tungstenite::{Message, protocol::Role};

use crate::wire;

const END_OF_MESSAGE: u8 = 0xff;

/// Runs the target. See the module.
pub fn parser(data: &[u8]) {
    let Some((&choice, messages)) = data.split_first() else { return };
    let mut limits = Limits::default();
    if choice % 2 == 1 {
        limits.json.depth = u32::from(choice >> 5);
        limits.json.number_length = usize::from(choice >> 4);
        limits.attachments = usize::from(choice >> 6);
        limits.attachment_bytes = usize::from(choice >> 3);
        limits.nsp_length = usize::from(choice >> 4);
    }
    let mut decoder = Decoder::default();
    // The number of attachments that are due, of bytes that came, and whether they are of an event that was refused.
    let (mut due, mut came, mut skipped) = (0, 0, false);
    for message in messages.split(|byte| *byte == END_OF_MESSAGE) {
        assert_eq!(decoder.awaiting(), due > 0);
        if let [b'b', bytes @ ..] = message {
            let result = decoder.decode_binary(bytes, &limits);
            if due == 0 {
                assert_eq!(result.err(), Some(DecodeError::UnexpectedAttachment));
                continue;
            }
            came += bytes.len();
            due -= 1;
            if skipped {
                assert!(matches!(result, Ok(None)), "a skipped attachment completes nothing");
                continue;
            }
            if came > limits.attachment_bytes {
                match result {
                    Ok(whole) => match whole.expect("what is too large is a packet at once").packet() {
                        Packet::Oversize { event, .. } => {
                            assert_eq!(event.excess, Excess::AttachmentBytes);
                            skipped = true;
                        }
                        other => panic!("{other:?} is too large"),
                    },
                    Err(error) => {
                        assert_eq!(error, DecodeError::AttachmentsTooLarge);
                        due = 0;
                    }
                }
                continue;
            }
            match result.expect("an attachment was due") {
                Some(whole) => {
                    assert_eq!(due, 0, "a packet is complete with its last attachment");
                    accepted(&whole.packet(), &limits, came);
                }
                None => assert!(due > 0, "the last attachment completes the packet"),
            }
            continue;
        }
        let Ok(text) = std::str::from_utf8(message) else { continue };
        let result = decoder.decode_text(text, &limits);
        if due > 0 {
            assert_eq!(result, Err(DecodeError::MissingAttachment));
            due = 0;
            continue;
        }
        match result {
            Ok(Some(Packet::Oversize { event, .. })) => {
                assert!(exceeds_rightly(text, event.excess), "{}: {text}", event.excess);
                assert!(!is_reserved(&event.name) && event.bytes == text.len());
                (due, came, skipped) = (if text.starts_with('5') { announced(text) } else { 0 }, 0, true);
            }
            Ok(Some(packet)) => accepted(&packet, &limits, 0),
            Ok(None) => {
                (due, came, skipped) = (announced(text), 0, false);
                assert!((1..=limits.attachments).contains(&due), "{text}");
            }
            Err(error) => assert!(refused_rightly(text, error), "{error}: {text}"),
        }
    }
}

/// How many attachments a text announces. The decoder has accepted the text.
fn announced(text: &str) -> usize {
    assert!(text.starts_with(['5', '6']));
    let (count, _) = text[1..].split_once('-').expect("a dash follows the number");
    count.parse().expect("a number")
}

/// Checks a refusal as far as that is possible without decoding.
fn refused_rightly(text: &str, error: DecodeError) -> bool {
    match error {
        DecodeError::UnknownType => !text.starts_with(['0', '1', '2', '3', '4', '5', '6']),
        DecodeError::ServerPacket => text.starts_with('4'),
        DecodeError::AttachmentCount | DecodeError::TooManyAttachments | DecodeError::Placeholder => {
            text.starts_with(['5', '6'])
        }
        DecodeError::NamespaceTooLong => text.contains('/'),
        DecodeError::AckIdTooLarge => text.bytes().filter(u8::is_ascii_digit).count() >= 20,
        DecodeError::MissingAckId => text.starts_with(['3', '6']),
        DecodeError::ConnectPayload => text.starts_with('0'),
        DecodeError::DisconnectPayload => text.starts_with('1'),
        DecodeError::EventName | DecodeError::ReservedEvent => text.starts_with(['2', '5']),
        DecodeError::Payload(JsonError::TooDeep) => text.contains(['[', '{']),
        DecodeError::Payload(_) => true,
        _ => false,
    }
}

/// Checks what an event is said to have too much of, as far as that is possible without decoding.
fn exceeds_rightly(text: &str, excess: Excess) -> bool {
    match excess {
        Excess::Attachments => text.starts_with('5'),
        Excess::Depth => text.starts_with(['2', '5']) && text.contains(['[', '{']),
        Excess::NumberLength => text.starts_with(['2', '5']) && text.contains(|c: char| c.is_ascii_digit()),
        // Known only with the attachments.
        _ => false,
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok_and(|raw| raw.get() == text)
}

/// Checks that an accepted packet keeps to the limits, and survives encoding by a server and decoding.
fn accepted(packet: &Packet<'_>, limits: &Limits, attachment_bytes: usize) {
    let nsp = match packet {
        Packet::Connect { nsp, .. } | Packet::Disconnect { nsp } => *nsp,
        Packet::Event { nsp, .. } | Packet::Ack { nsp, .. } => *nsp,
        Packet::Oversize { .. } => panic!("it is dealt with elsewhere"),
    };
    assert!(nsp == "/" || nsp.len() <= limits.nsp_length);
    assert!(nsp.starts_with('/') && !nsp.contains(','));
    let frame = match packet {
        Packet::Connect { nsp, auth } => return connected(nsp, *auth, limits),
        Packet::Disconnect { nsp } => encode::disconnect(nsp),
        Packet::Event { nsp, ack, event: Event { name, args } } => {
            assert!(!is_reserved(name));
            check_args(args, limits, attachment_bytes);
            encode::event(nsp, *ack, name, args.raw(), args.attachments())
        }
        Packet::Oversize { .. } => return,
        Packet::Ack { nsp, id, args } => {
            check_args(args, limits, attachment_bytes);
            encode::ack(nsp, *id, args.raw(), args.attachments())
        }
    };
    // A name may be escaped to a longer text than it was, and `/` may be written or left out. No limit depends on
    // either.
    let (text, attachments) = taken_apart(&frame);
    let mut decoder = Decoder::default();
    match decoder.decode_text(&text, limits).expect("what was encoded is decoded") {
        Some(back) => assert_eq!((&back, attachments.len()), (packet, 0)),
        None => {
            let last = attachments.iter().map(|bytes| decoder.decode_binary(bytes, limits).expect("likewise")).last();
            assert_eq!(last.flatten().expect("all attachments are there").packet(), *packet);
        }
    }
}

fn connected(nsp: &str, auth: Option<&str>, limits: &Limits) {
    if let Some(auth) = auth {
        assert!(is_json(auth) && auth.starts_with('{'), "{auth}");
        assert!(json::depth(auth) <= limits.json.depth as usize);
    }
    let (text, _) = taken_apart(&encode::connect(nsp, "id"));
    let wide = Limits::default();
    let back = Decoder::default().decode_text(&text, &wide);
    assert_eq!(back, Ok(Some(Packet::Connect { nsp, auth: Some("{\"sid\":\"id\"}") })));
    // A refusal quotes what the client sent, whatever it is.
    let (text, _) = taken_apart(&encode::connect_error(nsp, auth.unwrap_or("no"), auth));
    let head = if nsp == "/" { "4".to_owned() } else { format!("4{nsp},") };
    let body = text.strip_prefix(&head).expect("type and namespace");
    assert!(is_json(body), "{body}");
    let (key, message) = json::members(body).next().expect("a message");
    assert_eq!((key, json::unquote(message).as_deref()), ("\"message\"", Ok(auth.unwrap_or("no"))));
}

fn check_args(args: &Args<'_>, limits: &Limits, attachment_bytes: usize) {
    assert_eq!((args.len(), args.is_empty()), (args.iter().len(), args.iter().len() == 0));
    for (index, arg) in args.iter().enumerate() {
        assert!(is_json(arg), "{arg}");
        assert!(json::depth(arg) < limits.json.depth as usize);
        assert_eq!(args.get(index), Some(arg));
    }
    assert_eq!(args.get(args.len()), None);
    let (raw, attachments) = (args.raw(), args.attachments());
    let array = format!("[{raw}]");
    let items: Vec<&RawValue> = serde_json::from_str(&array).expect("arguments joined by commas");
    assert!(args.iter().eq(items.iter().map(|item| item.get())));
    assert!(attachments.len() <= limits.attachments);
    assert_eq!(attachments.iter().map(Bytes::len).sum::<usize>(), attachment_bytes);
    // Only if the text is a tree to serde_json too (no unpaired surrogates, numbers in range): placeholders at any
    // depth.
    if let (false, Ok(tree)) = (attachments.is_empty(), serde_json::from_str::<Value>(&array)) {
        assert!(placeholders_point_to(&tree, attachments.len()), "{raw}");
    }
}

fn placeholders_point_to(tree: &Value, attachments: usize) -> bool {
    match tree {
        Value::Array(items) => items.iter().all(|item| placeholders_point_to(item, attachments)),
        Value::Object(members) => {
            let num = members.get("num").and_then(Value::as_u64);
            (members.get("_placeholder") != Some(&Value::Bool(true)) || num.is_some_and(|num| num < attachments as u64))
                && members.values().all(|item| placeholders_point_to(item, attachments))
        }
        _ => true,
    }
}

/// The text and the attachments of a frame, read by another implementation.
fn taken_apart(frame: &SharedFrame) -> (String, Vec<Bytes>) {
    let (messages, error) = wire::tungstenite(Role::Client, usize::MAX, frame.websocket());
    assert_eq!(error, None);
    let mut messages = messages.into_iter();
    let Some(Message::Text(text)) = messages.next() else { panic!("a packet starts with text") };
    let text = text.strip_prefix('4').expect("a message packet").to_owned();
    let attachments = messages.map(|message| match message {
        Message::Binary(bytes) => bytes,
        other => panic!("no attachment: {other}"),
    });
    (text, attachments.collect())
}
