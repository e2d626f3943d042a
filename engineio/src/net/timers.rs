//! The deadlines of a shard's connections, and of those that have said nothing yet.
//!
//! A deadline is only a reason to look: [`super::shard::Io::on_deadline`] asks the connection what is due. Heartbeats
//! come in order, so they are queues; everything else is rare and goes into the heap.

use std::{task::Waker, time::Instant};

use crate::{
    deadlines::{Fifo, Heap},
    handler::ConnKey,
    slab::{Key, Slab},
};

/// What a deadline is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// The session's state machine: heartbeat or upgrade.
    Session,
    /// A peer that takes no byte.
    Blocked,
    /// A closed connection whose transport has not ended.
    Linger,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    /// Pings, each one `ping_interval` after a handshake or a pong.
    pub(super) pings: Fifo<ConnKey>,
    /// Pongs, each one `ping_timeout` after its ping.
    pub(super) pongs: Fifo<ConnKey>,
    /// Upgrades, blocked writers, lingering connections, pongs that were given more time.
    pub(super) others: Heap<(ConnKey, Due)>,
    pub(super) arrivals: Arrivals,
}

impl Timers {
    pub(super) fn next(&self) -> Option<Instant> {
        [self.pings.next(), self.pongs.next(), self.others.next(), self.arrivals.deadlines.next()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(ConnKey, Due)> {
        let beat = self.pings.pop_due(now).or_else(|| self.pongs.pop_due(now));
        beat.map(|key| (key, Due::Session)).or_else(|| self.others.pop_due(now))
    }
}

/// Connections whose first bytes are awaited. (A timer of tokio's for each would cost a system call, whenever nothing else
/// is due before.)
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    waiting: Slab<Waker>,
    deadlines: Fifo<Key>,
}

impl Arrivals {
    /// Wakes `task` at `deadline`; each is the same time after its call.
    pub(super) fn wait(&mut self, deadline: Instant, task: Waker) -> Key {
        let key = self.waiting.insert(task);
        self.deadlines.push(deadline, key);
        key
    }

    /// Whether the deadline has not come.
    pub(super) fn is_waiting(&self, key: Key) -> bool {
        self.waiting.get(key).is_some()
    }

    /// The bytes have come.
    pub(super) fn end(&mut self, key: Key) {
        self.waiting.remove(key);
        let Self { waiting, deadlines } = self;
        deadlines.skip_stale(|key| waiting.get(*key).is_none());
    }

    /// Wakes those whose deadline has come.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(key) = self.deadlines.pop_due(now) {
            if let Some(task) = self.waiting.remove(key) {
                task.wake();
            }
        }
    }
}
