//! The chat's events.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use socketioxide::ParserError;
use socketioxide::SocketIo;
use socketioxide::adapter::Adapter;
use socketioxide::extract::{AckSender, Data, Extension, SocketRef, TryData};
use socketioxide::handler::{ConnectHandler, FromMessageParts, Value};
use socketioxide::socket::Socket;
use uuid::Uuid;

use crate::token::{User, Verifier};

/// The room every socket is in.
const LOBBY: &str = "lobby";
/// Characters of a message.
const MAX_MESSAGE: usize = 4096;

#[derive(Deserialize)]
struct Auth {
    token: Option<String>,
}

#[derive(Debug)]
struct Unauthorized;

impl fmt::Display for Unauthorized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unauthorized")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Join {
    room_id: String,
}

#[derive(Deserialize)]
struct Message<C> {
    message: String,
    context: C,
}

/// A message as it came. Without attachments its context stays the text it is.
enum Incoming {
    Text(Message<Option<Box<RawValue>>>),
    Binary(Message<rmpv::Value>),
    Invalid,
}

impl<A: Adapter> FromMessageParts<A> for Incoming {
    type Error = ParserError;

    fn from_message_parts(socket: &Arc<Socket<A>>, value: &mut Value, ack: &Option<i64>) -> Result<Self, ParserError> {
        let binary = matches!(value, Value::Str(_, Some(attachments)) if !attachments.is_empty());
        Ok(if binary {
            Data::from_message_parts(socket, value, ack).map_or(Self::Invalid, |Data(message)| Self::Binary(message))
        } else {
            Data::from_message_parts(socket, value, ack).map_or(Self::Invalid, |Data(message)| Self::Text(message))
        })
    }
}

/// What a context says about the room.
trait Context: Serialize {
    fn room_id(&self) -> Result<Option<String>, &'static str>;

    fn is_absent(&self) -> bool {
        false
    }
}

impl Context for Option<Box<RawValue>> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }

    fn room_id(&self) -> Result<Option<String>, &'static str> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Room {
            room_id: Option<String>,
        }
        let Some(context) = self else { return Ok(None) };
        serde_json::from_str::<Room>(context.get()).map(|room| room.room_id).map_err(|_| "invalid_payload")
    }
}

// Not optional: their parser leaves the placeholders of what is.
impl Context for rmpv::Value {
    fn room_id(&self) -> Result<Option<String>, &'static str> {
        let fields = self.as_map().ok_or("invalid_payload")?;
        let room = fields.iter().find(|(name, _)| name.as_str() == Some("roomId"));
        room.map(|(_, room)| room.as_str().map(str::to_owned).ok_or("room_invalid")).transpose()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Outgoing<'a, C: Context> {
    id: &'a str,
    message: &'a str,
    timestamp: &'a str,
    #[serde(skip_serializing_if = "Context::is_absent")]
    context: C,
    user_id: &'a str,
    username: &'a str,
}

#[derive(Serialize)]
struct Stamped<'a> {
    ok: bool,
    id: &'a str,
    timestamp: &'a str,
}

/// Puts the chat on the namespace `/`.
pub(crate) fn register(io: &SocketIo, verifier: Verifier) {
    let verifier = Arc::new(verifier);
    let authenticate = move |socket: SocketRef, TryData(auth): TryData<Auth>| {
        let verifier = Arc::clone(&verifier);
        async move {
            let token = auth.ok().and_then(|auth| auth.token).ok_or(Unauthorized)?;
            let user = verifier.verify(&token).ok_or(Unauthorized)?;
            socket.extensions.insert(Arc::new(user));
            Ok::<(), Unauthorized>(())
        }
    };
    io.ns("/", on_connect.with(authenticate));
}

async fn on_connect(socket: SocketRef, Extension(user): Extension<Arc<User>>) {
    socket.join(prefixed(LOBBY));
    for room in &user.rooms {
        socket.join(prefixed(room));
    }
    socket.on("message", move |socket: SocketRef, incoming: Incoming, ack: AckSender| {
        let user = Arc::clone(&user);
        async move {
            let result = match incoming {
                Incoming::Text(message) => on_message(&socket, &user, message).await,
                Incoming::Binary(message) => on_message(&socket, &user, message).await,
                Incoming::Invalid => Err("invalid_payload"),
            };
            answer(ack, result.as_ref().map(|(id, timestamp)| Stamped { ok: true, id, timestamp }));
        }
    });
    socket.on("join", async |socket: SocketRef, TryData(join): TryData<Join>, ack: AckSender| {
        let result = join.map_err(|_| "room_invalid").and_then(|Join { room_id }| {
            let room = room(&room_id)?;
            socket.join(room.clone());
            let members = socket.within(room).sockets().len();
            Ok(json!({ "ok": true, "roomId": room_id, "members": members }))
        });
        answer(ack, result.as_ref());
    });
}

/// Delivers a message; returns its id and timestamp.
async fn on_message<C: Context>(
    socket: &SocketRef,
    user: &User,
    Message { message, context }: Message<C>,
) -> Result<(String, String), &'static str> {
    if message.trim_ascii().is_empty() {
        return Err("message_empty");
    }
    if message.len() > MAX_MESSAGE && message.chars().count() > MAX_MESSAGE {
        return Err("message_too_long");
    }
    let room_id = context.room_id()?;
    let room = room(room_id.as_deref().unwrap_or(LOBBY))?;
    // Joining is idempotent, but takes a lock of all rooms; asking first copies the socket's rooms, which are few.
    if !socket.rooms().iter().any(|joined| *joined == room) {
        socket.join(room.clone());
    }
    let id = Uuid::now_v7().to_string();
    let timestamp = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    let (user_id, username) = (&*user.id, user.name());
    let event = Outgoing { id: &id, message: &message, timestamp: &timestamp, context, user_id, username };
    // It fails for members whose buffer is full: they miss it, and the others do not.
    let _ = socket.within(room).emit("message", &event).await;
    Ok((id, timestamp))
}

/// Chat rooms live under a prefix, so that no room id can name a socket's own room.
fn prefixed(room_id: &str) -> String {
    format!("room:{room_id}")
}

fn room(room_id: &str) -> Result<String, &'static str> {
    if room_id.is_empty() || room_id.len() > 128 { Err("room_invalid") } else { Ok(prefixed(room_id)) }
}

/// Acknowledges, if that was asked for.
fn answer<T: Serialize>(ack: AckSender, result: Result<T, &&'static str>) {
    // It fails if the socket is gone or its buffer full.
    let _ = match result {
        Ok(value) => ack.send(&value),
        Err(code) => ack.send(&json!({ "ok": false, "error": { "code": code, "message": code } })),
    };
}
