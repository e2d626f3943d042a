//! `socketio::parser::msgpack`: a client's message in MessagePack to a packet; a server's packet to MessagePack and back.
//!
//! The first byte chooses the limits (even: the default ones). The rest is the message.

use engineio::SharedFrame;
use serde_json::value::{RawValue, Value};
use socketio::{
    Args, Event, json,
    packet::{Packet, is_reserved},
    parser::{Encoder, Limits, Parser, attachments, msgpack},
};
use tokio_tungstenite::tungstenite::{Message, protocol::Role};

use crate::wire;

const ENCODER: Encoder = Encoder::new(Parser::Msgpack);

/// Runs the target. See the module.
pub fn msgpack(data: &[u8]) {
    let Some((&choice, message)) = data.split_first() else { return };
    let mut limits = Limits::default();
    if choice % 2 == 1 {
        limits.json.depth = u32::from(choice >> 5);
        limits.json.number_length = usize::from(choice >> 4);
        limits.attachments = usize::from(choice >> 6);
        limits.attachment_bytes = usize::from(choice >> 3);
        limits.nsp_length = usize::from(choice >> 4);
    }
    let Ok(unpacked) = msgpack::unpack(message, &limits) else { return };
    let Ok(packet) = unpacked.packet(&limits) else { return };
    let nsp = packet.nsp();
    assert!(nsp == "/" || nsp.len() <= limits.nsp_length);
    assert!(nsp.starts_with('/') && !nsp.contains(','));
    if let Packet::Connect { auth: Some(auth), .. } = packet {
        assert!(serde_json::from_str::<&RawValue>(auth).is_ok() && auth.starts_with('{'), "{auth}");
    }
    // Each control character may become six, and `false` and a comma come of one byte. A placeholder is longer.
    let attached = args_of(&packet).map_or(0, |args| args.attachments().len());
    assert!(args_of(&packet).map_or(0, |args| args.raw().len()) <= 7 * message.len() + 40 * attached);
    let Some(first) = encoded(&packet, &limits) else { return };
    // Whole numbers beyond 2^53 become doubles. From then on nothing changes any more.
    let wide = Limits::default();
    let again = msgpack::unpack(&first, &wide).expect("what was encoded is decoded");
    let again = again.packet(&wide).expect("likewise");
    if let (Some(back), Some(values)) = (values(&again), values(&packet)) {
        assert!(same(&back, &values), "{again:?}: {packet:?}");
    }
    let second = encoded(&again, &wide).expect("the same type");
    let last = msgpack::unpack(&second, &wide).expect("likewise");
    assert_eq!(last.packet(&wide).as_ref(), Ok(&again));
}

fn args_of<'p, 'a>(packet: &'p Packet<'a>) -> Option<&'p Args<'a>> {
    match packet {
        Packet::Event { event: Event { args, .. }, .. } | Packet::Ack { args, .. } => Some(args),
        _ => None,
    }
}

/// Checks the arguments, and encodes the packet as a server's.
fn encoded(packet: &Packet<'_>, limits: &Limits) -> Option<Vec<u8>> {
    let args = args_of(packet)?;
    for arg in args.iter() {
        assert!(serde_json::from_str::<&RawValue>(arg).is_ok_and(|raw| raw.get() == arg), "{arg}");
        assert!(json::depth(arg) < limits.json.depth as usize);
    }
    let (raw, attached) = (args.raw(), args.attachments());
    assert!(attached.len() <= limits.attachments);
    assert!(attached.iter().map(|bytes| bytes.len()).sum::<usize>() <= limits.attachment_bytes);
    assert!(attachments::all_placed(raw, attached.len()));
    let frame = match packet {
        Packet::Event { nsp, ack, event: Event { name, .. } } => {
            assert!(!is_reserved(name));
            ENCODER.event(nsp, *ack, name, raw, attached)
        }
        Packet::Ack { nsp, id, .. } => ENCODER.ack(nsp, *id, raw, attached),
        _ => return None,
    };
    Some(message_of(&frame))
}

/// The arguments as values; `None` if they are nested more deeply than serde_json can read.
fn values(packet: &Packet<'_>) -> Option<Value> {
    let raw = args_of(packet).map_or("", Args::raw);
    serde_json::from_str(&format!("[{raw}]")).ok()
}

/// Whether two values are the same to JavaScript, which has only doubles. serde_json reads some of these one unit too high or
/// too low.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let [a, b] = [a, b].map(|number| number.as_f64().unwrap_or_default());
            (a - b).abs() <= a.abs() * (4.0 * f64::EPSILON)
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((key, a), (other, b))| key == other && same(a, b))
        }
        _ => a == b,
    }
}

/// The only message of a frame, read by another implementation.
fn message_of(frame: &SharedFrame) -> Vec<u8> {
    let (messages, error) = wire::tungstenite(Role::Client, usize::MAX, frame.websocket());
    assert_eq!(error, None);
    match messages.as_slice() {
        [Message::Binary(bytes)] => bytes.to_vec(),
        other => panic!("no binary message: {other:?}"),
    }
}
