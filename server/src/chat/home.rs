//! [`Home`]: what a room's home knows of it, and what it does for those who come, go and ask.

use std::{
    borrow::Borrow,
    sync::Arc,
    time::{Duration, Instant},
};

use engineio::SharedFrame;
use indexmap::IndexMap;
use smallvec::SmallVec;
use socketio::{Io, RoomHandle};

use super::{
    Chat, Reply,
    accounts::{Account, Past},
    post::{Asker, Post, Question},
    room::Room,
};
use crate::store::LogKey;

/// A user as known in a room: with sockets in it, or without any but not forgotten.
#[derive(Debug)]
struct Occupant {
    /// How many of the user's sockets are in it.
    sockets: u32,
    /// When the last of them left by `leave`. Nobody is told of that; only coming back soon is not told again either.
    left: Option<Instant>,
}

/// A user as the key of a map: by its id, without a second copy of that.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ById(Arc<Account>);

impl Borrow<Account> for ById {
    fn borrow(&self) -> &Account {
        &self.0
    }
}

/// A room, as its home keeps it.
#[derive(Debug, Default)]
pub(super) struct Home {
    /// In the order in which they came, but for the last, who takes the place of one who is forgotten.
    occupants: IndexMap<ById, Occupant>,
    /// How many occupants have sockets in the room.
    present: usize,
    /// How many sockets each shard has in it; a shard without any is not listed.
    shards: SmallVec<[(u16, u32); 2]>,
    /// Where to go with the room's messages.
    pub(super) ways: Ways,
}

/// Where a room's messages are kept, and where its sockets are on the home's own shard: found with one look for the room,
/// where three would each touch memory that nothing else of the message is near.
#[derive(Debug, Default)]
pub(super) struct Ways {
    pub(super) log: Option<LogKey>,
    pub(super) sockets: Option<RoomHandle>,
}

impl Home {
    /// Sends a message to the members on the home's own shard.
    pub(super) fn broadcast_here(&mut self, io: &mut Io<'_>, room: &Room, frame: &SharedFrame) {
        if self.ways.sockets.is_none() {
            self.ways.sockets = io.room("/", room.name());
        }
        if let Some(sockets) = &self.ways.sockets {
            io.of("/").local().to_room(sockets).emit_frame(frame);
        }
    }

    /// The shards that have members of the room.
    pub(super) fn shards(&self) -> SmallVec<[u16; 8]> {
        self.shards.iter().map(|(shard, _)| *shard).collect()
    }

    fn sockets(&self) -> usize {
        self.shards.iter().map(|(_, sockets)| *sockets as usize).sum()
    }

    /// How many users have a socket in the room.
    pub(super) const fn present(&self) -> usize {
        self.present
    }

    /// Those who have a socket in it.
    pub(super) fn users(&self) -> impl Iterator<Item = &Account> {
        self.occupants.iter().filter(|(_, occupant)| occupant.sockets > 0).map(|(user, _)| &*user.0)
    }

    /// Those whom the others take for online: present, or without a socket in it, but neither did they leave nor are they
    /// gone for the grace.
    fn taken_for_online(&self) -> impl Iterator<Item = &Account> {
        let known = self.occupants.iter().filter(|(_, occupant)| occupant.sockets > 0 || occupant.left.is_none());
        known.map(|(user, _)| &*user.0)
    }

    fn count_in(&mut self, shard: u16) {
        match self.shards.iter_mut().find(|(of, _)| *of == shard) {
            Some((_, sockets)) => *sockets += 1,
            None => self.shards.push((shard, 1)),
        }
    }

    fn count_out(&mut self, shard: u16) {
        let Some(place) = self.shards.iter().position(|(of, _)| *of == shard) else { return };
        if let Some((_, sockets)) = self.shards.get_mut(place) {
            *sockets -= 1;
            if *sockets == 0 {
                self.shards.swap_remove(place);
            }
        }
    }

    /// Takes a socket of the user in; whether the others are to be told.
    fn enter(&mut self, account: &Arc<Account>, now: Instant, grace: Duration) -> bool {
        if let Some(occupant) = self.occupants.get_mut(&**account) {
            self.present += usize::from(occupant.sockets == 0);
            occupant.sockets += 1;
            return occupant.left.take().is_some_and(|left| now.duration_since(left) >= grace);
        }
        self.occupants.insert(ById(Arc::clone(account)), Occupant { sockets: 1, left: None });
        self.present += 1;
        true
    }

    fn leave(&mut self, account: &Account, left: Option<Instant>) {
        let Some(occupant) = self.occupants.get_mut(account).filter(|occupant| occupant.sockets > 0) else { return };
        occupant.sockets -= 1;
        if occupant.sockets == 0 {
            occupant.left = left;
            self.present -= 1;
        }
    }

    /// Forgets a user without a socket in it; `false` when there is one.
    fn forget(&mut self, account: &Account) -> bool {
        match self.occupants.get(account) {
            Some(occupant) if occupant.sockets > 0 => false,
            _ => {
                self.occupants.swap_remove(account);
                true
            }
        }
    }
}

