//! Inputs of the micro benchmarks and of the instruction guard: fixed bytes, the same in every run and on every
//! machine.
//!
//! The messages have the shape that the chat's clients send. `benches/benches` and the binary `instructions` use them.

use crate::frames;

/// Packets in one batch: a read of the shard's buffer under load, or a full poll.
pub const BATCH: usize = 64;

/// 128 bytes of ordinary text.
const TEXT: &str = "The quick brown fox jumps over the lazy dog, and then comes back the same way, because it left \
                    its umbrellas with the lazy dogs.";

/// The arguments of a chat message with 128 bytes of text, as its sender wrote them: one JSON object.
#[must_use]
pub fn message_args() -> String {
    format!(
        r#"{{"message":"{TEXT}","context":{{"roomId":"room-1"}},"clientId":"0192f0c1-7a3e-7cc3-98c4-dc0c0c07398f"}}"#
    )
}

/// The same as a JSON array that begins with the event's name.
#[must_use]
pub fn message_json() -> String {
    format!(r#"["message",{}]"#, message_args())
}

/// JSON with everything that slows a scanner down: nesting, numbers, escapes, characters outside ASCII, white space.
#[must_use]
pub fn rich_json() -> String {
    let item = r#"{"id": 1234567890, "ratio": -12.5e-3, "tags": ["a\"b", "c\\d", "\u00e9\ud834\udd1e"],
        "title": "Größe κόσμε 世界 🎵", "flags": [true, false, null], "deep": [[[[{"x": [1, 2, 3]}]]]]}"#;
    format!("[\"update\",{}]", [item; 8].join(","))
}

/// The message as a Socket.IO packet that asks for an acknowledgement.
#[must_use]
pub fn event_packet() -> String {
    format!("217{}", message_json())
}

/// The text of the packet of an event with two attachments. The attachments are [`attachment`]s.
#[must_use]
pub fn binary_event_packet() -> String {
    r#"52-["upload",{"name":"a.png","data":{"_placeholder":true,"num":0}},{"_placeholder":true,"num":1}]"#.to_owned()
}

/// 1 KiB in which every byte value occurs.
#[must_use]
pub fn attachment() -> Vec<u8> {
    (0..=255).cycle().take(1024).collect()
}

/// [`BATCH`] messages as a client's masked WebSocket frames.
#[must_use]
pub fn text_frames() -> Vec<u8> {
    let packet = format!("4{}", event_packet());
    let mut bytes = Vec::new();
    for _ in 0..BATCH {
        frames::encode_text(packet.as_bytes(), &mut bytes);
    }
    bytes
}

/// One masked binary frame of 64 KiB.
#[must_use]
pub fn large_frame() -> Vec<u8> {
    let mut bytes = Vec::new();
    frames::encode_text(&attachment().repeat(64), &mut bytes);
    if let Some(first) = bytes.first_mut() {
        // FIN and opcode 2, binary.
        *first = 0x82;
    }
    bytes
}

/// [`BATCH`] messages as the body of one POST; every eighth is binary, in base64.
#[must_use]
pub fn payload() -> Vec<u8> {
    let text = format!("4{}", event_packet());
    let binary = format!("b{}", "AQIDBAUGBwgJ".repeat(20));
    let packets: Vec<&str> = (0..BATCH).map(|number| if number % 8 == 7 { &*binary } else { &*text }).collect();
    packets.join("\u{1e}").into_bytes()
}

#[cfg(test)]
mod tests {
    use engineio::{
        payload,
        ws::{Decoder, Item},
    };
    use socketio::{json, packet::Packet, parser};

    use super::*;

    #[test]
    fn a_message_has_128_bytes_of_text() {
        assert_eq!(TEXT.len(), 128);
    }

    #[test]
    fn json_samples_are_valid() {
        for text in [message_args(), message_json(), rich_json()] {
            assert_eq!(json::check(&text, &json::Limits::default()), Ok(()), "{text}");
        }
    }

    #[test]
    fn packets_decode_as_expected() {
        let limits = parser::Limits::default();
        let text = event_packet();
        let packet = parser::Decoder::default().decode_text(&text, &limits).unwrap();
        assert!(matches!(packet, Some(Packet::Event { ack: Some(_), .. })), "{packet:?}");

        let mut decoder = parser::Decoder::default();
        assert!(decoder.decode_text(&binary_event_packet(), &limits).unwrap().is_none());
        assert!(decoder.decode_binary(&attachment(), &limits).unwrap().is_none());
        assert!(decoder.decode_binary(&attachment(), &limits).unwrap().is_some());
    }

    #[test]
    fn batches_hold_64_messages() {
        assert_eq!(payload::decode(&payload()).unwrap().filter(Result::is_ok).count(), BATCH);
        let count = |mut bytes: Vec<u8>| {
            let (mut input, mut decoder) = (&mut *bytes, Decoder::new(1 << 20));
            let mut items = Vec::new();
            while let Some(item) = decoder.decode(&mut input).unwrap() {
                items.push(matches!(item, Item::Binary(_)));
            }
            items
        };
        assert_eq!(count(text_frames()), [false; BATCH]);
        assert_eq!(count(large_frame()), [true]);
    }
}
