//! [`Questions`]: what one socket has asked homes, and waits to ask them.

use std::collections::VecDeque;

use socketio::AckId;

use crate::{chat::shard_message::RoomQuery, room::Room};

/// A question that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) room: Room,
    pub(super) query: RoomQuery,
    pub(super) ack: AckId,
}

/// The questions of one socket that are not answered.
#[derive(Debug, Default)]
pub(super) struct Questions {
    /// What the answers that homes are asked for may weigh together, in bytes.
    pub(super) under_way: usize,
    pub(super) waiting: VecDeque<Waiting>,
}

impl Questions {
    /// Whether there is none.
    pub(super) fn is_done(&self) -> bool {
        self.under_way == 0 && self.waiting.is_empty()
    }
}
