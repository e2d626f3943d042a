//! Socket.IO packets of a session, and the chat's events.

use std::borrow::Cow;
use std::io::Write;
use std::mem;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use serde::Deserialize;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::conn::Broken;
use crate::rooms::LOBBY;
use crate::server::Server;

/// Attachments a packet may have: what socket.io-parser takes by default.
const MAX_ATTACHMENTS: usize = 10;
/// Characters of a message.
const MAX_MESSAGE: usize = 4096;

/// A packet that waits for its attachments.
#[derive(Debug)]
pub(crate) struct Binary {
    packet: Vec<u8>,
    expected: usize,
    attachments: SmallVec<[Vec<u8>; 1]>,
}

#[derive(Deserialize)]
struct Auth<'a> {
    token: Option<&'a str>,
}

#[derive(Deserialize)]
struct Join<'a> {
    #[serde(borrow, rename = "roomId")]
    room_id: &'a RawValue,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    message: &'a RawValue,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Context<'a> {
    #[serde(borrow, rename = "roomId")]
    room_id: Option<&'a RawValue>,
}

impl Server {
    /// An Engine.IO packet in text.
    pub(crate) fn on_packet(&mut self, session: usize, packet: &[u8]) -> Result<(), Broken> {
        let packet = str::from_utf8(packet).map_err(|_| Broken)?;
        // Nothing may come between a packet and its attachments.
        let waits = self.sessions.get(session).ok_or(Broken)?.binary.is_some();
        match (packet.split_at_checked(1).ok_or(Broken)?, waits) {
            (("3", _), _) => {
                self.on_pong(session);
                Ok(())
            }
            (("4", rest), false) => match rest.split_at_checked(1).ok_or(Broken)? {
                ("0", auth) => self.on_connect(session, auth),
                ("2", event) => self.on_event(session, event, &[]),
                ("5", event) => self.on_binary(session, event),
                // An acknowledgement: none was asked for.
                ("3", _) => Ok(()),
                _ => Err(Broken),
            },
            _ => Err(Broken),
        }
    }

    fn on_connect(&mut self, session: usize, auth: &str) -> Result<(), Broken> {
        if let Some(nsp) = auth.strip_prefix('/') {
            let nsp = nsp.split(',').next().unwrap_or_default();
            self.send(session, format!("44/{nsp},{{\"message\":\"Invalid namespace\"}}").as_bytes());
            return Ok(());
        }
        if !self.sessions.get(session).ok_or(Broken)?.user.is_empty() {
            return Err(Broken);
        }
        let token = serde_json::from_str::<Auth<'_>>(auth).ok().and_then(|auth| auth.token).ok_or("token_missing");
        match token.and_then(|token| self.verifier.verify(token)) {
            Ok(user) => self.sessions.get_mut(session).ok_or(Broken)?.user = user,
            Err(code) => {
                let refusal = format!("44{{\"message\":\"unauthorized\",\"data\":{{\"code\":\"{code}\"}}}}");
                self.send(session, refusal.as_bytes());
                return Ok(());
            }
        }
        let sid = BASE64_URL_SAFE_NO_PAD.encode(self.random::<15>()?);
        let lobby = self.room(LOBBY);
        self.join(session, lobby);
        self.send(session, format!("40{{\"sid\":\"{sid}\"}}").as_bytes());
        Ok(())
    }

    fn on_binary(&mut self, session: usize, packet: &str) -> Result<(), Broken> {
        let (count, event) = packet.split_once('-').ok_or(Broken)?;
        let expected = count.parse().map_err(|_| Broken)?;
        match expected {
            0 => return self.on_event(session, event, &[]),
            1..=MAX_ATTACHMENTS => {}
            _ => return Err(Broken),
        }
        let binary = Binary { packet: event.into(), expected, attachments: SmallVec::new() };
        self.sessions.get_mut(session).ok_or(Broken)?.binary = Some(Box::new(binary));
        Ok(())
    }

    /// An attachment. The last is not copied: it is passed on from where it lies.
    pub(crate) fn on_attachment(&mut self, session: usize, bytes: &[u8]) -> Result<(), Broken> {
        let waits = &mut self.sessions.get_mut(session).ok_or(Broken)?.binary;
        let Some(mut binary) = waits.take() else { return Err(Broken) };
        if binary.attachments.len() + 1 < binary.expected {
            binary.attachments.push(bytes.to_vec());
            *waits = Some(binary);
            return Ok(());
        }
        let mut attachments: SmallVec<[&[u8]; 2]> = binary.attachments.iter().map(Vec::as_slice).collect();
        attachments.push(bytes);
        let event = str::from_utf8(&binary.packet).map_err(|_| Broken)?;
        self.on_event(session, event, &attachments)
    }

