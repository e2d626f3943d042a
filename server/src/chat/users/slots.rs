//! [`Slots`]: a user's sockets on all shards, and which of them was heard of longest ago.

use std::time::Instant;

use smallvec::SmallVec;

/// One socket, by the shard that it is on and its index there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chat) struct Slot {
    pub(in crate::chat) shard: u16,
    pub(in crate::chat) index: u32,
}

/// A user's sockets, in the order in which they came, but those that were told to make room.
#[derive(Debug, Default)]
pub(super) struct Slots(SmallVec<[(Slot, Instant); 1]>);

impl Slots {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = Slot> {
        self.0.iter().map(|(slot, _)| *slot)
    }

    /// A socket came.
    pub(super) fn push(&mut self, slot: Slot, now: Instant) {
        self.0.push((slot, now));
    }

    /// A socket is gone, or will be in a moment.
    pub(super) fn remove(&mut self, slot: Slot) {
        self.0.retain(|(of, _)| *of != slot);
        if self.0.len() <= 1 {
            self.0.shrink_to_fit();
        }
    }

    /// The socket that was heard of longest ago, as far as is known here; of several the one that came first.
    pub(super) fn longest_unheard(&self) -> Option<Slot> {
        self.0.iter().min_by_key(|(_, heard)| *heard).map(|(slot, _)| *slot)
    }

    /// A socket was last heard of then, as its own shard knows.
    pub(super) fn set_heard(&mut self, slot: Slot, heard: Instant) {
        if let Some((_, known)) = self.0.iter_mut().find(|(of, _)| *of == slot) {
            *known = heard.max(*known);
        }
    }
}
