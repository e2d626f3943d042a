//! `engineio::payload::v3` and `engineio::packet::v3`: decodes the body of a POST in both forms, and encodes it again.
//!
//! The first byte says which form the body has, and how long encoded bodies may be. The rest is the body.

use base64::{Engine, engine::general_purpose::STANDARD};
use engineio::{
    Message, Protocol, SharedFrame, Wire,
    packet::{DecodeError, Inbound, Outbound},
    payload::{self, MAX_IDLE_PACKETS, poll_v3, v3},
};
use tokio_tungstenite::tungstenite::{self, protocol::Role};

use crate::{input::Input, wire};

/// What follows a length.
#[derive(Debug, Clone, PartialEq)]
enum Record {
    Text(String),
    Bytes(Vec<u8>),
}

/// Runs the target. See the module.
pub fn payload_v3(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let (binary, max) = (choice & 1 == 1, usize::from(choice));
    let body = input.rest();
    let result = if binary { v3::decode_binary(body) } else { v3::decode_text(body) };
    let Some((records, whole)) = (if binary { Some(read_binary(body)) } else { read_text(body) }) else {
        assert_eq!(result.err(), Some(payload::DecodeError::Utf8));
        return;
    };
    if records.iter().filter(|record| is_idle(record)).count() > MAX_IDLE_PACKETS {
        assert_eq!(result.err(), Some(payload::DecodeError::TooManyIdlePackets));
        return;
    }
    let packets: Vec<_> = result.expect("no flood").collect();
    let decoded: Vec<_> = packets.iter().map(|packet| packet.as_ref().ok().map(written)).collect();
    assert_eq!(decoded, expected(records, whole));
    let packets: Vec<Inbound<'_>> = packets.into_iter().flatten().collect();
    goes_back(&packets);
    is_polled(&packets, max);
    goes_over_websocket(&packets);
}

/// The records of a body up to its end or its first fault, read in JavaScript's units. `None`: not UTF-8.
fn read_text(body: &[u8]) -> Option<(Vec<Record>, bool)> {
    let units: Vec<u16> = std::str::from_utf8(body).ok()?.encode_utf16().collect();
    let (mut rest, mut records) = (units.as_slice(), Vec::new());
    loop {
        let digits = rest.iter().take_while(|unit| (0x30..=0x39).contains(*unit)).count();
        if !(1..=10).contains(&digits) || rest.get(digits) != Some(&0x3a) {
            return Some((records, false));
        }
        let length: usize = String::from_utf16_lossy(&rest[..digits]).parse().expect("ten digits");
        let Some(text) = rest.get(digits + 1..digits + 1 + length) else { return Some((records, false)) };
        // A length that ends within a character.
        let Ok(text) = String::from_utf16(text) else { return Some((records, false)) };
        records.push(Record::Text(text));
        rest = &rest[digits + 1 + length..];
        if rest.is_empty() {
            return Some((records, true));
        }
    }
}

fn read_binary(mut rest: &[u8]) -> (Vec<Record>, bool) {
    let mut records = Vec::new();
    loop {
        let Some(end) = rest.iter().position(|byte| *byte == 0xff) else { return (records, false) };
        if !(2..=11).contains(&end) || rest[0] > 1 || rest[1..end].iter().any(|digit| *digit > 9) {
            return (records, false);
        }
        let length = rest[1..end].iter().fold(0, |length, digit| length * 10 + usize::from(*digit));
        let Some(packet) = rest.get(end + 1..end + 1 + length) else { return (records, false) };
        if rest[0] == 1 {
            records.push(Record::Bytes(packet.to_vec()));
        } else if let Ok(text) = String::from_utf8(packet.to_vec())
            && !text.is_empty()
        {
            records.push(Record::Text(text));
        } else {
            return (records, false);
        }
        rest = &rest[end + 1 + length..];
        if rest.is_empty() {
            return (records, true);
        }
    }
}

fn is_idle(record: &Record) -> bool {
    matches!(record, Record::Text(text) if text.is_empty() || text.starts_with(['0', '2', '3', '5', '6']))
}

/// The packets of these records, in the form of [`written`]; `None` for the fault that ends them.
fn expected(records: Vec<Record>, whole: bool) -> Vec<Option<Record>> {
    let mut packets = Vec::new();
    for record in records {
        let packet = match record {
            Record::Bytes(bytes) => bytes.starts_with(&[4]).then_some(Record::Bytes(bytes)),
            Record::Text(text) => match text.as_bytes() {
                [] => continue,
                [b'b', b'4', data @ ..] => {
                    STANDARD.decode(data).ok().map(|bytes| Record::Bytes([&[4], &*bytes].concat()))
                }
                [b'0' | b'6', ..] => Some(Record::Text("6".into())),
                [kind @ (b'1' | b'5'), ..] => Some(Record::Text(char::from(*kind).into())),
                [b'2'..=b'4', ..] => Some(Record::Text(text)),
                _ => None,
            },
        };
        let over = packet.is_none() || packet == Some(Record::Text("1".into()));
        packets.push(packet);
        if over {
            return packets;
        }
    }
    if !whole {
        packets.push(None);
    }
    packets
}

