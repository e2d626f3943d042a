//! `presence` and `userStatus`: who is online, on request and told to the other users of a room.

use std::{sync::Arc, time::SystemTime};

use socketio::{AckId, Args, Io, SocketKey, parser::encode};

use super::{
    Chat, Outcome, Reply,
    accounts::{Account, Gone},
    error::ChatError,
    home::Home,
    post::{Post, Question, Tell},
    request,
};
use crate::room::Room;

/// The most users that `presence` names.
const USERS: usize = 1000;

impl Chat {
    pub(super) fn on_presence(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        args: &Args<'_>,
        ack: Option<AckId>,
    ) -> Result<Outcome, ChatError> {
        let room = self.readable(socket, request::presence(args)?)?;
        self.ask(io, socket, &Room::new(&room), Question::Presence, ack);
        Ok(Outcome::Asked)
    }

    /// What the home of a room answers to `presence`.
    pub(super) fn present_in(&self, room: &Room) -> Reply {
        let home = self.homes.get(room);
        let users: Vec<String> = home.into_iter().flat_map(Home::users).take(USERS).map(Account::online).collect();
        Reply::from(format!(r#","users":[{}],"total":{}"#, users.join(","), home.map_or(0, Home::present)))
    }

    /// Ends a user who has been without a socket for the grace.
    pub(super) fn check_grace(&mut self, io: &mut Io<'_>, id: &Arc<str>) {
        let (account, since, past) = match self.shared.accounts.check_gone(id, io.now()) {
            Gone::Back => return,
            Gone::Later(deadline) => return self.grace.push(deadline, Arc::clone(id)),
            Gone::Ended { account, since, past } => (account, since, past),
        };
        let away = io.now().duration_since(since);
        let seen = SystemTime::now().checked_sub(away).unwrap_or_else(SystemTime::now);
        let seen = humantime::format_rfc3339_millis(seen);
        let status = format!(r#"{{{},"isOnline":false,"lastSeen":"{seen}"}}"#, **account.fields());
        let (past, frame) = (Arc::from(past), encode::event("/", None, "userStatus", &status, &[]));
        self.deliver_everywhere(io, || Post::Ended {
            account: Arc::clone(&account),
            past: Arc::clone(&past),
            frame: frame.clone(),
        });
    }

    /// Sends an event about a user to the sockets of the rooms on these shards, each once, but not to the user's own.
    pub(super) fn tell_on(
        &mut self,
        io: &mut Io<'_>,
        shards: &[u16],
        account: &Arc<Account>,
        rooms: &[Room],
        event: &str,
        payload: &str,
    ) {
        let frame = encode::event("/", None, event, payload, &[]);
        let tell = Tell { account: Arc::clone(account), rooms: rooms.into(), named: true, frame };
        self.tell(io, shards, &tell);
    }

    /// Hands a [`Tell`] on: of one room that was named, to the shards that have members; of several to all.
    pub(super) fn relay(&mut self, io: &mut Io<'_>, tell: &Tell) {
        match tell.rooms.first() {
            Some(room) if tell.named => {
                let shards = self.shards_of(room);
                self.tell(io, &shards, tell);
            }
            _ => self.deliver_everywhere(io, || Post::Tell(tell.clone())),
        }
    }

    fn tell(&mut self, io: &mut Io<'_>, shards: &[u16], tell: &Tell) {
        for shard in shards {
            self.deliver(io, *shard, Post::Tell(tell.clone()));
        }
    }

    /// This shard's part of a [`Tell`].
    pub(super) fn tell_here(&mut self, io: &mut Io<'_>, tell: &Tell) {
        let mut rooms = tell.rooms.iter().filter(|room| tell.named || self.announces(room)).peekable();
        // Naming no room would reach everyone.
        if rooms.peek().is_none() {
            return;
        }
        let mut broadcast = io.of("/").local();
        for room in rooms {
            broadcast = broadcast.to(room.name());
        }
        for socket in self.users.get(&tell.account.id).into_iter().flatten() {
            broadcast = broadcast.except_socket(*socket);
        }
        broadcast.emit_frame(&tell.frame);
    }
}
