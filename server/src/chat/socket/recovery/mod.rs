//! Clients that come back and claim their sessions.
//!
//! A claim goes through these steps, and the answer to the CONNECT waits for the last of them:
//!
//! 1. The session is found: among those without a connection, on the shard of a connection that still seems to live, or in the store,
//!    if it began in an earlier run.
//! 2. The homes of its rooms count the client in, and say up to where they have sent messages. What comes later is held here.
//! 3. What it missed up to there comes from the store.
//! 4. The client gets what it missed, what was held, and the answer. From here on it is a socket like any other.
//!
//! Where a step fails, the client gets a new socket.
//!
//! | file | what it does |
//! |---|---|
//! | `claim` | these steps |
//! | `returning` | a client that comes back, until its claim is decided |

mod claim;
mod returning;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use smallvec::SmallVec;
use socketio::{DisconnectReason, Io, SocketKey};

use super::{
    member::{Joined, Member, MemberSession},
    sockets::Sockets,
};
use crate::{
    chat::{
        recovery::{Pid, Positions, Session, Sessions},
        shard_message::Delivery,
    },
    room::Room,
    store::{Position, SessionChange, SessionId, Store, Stored, Urgency},
};
use returning::Returning;

/// What a shard knows of sessions and of clients that come back.
#[derive(Debug)]
pub(in crate::chat) struct Recovery {
    sessions: Arc<Sessions>,
    store: Option<Arc<dyn Store>>,
    /// What this shard has sent to its sockets.
    seen: Positions,
    /// The last offset.
    offset: String,
    returning: HashMap<u64, Returning>,
    /// Those whose turn has not come.
    waiting: VecDeque<u64>,
    /// How many others there are.
    active: usize,
    tickets: u64,
    /// For whom messages of a room are held.
    holding: HashMap<Room, SmallVec<[u64; 1]>>,
    /// When to look for sessions that can be claimed no longer.
    expiry: Option<Instant>,
}

impl Recovery {
    /// Nobody comes back yet, to one of so many shards.
    pub(in crate::chat) fn new(sessions: Arc<Sessions>, store: Option<Arc<dyn Store>>, shards: u16) -> Self {
        Self {
            sessions,
            store,
            seen: Positions::new(shards),
            offset: String::new(),
            returning: HashMap::new(),
            waiting: VecDeque::new(),
            active: 0,
            tickets: 0,
            holding: HashMap::new(),
            expiry: None,
        }
    }

    /// Notes a message that is sent to the members of a room, and returns its offset.
    pub(super) fn next_offset(&mut self, delivery: Delivery<'_>) -> &str {
        self.seen.raise(delivery.home, Position::of(delivery.id));
        if !self.holding.is_empty() {
            self.hold(delivery);
        }
        self.offset.clear();
        self.seen.write(&mut self.offset);
        &self.offset
    }

    /// Keeps a message for the clients that are on their way back to the room.
    fn hold(&mut self, delivery: Delivery<'_>) {
        let Delivery { room, home, id, json, attachments, .. } = delivery;
        for ticket in self.holding.get(room).into_iter().flatten() {
            let Some(returning) = self.returning.get_mut(ticket) else { continue };
            let stored = Stored { id, json: json.into(), attachments: attachments.into() };
            returning.held_bytes += stored.len();
            returning.held.push((home, stored));
        }
    }

    fn save(&self, change: SessionChange) {
        save(self.store.as_deref(), change);
    }

    /// The connection of a session has ended; the client may come back.
    fn keep(&mut self, pid: Pid, user: &Arc<str>, session: Session, now: Instant) {
        self.sessions.keep(pid, user, session, now);
        self.expiry = self.expiry.or_else(|| self.sessions.next_expiry());
    }

    /// The session ends without a socket.
    fn end(&self, session: SessionId) {
        self.sessions.forget(session);
        self.save(SessionChange::Ended(session));
    }

    /// How much is kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.returning.len() + self.waiting.len() + self.active + self.holding.len() + self.sessions.len()
    }
}

/// Tells the store how a session changed. The store removes a session of which it could not be told something.
fn save(store: Option<&dyn Store>, change: SessionChange) {
    if let Some(store) = store {
        store.save(change, Urgency::Whenever);
    }
}

impl Sockets {
    /// Everything that a home has sent up to this position has arrived.
    pub(super) fn see(&mut self, home: u16, since: Position) {
        if let Some(recovery) = &mut self.recovery {
            recovery.seen.raise(home, since);
        }
    }

    /// Tells the store of a socket's session, once it knows all rooms that the socket entered at CONNECT.
    pub(super) fn save_session(&mut self, socket: SocketKey) {
        let (Some(recovery), Some(member)) = (&self.recovery, self.members.get_mut(socket)) else { return };
        let is_complete = member.snapshot.is_none() && member.rooms.iter().all(|joined| joined.since.is_some());
        let Some(session) = member.session.as_mut().filter(|_| is_complete) else { return };
        if !std::mem::replace(&mut session.saved, true) {
            let (sid, user) = (session.id.to_string().into(), Arc::clone(&member.account.id));
            let Pid { session, secret } = session.pid;
            recovery.save(SessionChange::Began { session, secret, sid, user });
        }
    }

    /// A connection has ended. The client may come back, unless one side has ended the socket by its own wish.
    pub(super) fn keep_session(&mut self, io: &Io<'_>, member: &Member, reason: DisconnectReason) {
        let Some(session) = &member.session else { return };
        let pid = session.pid;
        let kept = matches!(reason, DisconnectReason::Engine(_)).then(|| self.session_of(io, member, session));
        let Some(recovery) = &mut self.recovery else { return };
        match kept {
            Some(kept) => recovery.keep(pid, &member.account.id, kept, io.now()),
            None => recovery.end(pid.session),
        }
    }

    /// The session of a socket.
    fn session_of(&self, io: &Io<'_>, member: &Member, session: &MemberSession) -> Session {
        let seen = self.recovery.as_ref().map(|recovery| &recovery.seen);
        // Where a home has not answered, the socket needs what this shard has not heard of.
        let unanswered = |room: &Room| seen.map_or(Position::START, |seen| seen.get(self.homes.of(room, io.shards())));
        let since = |joined: &Joined| joined.since.unwrap_or_else(|| unanswered(&joined.room));
        let rooms = member.rooms.iter().map(|joined| (joined.room.clone(), since(joined))).collect();
        Session { id: session.id.clone(), rooms, saved: session.saved }
    }

    /// When [`Sockets::expire_sessions`] is to be called.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.recovery.as_ref()?.expiry
    }

    /// Forgets the sessions that can be claimed no longer.
    pub(super) fn expire_sessions(&mut self, now: Instant) {
        let Some(recovery) = &mut self.recovery else { return };
        if recovery.expiry.is_some_and(|expiry| expiry <= now) {
            while let Some(session) = recovery.sessions.next_expired(now) {
                recovery.save(SessionChange::Ended(session));
            }
            recovery.expiry = recovery.sessions.next_expiry();
        }
    }
}
