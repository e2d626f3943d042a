//! Socket.IO packets and the chat's events, in the least that serves the benchmarks.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc::Sender;
use tokio::task::AbortHandle;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use uuid::Uuid;

use crate::token::Verifier;

/// The room every socket is in.
const LOBBY: &str = "lobby";
/// Characters of a message.
const MAX_MESSAGE: usize = 4096;
/// Attachments a packet may have: what socket.io-parser takes by default.
const MAX_ATTACHMENTS: usize = 10;

/// The client broke the protocol: its connection is to be closed.
pub(crate) struct Violation;

/// What all connections share.
pub(crate) struct Chat {
    verifier: Verifier,
    rooms: HashMap<String, Vec<Member>>,
}

/// Ends a connection's task, once it is known.
type Evict = Rc<Cell<Option<AbortHandle>>>;

#[derive(Clone)]
struct Member {
    frames: Sender<Message>,
    evict: Evict,
}

impl Member {
    /// Queues a frame. Who has no room for it is evicted: a slow reader must not miss a message and go on.
    fn push(&self, frame: Message) {
        if self.frames.try_send(frame).is_err()
            && let Some(task) = self.evict.take()
        {
            task.abort();
        }
    }
}

/// One connection's side of the chat. Dropping it ends its memberships.
pub(crate) struct Socket {
    chat: Rc<RefCell<Chat>>,
    member: Member,
    /// The end of its events: `,"userId":"…","username":"…"}]`; empty before CONNECT.
    user: String,
    rooms: Vec<String>,
    /// A packet whose attachments are not here yet, and how many it has.
    binary: Option<(String, usize)>,
    attachments: Vec<Bytes>,
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
struct Said<'a> {
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

impl Chat {
    pub(crate) fn new(verifier: Verifier) -> Self {
        Self { verifier, rooms: HashMap::new() }
    }
}

impl Socket {
    pub(crate) fn new(chat: Rc<RefCell<Chat>>, frames: Sender<Message>) -> Self {
        let member = Member { frames, evict: Evict::default() };
        Self { chat, member, user: String::new(), rooms: Vec::new(), binary: None, attachments: Vec::new() }
    }

    pub(crate) fn evict(&self) -> Evict {
        Rc::clone(&self.member.evict)
    }

    /// An Engine.IO packet but a pong.
    pub(crate) fn on_text(&mut self, packet: &str) -> Result<(), Violation> {
        if self.binary.is_some() {
            return Err(Violation);
        }
        match packet.split_at_checked(2).ok_or(Violation)? {
            ("40", auth) => self.on_connect(auth),
            ("42", event) => self.on_event(event),
            ("45", packet) => {
                let (count, event) = packet.split_once('-').ok_or(Violation)?;
                match count.parse().map_err(|_| Violation)? {
                    0 => return self.on_event(event),
                    count @ 1..=MAX_ATTACHMENTS => self.binary = Some((event.to_owned(), count)),
                    _ => return Err(Violation),
                }
                Ok(())
            }
            ("43", _) => Ok(()),
            _ => Err(Violation),
        }
    }

    /// A binary frame.
    pub(crate) fn on_attachment(&mut self, bytes: Bytes) -> Result<(), Violation> {
        let (event, count) = self.binary.take().ok_or(Violation)?;
        self.attachments.push(bytes);
        if self.attachments.len() < count {
            self.binary = Some((event, count));
            return Ok(());
        }
        let handled = self.on_event(&event);
        self.attachments.clear();
        handled
    }

    fn on_connect(&mut self, auth: &str) -> Result<(), Violation> {
        if let Some(nsp) = auth.strip_prefix('/') {
            let nsp = nsp.split(',').next().unwrap_or_default();
            self.send(format!("44/{nsp},{{\"message\":\"Invalid namespace\"}}"));
            return Ok(());
        }
        if !self.user.is_empty() {
            return Err(Violation);
        }
        let token = serde_json::from_str::<Auth<'_>>(auth).ok().and_then(|auth| auth.token);
        let Some(user) = token.and_then(|token| self.chat.borrow().verifier.verify(token)) else {
            self.send("44{\"message\":\"unauthorized\"}".to_owned());
            return Ok(());
        };
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        self.user = format!(",\"userId\":{},\"username\":{}}}]", quoted(&user.id), quoted(user.name()));
        self.join(LOBBY);
        self.send(format!("40{{\"sid\":\"{}\"}}", Uuid::new_v4().simple()));
        Ok(())
    }

