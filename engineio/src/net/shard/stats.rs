//! What a shard tells whoever watches it: its counters, and a look at all its sessions.

use std::time::Duration;

use super::{super::peer::traffic, io::ShardIo};
use crate::net::shards::stats::ShardStats;

/// How often the sessions are looked at, at most: with 100,000 of them a look takes about a millisecond, and anybody may ask.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

impl ShardIo {
    /// What this shard has counted, and how it is now.
    pub(in crate::net) fn stats(&mut self) -> ShardStats {
        if self.now >= self.watching.next_look {
            self.watching.next_look = self.now + LOOK_INTERVAL;
            self.look_at_sessions();
        }
        let stats = &mut self.watching.stats;
        (stats.bytes_read, stats.bytes_written) = traffic::read_and_written();
        // A shard has a runtime of its own, with one worker.
        stats.busy = tokio::runtime::Handle::current().metrics().worker_total_busy_duration(0);
        stats.clone()
    }

    fn look_at_sessions(&mut self) {
        let (soft, stats) = (self.config.outbound_soft, &mut self.watching.stats);
        (stats.polling, stats.websocket, stats.queued_bytes, stats.behind) = (0, 0, 0, 0);
        for (_, conn) in self.conns.iter() {
            if conn.is_open() {
                *(if conn.transport.websocket().is_some() { &mut stats.websocket } else { &mut stats.polling }) += 1;
            }
            stats.queued_bytes += conn.out.bytes() as u64;
            stats.behind += u64::from(conn.out.cost() > soft);
        }
    }
}
