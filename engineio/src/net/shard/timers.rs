//! The deadlines of a shard's connections, also of those that have sent nothing yet.
//!
//! A deadline is only a reason to check: `timeouts` asks the connection what is due. Heartbeats are pushed in order, so
//! they use queues; everything else is rare and uses the heap.

use std::{
    task::Waker,
    time::{Duration, Instant},
};

use crate::{
    deadlines::{Fifo, Heap, soonest},
    handler::ConnKey,
    session::Intervals,
    slab::{Key, Slab},
};

/// What a deadline is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) enum Deadline {
    /// The session's state machine: heartbeat or upgrade.
    Session,
    /// A peer that accepts no bytes.
    Blocked,
    /// A closed connection whose transport has not ended.
    Linger,
}

/// How late a ping may be, so that pings due soon after it are sent in the same wake: this fraction of its interval,
/// but at most this long. A wake costs more than a ping. The deadline of the pong counts from when the ping was due.
const SLACK: (u32, Duration) = (50, Duration::from_millis(50));

#[derive(Debug)]
pub(in crate::net) struct Timers {
    slack: Duration,
    /// How late a deadline may be noticed before the shard counts as stalled.
    stall_threshold: Duration,
    /// The current run began so late that sockets may hold input that came in time.
    pub(in crate::net) stalled: bool,
    /// Pings, each one `ping_interval` after a handshake or a pong.
    pub(in crate::net) pings: Fifo<ConnKey>,
    /// Pongs, each one `ping_timeout` after its ping.
    pub(in crate::net) pongs: Fifo<ConnKey>,
    /// Upgrades, blocked writers, lingering connections, pongs that were given more time.
    pub(in crate::net) others: Heap<(ConnKey, Deadline)>,
    pub(in crate::net) first_bytes: FirstBytes,
}

impl Timers {
    pub(in crate::net) fn new(Intervals { ping_interval, ping_timeout }: Intervals) -> Self {
        let (part, longest) = SLACK;
        Self {
            slack: (ping_interval / part).min(longest),
            stall_threshold: ping_timeout / 8,
            stalled: false,
            pings: Fifo::default(),
            pongs: Fifo::default(),
            others: Heap::default(),
            first_bytes: FirstBytes::default(),
        }
    }

    /// When to wake up. A run before that sends the pings that are due by then.
    pub(in crate::net) fn next(&self) -> Option<Instant> {
        let pings = self.pings.next().and_then(|next| next.checked_add(self.slack));
        soonest([pings, self.pongs.next(), self.others.next(), self.first_bytes.deadlines.next()])
    }

    /// A run of the timers begins; `due` is the first deadline it will see.
    pub(in crate::net) fn begin_run(&mut self, due: Option<Instant>, now: Instant) {
        let late = due.map_or(Duration::ZERO, |due| now.saturating_duration_since(due));
        self.stalled = late > self.stall_threshold;
    }

    pub(in crate::net) fn pop_due(&mut self, now: Instant) -> Option<(ConnKey, Deadline)> {
        let beat = self.pings.pop_due(now).or_else(|| self.pongs.pop_due(now));
        beat.map(|key| (key, Deadline::Session)).or_else(|| self.others.pop_due(now))
    }
}

/// Connections that have not sent their first bytes. (A tokio timer for each would cost a system call whenever no other
/// timer is due earlier.)
#[derive(Debug, Default)]
pub(in crate::net) struct FirstBytes {
    waiting: Slab<Waker>,
    deadlines: Fifo<Key>,
}

impl FirstBytes {
    /// Wakes `task` at `deadline`. The deadlines of successive calls must be in order.
    pub(in crate::net) fn wait(&mut self, deadline: Instant, task: Waker) -> Key {
        let key = self.waiting.insert(task);
        self.deadlines.push(deadline, key);
        key
    }

    /// Whether the deadline has not come yet.
    pub(in crate::net) fn is_waiting(&self, key: Key) -> bool {
        self.waiting.get(key).is_some()
    }

    /// The bytes have come.
    pub(in crate::net) fn end(&mut self, key: Key) {
        self.waiting.remove(key);
        let Self { waiting, deadlines } = self;
        deadlines.skip_stale(|key| waiting.get(*key).is_none());
    }

    /// Wakes the tasks whose deadline has come.
    pub(in crate::net) fn expire(&mut self, now: Instant) {
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
    fn pings_that_are_due_soon_are_sent_together_and_pongs_are_exact() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut conns = Slab::default();
        let keys = [(); 4].map(|()| ConnKey(conns.insert(())));
        let intervals = |ping_interval| Intervals { ping_interval, ping_timeout: ms(800) };
        let mut timers = Timers::new(intervals(ms(1000)));
        for (key, after) in keys.into_iter().zip([0, 10, 40]) {
            timers.pings.push(start + ms(after), key);
        }
        assert_eq!(timers.next(), Some(start + ms(20)));
        // A run before that time sends the pings that are due.
        assert_eq!(timers.pop_due(start), Some((keys[0], Deadline::Session)));
        assert_eq!(timers.next(), Some(start + ms(30)));
        assert_eq!(timers.pop_due(start + ms(30)), Some((keys[1], Deadline::Session)));
        assert_eq!(timers.pop_due(start + ms(30)), None);
        timers.pongs.push(start + ms(41), keys[3]);
        assert_eq!(timers.next(), Some(start + ms(41)));
        assert_eq!(Timers::new(intervals(ms(25_000))).slack, ms(50));
    }

    #[test]
    fn a_shard_that_sees_its_first_deadline_an_eighth_of_the_timeout_late_has_stalled() {
        let (start, ms) = (Instant::now(), Duration::from_millis);
        let mut timers = Timers::new(Intervals { ping_interval: ms(1000), ping_timeout: ms(800) });
        for (due, expected) in
            [(None, false), (Some(start + ms(1)), false), (Some(start), true), (Some(start + ms(200)), false)]
        {
            timers.begin_run(due, start + ms(101));
            assert_eq!(timers.stalled, expected, "{due:?}");
        }
    }
}
