//! [`Shards`]: several shards, and the messages between them.

use std::{
    collections::BTreeSet,
    ops::{Index, IndexMut},
    time::{Duration, Instant},
};

use super::{
    engine::{Engine, InFlight, Mailbox},
    shard::Shard,
};
use crate::{Handler, Outbox};

/// The shards of a server, on one clock. Index it with a shard's number.
///
/// What they send each other is in flight until the test delivers it. Messages from one shard to another arrive in the order
/// in which they were sent; beyond that the test chooses the order, and so can try any that may come about.
#[derive(Debug)]
pub struct Shards<H> {
    shards: Vec<Shard<H>>,
    in_flight: Mailbox,
}

impl<H: Handler> Shards<H> {
    /// So many shards, whose handlers `handler` makes from their numbers.
    ///
    /// # Panics
    /// When `count` is 0.
    #[must_use]
    pub fn new(count: u16, mut handler: impl FnMut(u16) -> H) -> Self {
        assert!(count > 0, "a server has a shard at least");
        let (now, in_flight) = (Instant::now(), Mailbox::default());
        let shards = (0..count)
            .map(|shard| {
                Shard::with_engine(handler(shard), Engine::with_mailbox(shard, count, now, Mailbox::clone(&in_flight)))
            })
            .collect();
        Self { shards, in_flight }
    }

    /// How many shards there are.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is one at least")]
    pub fn len(&self) -> usize {
        self.shards.len()
    }

    /// The time, which is the same on all shards.
    #[must_use]
    pub fn now(&self) -> Instant {
        self[0].engine.now()
    }

    /// The shards in order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Shard<H>> {
        self.shards.iter_mut()
    }

    /// From which shard to which messages are in flight; each pair once, in ascending order.
    #[must_use]
    pub fn in_flight(&self) -> BTreeSet<(u16, u16)> {
        self.in_flight.borrow().iter().map(|InFlight { from, to, .. }| (*from, *to)).collect()
    }

    /// Delivers the first message from one shard to another that is in flight; `false` when there is none.
    pub fn deliver(&mut self, from: u16, to: u16) -> bool {
        let mut in_flight = self.in_flight.borrow_mut();
        let position = in_flight.iter().position(|message| (message.from, message.to) == (from, to));
        let message = position.and_then(|position| in_flight.remove(position));
        drop(in_flight);
        self.hand_to_handler(message)
    }

    /// Delivers the message that was sent first of all that are in flight; `false` when there is none.
    pub fn deliver_next(&mut self) -> bool {
        let message = self.in_flight.borrow_mut().pop_front();
        self.hand_to_handler(message)
    }

    /// Delivers all messages in the order in which they were sent, and those that come of it.
    pub fn deliver_all(&mut self) {
        while self.deliver_next() {}
    }

    fn hand_to_handler(&mut self, message: Option<InFlight>) -> bool {
        let Some(InFlight { to, message, .. }) = message else { return false };
        self[to].receive(message);
        true
    }

    /// Time passes on all shards. The clock stops at each deadline, the shard's handler is called, and all messages are
    /// delivered.
    pub fn advance(&mut self, time: Duration) {
        let until = self.now() + time;
        while self.advance_to_deadline(until) {
            self.deliver_all();
        }
    }

    /// Moves the clock to the next deadline of any shard and calls that one's handler, if the deadline is `until` at the latest.
    /// Otherwise moves the clock to `until`, and returns `false`.
    pub fn advance_to_deadline(&mut self, until: Instant) -> bool {
        let deadlines = self.shards.iter().zip(0..);
        let deadlines = deadlines.filter_map(|(shard, number)| Some((shard.handler.poll_timeout()?, number)));
        let next = deadlines.min().filter(|(deadline, _)| *deadline <= until);
        let now = next.map_or(until, |(deadline, _)| deadline);
        for shard in &mut self.shards {
            shard.engine.advance_to(now);
        }
        next.is_some_and(|(_, number): (_, u16)| self[number].advance_to_deadline(until))
    }
}

impl<H> Index<u16> for Shards<H> {
    type Output = Shard<H>;

    #[expect(clippy::indexing_slicing, reason = "a test that names a shard which does not exist is wrong")]
    fn index(&self, shard: u16) -> &Shard<H> {
        &self.shards[usize::from(shard)]
    }
}

impl<H> IndexMut<u16> for Shards<H> {
    #[expect(clippy::indexing_slicing, reason = "a test that names a shard which does not exist is wrong")]
    fn index_mut(&mut self, shard: u16) -> &mut Shard<H> {
        &mut self.shards[usize::from(shard)]
    }
}
