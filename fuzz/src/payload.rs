//! `engineio::payload` and `engineio::packet`: decodes the body of a POST, and encodes it again.
//!
//! The first byte is the limit for encoded bodies, the rest is the body to decode.

use engineio::{
    Message, SharedFrame,
    packet::{Inbound, Outbound},
    payload::{self, DecodeError, Encoder, MAX_IDLE_PACKETS, Packets, SEPARATOR},
};

use crate::input::Input;

/// Runs the target. See the module.
pub fn payload(data: &[u8]) {
    let mut input = Input::new(data);
    let max = usize::from(input.byte());
    let body = input.rest();

    let mut packets = match (std::str::from_utf8(body), payload::decode(body)) {
        (Err(_), result) => {
            assert_eq!(result.err(), Some(DecodeError::Utf8));
            return;
        }
        (Ok(text), Err(error)) => {
            let idle = text.split('\x1e').filter(|packet| packet.starts_with(['0', '3', '5', '6'])).count();
            assert_eq!((error, idle > MAX_IDLE_PACKETS), (DecodeError::TooManyIdlePackets, true));
            return;
        }
        (Ok(_), Ok(packets)) => packets,
    };

    let mut decoded = Vec::new();
    let mut texts = std::str::from_utf8(body).unwrap_or_default().split('\x1e');
    loop {
        let remainder = packets.remainder();
        assert!(remainder.is_none_or(|rest| body.ends_with(rest.as_bytes())), "a remainder is the end of the body");
        let Some(packet) = packets.next() else { break };
        let resumed = remainder.and_then(|rest| Packets::resume(rest).next());
        assert_eq!(resumed.as_ref(), Some(&packet), "decoding can be resumed at any packet");
        let text = texts.next().expect("no more packets than separators");
        match packet {
            Ok(packet) => {
                check_packet(text, &packet);
                decoded.push(packet);
            }
            Err(_) => {
                assert_eq!(packets.next(), None, "nothing comes after a fault");
                break;
            }
        }
    }
    if let Some(at) = decoded.iter().position(|packet| *packet == Inbound::Close) {
        assert_eq!(at + 1, decoded.len(), "nothing comes after a close packet");
    }
    goes_back(&decoded, max);
    is_shared(&decoded);
}

/// Checks that a packet is what its text says: encoding it gives the text again.
fn check_packet(text: &str, packet: &Inbound<'_>) {
    match packet {
        Inbound::Message(_) => assert_eq!(encode(packet), text),
        Inbound::Ping(data) => assert_eq!(text.strip_prefix('2'), Some(*data)),
        Inbound::Pong(data) => assert_eq!(text.strip_prefix('3'), Some(*data)),
        Inbound::Close => assert!(text.starts_with('1')),
        Inbound::Upgrade => assert!(text.starts_with('5')),
        Inbound::Noop => assert!(text.starts_with(['0', '6'])),
    }
}

/// Encodes the packet as a client does; for types that a server sends too, with the encoder under test.
fn encode(packet: &Inbound<'_>) -> String {
    let mut out = Vec::new();
    match packet {
        Inbound::Message(message) => Outbound::Message(message.clone()).encode(&mut out),
        Inbound::Pong(data) => Outbound::Pong(data).encode(&mut out),
        Inbound::Ping(data) => return format!("2{data}"),
        Inbound::Close => Outbound::Close.encode(&mut out),
        Inbound::Upgrade => out.push(b'5'),
        Inbound::Noop => Outbound::Noop.encode(&mut out),
    }
    String::from_utf8(out).expect("packets are text")
}

/// Checks that decode(encode(packets)) = packets, in bodies of at most `max` bytes.
fn goes_back(packets: &[Inbound<'_>], max: usize) {
    let texts: Vec<String> = packets.iter().map(encode).collect();
    let (mut encoder, mut bodies, mut count) = (Encoder::new(max), Vec::new(), 0);
    for text in &texts {
        if encoder.push(text.as_bytes()) {
            count += 1;
            continue;
        }
        bodies.push((std::mem::replace(&mut encoder, Encoder::new(max)).finish(), count));
        assert!(encoder.is_empty() && encoder.push(text.as_bytes()), "the first packet is always accepted");
        count = 1;
    }
    assert_eq!(encoder.is_empty(), count == 0);
    if count > 0 {
        bodies.push((encoder.finish(), count));
    }
    let mut back = Vec::new();
    for (body, count) in &bodies {
        assert!(body.len() <= max || *count == 1, "{} bytes, limit {max}", body.len());
        back.extend(
            payload::decode(body)
                .expect("what was encoded is decoded")
                .map(|packet| packet.expect("what was encoded is decoded")),
        );
    }
    assert_eq!(back, packets);
}

/// Checks that a text with attachments has the same messages in both forms of a shared frame.
fn is_shared(packets: &[Inbound<'_>]) {
    let messages =
        packets.iter().filter_map(|packet| if let Inbound::Message(message) = packet { Some(message) } else { None });
    let mut text = None;
    let mut attachments = Vec::new();
    for message in messages {
        match message {
            Message::Text(data) => text = Some(&**data),
            Message::Binary(bytes) => attachments.push(bytes::Bytes::copy_from_slice(bytes)),
        }
        let single = SharedFrame::packet(&Outbound::Message(message.clone()));
        assert_eq!(single.polling(), encode(&Inbound::Message(message.clone())).as_bytes());
    }
    let Some(text) = text else { return };
    let (start, end) = text.as_bytes().split_at(text.len() / 2);
    let frame = SharedFrame::message(&[start, end], &attachments);
    let mut expected = vec![Inbound::Message(Message::Text(text.into()))];
    expected.extend(attachments.iter().map(|bytes| Inbound::Message(Message::Binary((&**bytes).into()))));
    let mut records = frame.polling().split(|byte| *byte == SEPARATOR);
    for packet in &expected {
        let record =
            records.next().and_then(|record| std::str::from_utf8(record).ok()).expect("one record for each packet");
        assert_eq!(engineio::packet::decode(record).as_ref(), Ok(packet));
    }
    assert_eq!(records.next(), None);
}
