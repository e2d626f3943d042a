//! The deadlines of a shard's connections, and of those that have said nothing yet.
//!
//! A deadline is only a reason to look: [`super::shard::Io::on_deadline`] asks the connection what is due. Heartbeats
//! come in order, so they are queues; everything else is rare and goes into the heap.

use std::{
    task::Waker,
    time::{Duration, Instant},
};

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

/// How late a ping may be for the sake of others that are due soon: this part of its interval, and no longer than that.
/// A waking costs more than a ping. The deadline of the pong counts from when the ping was due.
const SLACK: (u32, Duration) = (50, Duration::from_millis(50));

#[derive(Debug)]
pub(super) struct Timers {
    slack: Duration,
    /// Pings, each one `ping_interval` after a handshake or a pong.
    pub(super) pings: Fifo<ConnKey>,
    /// Pongs, each one `ping_timeout` after its ping.
    pub(super) pongs: Fifo<ConnKey>,
    /// Upgrades, blocked writers, lingering connections, pongs that were given more time.
    pub(super) others: Heap<(ConnKey, Due)>,
    pub(super) arrivals: Arrivals,
}

impl Timers {
    pub(super) fn new(ping_interval: Duration) -> Self {
        let (part, longest) = SLACK;
        Self {
            slack: (ping_interval / part).min(longest),
            pings: Fifo::default(),
            pongs: Fifo::default(),
            others: Heap::default(),
            arrivals: Arrivals::default(),
        }
    }

    /// When to wake up. Whoever is awake before sends the pings that are due by then.
    pub(super) fn next(&self) -> Option<Instant> {
        let pings = self.pings.next().and_then(|next| next.checked_add(self.slack));
        [pings, self.pongs.next(), self.others.next(), self.arrivals.deadlines.next()].into_iter().flatten().min()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_that_are_due_soon_go_together_and_pongs_are_exact() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut conns = Slab::default();
        let keys = [(); 4].map(|()| ConnKey(conns.insert(())));
        let mut timers = Timers::new(Duration::from_secs(1));
        for (key, after) in keys.into_iter().zip([0, 10, 40]) {
            timers.pings.push(start + ms(after), key);
        }
        assert_eq!(timers.next(), Some(start + ms(20)));
        // Whoever is awake before does not wait.
        assert_eq!(timers.pop_due(start), Some((keys[0], Due::Session)));
        assert_eq!(timers.next(), Some(start + ms(30)));
        assert_eq!(timers.pop_due(start + ms(30)), Some((keys[1], Due::Session)));
        assert_eq!(timers.pop_due(start + ms(30)), None);
        timers.pongs.push(start + ms(41), keys[3]);
        assert_eq!(timers.next(), Some(start + ms(41)));
        assert_eq!(Timers::new(Duration::from_secs(25)).slack, ms(50));
    }
}
