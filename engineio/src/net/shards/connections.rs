//! How many TCP connections each shard serves: new ones go to the shard that serves the fewest.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// A count that no shard reaches. It marks a shard that has ended, so that it gets no more connections.
const ENDED: usize = usize::MAX / 2;

/// The number of connections of each shard.
#[derive(Debug)]
pub(in crate::net) struct Connections(Box<[Arc<AtomicUsize>]>);

impl Connections {
    pub(in crate::net) fn new(shards: u16) -> Self {
        Self((0..shards).map(|_| Arc::default()).collect())
    }

    /// The shard that serves the fewest; among equals the next one after `last`, so that they take turns.
    pub(in crate::net) fn least_loaded(&self, last: u16) -> u16 {
        // The number of shards fits a u16.
        let shards = self.0.len() as u16;
        let load = |shard: &u16| self.0.get(usize::from(*shard)).map(|count| count.load(Ordering::Relaxed));
        // `min_by_key` returns the first of equal items.
        (1..=shards)
            .map(|step| ((u32::from(last) + u32::from(step)) % u32::from(shards)) as u16)
            .min_by_key(load)
            .unwrap_or(0)
    }

    /// Counts a connection of this shard.
    pub(in crate::net) fn count(&self, shard: u16) -> ConnectionGuard {
        // The caller has checked the number if it came from outside.
        let count = self.0.get(usize::from(shard)).map(Arc::clone).unwrap_or_default();
        count.fetch_add(1, Ordering::Relaxed);
        ConnectionGuard(count)
    }

    /// How many there are on all shards.
    pub(in crate::net) fn total(&self) -> usize {
        self.0.iter().map(|count| count.load(Ordering::Relaxed)).filter(|count| *count < ENDED).sum()
    }

    /// Whether this shard exists and has not ended.
    pub(in crate::net) fn serves(&self, shard: u16) -> bool {
        self.0.get(usize::from(shard)).is_some_and(|count| count.load(Ordering::Relaxed) < ENDED)
    }

    /// The shard has ended: it gets no more connections.
    pub(in crate::net) fn end(&self, shard: u16) {
        if let Some(count) = self.0.get(usize::from(shard)) {
            count.fetch_add(ENDED, Ordering::Relaxed);
        }
    }
}

/// One TCP connection in the count of the shard that serves it.
#[derive(Debug)]
pub(in crate::net) struct ConnectionGuard(Arc<AtomicUsize>);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_with_the_fewest_connections_is_next_and_equals_take_turns() {
        let connections = Connections::new(3);
        let (mut last, mut held) = (2, Vec::new());
        let mut next = || {
            last = connections.least_loaded(last);
            held.push((last, connections.count(last)));
            last
        };
        assert_eq!([(); 7].map(|()| next()), [0, 1, 2, 0, 1, 2, 0]);
        held.retain(|(shard, _)| *shard != 1);
        assert_eq!((connections.least_loaded(1), connections.least_loaded(0)), (1, 1));
        connections.end(1);
        assert_eq!(connections.least_loaded(0), 2);
        assert_eq!([0, 1, 2, 3].map(|shard| connections.serves(shard)), [true, false, true, false]);
    }
}