impl Chat {
    /// The shards that have members of a room.
    pub(super) fn shards_of(&self, room: &Room) -> SmallVec<[u16; 8]> {
        self.homes.get(room).map(Home::shards).unwrap_or_default()
    }

    /// A socket comes in: it is told who is there, and the others of its user.
    pub(super) fn take_in(&mut self, io: &mut Io<'_>, asker: &Asker, room: &Room, entry: u32, join: Option<&Question>) {
        let (now, config) = (io.now(), Arc::clone(&self.config));
        let home = self.homes.entry(room.clone()).or_default();
        home.count_in(asker.shard);
        let announce = home.enter(&asker.account, now, config.presence.grace);
        self.watch_size(io, room);
        let announces = self.announces(room);
        // Whoever comes back without having left is not announced again: the newcomer must know of them too.
        let home = self.homes.get(room).filter(|_| announces);
        let others = home.into_iter().flat_map(Home::taken_for_online).filter(|user| **user != *asker.account);
        let present = others.take(config.presence.snapshot).map(Account::online).collect();
        let entered = Post::Entered { socket: asker.socket, room: room.clone(), entry, present };
        self.deliver(io, asker.shard, entered);
        if announces && announce {
            self.announce(io, &asker.account, room);
        }
        if let Some(join) = join {
            self.answer_question(io, asker, room, join);
        }
    }

    /// Tells the others in a room that a user is there.
    fn announce(&mut self, io: &mut Io<'_>, account: &Arc<Account>, room: &Room) {
        let status = account.online();
        let shards = self.shards_of(room);
        self.tell_on(io, &shards, account, std::slice::from_ref(room), "userStatus", &status);
    }

    /// A socket went out.
    pub(super) fn let_out(
        &mut self,
        io: &mut Io<'_>,
        shard: u16,
        account: &Account,
        room: &Room,
        left: Option<Instant>,
    ) {
        if let Some(home) = self.homes.get_mut(room) {
            home.count_out(shard);
            home.leave(account, left);
        }
        self.watch_size(io, room);
    }

    /// A user without a socket in the room is no longer known there.
    pub(super) fn forget(&mut self, account: &Account, room: &Room) -> bool {
        let Some(home) = self.homes.get_mut(room) else { return true };
        let forgotten = home.forget(account);
        if home.occupants.is_empty() && home.shards.is_empty() {
            self.homes.remove(room);
        }
        forgotten
    }

    /// Tells every shard when a room has become too large for presence, or small enough.
    fn watch_size(&mut self, io: &mut Io<'_>, room: &Room) {
        let sockets = self.homes.get(room).map_or(0, Home::sockets);
        let quiet = sockets > self.config.presence.max_room;
        if quiet != self.quiet.contains(room) {
            self.deliver_everywhere(io, || Post::Quiet { room: room.clone(), quiet });
        }
    }

    /// Whether a room is small enough for presence: it costs a packet for each pair of members.
    pub(super) fn announces(&self, room: &Room) -> bool {
        !self.quiet.contains(room)
    }

    pub(super) fn set_quiet(&mut self, room: Room, quiet: bool) {
        if quiet {
            self.quiet.insert(room);
        } else {
            self.quiet.remove(&room);
        }
    }

    /// Answers what a socket asks of a room; nobody waits for an answer without an `ack`.
    pub(super) fn answer_question(&mut self, io: &mut Io<'_>, asker: &Asker, room: &Room, question: &Question) {
        let Some(ack) = asker.ack else { return };
        let (event, reply) = match question {
            Question::Join { history } => ("join", self.joined_reply(io, room, *history)),
            Question::History(wanted) => ("history", self.page(io, room, wanted)),
            Question::Presence => ("presence", self.present_in(room)),
        };
        self.reply(io, asker, event, ack, reply);
    }

    /// Sends an answer to the socket that asked.
    pub(super) fn reply(
        &mut self,
        io: &mut Io<'_>,
        asker: &Asker,
        event: &'static str,
        ack: socketio::AckId,
        reply: Reply,
    ) {
        self.deliver(io, asker.shard, Post::Answer { socket: asker.socket, event, ack, outcome: Ok(reply) });
    }

    /// A user is gone: told to the rooms that do not know, and forgotten in those that live here.
    pub(super) fn on_ended(&mut self, io: &mut Io<'_>, account: &Arc<Account>, past: &[Past], frame: SharedFrame) {
        let here = io.shard();
        let mut back = Vec::new();
        for Past { room, left } in past {
            if self.home_of(io, room) == here && !self.forget(account, room) && left.is_none() {
                back.push(room);
            }
        }
        let rooms = past.iter().filter(|past| past.left.is_none()).map(|past| past.room.clone()).collect();
        self.tell_here(io, &super::post::Tell { account: Arc::clone(account), rooms, named: false, frame });
        // It came back at this very moment, and others have just been told that it is gone.
        for room in back.into_iter().filter(|room| self.announces(room)).cloned().collect::<Vec<_>>() {
            self.announce(io, account, &room);
        }
    }
}
