//! [`Post`]: what the shards of a chat tell each other.
//!
//! Each room has a home, the shard that its name hashes to. The home alone numbers the room's messages and keeps them, and
//! knows who is in it; so a room has one order, everywhere. A socket's own shard checks what the socket sends, asks the homes
//! of its rooms, and hears their answers in the order in which they were given. With one shard nothing is posted: the same
//! functions are called at once.

use std::{hash::BuildHasher, sync::Arc, time::Instant};

use bytes::Bytes;
use engineio::{ShardMessage, SharedFrame};
use socketio::{AckId, Io, SocketKey};

use super::{
    Chat, Reply,
    accounts::{Account, Past},
    error::ChatError,
    history::Wanted,
    message::OwnedMessage,
    room::Room,
};

/// Who asks a home for something, and to whom the answer goes.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    pub(super) shard: u16,
    pub(super) socket: SocketKey,
    pub(super) account: Arc<Account>,
    pub(super) ack: Option<AckId>,
}

/// What a socket wants to know of a room.
#[derive(Debug)]
pub(super) enum Question {
    Join { history: Option<usize> },
    History(Wanted),
    Presence,
}

/// A broadcast about a user, for the others in these rooms.
#[derive(Debug, Clone)]
pub(super) struct Tell {
    pub(super) account: Arc<Account>,
    pub(super) rooms: Arc<[Room]>,
    /// The rooms were named, or their home decided; otherwise those that are too large for it are left out.
    pub(super) named: bool,
    pub(super) frame: SharedFrame,
}

/// See the module.
#[derive(Debug)]
pub(super) enum Post {
    /// To a home: a socket comes into the room. `entry` numbers its entries, `join` is the question that came with it.
    Enter { asker: Asker, room: Room, entry: u32, join: Option<Question> },
    /// To a home: a socket went out of the room; `left` is when it left by its own wish.
    Leave { shard: u16, account: Arc<Account>, room: Room, left: Option<Instant> },
    /// To a home: the user is not remembered in the room any more.
    Forget { account: Arc<Account>, room: Room },
    /// To a home.
    Ask { asker: Asker, room: Room, question: Question },
    /// To a home: publish this.
    Message { asker: Asker, room: Room, message: OwnedMessage },
    /// To the socket's shard: it is in the room from here on, and these are there too.
    Entered { socket: SocketKey, room: Room, entry: u32, present: Vec<String> },
    /// To the socket's shard: the answer to an event.
    Answer { socket: SocketKey, event: &'static str, ack: AckId, outcome: Result<Reply, ChatError> },
    /// To shards with members of the room.
    Fanout { account: Arc<Account>, room: Room, frame: SharedFrame },
    /// To the home of the first of the rooms, which hands it on to the shards.
    Relay(Tell),
    /// To shards that may have members of the rooms.
    Tell(Tell),
    /// To every shard: whether the room is too large for presence now.
    Quiet { room: Room, quiet: bool },
    /// To every shard: the user is gone; these are the rooms that do not know yet.
    Ended { account: Arc<Account>, past: Arc<[Past]>, frame: SharedFrame },
}

impl Post {
    /// About how many bytes it keeps in memory.
    fn weight(&self) -> usize {
        match self {
            Self::Message { message, .. } => message.weight(),
            Self::Answer { outcome: Ok(Reply { members, attachments }), .. } => {
                members.len() + attachments.iter().map(Bytes::len).sum::<usize>()
            }
            Self::Fanout { frame, .. } | Self::Tell(Tell { frame, .. }) | Self::Relay(Tell { frame, .. }) => {
                frame.websocket().len()
            }
            Self::Entered { present, .. } => present.iter().map(String::len).sum(),
            _ => 0,
        }
    }
}

impl Chat {
    /// The shard that the room lives on.
    pub(super) fn home_of(&self, io: &Io<'_>, room: &Room) -> u16 {
        match io.shards() {
            0 | 1 => 0,
            shards => (self.shared.homes.hash_one(room) % u64::from(shards)) as u16,
        }
    }

    /// Hands a post to its shard: at once when it is this one.
    pub(super) fn deliver(&mut self, io: &mut Io<'_>, shard: u16, post: Post) {
        if shard == io.shard() {
            self.on_post(io, post);
        } else {
            let weight = post.weight();
            io.send_to_shard(shard, ShardMessage::new(post).with_weight(weight));
        }
    }

    /// Hands a post to a room's home. Where there are several shards it takes the way of a letter even to this one: what
    /// others sent before it may lie unread in front of the home, and whoever heard that a socket is connected must
    /// reach it.
    pub(super) fn deliver_home(&mut self, io: &mut Io<'_>, room: &Room, post: Post) {
        if io.shards() > 1 {
            let weight = post.weight();
            io.send_to_shard(self.home_of(io, room), ShardMessage::new(post).with_weight(weight));
        } else {
            self.on_post(io, post);
        }
    }

    /// Hands a post to every shard, to this one last.
    pub(super) fn deliver_everywhere(&mut self, io: &mut Io<'_>, post: impl Fn() -> Post) {
        let here = io.shard();
        for shard in (0..io.shards()).filter(|shard| *shard != here) {
            self.deliver(io, shard, post());
        }
        self.deliver(io, here, post());
    }

    /// Deals with a post, from wherever it comes.
    pub(super) fn on_post(&mut self, io: &mut Io<'_>, post: Post) {
        match post {
            Post::Enter { asker, room, entry, join } => self.take_in(io, &asker, &room, entry, join.as_ref()),
            Post::Leave { shard, account, room, left } => self.let_out(io, shard, &account, &room, left),
            Post::Forget { account, room } => {
                self.forget(&account, &room);
            }
            Post::Ask { asker, room, question } => self.answer_question(io, &asker, &room, &question),
            Post::Message { asker, room, message } => self.publish(io, &asker, &room, &message.request()),
            Post::Entered { socket, room, entry, present } => self.on_entered(io, socket, &room, entry, &present),
            Post::Answer { socket, event, ack, outcome } => self.answer(io, socket, event, Some(ack), &outcome),
            Post::Fanout { account, room, frame } => self.fan_out_here(io, &account, &room, &frame),
            Post::Relay(tell) => self.relay(io, &tell),
            Post::Tell(tell) => self.tell_here(io, &tell),
            Post::Quiet { room, quiet } => self.set_quiet(room, quiet),
            Post::Ended { account, past, frame } => self.on_ended(io, &account, &past, frame),
        }
    }
}
