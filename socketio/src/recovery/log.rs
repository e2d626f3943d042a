//! [`Log`]: the events of the last minutes.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use super::{event::RecoverableEvent, position::Position};

/// What an entry takes besides its event.
const ENTRY: usize = size_of::<Entry>() + 2 * size_of::<usize>();

#[derive(Debug)]
struct Entry {
    time: Instant,
    event: Arc<RecoverableEvent>,
}

/// The events that clients may have missed, in the order in which they were numbered, bounded in time and bytes.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// For each shard the number of its last event that was dropped.
    dropped: Position,
    /// When the last one that was dropped had been added.
    dropped_time: Option<Instant>,
}

impl Log {
    /// Adds an event. Drops the oldest ones: those that were added before `keep_since`, and as many as `max_bytes` demands.
    pub(super) fn append(
        &mut self,
        event: Arc<RecoverableEvent>,
        now: Instant,
        keep_since: Option<Instant>,
        max_bytes: usize,
    ) {
        // The clocks of the shards differ by a turn. The order of the log is that of its times, so that a time can be searched for.
        let time = self.entries.back().map_or(now, |last| last.time.max(now));
        self.bytes += event.bytes() + ENTRY;
        self.entries.push_back(Entry { time, event });
        while let Some(first) = self.entries.front() {
            let is_old = keep_since.is_some_and(|since| first.time < since);
            if !is_old && self.bytes <= max_bytes {
                break;
            }
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        let Some(Entry { time, event }) = self.entries.pop_front() else { return };
        self.bytes -= event.bytes() + ENTRY;
        self.dropped.raise(event.origin, event.number);
        self.dropped_time = Some(time);
    }

    /// Whether all events are here that came after `from` and were added at `since` or later.
    pub(super) fn reaches(&self, from: &Position, since: Instant) -> bool {
        self.dropped_time.is_none_or(|time| time < since) || from.covers(&self.dropped)
    }

    /// The events after `from` and up to `to` that were added at `since` or later.
    pub(super) fn between(&self, from: &Position, to: &Position, since: Instant) -> Vec<Arc<RecoverableEvent>> {
        let first = self.entries.partition_point(|entry| entry.time < since);
        let events = self.entries.range(first..).map(|entry| &entry.event);
        let wanted =
            events.filter(|event| from.get(event.origin) < event.number && event.number <= to.get(event.origin));
        wanted.map(Arc::clone).collect()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    #[cfg(test)]
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}
