//! [`SharedFrame`]: one or more packets, encoded once for any number of recipients.
//!
//! A server's frames are unmasked (RFC 6455, 5.1), so the same bytes serve every WebSocket. The other forms (for
//! long-polling, for protocol v3, for a peer that accepts no binary) are derived from them when the first recipient
//! needs them, and then shared too.

use std::sync::{Arc, OnceLock};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use crate::{
    Message, Protocol,
    packet::{Outbound, v3},
    payload::{self, SEPARATOR},
    ws::{
        self,
        deflate::{self, Deflate, WINDOWS},
        header::{self, Opcode},
    },
};

/// The form in which the peer of a WebSocket wants its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wire {
    /// The revision of the protocol: in v3 a binary frame begins with the packet's type.
    pub protocol: Protocol,
    /// The peer accepts no binary frames (`b64=1` in the query): binary goes as base64 in text frames.
    pub base64: bool,
    /// If permessage-deflate was agreed, how messages are compressed.
    pub deflate: Option<Deflate>,
}

impl Wire {
    /// Whether [`SharedFrame::websocket`] serves this peer unchanged, so that no form has to be derived.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        matches!(self, Self { protocol: Protocol::V4, base64: false, deflate: None })
    }

    /// The index of the uncompressed form in [`Derived::websocket`]; `None` if binary goes unchanged.
    const fn index(self) -> Option<usize> {
        match (self.protocol, self.base64) {
            (Protocol::V4, false) => None,
            (Protocol::V4, true) => Some(0),
            (Protocol::V3, false) => Some(1),
            (Protocol::V3, true) => Some(2),
        }
    }
}

/// Immutable pre-encoded packets. Cloning copies a pointer.
#[derive(Debug, Clone)]
pub struct SharedFrame(Arc<Encoded>);

#[derive(Debug)]
struct Encoded {
    websocket: Box<[u8]>,
    polling: OnceLock<Box<[u8]>>,
    derived: OnceLock<Box<Derived>>,
    /// Whether the frame may be compressed, over WebSocket or HTTP.
    compress: bool,
}

/// The forms that few recipients need. They are in a box of their own, because most frames never need them.
#[derive(Debug, Default)]
struct Derived {
    polling_v3: OnceLock<Box<[u8]>>,
    polling_v3_binary: OnceLock<Box<[u8]>>,
    /// Indexed by [`Wire::index`].
    websocket: [OnceLock<SharedFrame>; 3],
    /// Compressed forms, by window size; `None` if compression gained nothing.
    deflated: [OnceLock<Option<SharedFrame>>; WINDOWS],
}

impl SharedFrame {
    /// A text message made by joining `parts`, followed by binary messages, in one piece, so that nothing can come
    /// between a packet and its attachments. One allocation holds the whole WebSocket form.
    #[must_use]
    pub fn message(parts: &[&[u8]], attachments: &[Bytes]) -> Self {
        let text = 1 + parts.iter().map(|part| part.len()).sum::<usize>();
        let head = header::encode(Opcode::Text, text);
        let binary: usize =
            attachments.iter().map(|bytes| header::encode(Opcode::Binary, bytes.len()).len() + bytes.len()).sum();
        let mut websocket = Vec::with_capacity(head.len() + text + binary);
        websocket.extend_from_slice(&head);
        websocket.push(b'4');
        for part in parts {
            websocket.extend_from_slice(part);
        }
        for bytes in attachments {
            push_binary(&mut websocket, bytes);
        }
        Self::encoded(websocket)
    }

    /// A single packet.
    #[must_use]
    pub fn packet(packet: &Outbound<'_>) -> Self {
        let mut websocket = Vec::new();
        if let Outbound::Message(Message::Binary(bytes)) = packet {
            push_binary(&mut websocket, bytes);
        } else {
            let mut text = Vec::new();
            packet.encode(&mut text);
            websocket.extend_from_slice(&header::encode(Opcode::Text, text.len()));
            websocket.extend_from_slice(&text);
        }
        Self::encoded(websocket)
    }

