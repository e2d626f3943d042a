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
/// Messages between shards are in flight until the test delivers them. Messages from one shard to another arrive in the
/// order in which they were sent. Apart from that the test chooses the order, so it can try every order that is
/// possible.
#[derive(Debug)]
pub struct Shards<H> {
    shards: Vec<Shard<H>>,
    in_flight: Mailbox,
}

impl<H: Handler> Shards<H> {
    /// Makes `count` shards; `handler` makes each one's handler from its number.
    ///
    /// # Panics
    /// When `count` is 0.
    #[must_use]
    pub fn new(count: u16, mut handler: impl FnMut(u16) -> H) -> Self {
        assert!(count > 0, "a server has at least one shard");
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
    #[expect(clippy::len_without_is_empty, reason = "there is at least one")]
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

    /// Between which shards messages are in flight, as (from, to): each pair once, in ascending order.
    #[must_use]
    pub fn in_flight(&self) -> BTreeSet<(u16, u16)> {
        self.in_flight.borrow().iter().map(|InFlight { from, to, .. }| (*from, *to)).collect()
    }

    /// Delivers the first message in flight from one shard to another; `false` when there is none.
    pub fn deliver(&mut self, from: u16, to: u16) -> bool {
        let mut in_flight = self.in_flight.borrow_mut();
        let position = in_flight.iter().position(|message| (message.from, message.to) == (from, to));
        let message = position.and_then(|position| in_flight.remove(position));
        drop(in_flight);
        self.hand_to_handler(message)
    }

    /// Delivers the message in flight that was sent first; `false` when there is none.
    pub fn deliver_next(&mut self) -> bool {
        let message = self.in_flight.borrow_mut().pop_front();
        self.hand_to_handler(message)
    }

    /// Delivers all messages in the order in which they were sent, and the messages that this causes.
    pub fn deliver_all(&mut self) {
        while self.deliver_next() {}
    }

    fn hand_to_handler(&mut self, message: Option<InFlight>) -> bool {
        let Some(InFlight { to, message, .. }) = message else { return false };
        self[to].receive(message);
        true
    }

    /// Moves the clock of all shards forward by `time`. It stops at each deadline, the shard's handler is called, and
    /// all messages are delivered.
    pub fn advance(&mut self, time: Duration) {
        let until = self.now() + time;
        while self.advance_to_deadline(until) {
            self.deliver_all();
        }
    }

    /// Moves the clock to the next deadline of any shard and calls that shard's handler, if the deadline is at or
    /// before `until`. Otherwise moves the clock to `until` and returns `false`.
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

    #[expect(clippy::indexing_slicing, reason = "only a faulty test names a shard that does not exist")]
    fn index(&self, shard: u16) -> &Shard<H> {
        &self.shards[usize::from(shard)]
    }
}

impl<H> IndexMut<u16> for Shards<H> {
    #[expect(clippy::indexing_slicing, reason = "only a faulty test names a shard that does not exist")]
    fn index_mut(&mut self, shard: u16) -> &mut Shard<H> {
        &mut self.shards[usize::from(shard)]
    }
}
