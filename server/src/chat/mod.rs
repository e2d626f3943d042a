//! The chat: what happens to users, rooms and messages, as plain functions over [`Io`].
//!
//! One value a shard. Everything is synchronous: an event comes in, and what it causes on this shard is queued before the
//! call returns; what concerns a room that lives on another shard goes there as a [`Post`], and so do the answers.
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
//! | `home` | what a room's home knows of it |
//! | `post` | what shards tell each other |
//! | `accounts` | what all shards must know of a user together |
//! | `member`, `room` | a socket as the chat sees it; a room's name |
//! | `alarms` | when to look at a socket again |
//! | `error` | refusals |

mod accounts;
mod alarms;
mod error;
mod history;
mod home;
mod member;
mod message;
mod post;
mod presence;
mod request;
mod rooms;
mod session;
mod typing;

use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    net::IpAddr,
    sync::Arc,
    time::Instant,
};

use accounts::{Accounts, Seat};
use alarms::Alarms;
use bytes::Bytes;
use engineio::{ConnKey, Handshake, Refusal, ShardMessage, deadlines::Heap};
use error::{ChatError, Code};
use home::Home;
use member::Member;
use post::{Asker, Post};
use smallvec::SmallVec;
use socketio::{AckId, ConnectError, ConnectRequest, DisconnectReason, Event, Handler, Io, SocketKey};

use crate::{
    auth::{Claims, Verifier},
    clock::Timestamps,
    config::Config,
    limits::Addresses,
    room::{LOBBY, Room},
    store::{MemoryStore, MessageIds},
};

/// What the shards of one chat have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    config: Arc<Config>,
    accounts: Arc<Accounts>,
    addresses: Addresses,
    /// Says where rooms live. Its keys are drawn anew by each process: nobody can choose rooms that all live on one shard.
    homes: RandomState,
    /// How many shards share what the store may take.
    shards: usize,
}

/// The chat of one shard.
#[derive(Debug)]
pub(crate) struct Chat {
    config: Arc<Config>,
    shared: Arc<Shared>,
    verifier: Verifier,
    /// The address of each connection, by its index.
    peers: Vec<Option<IpAddr>>,
    /// By the socket's index.
    members: Vec<Option<Member>>,
    /// This shard's sockets of each user.
    users: HashMap<Arc<str>, SmallVec<[SocketKey; 1]>>,
    /// The rooms that live here.
    homes: HashMap<Room, Home>,
    /// Rooms, wherever they live, that are too large for presence.
    quiet: HashSet<Room>,
    store: MemoryStore,
    ids: MessageIds,
    clock: Timestamps,
    lobby: Room,
    idle: Alarms,
    expiry: Alarms,
    typing: Alarms,
    /// Users whose last socket went here, each once.
    grace: Heap<Arc<str>>,
}

/// A token that opens the door, and the place it takes.
#[derive(Debug)]
pub(crate) struct Admission {
    claims: Claims,
    seat: Seat,
}

/// What became of an event.
#[derive(Debug)]
enum Outcome {
    /// It is done, and is acknowledged with this.
    Done(Reply),
    /// A room's home was asked, and answers.
    Asked,
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

impl Shared {
    /// For a chat of so many shards.
    pub(crate) fn new(config: Arc<Config>, shards: usize) -> Self {
        Self {
            accounts: Arc::new(Accounts::new(config.limits.sockets_per_user, config.presence.grace)),
            addresses: Addresses::new(config.limits.connect_rate, config.limits.sockets_per_ip),
            homes: RandomState::new(),
            shards: shards.max(1),
            config,
        }
    }
}

impl Chat {
    /// An empty chat.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let config = Arc::clone(&shared.config);
        Self {
            verifier: Verifier::new(&config.auth),
            peers: Vec::new(),
            members: Vec::new(),
            users: HashMap::new(),
            homes: HashMap::new(),
            quiet: HashSet::new(),
            store: MemoryStore::new(config.store.max_age, config.store.max_count, shared.shards),
            ids: MessageIds::default(),
            clock: Timestamps::default(),
            lobby: Room::new(LOBBY),
            idle: Alarms::default(),
            expiry: Alarms::default(),
            typing: Alarms::default(),
            grace: Heap::default(),
            config,
            shared,
        }
    }

    fn member(&mut self, socket: SocketKey) -> Option<&mut Member> {
        self.members.get_mut(socket.index() as usize)?.as_mut().filter(|member| member.key == socket)
    }

    fn socket_at(&self, index: u32) -> Option<SocketKey> {
        self.members.get(index as usize)?.as_ref().map(|member| member.key)
    }

    /// This socket, as one who asks a home.
    fn asker(&mut self, io: &Io<'_>, socket: SocketKey, ack: Option<AckId>) -> Option<Asker> {
        let account = Arc::clone(&self.member(socket)?.account);
        Some(Asker { shard: io.shard(), socket, account, ack })
    }
}

impl Handler for Chat {
    type Admission = Admission;

    fn on_handshake(&mut self, now: Instant, handshake: &Handshake<'_>) -> Result<(), Refusal> {
        let admitted = self.shared.addresses.admit(now, handshake.remote.ip());
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
        self.shared.addresses.add(io.now(), address);
    }

    fn on_close(&mut self, io: &mut Io<'_>, conn: ConnKey) {
        if let Some(address) = self.peers.get_mut(conn.index() as usize).and_then(Option::take) {
            self.shared.addresses.remove(io.now(), address);
        }
    }

    fn authorize(&mut self, _: &mut Io<'_>, request: &ConnectRequest<'_>) -> Result<Admission, ConnectError> {
        self.check_token(request.auth)
    }

    fn on_connect(&mut self, io: &mut Io<'_>, socket: SocketKey, admission: Admission) {
        self.connect(io, socket, admission);
    }

    fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
        let now = io.now();
        let Some(member) = self.member(socket) else { return };
        member.last_event = now;
        let outcome = match &*event.name {
            "message" => self.on_message(io, socket, &event.args, ack),
            "typing" => self.on_typing(io, socket, &event.args).map(Outcome::Done),
            "join" => self.on_join(io, socket, &event.args, ack),
            "history" => self.on_history(io, socket, &event.args, ack),
            "presence" => self.on_presence(io, socket, &event.args, ack),
            "refresh" => self.on_refresh(io, socket, &event.args).map(Outcome::Done),
            "leave" => self.on_leave(io, socket, &event.args).map(Outcome::Done),
            _ => Err(ChatError::new(Code::UnknownEvent, "no such event")),
        };
        let outcome = match outcome {
            Ok(Outcome::Asked) => return,
            Ok(Outcome::Done(reply)) => Ok(reply),
            Err(error) => Err(error),
        };
        self.answer(io, socket, &event.name, ack, &outcome);
    }

    fn on_disconnect(&mut self, io: &mut Io<'_>, socket: SocketKey, _: DisconnectReason) {
        self.disconnect(io, socket);
    }

    fn on_shard_message(&mut self, io: &mut Io<'_>, message: ShardMessage) {
        // Nobody else posts to a chat.
        if let Ok(post) = message.downcast::<Post>() {
            self.on_post(io, post);
        }
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