    /// A message on a plain WebSocket ([`Config::plain_websockets`](crate::Config::plain_websockets)): a frame without
    /// a packet type.
    #[must_use]
    pub fn websocket_message(message: &Message<'_>) -> Self {
        let (opcode, bytes) = match message {
            Message::Text(text) => (Opcode::Text, text.as_bytes()),
            Message::Binary(bytes) => (Opcode::Binary, &**bytes),
        };
        let head = header::encode(opcode, bytes.len());
        Self::encoded([&*head, bytes].concat())
    }

    /// The end of a connection: a close frame for a WebSocket, packet `1` for a poll.
    #[must_use]
    pub fn close(code: Option<u16>) -> Self {
        let mut websocket = Vec::new();
        ws::close::encode(code, "", &mut websocket);
        Self::encoded(websocket)
    }

    /// The answer to a ping frame. Such frames come only over a WebSocket, so the polling form is empty.
    #[must_use]
    pub fn websocket_pong(payload: &[u8]) -> Self {
        let mut websocket = header::encode(Opcode::Pong, payload.len()).to_vec();
        websocket.extend_from_slice(payload);
        Self::encoded(websocket)
    }

    fn encoded(websocket: Vec<u8>) -> Self {
        Self(Arc::new(Encoded {
            websocket: websocket.into_boxed_slice(),
            polling: OnceLock::new(),
            derived: OnceLock::new(),
            compress: true,
        }))
    }

    /// The same packets, never compressed. For data that is compressed already, or that holds a secret next to text an
    /// attacker chooses (Node's packet option `compress`).
    #[must_use]
    pub fn without_compression(mut self) -> Self {
        if let Some(encoded) = Arc::get_mut(&mut self.0) {
            encoded.compress = false;
            return self;
        }
        let websocket = self.0.websocket.clone();
        Self(Arc::new(Encoded { websocket, polling: OnceLock::new(), derived: OnceLock::new(), compress: false }))
    }

    /// Whether the frame may be compressed.
    #[must_use]
    pub fn may_compress(&self) -> bool {
        self.0.compress
    }

    fn derived(&self) -> &Derived {
        self.0.derived.get_or_init(Box::default)
    }

    /// The bytes for a WebSocket: whole frames.
    #[must_use]
    pub fn websocket(&self) -> &[u8] {
        &self.0.websocket
    }

    /// The same packets in the form that `wire` asks for; this frame itself if that makes no difference. Of all
    /// recipients with the same window, the first one's threshold and level are used, since a server has only one of
    /// each. Do not use the polling forms of the returned frame.
    #[must_use]
    pub fn adapt(&self, wire: Wire) -> Self {
        if wire.is_plain() {
            return self.clone();
        }
        let derived = wire.index().filter(|_| self.has_binary()).and_then(|index| self.derived().websocket.get(index));
        let encoded = derived.map_or(self, |slot| slot.get_or_init(|| self.child(self.encode_for(wire))));
        match wire.deflate.filter(|deflate| encoded.0.compress && encoded.websocket().len() >= deflate.threshold) {
            Some(deflate) => encoded.deflate(deflate),
            None => encoded.clone(),
        }
    }

    /// A frame derived from this one.
    fn child(&self, websocket: Vec<u8>) -> Self {
        let child = Self::encoded(websocket);
        if self.0.compress { child } else { child.without_compression() }
    }

    /// The same packets, compressed if that makes them smaller.
    fn deflate(&self, deflate: Deflate) -> Self {
        let Some(slot) = self.derived().deflated.get(deflate.index()) else { return self.clone() };
        let deflated = slot.get_or_init(|| {
            let (mut out, mut any) = (Vec::new(), false);
            for (opcode, payload, frame) in self.frames() {
                let opcode = [Opcode::Text, Opcode::Binary].into_iter().find(|data| *data as u8 == opcode);
                match opcode.and_then(|opcode| Some((opcode, deflate::compress(payload, deflate)?))) {
                    Some((opcode, compressed)) => {
                        any = true;
                        out.extend_from_slice(&header::encode_compressed(opcode, compressed.len()));
                        out.extend_from_slice(&compressed);
                    }
                    None => out.extend_from_slice(frame),
                }
            }
            any.then(|| Self::encoded(out))
        });
        deflated.as_ref().unwrap_or(self).clone()
    }

