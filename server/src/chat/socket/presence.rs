//! Users whose last socket was on this shard, and what this shard's sockets are told about users.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use engineio::SharedFrame;
use socketio::{Io, parser::encode};

use super::sockets::Sockets;
use crate::{
    chat::{
        shard_message::{ToAll, UserBroadcast},
        users::{Account, Gone, PastRoom},
    },
    clock::wall_clock,
    config::WebhookEvent,
    room::Room,
    webhooks,
};

impl Sockets {
    /// The next user who has been without a socket for `presence.grace`, as all shards are to hear of it.
    pub(in crate::chat) fn next_gone(&mut self, io: &Io<'_>) -> Option<ToAll> {
        let now = io.now();
        while let Some(id) = self.gone.pop_due(now) {
            match self.accounts.check_gone(&id, now) {
                Gone::Back => {}
                Gone::Later(deadline) => self.gone.push(deadline, id),
                Gone::Ended { account, since, past, look_at } => {
                    if let Some(deadline) = look_at {
                        self.resting.push(deadline, id);
                    }
                    let away = now.duration_since(since);
                    let seen = SystemTime::now().checked_sub(away).unwrap_or_else(SystemTime::now);
                    self.tell_disconnected(&account, seen);
                    let seen = humantime::format_rfc3339_millis(seen);
                    let status = format!(r#"{{{},"isOnline":false,"lastSeen":"{seen}"}}"#, **account.fields());
                    let frame = encode::event("/", None, "userStatus", &status, &[]);
                    return Some(ToAll::UserGone { account, past: past.into(), frame });
                }
            }
        }
        None
    }

    /// Tells webhooks that a user who was gone is there.
    pub(super) fn tell_connected(&self, account: &Account) {
        self.webhooks.tell(WebhookEvent::UserConnected, || {
            let millis = u64::try_from(wall_clock().as_millis()).unwrap_or(u64::MAX);
            webhooks::Event::Connected { user: Arc::clone(&account.fields()), millis }
        });
    }

    /// Tells webhooks that a user is gone, since then.
    fn tell_disconnected(&self, account: &Account, since: SystemTime) {
        self.webhooks.tell(WebhookEvent::UserDisconnected, || {
            let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
            let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
            webhooks::Event::Disconnected { user: Arc::clone(&account.fields()), millis }
        });
    }

    /// Tells the members of the rooms that take the user for online.
    pub(super) fn announce_gone(
        &mut self,
        io: &mut Io<'_>,
        account: &Arc<Account>,
        past: &[PastRoom],
        frame: &SharedFrame,
    ) {
        let rooms = past.iter().filter(|past| past.left.is_none()).map(|past| &past.room);
        let rooms = rooms.filter(|room| !self.quiet.contains(*room));
        self.broadcast_to(io, account, rooms, frame);
    }

    /// Does this shard's part of a broadcast about a user.
    pub(super) fn broadcast(&mut self, io: &mut Io<'_>, broadcast: &UserBroadcast) {
        let UserBroadcast { account, rooms, named, frame } = broadcast;
        self.broadcast_to(io, account, rooms.iter().filter(|room| *named || !self.quiet.contains(*room)), frame);
    }

    /// Sends an event about a user to this shard's sockets in the rooms, to each once, but not to the user's own.
    fn broadcast_to<'a>(
        &self,
        io: &mut Io<'_>,
        account: &Account,
        rooms: impl Iterator<Item = &'a Room>,
        frame: &SharedFrame,
    ) {
        let mut rooms = rooms.peekable();
        // Naming no room would reach everyone.
        if rooms.peek().is_none() {
            return;
        }
        let mut broadcast = io.of("/").local();
        for room in rooms {
            broadcast = broadcast.to(room.name());
        }
        for socket in self.members.of_user(&account.id) {
            broadcast = broadcast.except_socket(*socket);
        }
        broadcast.emit_frame(frame);
    }

    /// Notes whether a room is too large for presence, which costs a packet for each pair of members.
    pub(super) fn set_quiet(&mut self, io: &mut Io<'_>, room: &Room, quiet: bool) {
        if quiet {
            self.quiet.insert(room.clone());
            self.end_typing_in_quiet(io, room);
        } else {
            self.quiet.remove(room);
        }
    }
}
