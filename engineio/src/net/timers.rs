//! The deadlines of a shard's connections.
//!
//! A deadline is only a reason to look: [`super::shard::Io::on_deadline`] asks the connection what is due. Heartbeats
//! come in order, so they are queues; everything else is rare and goes into the heap.

use std::time::Instant;

use crate::{
    deadlines::{Fifo, Heap},
    handler::ConnKey,
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
}

impl Timers {
    pub(super) fn next(&self) -> Option<Instant> {
        [self.pings.next(), self.pongs.next(), self.others.next()].into_iter().flatten().min()
    }

    pub(super) fn pop_due(&mut self, now: Instant) -> Option<(ConnKey, Due)> {
        let beat = self.pings.pop_due(now).or_else(|| self.pongs.pop_due(now));
        beat.map(|key| (key, Due::Session)).or_else(|| self.others.pop_due(now))
    }
}
