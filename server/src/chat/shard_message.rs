//! What the shards of a chat send each other. The type of a message says where it goes:
//!
//! | type | from | to |
//! |---|---|---|
//! | [`ToHome`] | a socket | the home of a room |
//! | [`ToSocket`] | a home | the shard of one socket |
//! | [`ToAll`] | a home, or the shard of a user's last socket | every shard that it concerns |
//!
//! The *home* of a room is the shard that its name hashes to. Only the home numbers the room's messages and keeps them, and only
//! the home knows who is in the room; so a room has one order, whoever looks at it. A socket's own shard checks what the
//! socket sends, asks the homes of its rooms, and gets their answers in the order in which they were given.
//!
//! With one shard there are no shard messages: what a socket sends to a home is dealt with before the call ends.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Instant};

use bytes::Bytes;
use engineio::{ShardMessage, SharedFrame};
use siphasher::sip::SipHasher13;
use socketio::{AckId, Io, RoomHandle, SocketKey};
use uuid::Uuid;

use super::{
    api_request::PublishReply,
    error::ChatError,
    recovery::{Pid, Session},
    reply::Reply,
    request::{OwnedMessage, PageRequest},
    users::{Account, PastRoom},
};
use crate::{
    room::Room,
    store::{Missed, Position, SavedSession, SessionId, StoreError, Stored},
};

/// Says which shard is the home of a room. The keys of its hash belong to the store: nobody can choose rooms that all have the same
/// home, and an offset of an earlier run can still be read.
#[derive(Debug, Clone)]
pub(super) struct HomeShards(SipHasher13);

impl HomeShards {
    /// With these keys.
    pub(super) fn new(keys: &[u8; 16]) -> Self {
        Self(SipHasher13::new_with_key(keys))
    }

    /// The home of a room, of so many shards.
    pub(super) fn of(&self, room: &Room, shards: u16) -> u16 {
        match shards {
            0 | 1 => 0,
            shards => (self.0.hash(room.name().as_bytes()) % u64::from(shards)) as u16,
        }
    }
}

/// Who asks a home for something, and to whom the answer goes.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    /// The socket's shard.
    pub(super) shard: u16,
    pub(super) socket: SocketKey,
    pub(super) account: Arc<Account>,
    /// Without one, nobody waits for an answer.
    pub(super) ack: Option<AckId>,
}

/// Who sends a message to a home.
#[derive(Debug, Clone)]
pub(super) enum Sender {
    Socket(Asker),
    /// Another thread, in the name of a user who need not be connected. Copies share the one place of the reply.
    Api {
        account: Arc<Account>,
        reply: Rc<RefCell<Option<PublishReply>>>,
    },
}

impl Sender {
    /// Whose message it is.
    pub(super) const fn account(&self) -> &Arc<Account> {
        match self {
            Self::Socket(asker) => &asker.account,
            Self::Api { account, .. } => account,
        }
    }
}

/// To the home of `room`.
#[derive(Debug)]
pub(super) struct ToHome {
    pub(super) room: Room,
    pub(super) request: HomeRequest,
}

/// What a home is asked to do.
#[derive(Debug)]
pub(super) enum HomeRequest {
    /// A socket enters the room.
    Enter { asker: Asker, entry: Entry, join: Option<RoomQuery> },
    /// A client that comes back enters these rooms again, of which the request's is one. All of them have this home. The answers
    /// are [`RecoveryMessage::Readmitted`] and [`RecoveryMessage::Missed`].
    Readmit { shard: u16, ticket: u64, account: Arc<Account>, rooms: Vec<(Room, Position)>, max_bytes: usize },
    /// A socket of `shard` is out of the room. `left` is when it left by its own wish; without one it was disconnected. `session` is to
    /// forget the room.
    Leave { shard: u16, account: Arc<Account>, left: Option<Instant>, session: Option<SessionId> },
    /// The user was out of the room for so long that the room need not know it.
    Forget { account: Arc<Account> },
    /// A socket wants to know something about the room.
    Query { asker: Asker, query: RoomQuery },
    /// A socket sends a message to the room.
    Publish { asker: Asker, message: OwnedMessage },
    /// The room's members, or those of several rooms, are to hear about a user. The home is the first of these rooms'.
    Broadcast(UserBroadcast),
}

/// That a socket enters a room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Numbers the socket's entries.
    pub(super) number: u32,
    /// The socket's session, if it has one that the store is to know of.
    pub(super) session: Option<SessionId>,
    /// Whether it enters because it connects.
    pub(super) connects: bool,
}

