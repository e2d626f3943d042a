//! Clients that come back, as the homes of their rooms see it; and what the store is told of the rooms of sessions.

use std::sync::Arc;

use socketio::Io;

use super::{
    awaited::{Item, Settled, Waiter, refusal},
    homes::{HomeStore, Homes},
};
use crate::{
    chat::{
        shard_message::{Asker, Entry, LocalSockets, RecoveryMessage, RoomQuery, ToSocket, send_to_socket},
        users::Account,
    },
    room::Room,
    store::{
        MemoryStore, Missed, MissedFilling, MissedQuery, Position, Saving, SessionChange, SessionId, StoreError,
        Urgency,
    },
};

/// See [`HomeRequest::Readmit`](crate::chat::shard_message::HomeRequest::Readmit).
pub(super) struct Readmission {
    pub(super) shard: u16,
    pub(super) ticket: u64,
    pub(super) account: Arc<Account>,
    pub(super) rooms: Vec<(Room, Position)>,
    pub(super) max_bytes: usize,
}

impl Homes {
    /// A client comes back to these rooms. It is counted in them from here on, and what is sent there goes to its shard. What it missed is
    /// what came before.
    pub(super) fn readmit(&mut self, io: &mut Io<'_>, sockets: &mut dyn LocalSockets, readmission: Readmission) {
        let Readmission { shard, ticket, account, rooms, max_bytes } = readmission;
        let (home, since) = (io.shard(), self.position());
        let mut present = Vec::new();
        for (room, _) in &rooms {
            let (others, is_new) = self.count_in(io, sockets, shard, &account, room);
            present.push(others);
            if is_new {
                self.announce(io, sockets, &account, room);
            }
        }
        let readmitted = RecoveryMessage::Readmitted { ticket, home, since, present };
        send_to_socket(io, sockets, shard, ToSocket::Recovery(readmitted));
        let missed = match &mut self.store {
            HomeStore::Here(store) => {
                store.expire(io.now());
                Ok(missed(store, &rooms, max_bytes))
            }
            HomeStore::Elsewhere(awaited) => {
                let query = MissedQuery { shard, ticket, home, rooms, until: since, max_bytes };
                match awaited.read_missed(query) {
                    Ok(()) => return,
                    Err(error) => Err(error),
                }
            }
        };
        let missed = RecoveryMessage::Missed { ticket, home, missed };
        send_to_socket(io, sockets, shard, ToSocket::Recovery(missed));
    }

    /// Tells the store that a session has entered a room. What the socket is answered after that waits until the store knows. Returns
    /// `false` when the answer to a `join` was given here: it cannot be promised that the session will have the room.
    pub(super) fn save_entry(
        &mut self,
        io: &mut Io<'_>,
        sockets: &mut dyn LocalSockets,
        asker: &Asker,
        room: &Room,
        entry: Entry,
        join: Option<&RoomQuery>,
    ) -> bool {
        let Entry { session: Some(session), connects, .. } = entry else { return true };
        let since = self.position();
        let HomeStore::Elsewhere(awaited) = &mut self.store else { return true };
        let urgency = if connects { Urgency::Whenever } else { Urgency::Soon };
        let waiter = Waiter::of(asker);
        let change = SessionChange::Entered { session, room: room.clone(), since };
        match (awaited.save(io.shard(), change, urgency, join.map(|_| waiter)), join) {
            (Saving::Queued, Some(_)) => self.push(io, sockets, waiter, Item::Saving, false),
            (Saving::Closed, Some(query)) => {
                let (outcome, expected) = (Err(refusal(StoreError::Unavailable)), query.max_bytes());
                let settled = Settled { event: "join", ack: asker.ack, outcome, expected };
                self.push(io, sockets, waiter, Item::Settled(settled), true);
                return false;
            }
            (Saving::Void, _) | (_, None) => {}
        }
        true
    }

    /// Tells the store that a session has left a room.
    pub(super) fn save_leave(&mut self, session: Option<SessionId>, room: Room) {
        if let (Some(session), HomeStore::Elsewhere(awaited)) = (session, &mut self.store) {
            awaited.save(0, SessionChange::Left { session, room }, Urgency::Whenever, None);
        }
    }
}

/// What a client missed, out of a store in memory.
fn missed(store: &MemoryStore, rooms: &[(Room, Position)], max_bytes: usize) -> Missed {
    let mut missed = MissedFilling::new(max_bytes);
    for (room, since) in rooms {
        for stored in store.since(room, *since)? {
            if !missed.push(stored.clone()) {
                return None;
            }
        }
        for deleted in store.deleted_since(room, *since)? {
            if !missed.push_deleted(deleted) {
                return None;
            }
        }
    }
    Some(missed.into_events())
}
