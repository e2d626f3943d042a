//! Who comes into a room and goes out of it, `presence`, and what the other users of a room are told about a user.

use std::{sync::Arc, time::Instant};

use socketio::{Io, parser::encode};

use super::homes::{Home, Homes};
use crate::{
    chat::{
        shard_message::{
            Asker, Entry, LocalSockets, ToAll, ToSocket, UserBroadcast, send_to_all, send_to_shards, send_to_socket,
        },
        users::{Account, PastRoom},
    },
    room::Room,
};

/// The most users that `presence` names.
const USERS: usize = 1000;

impl Homes {
    /// A socket enters the room: it hears who is there, and the others hear of its user.
    pub(super) fn enter(
        &mut self,
        io: &mut Io<'_>,
        sockets: &mut dyn LocalSockets,
        asker: &Asker,
        room: &Room,
        entry: Entry,
    ) {
        let (home, since) = (io.shard(), self.position());
        let (present, is_new) = self.count_in(io, sockets, asker.shard, &asker.account, room);
        let (socket, entry, named) = (asker.socket, entry.number, room.clone());
        let entered = ToSocket::Entered { socket, room: named, entry, home, since, present };
        send_to_socket(io, sockets, asker.shard, entered);
        if is_new {
            self.announce(io, sockets, &asker.account, room);
        }
    }

    /// Counts a socket of `shard` among those in the room. Returns users who are there, and whether the others are to hear of this one.
    pub(super) fn count_in(
        &mut self,
        io: &mut Io<'_>,
        sockets: &mut dyn LocalSockets,
        shard: u16,
        account: &Arc<Account>,
        room: &Room,
    ) -> (Vec<Arc<Account>>, bool) {
        let presence = &self.config.presence;
        let home = self.rooms.entry(room.clone()).or_default();
        let is_new = home.occupants.enter(shard, account, io.now(), presence.grace);
        watch_size(io, sockets, home, room, presence.max_room);
        // Users who were disconnected and may still come back are among them: coming back is not announced.
        let others = home.occupants.taken_for_online().filter(|user| !home.quiet && *user != account);
        (others.take(presence.snapshot).map(Arc::clone).collect(), is_new && !home.quiet)
    }

    /// Tells the others in a room that a user is there.
    pub(super) fn announce(
        &self,
        io: &mut Io<'_>,
        sockets: &mut dyn LocalSockets,
        account: &Arc<Account>,
        room: &Room,
    ) {
        if let Some(home) = self.rooms.get(room) {
            announce(io, sockets, home, account, room);
        }
    }

    /// A socket of `shard` is out of the room; `left` is when it left by its own wish.
    pub(super) fn leave(
        &mut self,
        io: &mut Io<'_>,
        sockets: &mut dyn LocalSockets,
        shard: u16,
        account: &Account,
        room: &Room,
        left: Option<Instant>,
    ) {
        let Some(home) = self.rooms.get_mut(room) else { return };
        home.occupants.leave(shard, account, left);
        watch_size(io, sockets, home, room, self.config.presence.max_room);
    }

    /// Forgets a user who has no socket in the room; `false` when it has one.
    pub(super) fn forget(&mut self, account: &Account, room: &Room) -> bool {
        let Some(home) = self.rooms.get_mut(room) else { return true };
        let forgotten = home.occupants.forget(account);
        if home.occupants.is_empty() {
            self.rooms.remove(room);
        }
        forgotten
    }

    /// A user is gone, as the members of its rooms have just heard. The rooms whose home is here forget it.
    pub(in crate::chat) fn forget_user(
        &mut self,
        io: &mut Io<'_>,
        sockets: &mut dyn LocalSockets,
        account: &Arc<Account>,
        past: &[PastRoom],
    ) {
        for PastRoom { room, left } in past {
            // The user has just come back, after the others heard that it is gone.
            if !self.forget(account, room)
                && left.is_none()
                && let Some(home) = self.rooms.get(room).filter(|home| !home.quiet)
            {
                announce(io, sockets, home, account, room);
            }
        }
    }

    /// What `presence` is answered: as many users as fit, and how many there are.
    pub(super) fn present(&self, room: &Room, max_bytes: usize) -> String {
        let occupants = self.rooms.get(room).map(|home| &home.occupants);
        let mut users = String::new();
        for user in occupants.into_iter().flat_map(|occupants| occupants.users()).take(USERS) {
            let user = user.online();
            if users.len() + ",".len() + user.len() > max_bytes {
                break;
            }
            if !users.is_empty() {
                users.push(',');
            }
            users.push_str(&user);
        }
        let total = occupants.map_or(0, |occupants| occupants.present());
        format!(r#","users":[{users}],"total":{total}"#)
    }

    /// Passes a broadcast about a user on: of one room that was named, to the shards that have members; of several to all.
    pub(super) fn broadcast(
        &self,
        io: &mut Io<'_>,
        sockets: &mut dyn LocalSockets,
        room: &Room,
        broadcast: UserBroadcast,
    ) {
        if broadcast.named {
            let shards = self.rooms.get(room).into_iter().flat_map(|home| home.occupants.shards());
            send_to_shards(io, sockets, shards, &ToAll::UserBroadcast(broadcast));
        } else {
            send_to_all(io, sockets, &ToAll::UserBroadcast(broadcast));
        }
    }
}

/// Tells the others in a room that a user is there.
fn announce(io: &mut Io<'_>, sockets: &mut dyn LocalSockets, home: &Home, account: &Arc<Account>, room: &Room) {
    let frame = encode::event("/", None, "userStatus", &account.online(), &[]);
    let rooms = std::slice::from_ref(room).into();
    let broadcast = UserBroadcast { account: Arc::clone(account), rooms, named: true, frame };
    send_to_shards(io, sockets, home.occupants.shards(), &ToAll::UserBroadcast(broadcast));
}

/// Tells every shard when a room has become too large for presence, or small enough.
fn watch_size(io: &mut Io<'_>, sockets: &mut dyn LocalSockets, home: &mut Home, room: &Room, max: usize) {
    let quiet = home.occupants.sockets() > max;
    if quiet != home.quiet {
        home.quiet = quiet;
        send_to_all(io, sockets, &ToAll::Quiet { room: room.clone(), quiet });
    }
}