/// What a socket wants to know of a room.
#[derive(Debug)]
pub(super) enum RoomQuery {
    /// What `join` is acknowledged with, and so many messages of the history.
    Join { history: Option<usize>, max_bytes: usize },
    /// A page of the history.
    History { page: PageRequest, max_bytes: usize },
    /// Who is there.
    Presence { max_bytes: usize },
}

impl RoomQuery {
    /// What its answer may weigh, in bytes. So much it weighs itself: whoever asks faster than a home answers is to wait before
    /// the answers fill memory.
    pub(super) const fn max_bytes(&self) -> usize {
        match self {
            Self::Join { history: None, .. } => 0,
            Self::Join { max_bytes, .. } | Self::History { max_bytes, .. } | Self::Presence { max_bytes } => *max_bytes,
        }
    }
}

/// To the shard of one socket.
#[derive(Debug)]
pub(super) enum ToSocket {
    /// The socket is in the room from here on. `present` are users who are there. It gets what comes after `since`.
    Entered { socket: SocketKey, room: Room, entry: u32, home: u16, since: Position, present: Vec<Arc<Account>> },
    /// The answer to an event. Without an `ack` only a refusal is told. `expected` is what the answer might have weighed
    /// ([`RoomQuery::max_bytes`]).
    Answer {
        socket: SocketKey,
        event: &'static str,
        ack: Option<AckId>,
        outcome: Result<Reply, ChatError>,
        expected: usize,
    },
    /// The user has more sockets than it may. That with this index is to make room, unless it was heard of since.
    MakeRoom { account: Arc<Account>, index: u32 },
    /// About a client that comes back.
    Recovery(RecoveryMessage),
}

/// To a shard, about a client that comes back and claims its session. `ticket` says which one, on the shard that it came to.
#[derive(Debug)]
pub(super) enum RecoveryMessage {
    /// To the client's shard, from itself: its claim is to begin, if not too many have.
    Begin { ticket: u64 },
    /// To the client's shard, from itself: it has waited, and it is this one's turn.
    Proceed { ticket: u64 },
    /// To the shard of another socket of the user, with this index: if it has the session, end it. The answer for `shard` is `Released`.
    Release { shard: u16, ticket: u64, pid: Pid, index: u32 },
    /// The session, if that socket had it.
    Released { ticket: u64, session: Option<Session> },
    /// The client is counted in its rooms whose home this is. What comes there after `since` is delivered to its shard. Of each room, users
    /// who are there.
    Readmitted { ticket: u64, home: u16, since: Position, present: Vec<Vec<Arc<Account>>> },
    /// What it missed in these rooms.
    Missed { ticket: u64, home: u16, missed: Result<Missed, StoreError> },
}

/// A message as it goes to the members of its room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivery<'a> {
    pub(super) account: &'a Account,
    pub(super) room: &'a Room,
    pub(super) home: u16,
    pub(super) id: Uuid,
    /// The event's payload.
    pub(super) json: &'a str,
    pub(super) attachments: &'a [Bytes],
}

/// To all shards, or to all that have members of a room.
#[derive(Debug, Clone)]
pub(super) enum ToAll {
    /// A message for the members of the room, from its home; `account` sent it. Each shard encodes it, because each has offsets of its
    /// own.
    Message { account: Arc<Account>, room: Room, home: u16, stored: Arc<Stored> },
    /// An event about a user.
    UserBroadcast(UserBroadcast),
    /// Messages of the room were deleted, with these ids. `frames` are the events.
    Deleted { room: Room, ids: Arc<[Uuid]>, frames: Arc<[SharedFrame]> },
    /// Whether the room has too many members for presence now.
    Quiet { room: Room, quiet: bool },
    /// The user has been without a socket for `presence.grace`. `frame` is the event for the rooms that take it for online.
    UserGone { account: Arc<Account>, past: Arc<[PastRoom]>, frame: SharedFrame },
}

/// An event about a user for the other users in some rooms.
#[derive(Debug, Clone)]
pub(super) struct UserBroadcast {
    pub(super) account: Arc<Account>,
    pub(super) rooms: Arc<[Room]>,
    /// Whether it goes to rooms that are too large for presence too: the client named the room, or a home has decided.
    pub(super) named: bool,
    pub(super) frame: SharedFrame,
}

