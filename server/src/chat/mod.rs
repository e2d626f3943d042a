//! The chat: what happens to users, rooms and messages, as plain functions over [`Io`].
//!
//! One value a shard. Everything is synchronous: an event comes in, and what it causes is queued before the call returns.
//!
//! | file | what it does |
//! |---|---|
//! | `request` | checks what clients send |
//! | `session` | connecting, disconnecting, `refresh` and expiry, idleness, strikes |
//! | `message` | `message` |
//! | `rooms` | `join`, `leave`, the implicit join |
//! | `history` | `history`, and the page that `join` brings |
//! | `presence` | `presence`, `userStatus` |
//! | `typing` | `typing`, `userTyping` |
//! | `user` | what is kept of users and sockets |
//! | `alarms` | when to look at a socket again |
//! | `error` | refusals |

mod alarms;
mod error;
mod history;
mod message;
mod presence;
mod request;
mod rooms;
mod session;
mod typing;
mod user;

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use alarms::Alarms;
use bytes::Bytes;
use engineio::{ConnKey, Handshake, Refusal, deadlines::Heap};
use error::{ChatError, Code};
use socketio::{AckId, ConnectError, ConnectRequest, DisconnectReason, Event, Handler, Io, SocketKey};
use user::{Member, User};

use crate::{
    auth::{Claims, Verifier},
    config::Config,
    limits::Addresses,
    message_id::MessageIds,
    store::MemoryStore,
};

/// Chat rooms live under a prefix, so that no `roomId` can name a socket's own room.
const ROOM_PREFIX: &str = "room:";

/// The room of everybody.
const LOBBY: &str = "lobby";

/// The chat of one shard.
#[derive(Debug)]
pub(crate) struct Chat {
    config: Arc<Config>,
    verifier: Verifier,
    addresses: Addresses,
    /// The address of each connection, by its index.
    peers: Vec<Option<IpAddr>>,
    /// By the socket's index.
    members: Vec<Option<Member>>,
    users: HashMap<Arc<str>, User>,
    occupancy: HashMap<Arc<str>, Occupancy>,
    store: MemoryStore,
    ids: MessageIds,
    lobby: Arc<str>,
    idle: Alarms,
    expiry: Alarms,
    typing: Alarms,
    /// Users without a socket, each once.
    grace: Heap<Arc<str>>,
}

/// Who is in a room, as far as its sockets do not tell.
#[derive(Debug, Default)]
struct Occupancy {
    /// How many users have a socket in it.
    users: usize,
    /// Those without a socket in it whom the others still take for online: they neither left nor are gone for the grace.
    away: HashSet<Arc<str>>,
}

/// What an acknowledgement carries beside `ok`.
#[derive(Debug, Default)]
struct Reply {
    /// JSON members, each with a comma before it.
    members: String,
    attachments: Vec<Bytes>,
}

impl From<String> for Reply {
    fn from(members: String) -> Self {
        Self { members, attachments: Vec::new() }
    }
}

impl Chat {
    /// An empty chat.
    pub(crate) fn new(config: Arc<Config>) -> Self {
        Self {
            verifier: Verifier::new(&config.auth),
            addresses: Addresses::new(config.limits.connect_rate, config.limits.sockets_per_ip),
            peers: Vec::new(),
            members: Vec::new(),
            users: HashMap::new(),
            occupancy: HashMap::new(),
            store: MemoryStore::new(config.store.max_age, config.store.max_count),
            ids: MessageIds::default(),
            lobby: LOBBY.into(),
            idle: Alarms::default(),
            expiry: Alarms::default(),
            typing: Alarms::default(),
            grace: Heap::default(),
            config,
        }
    }

    fn member(&mut self, socket: SocketKey) -> Option<&mut Member> {
        self.members.get_mut(socket.index() as usize)?.as_mut().filter(|member| member.key == socket)
    }

    fn socket_at(&self, index: u32) -> Option<SocketKey> {
        self.members.get(index as usize)?.as_ref().map(|member| member.key)
    }

    fn user_of(&mut self, socket: SocketKey) -> Option<&mut User> {
        let user = Arc::clone(&self.member(socket)?.user);
        self.users.get_mut(&user)
    }
}

/// The name under which a chat room's sockets are kept.
fn room_name(room: &str) -> String {
    format!("{ROOM_PREFIX}{room}")
}

/// The wall clock, as the time since the Unix epoch.
fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Handler for Chat {
    type Admission = Claims;

    fn on_handshake(&mut self, now: Instant, handshake: &Handshake<'_>) -> Result<(), Refusal> {
        let admitted = self.addresses.admit(now, handshake.remote.ip());
        admitted.map_err(|retry_after| Refusal::Unavailable { retry_after })
    }

    fn on_open(&mut self, io: &mut Io<'_>, conn: ConnKey, handshake: &Handshake<'_>) {
        let (index, address) = (conn.index() as usize, handshake.remote.ip());
        if self.peers.len() <= index {
            self.peers.resize(index + 1, None);
        }
        if let Some(slot) = self.peers.get_mut(index) {
            *slot = Some(address);
        }
        self.addresses.add(io.now(), address);
    }

    fn on_close(&mut self, io: &mut Io<'_>, conn: ConnKey) {
        if let Some(address) = self.peers.get_mut(conn.index() as usize).and_then(Option::take) {
            self.addresses.remove(io.now(), address);
        }
    }

    fn authorize(&mut self, _: &mut Io<'_>, request: &ConnectRequest<'_>) -> Result<Claims, ConnectError> {
        self.check_token(request.auth)
    }

    fn on_connect(&mut self, io: &mut Io<'_>, socket: SocketKey, claims: Claims) {
        self.connect(io, socket, claims);
    }

    fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
        let now = io.now();
        let Some(member) = self.member(socket) else { return };
        member.last_event = now;
        let outcome = match &*event.name {
            "message" => self.on_message(io, socket, &event.args),
            "typing" => self.on_typing(io, socket, &event.args),
            "join" => self.on_join(io, socket, &event.args, ack),
            "history" => self.on_history(io, socket, &event.args, ack),
            "presence" => self.on_presence(io, socket, &event.args, ack),
            "refresh" => self.on_refresh(io, socket, &event.args),
            "leave" => self.on_leave(io, socket, &event.args),
            _ => Err(ChatError::new(Code::UnknownEvent, "no such event")),
        };
        self.answer(io, socket, &event.name, ack, &outcome);
    }

    fn on_disconnect(&mut self, io: &mut Io<'_>, socket: SocketKey, _: DisconnectReason) {
        self.disconnect(io, socket);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [self.idle.next(), self.expiry.next(), self.typing.next(), self.grace.next()].into_iter().flatten().min()
    }

    fn on_timeout(&mut self, io: &mut Io<'_>) {
        let now = io.now();
        while let Some(index) = self.idle.pop_due(now) {
            if let Some(socket) = self.socket_at(index) {
                self.check_idle(io, socket);
            }
        }
        while let Some(index) = self.expiry.pop_due(now) {
            if let Some(socket) = self.socket_at(index) {
                self.check_expiry(io, socket);
            }
        }
        while let Some(index) = self.typing.pop_due(now) {
            if let Some(socket) = self.socket_at(index) {
                self.end_typing_due(io, socket);
            }
        }
        while let Some(user) = self.grace.pop_due(now) {
            self.check_grace(io, &user);
        }
    }
}

#[cfg(test)]
mod tests;
