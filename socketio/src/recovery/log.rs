//! [`Log`]: the events of the last minutes, found by their targets.
//!
//! After a failure of the network many clients come back at once. So a claim must not look at every event: for each target there
//! is a list of its events.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use super::{
    event::{RecoverableEvent, Scope},
    position::Position,
};

/// What an entry takes besides its event, and what it takes in the list of a target.
const ENTRY: usize = size_of::<Entry>() + 2 * size_of::<usize>();
const LISTED: usize = 2 * size_of::<u64>();

/// What a target takes as long as there is an event for it.
const TARGET: usize = 128;

#[derive(Debug)]
struct Entry {
    time: Instant,
    event: Arc<RecoverableEvent>,
}

/// The places of events in the log, in order.
type Places = VecDeque<u64>;

/// The events of one namespace.
#[derive(Debug, Default)]
struct Index {
    everyone: Places,
    names: HashMap<Arc<str>, Places>,
}

/// The events that clients may have missed, in the order in which they were numbered, bounded in time and bytes.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: VecDeque<Entry>,
    /// The place of the first entry. Places count up from 0.
    first: u64,
    by_nsp: HashMap<Arc<str>, Index>,
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
        let place = self.first + self.entries.len() as u64;
        self.bytes += event.bytes() + ENTRY;
        self.bytes += self.index(&event.targets.nsp).add(&event, place);
        self.entries.push_back(Entry { time, event });
        while let Some(first) = self.entries.front() {
            let is_old = keep_since.is_some_and(|since| first.time < since);
            if !is_old && self.bytes <= max_bytes {
                break;
            }
            self.drop_first();
        }
    }

    fn index(&mut self, nsp: &Arc<str>) -> &mut Index {
        if !self.by_nsp.contains_key(nsp) {
            self.bytes += TARGET + nsp.len();
        }
        self.by_nsp.entry(Arc::clone(nsp)).or_default()
    }

    fn drop_first(&mut self) {
        let Some(Entry { time, event }) = self.entries.pop_front() else { return };
        let place = self.first;
        self.first += 1;
        self.bytes -= event.bytes() + ENTRY;
        let nsp = &event.targets.nsp;
        if let Some(index) = self.by_nsp.get_mut(nsp) {
            self.bytes -= index.remove_first(&event, place);
            if index.everyone.is_empty() && index.names.is_empty() {
                self.by_nsp.remove(nsp);
                self.bytes -= TARGET + nsp.len();
            }
        }
        self.dropped.raise(event.origin, event.number);
        self.dropped_time = Some(time);
    }

    /// Whether all events are here that came after `from` and were added at `since` or later.
    pub(super) fn reaches(&self, from: &Position, since: Instant) -> bool {
        self.dropped_time.is_none_or(|time| time < since) || from.covers(&self.dropped)
    }

    /// The events after `from` and up to `to` that were added at `since` or later, and are for one of `names` or for everyone. Some
    /// may leave these names out.
    pub(super) fn between<'a>(
        &self,
        from: &Position,
        to: &Position,
        since: Instant,
        nsp: &str,
        names: impl Iterator<Item = &'a str>,
    ) -> Vec<Arc<RecoverableEvent>> {
        let Some(index) = self.by_nsp.get(nsp) else { return Vec::new() };
        let since = self.first + self.entries.partition_point(|entry| entry.time < since) as u64;
        let lists = names.filter_map(|name| index.names.get(name)).chain([&index.everyone]);
        let mut places: Vec<u64> = Vec::new();
        for list in lists {
            places.extend(list.range(list.partition_point(|place| *place < since)..));
        }
        places.sort_unstable();
        places.dedup();
        let events = places.into_iter().filter_map(|place| {
            let index = usize::try_from(place.checked_sub(self.first)?).ok()?;
            self.entries.get(index).map(|entry| &entry.event)
        });
        let wanted =
            events.filter(|event| from.get(event.origin) < event.number && event.number <= to.get(event.origin));
        wanted.map(Arc::clone).collect()
    }

    /// How many events there are, and their bytes.
    #[cfg(test)]
    pub(super) fn lens(&self) -> (usize, usize, usize) {
        (self.entries.len(), self.bytes, self.by_nsp.values().map(|index| index.names.len()).sum())
    }
}

impl Index {
    /// Adds an event to the lists of its targets. Returns how many bytes that takes.
    fn add(&mut self, event: &RecoverableEvent, place: u64) -> usize {
        let mut bytes = 0;
        let mut add = |name: &Arc<str>| {
            bytes += LISTED;
            if let Some(places) = self.names.get_mut(name) {
                return places.push_back(place);
            }
            bytes += TARGET + name.len();
            self.names.insert(Arc::clone(name), Places::from([place]));
        };
        match (&event.scope, &event.targets.rooms) {
            (Scope::Socket(id), _) => add(&id.to_string().into()),
            (_, Some(rooms)) => rooms.iter().for_each(add),
            (_, None) => {
                self.everyone.push_back(place);
                bytes = LISTED;
            }
        }
        bytes
    }

    /// Takes the oldest event off the lists of its targets. Returns how many bytes that frees.
    fn remove_first(&mut self, event: &RecoverableEvent, place: u64) -> usize {
        let mut bytes = 0;
        let mut remove = |name: &str| {
            let Some(places) = self.names.get_mut(name) else { return };
            if places.front() != Some(&place) {
                return;
            }
            places.pop_front();
            bytes += LISTED;
            if places.is_empty() {
                bytes += TARGET + name.len();
                self.names.remove(name);
            }
        };
        match (&event.scope, &event.targets.rooms) {
            (Scope::Socket(id), _) => remove(&id.to_string()),
            (_, Some(rooms)) => rooms.iter().for_each(|name| remove(name)),
            (_, None) => {
                self.everyone.pop_front();
                bytes = LISTED;
            }
        }
        bytes
    }
}
