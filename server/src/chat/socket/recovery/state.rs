//! [`Recovery`]: what a shard knows of sessions and of clients that come back.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use engineio::ConnKey;
use smallvec::SmallVec;
use uuid::Uuid;

use super::returning::{ReturnedEvent, Returning};
use crate::{
    chat::{
        recovery::{Pid, Positions, Session, Sessions},
        shard_message::Delivery,
    },
    room::Room,
    store::{Position, SessionChange, SessionId, Store, Stored, Urgency},
};

/// See the module.
#[derive(Debug)]
pub(in crate::chat) struct Recovery {
    pub(super) sessions: Arc<Sessions>,
    pub(super) store: Option<Arc<dyn Store>>,
    /// What this shard has sent to its sockets.
    pub(super) seen: Positions,
    /// The last offset.
    offset: String,
    pub(super) returning: HashMap<u64, Returning>,
    /// Those whose turn has not come.
    pub(super) waiting: VecDeque<u64>,
    /// The claims that have not begun, by their connections.
    pub(super) unbegun: HashMap<ConnKey, u64>,
    /// How many others there are.
    pub(super) active: usize,
    pub(super) tickets: u64,
    /// For whom messages of a room are held.
    holding: HashMap<Room, SmallVec<[u64; 1]>>,
    /// The last message of the runs before this one.
    pub(super) begun: Position,
    /// How many bytes one client may be sent of what it missed.
    pub(super) max_bytes: usize,
    /// When to look for sessions that can be claimed no longer.
    pub(super) expiry: Option<Instant>,
}

/// How many bytes of missed messages may be sent into a queue of this size: a quarter is left to what comes with them.
const fn replayed_bytes(queue: usize) -> usize {
    queue / 4 * 3
}

impl Recovery {
    /// Nobody comes back yet, to one of so many shards. `queue` is how many bytes may wait for one client.
    pub(in crate::chat) fn new(
        sessions: Arc<Sessions>,
        store: Option<Arc<dyn Store>>,
        shards: u16,
        queue: usize,
    ) -> Self {
        Self {
            sessions,
            begun: store.as_ref().map_or(Position::START, |store| Position::of(store.newest())),
            store,
            seen: Positions::new(shards),
            offset: String::new(),
            returning: HashMap::new(),
            waiting: VecDeque::new(),
            unbegun: HashMap::new(),
            active: 0,
            tickets: 0,
            holding: HashMap::new(),
            max_bytes: replayed_bytes(queue),
            expiry: None,
        }
    }

    /// Another bound of a connection's queue holds from now on.
    pub(in crate::chat::socket) const fn set_queue(&mut self, queue: usize) {
        self.max_bytes = replayed_bytes(queue);
    }

    /// Notes a message that is sent to the members of a room, and returns its offset.
    pub(in crate::chat::socket) fn next_offset(&mut self, delivery: Delivery<'_>) -> &str {
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
            returning.hold(ReturnedEvent::Message(home, stored), self.max_bytes);
        }
    }

    /// Keeps for the clients that are on their way back to the room that messages of it were deleted.
    pub(in crate::chat::socket) fn hold_deleted(&mut self, room: &Room, ids: &[Uuid]) {
        for ticket in self.holding.get(room).into_iter().flatten() {
            let Some(returning) = self.returning.get_mut(ticket) else { continue };
            for id in ids {
                let event = ReturnedEvent::Deleted(room.clone(), *id);
                returning.hold(event, self.max_bytes);
            }
        }
    }

    pub(super) fn save(&self, change: SessionChange) {
        save(self.store.as_deref(), change);
    }

    /// The connection of a session has ended; the client may come back.
    pub(super) fn keep(&mut self, pid: Pid, user: &Arc<str>, session: Session, now: Instant) {
        if self.sessions.keep(pid, user, session, now) {
            self.expiry = Some(now);
        }
        self.expiry = self.expiry.or_else(|| self.sessions.next_expiry());
    }

    /// The session ends without a socket.
    pub(super) fn end(&self, session: SessionId) {
        self.sessions.forget(session);
        self.save(SessionChange::Ended(session));
    }

    /// From here on messages of these rooms are held for a client.
    pub(super) fn begin_holding(&mut self, ticket: u64, rooms: &[Room]) {
        for room in rooms {
            self.holding.entry(room.clone()).or_default().push(ticket);
        }
    }

    /// The claim is decided: nothing is held any more.
    pub(super) fn take_returning(&mut self, ticket: u64) -> Option<Returning> {
        let returning = self.returning.remove(&ticket)?;
        for room in returning.homes.iter().flat_map(|part| &part.rooms) {
            if let Some(tickets) = self.holding.get_mut(room) {
                tickets.retain(|of| *of != ticket);
                if tickets.is_empty() {
                    self.holding.remove(room);
                }
            }
        }
        Some(returning)
    }

    /// How much is kept.
    #[cfg(test)]
    pub(in crate::chat::socket) fn len(&self) -> usize {
        self.returning.len()
            + self.waiting.len()
            + self.unbegun.len()
            + self.active
            + self.holding.len()
            + self.sessions.len()
    }
}

/// Tells the store how a session changed. The store removes a session of which it could not be told something.
pub(super) fn save(store: Option<&dyn Store>, change: SessionChange) {
    if let Some(store) = store {
        store.save(change, Urgency::Whenever);
    }
}
