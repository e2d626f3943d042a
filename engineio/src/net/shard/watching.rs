//! The counters of a shard, for whoever watches it.

use std::time::{Duration, Instant};

use crate::net::shards::stats::ShardStats;

/// The time between two samples of the shard's lag.
const LAG_INTERVAL: Duration = Duration::from_millis(250);

/// The counters of a shard, and when to sample or look next.
#[derive(Debug)]
pub(in crate::net) struct Watching {
    pub(in crate::net) stats: ShardStats,
    next_sample: Instant,
    /// When the sessions may be looked at again.
    pub(super) next_look: Instant,
}

impl Watching {
    pub(super) fn new(now: Instant) -> Self {
        Self { stats: ShardStats::default(), next_sample: now + LAG_INTERVAL, next_look: now }
    }

    /// Takes a sample of the lag if it is time. Returns when it is time again.
    pub(in crate::net) fn sample_lag(&mut self, now: Instant) -> Instant {
        if now >= self.next_sample {
            self.stats.lag.add(now - self.next_sample);
            self.next_sample = now + LAG_INTERVAL;
        }
        self.next_sample
    }
}