    fn on_event(&mut self, session: usize, event: &str, attachments: &[&[u8]]) -> Result<(), Broken> {
        if self.sessions.get(session).ok_or(Broken)?.user.is_empty() {
            return Err(Broken);
        }
        let (ack, json) = event.split_at(event.find(|byte: char| !byte.is_ascii_digit()).unwrap_or(event.len()));
        let result = if let Some(arguments) = json.strip_prefix("[\"message\",") {
            self.on_message(session, arguments, attachments, ack)
        } else if let Some(arguments) = json.strip_prefix("[\"join\",") {
            self.on_join(session, arguments, ack)
        } else {
            // Nobody listens to it, as with the Node peer.
            return Ok(());
        };
        let Err(code) = result else { return Ok(()) };
        let error = if ack.is_empty() {
            format!("42[\"error\",{{\"code\":\"{code}\",\"message\":\"{code}\"}}]")
        } else {
            format!("43{ack}[{{\"ok\":false,\"error\":{{\"code\":\"{code}\",\"message\":\"{code}\"}}}}]")
        };
        self.send(session, error.as_bytes());
        Ok(())
    }

    fn on_join(&mut self, session: usize, arguments: &str, ack: &str) -> Result<(), &'static str> {
        let join: Join<'_> = argument(arguments)?;
        let id = room_id(join.room_id)?;
        let room = self.room(&id);
        let members = self.join(session, room);
        if !ack.is_empty() {
            let answer = format!("43{ack}[{{\"ok\":true,\"roomId\":{},\"members\":{members}}}]", join.room_id);
            self.send(session, answer.as_bytes());
        }
        Ok(())
    }

    fn on_message(
        &mut self,
        session: usize,
        arguments: &str,
        attachments: &[&[u8]],
        ack: &str,
    ) -> Result<(), &'static str> {
        let Message { message, context } = argument(arguments)?;
        let id = match context.map(RawValue::get) {
            Some(context) if context.starts_with('{') => {
                let context: Context<'_> = serde_json::from_str(context).map_err(|_| "invalid_payload")?;
                context.room_id.map_or(Ok(Cow::Borrowed(LOBBY)), room_id)?
            }
            Some(_) => return Err("invalid_payload"),
            None => Cow::Borrowed(LOBBY),
        };
        check_text(message.get())?;
        let room = self.room(&id);
        let sender = self.sessions.get(session).ok_or("internal")?;
        if !sender.rooms.contains(&(room as u32)) {
            self.join(session, room);
        }
        let stamp = self.stamper.stamp();
        let mut packet = mem::take(&mut self.packet);
        packet.clear();
        if attachments.is_empty() {
            packet.extend_from_slice(b"42");
        } else {
            // Writing to a vector does not fail.
            let _ = write!(packet, "45{}-", attachments.len());
        }
        packet.extend_from_slice(b"[\"message\",{\"id\":\"");
        packet.extend_from_slice(&stamp.id);
        packet.extend_from_slice(b"\",\"message\":");
        packet.extend_from_slice(message.get().as_bytes());
        packet.extend_from_slice(b",\"timestamp\":\"");
        packet.extend_from_slice(&stamp.timestamp);
        packet.push(b'"');
        if let Some(context) = context {
            packet.extend_from_slice(b",\"context\":");
            packet.extend_from_slice(context.get().as_bytes());
        }
        packet.extend_from_slice(self.sessions.get(session).ok_or("internal")?.user.as_bytes());
        self.broadcast(room, &packet, attachments);
        if !ack.is_empty() {
            packet.clear();
            for part in [
                b"43",
                ack.as_bytes(),
                b"[{\"ok\":true,\"id\":\"",
                &stamp.id,
                b"\",\"timestamp\":\"",
                &stamp.timestamp,
                b"\"}]",
            ] {
                packet.extend_from_slice(part);
            }
            self.send(session, &packet);
        }
        self.packet = packet;
        Ok(())
    }
}

/// The first argument of an event; others are ignored, as by a Node listener.
fn argument<'a, T: Deserialize<'a>>(arguments: &'a str) -> Result<T, &'static str> {
    let mut stream = serde_json::Deserializer::from_str(arguments).into_iter::<T>();
    let Some(Ok(value)) = stream.next() else { return Err("invalid_payload") };
    match arguments.get(stream.byte_offset()..).map(str::trim_ascii) {
        Some("]") => Ok(value),
        Some(rest) if rest.starts_with(',') && rest.ends_with(']') => Ok(value),
        _ => Err("invalid_payload"),
    }
}

/// A room id: 1 to 128 bytes.
fn room_id(json: &RawValue) -> Result<Cow<'_, str>, &'static str> {
    let quoted = json.get().strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or("room_invalid")?;
    let id = if quoted.contains('\\') {
        Cow::Owned(serde_json::from_str(json.get()).map_err(|_| "room_invalid")?)
    } else {
        Cow::Borrowed(quoted)
    };
    if id.is_empty() || id.len() > 128 { Err("room_invalid") } else { Ok(id) }
}

/// A message is a string, not empty nor white, and not too long. Escapes are counted as they stand.
fn check_text(json: &str) -> Result<(), &'static str> {
    let text = json.strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or("invalid_payload")?;
    if text.trim_ascii().is_empty() {
        return Err("message_empty");
    }
    // Bytes first: few messages are long enough to be worth counting.
    if text.len() > MAX_MESSAGE && text.chars().count() > MAX_MESSAGE { Err("message_too_long") } else { Ok(()) }
}