    /// The WebSocket form for a peer whose binary packets are not v4's binary frames.
    fn encode_for(&self, wire: Wire) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.websocket().len());
        for (opcode, payload, frame) in self.frames() {
            if opcode != Opcode::Binary as u8 {
                out.extend_from_slice(frame);
            } else if wire.base64 {
                let text = base64_packet(wire.protocol, payload);
                out.extend_from_slice(&header::encode(Opcode::Text, text.len()));
                out.extend_from_slice(&text);
            } else {
                out.extend_from_slice(&header::encode(Opcode::Binary, 1 + payload.len()));
                out.push(v3::BINARY_MESSAGE);
                out.extend_from_slice(payload);
            }
        }
        out
    }

    /// The bytes for a polling body: packets separated by 0x1e, binary as `b` and base64 (Engine.IO v4, "Packet
    /// encoding").
    #[must_use]
    pub fn polling(&self) -> &[u8] {
        self.0.polling.get_or_init(|| {
            let mut body = Vec::with_capacity(self.0.websocket.len());
            for packet in self.packets() {
                if !body.is_empty() {
                    body.push(SEPARATOR);
                }
                match packet {
                    Packet::Text(text) => body.extend_from_slice(text),
                    Packet::Binary(bytes) => {
                        body.push(b'b');
                        body.extend_from_slice(STANDARD.encode(bytes).as_bytes());
                    }
                }
            }
            body.into_boxed_slice()
        })
    }

    /// The bytes for a polling body of protocol v3 in its text form: each packet preceded by its length, binary as `b4`
    /// and base64.
    #[must_use]
    pub fn polling_v3(&self) -> &[u8] {
        self.derived().polling_v3.get_or_init(|| {
            let mut body = Vec::with_capacity(self.0.websocket.len() + 8);
            for packet in self.packets() {
                match packet {
                    Packet::Text(text) => payload::v3::push_text(text, &mut body),
                    Packet::Binary(bytes) => payload::v3::push_text(&base64_packet(Protocol::V3, bytes), &mut body),
                }
            }
            body.into_boxed_slice()
        })
    }

    /// The bytes for a polling body of protocol v3 in its binary form.
    #[must_use]
    pub fn polling_v3_binary(&self) -> &[u8] {
        self.derived().polling_v3_binary.get_or_init(|| {
            let mut body = Vec::with_capacity(self.0.websocket.len() + 8);
            for packet in self.packets() {
                match packet {
                    Packet::Text(text) => payload::v3::push_binary(true, [text, &[]], &mut body),
                    Packet::Binary(bytes) => {
                        payload::v3::push_binary(false, [&[v3::BINARY_MESSAGE], bytes], &mut body);
                    }
                }
            }
            body.into_boxed_slice()
        })
    }

    /// Whether one of the packets is a binary message.
    #[must_use]
    pub fn has_binary(&self) -> bool {
        self.frames().any(|(opcode, ..)| opcode == Opcode::Binary as u8)
    }

    /// The opcode, the payload and all bytes of each frame.
    fn frames(&self) -> impl Iterator<Item = (u8, &[u8], &[u8])> {
        let mut rest = self.websocket();
        std::iter::from_fn(move || {
            let (opcode, payload, next) = split_frame(rest)?;
            let frame = rest.get(..rest.len() - next.len())?;
            rest = next;
            Some((opcode, payload, frame))
        })
    }

    /// The frames as packets: a close frame is packet `1`; WebSocket pings and pongs are left out.
    fn packets(&self) -> impl Iterator<Item = Packet<'_>> {
        self.frames().filter_map(|(opcode, payload, _)| match opcode {
            opcode if opcode == Opcode::Text as u8 => Some(Packet::Text(payload)),
            opcode if opcode == Opcode::Binary as u8 => Some(Packet::Binary(payload)),
            opcode if opcode == Opcode::Close as u8 => Some(Packet::Text(b"1")),
            _ => None,
        })
    }
}

