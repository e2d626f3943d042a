//! What recovery keeps of a socket that ends.

use std::{sync::Arc, time::Instant};

use super::{State, ids::SocketKey};
use crate::{error::DisconnectReason, recovery::Saved};

impl State {
    /// A socket is about to be removed. If its client may get it back, it is saved, with the rooms that it is still in.
    pub(super) fn end_session(&mut self, key: SocketKey, reason: DisconnectReason, now: Instant) {
        let Some(socket) = self.sockets.get_mut(key.0) else { return };
        if !self.moved.is_empty() && self.moved.get(&socket.id) == Some(&key) {
            self.moved.remove(&socket.id);
        }
        let (Some(kept), Some(recovery)) = (socket.recovery.take(), &self.recovery) else { return };
        let Some(session) = kept.session else { return };
        let Some(nsp) = self.namespaces.get(socket.nsp).filter(|_| reason.is_recoverable()) else {
            return recovery.store.forget(session.pid);
        };
        recovery.store.save(Saved {
            session,
            id: socket.id.clone(),
            nsp: Arc::clone(&nsp.name),
            rooms: socket.rooms.iter().filter_map(|membership| nsp.rooms.shared_name(membership)).collect(),
            data: kept.data,
            shard: recovery.shard,
            end: recovery.seen.clone(),
            ended: now,
        });
    }
}
