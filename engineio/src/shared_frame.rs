//! [`SharedFrame`]: one or more packets, encoded once for any number of recipients.
//!
//! Frames of a server are unmasked (RFC 6455, 5.1), so the same bytes serve every WebSocket. The form for long-polling
//! is derived from them the first time a polling recipient needs it, and then shared too.

use std::sync::{Arc, OnceLock};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use crate::{
    Message,
    packet::Outbound,
    payload::SEPARATOR,
    ws::{
        self,
        header::{self, Opcode},
    },
};

/// Immutable pre-encoded packets. Cloning copies a pointer.
#[derive(Debug, Clone)]
pub struct SharedFrame(Arc<Encoded>);

#[derive(Debug)]
struct Encoded {
    websocket: Box<[u8]>,
    polling: OnceLock<Box<[u8]>>,
}

impl SharedFrame {
    /// A text message made of `parts` in a row, followed by binary messages, in one piece: nothing can come between a
    /// packet and its attachments. One allocation holds all of the WebSocket form.
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

    /// A message of a plain WebSocket ([`Config::plain_websockets`](crate::Config::plain_websockets)): a frame without packet
    /// type.
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
        Self(Arc::new(Encoded { websocket: websocket.into_boxed_slice(), polling: OnceLock::from(Box::from(*b"1")) }))
    }

    /// The answer to a ping frame. Such frames come only over a WebSocket, so there is no polling form.
    #[must_use]
    pub fn websocket_pong(payload: &[u8]) -> Self {
        let mut websocket = header::encode(Opcode::Pong, payload.len()).to_vec();
        websocket.extend_from_slice(payload);
        Self(Arc::new(Encoded { websocket: websocket.into_boxed_slice(), polling: OnceLock::from(Box::default()) }))
    }

    fn encoded(websocket: Vec<u8>) -> Self {
        Self(Arc::new(Encoded { websocket: websocket.into_boxed_slice(), polling: OnceLock::new() }))
    }

    /// The bytes for a WebSocket: whole frames.
    #[must_use]
    pub fn websocket(&self) -> &[u8] {
        &self.0.websocket
    }

    /// The bytes for a polling body: packets with 0x1e between them, binary as `b` and base64 (Engine.IO v4,
    /// "Packet encoding").
    #[must_use]
    pub fn polling(&self) -> &[u8] {
        self.0.polling.get_or_init(|| {
            let mut body = Vec::with_capacity(self.0.websocket.len());
            let mut rest = self.websocket();
            while let Some((opcode, payload, next)) = split_frame(rest) {
                if !body.is_empty() {
                    body.push(SEPARATOR);
                }
                if opcode == Opcode::Binary as u8 {
                    body.push(b'b');
                    body.extend_from_slice(STANDARD.encode(payload).as_bytes());
                } else {
                    body.extend_from_slice(payload);
                }
                rest = next;
            }
            body.into_boxed_slice()
        })
    }
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
    fn every_length_form_survives_the_way_to_polling() {
        for len in [0, 124, 125, 126, 65_534, 65_535, 65_536, 70_000] {
            let text = vec![b'x'; len];
            let frame = SharedFrame::message(&[&text], &[]);
            assert_eq!(frame.polling().len(), len + 1, "{len}");
            assert_eq!(frame.polling().first(), Some(&b'4'));
        }
    }

    #[test]
    fn control_packets() {
        assert_eq!(SharedFrame::packet(&Outbound::Ping).websocket(), b"\x81\x012");
        assert_eq!(SharedFrame::packet(&Outbound::Pong("probe")).polling(), b"3probe");
        let binary = Outbound::Message(crate::Message::Binary(vec![0xff].into()));
        assert_eq!(SharedFrame::packet(&binary).websocket(), b"\x82\x01\xff");
    }
}