/// A frame's packet: in text form, or the bytes of a binary message.
enum Packet<'a> {
    Text(&'a [u8]),
    Binary(&'a [u8]),
}

/// A binary message for a peer or a body that accepts only text.
fn base64_packet(protocol: Protocol, bytes: &[u8]) -> Vec<u8> {
    let prefix = match protocol {
        Protocol::V3 => v3::BASE64_MESSAGE,
        Protocol::V4 => b"b",
    };
    [prefix, STANDARD.encode(bytes).as_bytes()].concat()
}

fn push_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&header::encode(Opcode::Binary, bytes.len()));
    out.extend_from_slice(bytes);
}

/// Splits the first of our own frames (whole, unmasked, FIN set) into opcode, payload and what follows.
fn split_frame(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[first, second], rest) = bytes.split_first_chunk::<2>()?;
    let (len, rest) = match second {
        126 => rest.split_first_chunk::<2>().map(|(len, rest)| (u64::from(u16::from_be_bytes(*len)), rest))?,
        127 => rest.split_first_chunk::<8>().map(|(len, rest)| (u64::from_be_bytes(*len), rest))?,
        short => (u64::from(short), rest),
    };
    let (payload, next) = rest.split_at_checked(usize::try_from(len).ok()?)?;
    Some((first & 0x0f, payload, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_attachments_is_one_piece_in_both_forms() {
        let frame = SharedFrame::message(&[b"51-[\"a\",", b"{}]"], &[Bytes::from_static(&[1, 2, 3]), Bytes::new()]);
        assert_eq!(frame.websocket(), b"\x81\x0c451-[\"a\",{}]\x82\x03\x01\x02\x03\x82\x00");
        assert_eq!(frame.polling(), b"451-[\"a\",{}]\x1ebAQID\x1eb");
    }

    #[test]
    fn every_length_form_can_be_turned_into_polling() {
        for len in [0, 124, 125, 126, 65_534, 65_535, 65_536, 70_000] {
            let text = vec![b'x'; len];
            let frame = SharedFrame::message(&[&text], &[]);
            assert_eq!(frame.polling().len(), len + 1, "{len}");
            assert_eq!(frame.polling().first(), Some(&b'4'));
        }
    }

    #[test]
    fn a_peer_of_v3_or_without_binary_gets_binary_in_its_own_form() {
        let frame = SharedFrame::message(&[b"51-[]"], &[Bytes::from_static(&[1, 2, 3]), Bytes::new()]);
        for (protocol, base64, expected) in [
            (Protocol::V4, false, &b"\x81\x06451-[]\x82\x03\x01\x02\x03\x82\x00"[..]),
            (Protocol::V4, true, b"\x81\x06451-[]\x81\x05bAQID\x81\x01b"),
            (Protocol::V3, false, b"\x81\x06451-[]\x82\x04\x04\x01\x02\x03\x82\x01\x04"),
            (Protocol::V3, true, b"\x81\x06451-[]\x81\x06b4AQID\x81\x02b4"),
        ] {
            let wire = Wire { protocol, base64, deflate: None };
            assert_eq!(frame.adapt(wire).websocket(), expected, "{wire:?}");
            assert_eq!(frame.adapt(wire).websocket().as_ptr(), frame.adapt(wire).websocket().as_ptr(), "once");
        }
        let text = SharedFrame::message(&[b"2[]"], &[]);
        let v3 = text.adapt(Wire { protocol: Protocol::V3, ..Wire::default() });
        assert_eq!(v3.websocket().as_ptr(), text.websocket().as_ptr(), "nothing to derive");
    }

    #[test]
    fn a_long_message_is_compressed_once_for_all() {
        const DEFLATE: Deflate = Deflate { window_bits: 15, threshold: 100, level: 6 };
        let wire = Wire { deflate: Some(DEFLATE), ..Wire::default() };
        let long = Bytes::from(vec![b'b'; 500]);
        let frame = SharedFrame::message(&[&[b'a'; 400]], &[Bytes::from_static(b"short"), long.clone()]);
        let adapted = frame.adapt(wire);
        let mut decoder = ws::Decoder::with_deflate(1000);
        let mut bytes = client_s(adapted.websocket());
        assert!(bytes.len() < 100);
        let mut input = bytes.as_mut_slice();
        assert_eq!(decoder.decode(&mut input), Ok(Some(ws::Item::Text(format!("4{}", "a".repeat(400)).into()))));
        assert_eq!(decoder.decode(&mut input), Ok(Some(ws::Item::Binary(b"short"[..].into()))));
        assert_eq!(decoder.decode(&mut input), Ok(Some(ws::Item::Binary(long[..].into()))));
        assert_eq!(frame.adapt(wire).websocket().as_ptr(), adapted.websocket().as_ptr(), "once");
        let nine = Wire { deflate: Some(Deflate { window_bits: 9, ..DEFLATE }), ..wire };
        assert_ne!(frame.adapt(nine).websocket().as_ptr(), adapted.websocket().as_ptr(), "once for each window");
    }

    #[test]
    fn a_message_too_short_incompressible_or_exempt_stays_uncompressed() {
        let deflate = Some(Deflate { window_bits: 15, threshold: 100, level: 6 });
        let noise: Vec<u8> = (0..200_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for frame in [
            SharedFrame::message(&[&[b'a'; 50]], &[]),
            SharedFrame::packet(&Outbound::Message(Message::Binary(noise.into()))),
            SharedFrame::message(&[&[b'a'; 500]], &[]).without_compression(),
            SharedFrame::websocket_pong(&[b'a'; 120]),
        ] {
            let adapted = frame.adapt(Wire { deflate, ..Wire::default() });
            assert_eq!(adapted.websocket().as_ptr(), frame.websocket().as_ptr());
        }
        let shared = SharedFrame::message(&[&[b'a'; 500]], &[]);
        assert!(!shared.clone().without_compression().may_compress() && shared.may_compress());
        let v3 = Wire { protocol: Protocol::V3, deflate, ..Wire::default() };
        let binary = Outbound::Message(Message::Binary(vec![7; 500].into()));
        assert_eq!(SharedFrame::packet(&binary).without_compression().adapt(v3).websocket().len(), 505);
        assert!(SharedFrame::packet(&binary).adapt(v3).websocket().len() < 50);
    }

    /// A server's frames as a client would send them, with a mask of zeros.
    fn client_s(mut frames: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some((_, payload, next)) = split_frame(frames) {
            let (head, _) = frames.split_at(frames.len() - next.len() - payload.len());
            out.extend_from_slice(&[head[0], head[1] | 0x80]);
            out.extend_from_slice(&head[2..]);
            out.extend_from_slice(&[0; 4]);
            out.extend_from_slice(payload);
            frames = next;
        }
        out
    }

    #[test]
    fn a_poll_gets_a_close_as_a_packet_and_no_pong() {
        let close = SharedFrame::close(Some(1000));
        assert_eq!((close.polling(), close.polling_v3()), (&b"1"[..], &b"1:1"[..]));
        assert_eq!(close.polling_v3_binary(), b"\x00\x01\xff1");
        assert_eq!(SharedFrame::websocket_pong(b"x").polling(), b"");
    }

    #[test]
    fn control_packets() {
        assert_eq!(SharedFrame::packet(&Outbound::Ping).websocket(), b"\x81\x012");
        assert_eq!(SharedFrame::packet(&Outbound::Pong("probe")).polling(), b"3probe");
        let binary = Outbound::Message(Message::Binary(vec![0xff].into()));
        assert_eq!(SharedFrame::packet(&binary).websocket(), b"\x82\x01\xff");
    }
}
