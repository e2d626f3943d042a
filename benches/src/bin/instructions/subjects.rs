//! The subjects: each is a fixed piece of work on fixed input, whose instructions are counted.

use std::hint::black_box;

use benches::memory::MemoryServer;
use benches::samples;
use bytes::Bytes;
use engineio::ws;
use engineio::{SharedFrame, payload};
use socketio::{AckId, json, parser};

/// The limit that the server sets on messages.
const MAX_PAYLOAD: usize = 1_000_000;
/// Members of the room that is broadcast to.
const MEMBERS: usize = 100;
/// Rooms that one socket joins and leaves.
const ROOMS: usize = 32;

/// One subject.
pub(crate) struct Subject {
    /// Its key in the file of figures.
    pub(crate) name: &'static str,
    /// How often the work is done: enough to average out hashing, whose seeds are random.
    pub(crate) iterations: u32,
    /// Prepares the input, which is not counted, and returns the work.
    pub(crate) prepare: fn() -> Box<dyn FnMut()>,
}

/// All subjects.
pub(crate) const SUBJECTS: &[Subject] = &[
    Subject {
        name: "websocket decode, 64 messages",
        iterations: 100,
        prepare: || decode(samples::text_frames(), None),
    },
    Subject { name: "websocket decode, cut", iterations: 100, prepare: || decode(samples::text_frames(), Some(100)) },
    Subject { name: "websocket decode, 64 KiB", iterations: 100, prepare: || decode(samples::large_frame(), None) },
    Subject { name: "websocket encode", iterations: 2000, prepare: websocket_encode },
    Subject { name: "polling form", iterations: 500, prepare: polling_form },
    Subject { name: "payload decode, 64 packets", iterations: 100, prepare: payload_decode },
    Subject { name: "payload encode, 64 packets", iterations: 200, prepare: payload_encode },
    Subject { name: "packet decode", iterations: 2000, prepare: packet_decode },
    Subject { name: "packet decode, attachments", iterations: 1000, prepare: packet_decode_binary },
    Subject { name: "json scan", iterations: 2000, prepare: || json_scan(samples::message_json()) },
    Subject { name: "json scan, rich", iterations: 500, prepare: || json_scan(samples::rich_json()) },
    Subject { name: "json strings", iterations: 1000, prepare: json_strings },
    Subject { name: "event encode", iterations: 2000, prepare: event_encode },
    Subject { name: "event encode, attachments", iterations: 2000, prepare: event_encode_binary },
    Subject { name: "broadcast to 100", iterations: 500, prepare: broadcast },
    Subject { name: "join and leave 32 rooms", iterations: 100, prepare: join_and_leave },
    Subject { name: "connect and go", iterations: 1000, prepare: connect_and_go },
];

/// Decodes `frames`, complete or in pieces of `cut` bytes. Unmasking in place needs a copy, which is counted too, but
/// costs little in comparison.
fn decode(frames: Vec<u8>, cut: Option<usize>) -> Box<dyn FnMut()> {
    let mut buffer = frames.clone();
    let piece = cut.unwrap_or(frames.len());
    let mut decoder = ws::Decoder::new(MAX_PAYLOAD);
    Box::new(move || {
        buffer.copy_from_slice(&frames);
        for mut input in black_box(&mut buffer).chunks_mut(piece) {
            while let Ok(Some(item)) = decoder.decode(&mut input) {
                black_box(item);
            }
        }
    })
}

fn websocket_encode() -> Box<dyn FnMut()> {
    let text = samples::event_packet();
    Box::new(move || _ = black_box(SharedFrame::message(&[black_box(text.as_bytes())], &[])))
}

fn polling_form() -> Box<dyn FnMut()> {
    let (text, attachment) = (samples::event_packet(), Bytes::from(samples::attachment()));
    Box::new(move || {
        let frame = SharedFrame::message(&[black_box(text.as_bytes())], std::slice::from_ref(&attachment));
        black_box(frame.polling());
    })
}

