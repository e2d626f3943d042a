//! What is counted over all shards of a server: sessions, and the TCP connections of each shard.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::mailbox::{Letter, Mailbox};

/// What the shards of a server share.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) mailboxes: Box<[Mailbox]>,
    connections: Box<[Arc<AtomicUsize>]>,
    /// Sessions, and handshakes that were admitted and may still become one.
    sessions: AtomicUsize,
    closing: AtomicBool,
}

impl Common {
    pub(super) fn new(shards: u16) -> Self {
        Self {
            mailboxes: (0..shards).map(|_| Mailbox::default()).collect(),
            connections: (0..shards).map(|_| Arc::default()).collect(),
            sessions: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
        }
    }

    /// How many shards the server has.
    pub(super) const fn shards(&self) -> u16 {
        // The boxes were made of that many.
        self.mailboxes.len() as u16
    }

    /// The shard that serves the fewest TCP connections; of several the next after `last`, so that all get their turn.
    pub(super) fn place(&self, last: u16) -> u16 {
        let shards = self.shards();
        let load = |shard: &u16| self.connections.get(usize::from(*shard)).map(|count| count.load(Ordering::Relaxed));
        // `min_by_key` takes the first of equals.
        (1..=shards)
            .map(|step| ((u32::from(last) + u32::from(step)) % u32::from(shards)) as u16)
            .min_by_key(load)
            .unwrap_or(0)
    }

    /// Counts a TCP connection of this shard.
    pub(super) fn connect(&self, shard: u16) -> Connected {
        // Never grows: such a number has been checked by whoever got it from outside.
        let count = self.connections.get(usize::from(shard)).map(Arc::clone).unwrap_or_default();
        count.fetch_add(1, Ordering::Relaxed);
        Connected(count)
    }

    /// A place for one more session, if there are less than `limit` (0: no limit) and the server is not shutting down.
    pub(super) fn reserve(self: &Arc<Self>, limit: usize) -> Option<Place> {
        let before = self.sessions.fetch_add(1, Ordering::SeqCst);
        // From here on it is given back when it is not used.
        let place = Place(Arc::clone(self));
        let full = limit > 0 && before >= limit;
        (!full && !self.closing.load(Ordering::SeqCst)).then_some(place)
    }

    /// From now on there is no new session.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    /// Whether no session is left, nor any to come.
    pub(super) fn is_drained(&self) -> bool {
        self.closing.load(Ordering::SeqCst) && self.sessions.load(Ordering::SeqCst) == 0
    }
}

/// A TCP connection, counted for the shard that serves it.
#[derive(Debug)]
pub(super) struct Connected(Arc<AtomicUsize>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right to be one session.
#[derive(Debug)]
pub(super) struct Place(Arc<Common>);

impl Drop for Place {
    fn drop(&mut self) {
        let Self(common) = self;
        if common.sessions.fetch_sub(1, Ordering::SeqCst) == 1 && common.closing.load(Ordering::SeqCst) {
            common.mailboxes.iter().for_each(|mailbox| mailbox.put(Letter::Drained));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_with_the_fewest_connections_is_next_and_equals_take_turns() {
        let common = Common::new(3);
        let (mut last, mut held) = (2, Vec::new());
        let mut next = || {
            last = common.place(last);
            held.push((last, common.connect(last)));
            last
        };
        assert_eq!([(); 7].map(|()| next()), [0, 1, 2, 0, 1, 2, 0]);
        held.retain(|(shard, _)| *shard != 1);
        assert_eq!((common.place(1), common.place(0)), (1, 1));
    }

    #[test]
    fn a_place_lasts_as_long_as_it_is_held() {
        let common = Arc::new(Common::new(1));
        let first = common.reserve(2).unwrap();
        let second = common.reserve(2).unwrap();
        assert!(common.reserve(2).is_none());
        drop(second);
        let second = common.reserve(2).unwrap();
        assert!(common.reserve(2).is_none());
        assert!(common.reserve(0).is_some(), "no limit");
        common.close();
        assert!(common.reserve(0).is_none());
        drop(second);
        assert!(!common.is_drained());
        drop(first);
        assert!(common.is_drained());
    }
}