impl From<ToHome> for ShardMessage {
    fn from(message: ToHome) -> Self {
        let weight = match &message.request {
            HomeRequest::Publish { message, .. } => message.weight(),
            HomeRequest::Broadcast(broadcast) => broadcast.frame.websocket().len(),
            HomeRequest::Query { query, .. } | HomeRequest::Enter { join: Some(query), .. } => query.max_bytes(),
            _ => 0,
        };
        Self::new(message).with_weight(weight)
    }
}

impl From<ToSocket> for ShardMessage {
    fn from(message: ToSocket) -> Self {
        let weight = match &message {
            ToSocket::Entered { present, .. } => size_of_val(present.as_slice()),
            ToSocket::Answer { outcome: Ok(reply), .. } => reply.weight(),
            ToSocket::Recovery(RecoveryMessage::Readmitted { present, .. }) => {
                present.iter().map(|present| size_of_val(present.as_slice())).sum()
            }
            ToSocket::Recovery(RecoveryMessage::Missed { missed: Ok(Some(missed)), .. }) => missed.weight(),
            ToSocket::Answer { outcome: Err(_), .. } | ToSocket::MakeRoom { .. } | ToSocket::Recovery(_) => 0,
        };
        Self::new(message).with_weight(weight)
    }
}

impl From<ToAll> for ShardMessage {
    fn from(message: ToAll) -> Self {
        let weight = match &message {
            ToAll::Message { stored, .. } => stored.len(),
            ToAll::UserBroadcast(UserBroadcast { frame, .. }) => frame.websocket().len(),
            ToAll::Deleted { frames, .. } => frames.iter().map(|frame| frame.websocket().len()).sum(),
            ToAll::Quiet { .. } | ToAll::UserGone { .. } => 0,
        };
        Self::new(message).with_weight(weight)
    }
}

/// The sockets of this shard, as its homes see them: a home can send them messages, and nothing else.
pub(super) trait LocalSockets {
    /// Takes a message for one of them.
    fn receive(&mut self, io: &mut Io<'_>, message: ToSocket);

    /// The store has answered whether it knows the session that a client of this shard claims.
    fn receive_session(&mut self, io: &mut Io<'_>, ticket: u64, session: Result<Option<SavedSession>, StoreError>);

    /// Takes a message for all of them.
    fn receive_all(&mut self, io: &mut Io<'_>, message: &ToAll);

    /// What [`ToAll::Message`] asks for. By reference, because a message on its home's own shard is to cost no copy; `handle` saves
    /// the look-up of the room's name.
    fn deliver_message(&mut self, io: &mut Io<'_>, delivery: Delivery<'_>, handle: Option<&RoomHandle>);
}

/// Sends a home's message to a shard: at once where it is this one.
pub(super) fn send_to_socket(io: &mut Io<'_>, sockets: &mut dyn LocalSockets, shard: u16, message: ToSocket) {
    if shard == io.shard() {
        sockets.receive(io, message);
    } else {
        io.send_to_shard(shard, message.into());
    }
}

/// Sends a home's message to these shards: at once where one is this one.
pub(super) fn send_to_shards(
    io: &mut Io<'_>,
    sockets: &mut dyn LocalSockets,
    shards: impl IntoIterator<Item = u16>,
    message: &ToAll,
) {
    for shard in shards {
        if shard == io.shard() {
            sockets.receive_all(io, message);
        } else {
            io.send_to_shard(shard, message.clone().into());
        }
    }
}

/// Sends a home's message to every shard, to this one last.
pub(super) fn send_to_all(io: &mut Io<'_>, sockets: &mut dyn LocalSockets, message: &ToAll) {
    let here = io.shard();
    let others = (0..io.shards()).filter(|shard| *shard != here);
    send_to_shards(io, sockets, others.chain([here]), message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_is_the_home_of_some_rooms_and_a_room_has_one_home() {
        let homes = HomeShards::new(&[1; 16]);
        let rooms: Vec<Room> = (0..1000).map(|n| Room::new(&n.to_string())).collect();
        let of = |homes: &HomeShards, shards| rooms.iter().map(|room| homes.of(room, shards)).collect::<Vec<_>>();
        let four = of(&homes, 4);
        for shard in 0..4 {
            let rooms = four.iter().filter(|home| **home == shard).count();
            assert!((150..350).contains(&rooms), "{rooms} of 1000 on shard {shard}");
        }
        assert_eq!(of(&homes, 4), four);
        assert!(of(&homes, 1).iter().all(|home| *home == 0));
        assert_eq!(of(&HomeShards::new(&[1; 16]), 4), four, "the next run has the same homes");
        assert_ne!(of(&HomeShards::new(&[2; 16]), 4), four, "another store has others");
    }
}