/// The packet as a client writes it, without data that has no meaning.
fn written(packet: &Inbound<'_>) -> Record {
    Record::Text(match packet {
        Inbound::Message(Message::Binary(bytes)) => return Record::Bytes([&[4], &**bytes].concat()),
        Inbound::Message(Message::Text(text)) => format!("4{text}"),
        Inbound::Ping(data) => format!("2{data}"),
        Inbound::Pong(data) => format!("3{data}"),
        Inbound::Close => "1".into(),
        Inbound::Upgrade => "5".into(),
        Inbound::Noop => "6".into(),
    })
}

/// Checks that a client's body with these packets decodes to them, in both forms.
fn goes_back(packets: &[Inbound<'_>]) {
    let (mut text, mut binary) = (String::new(), Vec::new());
    for record in packets.iter().map(written) {
        let (kind, bytes) = match &record {
            Record::Text(text) => (0, text.as_bytes()),
            Record::Bytes(bytes) => (1, &**bytes),
        };
        binary.push(kind);
        binary.extend(bytes.len().to_string().bytes().map(|digit| digit - b'0'));
        binary.push(0xff);
        binary.extend_from_slice(bytes);
        let packet = match record {
            Record::Text(text) => text,
            Record::Bytes(bytes) => format!("b4{}", STANDARD.encode(&bytes[1..])),
        };
        text.push_str(&format!("{}:{packet}", packet.encode_utf16().count()));
    }
    if !packets.is_empty() {
        assert!(v3::decode_text(text.as_bytes()).expect("no flood").eq(packets.iter().cloned().map(Ok)));
        assert!(v3::decode_binary(&binary).expect("no flood").eq(packets.iter().cloned().map(Ok)));
    }
}

/// Those of these packets that a server sends too.
fn frames(packets: &[Inbound<'_>]) -> (Vec<SharedFrame>, Vec<Inbound<'static>>) {
    packets
        .iter()
        .filter_map(|packet| {
            let Inbound::Message(message) = packet else { return None };
            let message = message.clone().into_owned();
            Some((SharedFrame::packet(&Outbound::Message(message.clone())), Inbound::Message(message)))
        })
        .unzip()
}

/// Checks that a server's packets for a client arrive through polls of at most `max` bytes.
fn is_polled(packets: &[Inbound<'_>], max: usize) {
    let (frames, messages) = frames(packets);
    for takes_binary in [false, true] {
        let (mut rest, mut read) = (frames.as_slice(), Vec::new());
        while !rest.is_empty() {
            let body = poll_v3::encode(rest.iter(), takes_binary, max);
            assert!(body.taken == 1 || (body.taken > 1 && body.bytes.len() <= max), "{body:?}, limit {max}");
            assert_eq!(body.binary, takes_binary && rest.iter().any(SharedFrame::has_binary));
            let decode = if body.binary { v3::decode_binary } else { v3::decode_text };
            let back = decode(&body.bytes).expect("no flood").map(|packet| written(&packet.expect("well written")));
            read.extend(back);
            rest = &rest[body.taken..];
        }
        assert!(read.into_iter().eq(messages.iter().map(written)));
    }
}

/// Checks that they also arrive over a WebSocket, with and without binary frames, and as one frame with attachments.
fn goes_over_websocket(packets: &[Inbound<'_>]) {
    let (mut frames, mut messages) = frames(packets);
    let attachments: Vec<bytes::Bytes> = messages
        .iter()
        .filter_map(|packet| match packet {
            Inbound::Message(Message::Binary(bytes)) => Some(bytes::Bytes::copy_from_slice(bytes)),
            _ => None,
        })
        .collect();
    frames.push(SharedFrame::message(&[b"a", b"b"], &attachments));
    messages.push(Inbound::Message(Message::Text("ab".into())));
    messages.extend(attachments.iter().map(|bytes| Inbound::Message(Message::Binary(bytes.to_vec().into()))));
    for (protocol, base64) in [(Protocol::V3, false), (Protocol::V3, true), (Protocol::V4, true)] {
        let adapted = frames.iter().map(|frame| frame.adapt(Wire { protocol, base64, deflate: None }));
        let bytes: Vec<u8> = adapted.flat_map(|frame| frame.websocket().to_vec()).collect();
        let (read, code) = wire::tungstenite(Role::Client, usize::MAX, &bytes);
        assert_eq!((read.len(), code), (messages.len(), None));
        for (read, sent) in read.iter().zip(&messages) {
            let packet: Result<_, DecodeError> = match read {
                tungstenite::Message::Text(text) => protocol.decode_text(text),
                tungstenite::Message::Binary(bytes) if !base64 => protocol.decode_binary(bytes),
                other => panic!("a peer without binary gets {other:?}"),
            };
            assert_eq!(packet.as_ref(), Ok(sent));
        }
    }
}