    fn on_event(&mut self, event: &str) -> Result<(), Violation> {
        if self.user.is_empty() {
            return Err(Violation);
        }
        let (ack, json) = event.split_at(event.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(event.len()));
        let (name, payload): (&str, &RawValue) = serde_json::from_str(json).map_err(|_| Violation)?;
        let result = match name {
            "message" => self.on_message(payload.get()),
            "join" => self.on_join(payload.get()),
            _ => return Ok(()),
        };
        match result {
            Ok(answer) if !ack.is_empty() => self.send(format!("43{ack}[{answer}]")),
            Err(code) if !ack.is_empty() => {
                let error = format!("{{\"code\":\"{code}\",\"message\":\"{code}\"}}");
                self.send(format!("43{ack}[{{\"ok\":false,\"error\":{error}}}]"));
            }
            Err(code) => self.send(format!("42[\"error\",{{\"code\":\"{code}\",\"message\":\"{code}\"}}]")),
            Ok(_) => {}
        }
        Ok(())
    }

    fn on_join(&mut self, payload: &str) -> Result<String, &'static str> {
        let Join { room_id } = serde_json::from_str(payload).map_err(|_| "invalid_payload")?;
        let members = self.join(&checked_id(room_id)?);
        Ok(format!("{{\"ok\":true,\"roomId\":{room_id},\"members\":{members}}}"))
    }

    /// Stamps a message and queues it for all members: encoded once, the frames shared.
    fn on_message(&mut self, payload: &str) -> Result<String, &'static str> {
        let Said { message, context } = serde_json::from_str(payload).map_err(|_| "invalid_payload")?;
        let text = message.get().strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or("invalid_payload")?;
        if text.trim_ascii().is_empty() {
            return Err("message_empty");
        }
        if text.len() > MAX_MESSAGE && text.chars().count() > MAX_MESSAGE {
            return Err("message_too_long");
        }
        let room_id = match context {
            Some(context) => {
                let context: Context<'_> = serde_json::from_str(context.get()).map_err(|_| "invalid_payload")?;
                context.room_id.map(checked_id).transpose()?
            }
            None => None,
        };
        let room_id = room_id.unwrap_or(Cow::Borrowed(LOBBY));
        if !self.rooms.iter().any(|joined| *joined == room_id) {
            self.join(&room_id);
        }
        let (id, timestamp) = (Uuid::now_v7(), humantime::format_rfc3339_millis(SystemTime::now()));
        let kind = if self.attachments.is_empty() { "42".into() } else { format!("45{}-", self.attachments.len()) };
        let context = context.map(|context| format!(",\"context\":{context}")).unwrap_or_default();
        let user = &self.user;
        let packet = format!(
            "{kind}[\"message\",{{\"id\":\"{id}\",\"message\":{message},\"timestamp\":\"{timestamp}\"{context}{user}"
        );
        let frame = Message::from(packet);
        if let Some(members) = self.chat.borrow().rooms.get(&*room_id) {
            for member in members {
                member.push(frame.clone());
                for attachment in &self.attachments {
                    member.push(Message::Binary(attachment.clone()));
                }
            }
        }
        Ok(format!("{{\"ok\":true,\"id\":\"{id}\",\"timestamp\":\"{timestamp}\"}}"))
    }

    /// Makes the socket a member if it is none. Returns how many there are.
    fn join(&mut self, room_id: &str) -> usize {
        let mut chat = self.chat.borrow_mut();
        let members = chat.rooms.entry(room_id.to_owned()).or_default();
        if !self.rooms.iter().any(|joined| joined == room_id) {
            self.rooms.push(room_id.to_owned());
            members.push(self.member.clone());
        }
        members.len()
    }

    fn send(&self, packet: String) {
        self.member.push(Message::from(packet));
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let mut chat = self.chat.borrow_mut();
        for room_id in &self.rooms {
            let Some(members) = chat.rooms.get_mut(room_id) else { continue };
            if let Some(place) = members.iter().position(|member| Rc::ptr_eq(&member.evict, &self.member.evict)) {
                members.swap_remove(place);
            }
            if members.is_empty() {
                chat.rooms.remove(room_id);
            }
        }
    }
}

/// A room id: 1 to 128 bytes.
fn checked_id(json: &RawValue) -> Result<Cow<'_, str>, &'static str> {
    let quoted = json.get().strip_prefix('"').and_then(|text| text.strip_suffix('"')).ok_or("room_invalid")?;
    let id = if quoted.contains('\\') {
        Cow::Owned(serde_json::from_str(json.get()).map_err(|_| "room_invalid")?)
    } else {
        Cow::Borrowed(quoted)
    };
    if id.is_empty() || id.len() > 128 { Err("room_invalid") } else { Ok(id) }
}