fn payload_decode() -> Box<dyn FnMut()> {
    let body = samples::payload();
    Box::new(move || {
        for packet in payload::decode(black_box(&body)).into_iter().flatten() {
            _ = black_box(packet);
        }
    })
}

fn payload_encode() -> Box<dyn FnMut()> {
    let packet = format!("4{}", samples::event_packet());
    Box::new(move || {
        let mut encoder = payload::Encoder::new(MAX_PAYLOAD);
        for _ in 0..samples::BATCH {
            black_box(encoder.push(black_box(packet.as_bytes())));
        }
        black_box(encoder.finish());
    })
}

fn packet_decode() -> Box<dyn FnMut()> {
    let (text, limits) = (samples::event_packet(), parser::Limits::default());
    Box::new(move || _ = black_box(parser::Decoder::default().decode_text(black_box(&text), &limits)))
}

fn packet_decode_binary() -> Box<dyn FnMut()> {
    let (text, attachment, limits) = (samples::binary_event_packet(), samples::attachment(), parser::Limits::default());
    Box::new(move || {
        let mut decoder = parser::Decoder::default();
        _ = black_box(decoder.decode_text(black_box(&text), &limits));
        _ = black_box(decoder.decode_binary(black_box(&attachment), &limits));
        if let Ok(Some(packet)) = decoder.decode_binary(black_box(&attachment), &limits) {
            black_box(packet.packet());
        }
    })
}

fn json_scan(text: String) -> Box<dyn FnMut()> {
    let limits = json::Limits::default();
    Box::new(move || _ = black_box(json::array_items(black_box(&text), &limits)))
}

/// A text with escapes: decoded, and encoded again.
fn json_strings() -> Box<dyn FnMut()> {
    let raw = format!("\"{}\"", r#"say \"hi\" to Größe \u00e9\ud834\udd1e, then\n"#.repeat(4));
    Box::new(move || {
        if let Ok(text) = json::unquote(black_box(&raw)) {
            let mut out = Vec::new();
            json::quote(&text, &mut out);
            black_box(out);
        }
    })
}

fn event_encode() -> Box<dyn FnMut()> {
    let args = samples::message_args();
    let ack = Some(AckId(17));
    Box::new(move || _ = black_box(parser::encode::event("/chat", ack, "message", black_box(&args), &[])))
}

fn event_encode_binary() -> Box<dyn FnMut()> {
    let attachments = [Bytes::from(samples::attachment()), Bytes::from(samples::attachment())];
    let args = format!("{},{}", parser::attachments::placeholder(0), parser::attachments::placeholder(1));
    Box::new(move || _ = black_box(parser::encode::event("/", None, "upload", black_box(&args), &attachments)))
}

/// A client's message, from its text to every member's outbox.
fn broadcast() -> Box<dyn FnMut()> {
    let (mut server, packet) = (MemoryServer::new(MEMBERS), samples::event_packet());
    Box::new(move || server.send(0, black_box(&packet)))
}

fn join_and_leave() -> Box<dyn FnMut()> {
    let mut server = MemoryServer::new(MEMBERS);
    let packets: Vec<String> = ["join", "leave"]
        .iter()
        .flat_map(|event| (0..ROOMS).map(move |room| format!(r#"2["{event}","lobby-{room}"]"#)))
        .collect();
    Box::new(move || {
        for packet in &packets {
            server.send(MEMBERS / 2, black_box(packet));
        }
    })
}

fn connect_and_go() -> Box<dyn FnMut()> {
    let mut server = MemoryServer::new(MEMBERS);
    Box::new(move || server.connect_and_close())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_subject_has_its_own_name_and_runs() {
        let names: BTreeSet<&str> = SUBJECTS.iter().map(|subject| subject.name).collect();
        assert_eq!(names.len(), SUBJECTS.len());
        for subject in SUBJECTS {
            let mut work = (subject.prepare)();
            work();
            work();
        }
    }
}
