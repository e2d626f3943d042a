//! [`ShardStats`]: what one shard has counted, for whoever watches the server.
//!
//! The counters are plain numbers of the shard. Nothing is counted for each recipient of a broadcast but the bytes of each
//! write; what only a walk over all sessions could tell (queues, transports) is looked up when somebody asks.

use std::time::Duration;

use crate::{CloseReason, http::RefusalReason};

/// The upper bounds of the buckets of [`LagTimes`].
pub const LAG_BOUNDS: [Duration; 11] = [
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
];

/// How late a shard came to what was due: a histogram of samples, four a second. A timer is late while its shard is busy with
/// other things, and so is everything else, such as a message that has arrived. (The timers themselves are up to 1 ms late.)
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LagTimes {
    counts: [u64; LAG_BOUNDS.len() + 1],
    sum: Duration,
}

impl LagTimes {
    /// Adds a sample.
    pub(in crate::net) fn add(&mut self, lag: Duration) {
        let bucket = LAG_BOUNDS.iter().position(|bound| lag <= *bound).unwrap_or(LAG_BOUNDS.len());
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum += lag;
    }

    /// How many samples were in each bucket and in none before it. The last bucket has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        LAG_BOUNDS.into_iter().map(Some).chain([None]).zip(self.counts)
    }

    /// All samples together.
    #[must_use]
    pub const fn sum(&self) -> Duration {
        self.sum
    }

    fn merge(&mut self, other: &Self) {
        for (sum, more) in self.counts.iter_mut().zip(other.counts) {
            *sum += more;
        }
        self.sum += other.sum;
    }
}

/// What one shard has counted since it began, and how it is now. See [`Handle::stats`](super::handle::Handle::stats).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardStats {
    /// Sessions that are on long-polling now.
    pub polling: u64,
    /// Sessions that are on a WebSocket now.
    pub websocket: u64,
    /// Bytes that wait for peers in the sessions' send queues now.
    pub queued_bytes: u64,
    /// Sessions that have more than [`Config::outbound_soft`](crate::Config::outbound_soft) queued now.
    pub behind: u64,
    /// Bytes that were read from peers, of all kinds of requests, without the cost of TLS.
    pub bytes_read: u64,
    /// Bytes that were written to peers, likewise.
    pub bytes_written: u64,
    /// Packets that were received from sessions (of plain WebSockets: messages).
    pub packets_received: u64,
    /// Of the refusals as [`RefusalReason::Unavailable`]: those because the server had as many sessions as it may, or was ending.
    pub full: u64,
    /// How late the shard came to what was due.
    pub lag: LagTimes,
    /// How long the shard's thread did something else than wait.
    pub busy: Duration,
    closed: [u64; CloseReason::ALL.len()],
    refused: [u64; RefusalReason::ALL.len()],
}

impl ShardStats {
    /// How many sessions have ended, by reason.
    pub fn closed(&self) -> impl Iterator<Item = (CloseReason, u64)> {
        CloseReason::ALL.into_iter().zip(self.closed)
    }

    /// How many requests for the engine were refused, by reason.
    pub fn refused(&self) -> impl Iterator<Item = (RefusalReason, u64)> {
        RefusalReason::ALL.into_iter().zip(self.refused)
    }

    /// Adds what another shard has counted.
    pub fn merge(&mut self, other: &Self) {
        let Self {
            polling,
            websocket,
            queued_bytes,
            behind,
            bytes_read,
            bytes_written,
            packets_received,
            full,
            lag,
            busy,
            closed,
            refused,
        } = self;
        for (sum, more) in [
            (polling, other.polling),
            (websocket, other.websocket),
            (queued_bytes, other.queued_bytes),
            (behind, other.behind),
            (bytes_read, other.bytes_read),
            (bytes_written, other.bytes_written),
            (packets_received, other.packets_received),
            (full, other.full),
        ] {
            *sum += more;
        }
        lag.merge(&other.lag);
        *busy += other.busy;
        for (sum, more) in closed.iter_mut().zip(other.closed).chain(refused.iter_mut().zip(other.refused)) {
            *sum += more;
        }
    }

    pub(in crate::net) fn count_closed(&mut self, reason: CloseReason) {
        if let Some(count) = self.closed.get_mut(reason as usize) {
            *count += 1;
        }
    }

    pub(in crate::net) fn count_refused(&mut self, reason: RefusalReason) {
        if let Some(count) = self.refused.get_mut(reason as usize) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter() {
        let mut stats = ShardStats::default();
        for (times, reason) in CloseReason::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| stats.count_closed(reason));
        }
        for (times, reason) in RefusalReason::ALL.into_iter().enumerate() {
            (0..times).for_each(|_| stats.count_refused(reason));
        }
        let twice = {
            let mut sum = stats.clone();
            sum.merge(&stats);
            sum
        };
        assert!(twice.closed().zip(0..).all(|((_, count), times)| count == 2 * times), "{twice:?}");
        assert!(twice.refused().zip(0..).all(|((_, count), times)| count == 2 * times), "{twice:?}");
    }

    #[test]
    fn a_sample_is_in_the_first_bucket_that_holds_it() {
        let mut lag = LagTimes::default();
        for millis in [0, 1, 2, 10, 11, 2500, 9000] {
            lag.add(Duration::from_millis(millis));
        }
        let filled: Vec<_> = lag
            .buckets()
            .filter(|(_, count)| *count > 0)
            .map(|(bound, count)| (bound.map(|b| b.as_micros()), count))
            .collect();
        let expected =
            [(Some(1000), 2), (Some(2500), 1), (Some(10_000), 1), (Some(25_000), 1), (Some(2_500_000), 1), (None, 1)];
        assert_eq!((filled.as_slice(), lag.sum()), (&expected[..], Duration::from_millis(11_524)));
    }
}
