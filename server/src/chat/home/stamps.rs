//! [`Stamps`]: the ids and times that messages get.

use crate::{
    clock::{Timestamps, wall_clock},
    store::{MessageIds, Position, Receipt},
};

/// One value a shard: ids grow within each room, because a room has one home.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    ids: MessageIds,
    timestamps: Timestamps,
}

impl Stamps {
    /// The next id, and its time by the wall clock. `random` is fresh entropy.
    pub(super) fn next(&mut self, random: [u8; 10]) -> Receipt {
        self.ids.next(wall_clock(), random)
    }

    /// Where the last message is.
    pub(super) fn position(&self) -> Position {
        self.ids.position()
    }

    /// The time of a message, as clients get it.
    pub(super) fn timestamp(&mut self, receipt: Receipt) -> &str {
        self.timestamps.format(receipt.millis)
    }
}
