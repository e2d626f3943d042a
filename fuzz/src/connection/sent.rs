//! What was sent, read by other implementations.

use std::borrow::Cow;

use engineio::{
    Protocol, Wire,
    ws::header::{self, Opcode},
};
use serde_json::value::RawValue;
use tokio_tungstenite::tungstenite::{Message, protocol::Role};

use crate::{wire, ws_deflate};

/// Checks that only complete packets were sent to a client, each directly followed by its attachments.
pub(super) fn reads_well(sent: &[u8], wire: Wire) {
    let (messages, error) = wire::tungstenite(Role::Client, usize::MAX, &inflated(sent, wire.deflate.is_some()));
    assert_eq!(error, None);
    let mut due = 0;
    let mut over = false;
    for message in messages {
        assert!(!over, "nothing comes after a close frame");
        if is_attachment(&message, wire) {
            assert!(due > 0, "no packet announced this attachment");
            due -= 1;
            continue;
        }
        assert_eq!(due, 0, "something between a packet and its attachments");
        match message {
            Message::Text(text) => due = attachments_of(&text, wire.protocol),
            Message::Close(_) => over = true,
            Message::Pong(_) => {}
            other => panic!("a server sends no {other:?}"),
        }
    }
    assert_eq!(due, 0, "an attachment is missing");
}

/// The frames without compression, which tungstenite does not support.
fn inflated(sent: &[u8], agreed: bool) -> Vec<u8> {
    let mut plain = Vec::with_capacity(sent.len());
    for (first, payload) in wire::server_frames(sent) {
        let payload = if first & 0x40 == 0 {
            Cow::Borrowed(payload)
        } else {
            assert!(agreed, "compressed without agreement");
            Cow::Owned(ws_deflate::inflate_by_steps(payload, 15))
        };
        let start = plain.len();
        plain.extend_from_slice(&header::encode(Opcode::Text, payload.len()));
        plain[start] = first & !0x40;
        plain.extend_from_slice(&payload);
    }
    plain
}

/// Whether this is a binary packet in the form that the client accepts.
fn is_attachment(message: &Message, Wire { protocol, base64, .. }: Wire) -> bool {
    match message {
        Message::Binary(bytes) => {
            assert!(!base64 && (protocol == Protocol::V4 || bytes.first() == Some(&4)), "{bytes:?}");
            true
        }
        Message::Text(text) if text.starts_with('b') => {
            assert!(base64 && protocol.decode_text(text).is_ok(), "{text}");
            true
        }
        _ => false,
    }
}

/// How many attachments must follow a text. The text must be a valid packet of both protocols.
fn attachments_of(text: &str, protocol: Protocol) -> usize {
    let heartbeat = match protocol {
        Protocol::V3 => text.starts_with('3'),
        Protocol::V4 => text == "2",
    };
    if heartbeat {
        return 0;
    }
    let packet = text.strip_prefix('4').expect("a heartbeat or a message");
    let (kind, rest) = packet.split_at(1);
    let (count, rest) = match kind {
        "5" | "6" => {
            rest.split_once('-').map(|(count, rest)| (count.parse().expect("a number"), rest)).expect("a dash")
        }
        _ => (0, rest),
    };
    let (nsp, rest) = if rest.starts_with('/') { rest.split_once(',').expect("a comma") } else { ("/", rest) };
    assert!(nsp == "/chat" || nsp == "/" || kind == "4", "{text}");
    let json = rest.trim_start_matches(|character: char| character.is_ascii_digit());
    assert_eq!(json.len() < rest.len(), kind == "3" || kind == "6" || json.starts_with("[\"asked\""), "{text}");
    match kind {
        "1" => assert_eq!(json, ""),
        // The answer to CONNECT has no payload for clients of version 2.
        "0" if protocol == Protocol::V3 => assert_eq!(json, ""),
        _ => assert!(serde_json::from_str::<&RawValue>(json).is_ok(), "{text}"),
    }
    count
}
