//! [`ShardRecovery`]: what one shard knows for recovery.

use std::sync::Arc;

use engineio::Outbox;

use super::{
    position::{Epoch, Offset, Position},
    store::Store,
};

/// See the module.
#[derive(Debug)]
pub(crate) struct ShardRecovery {
    pub(crate) store: Arc<Store>,
    pub(crate) shard: u16,
    pub(crate) shards: u16,
    /// What this shard has delivered.
    pub(crate) seen: Position,
    /// `None` before [`ShardRecovery::start`].
    epoch: Option<Epoch>,
}

impl ShardRecovery {
    pub(crate) fn new(store: &Arc<Store>) -> Self {
        Self { store: Arc::clone(store), shard: 0, shards: 1, seen: Position::default(), epoch: None }
    }

    /// Learns which shard this is, when it is used for the first time.
    pub(crate) fn start(&mut self, outbox: &mut dyn Outbox) {
        if self.epoch.is_none() {
            (self.shard, self.shards) = (outbox.shard(), outbox.shards());
            let random = || {
                let mut random = [0; 8];
                outbox.fill_random(&mut random);
                random
            };
            self.epoch = Some(self.store.epoch(random));
        }
    }

    /// Numbers an event of this shard, which is delivered now.
    pub(crate) fn next_number(&mut self) -> u64 {
        let number = self.last_number() + 1;
        self.seen.raise(self.shard, number);
        number
    }

    /// The number of this shard's last event.
    pub(crate) fn last_number(&self) -> u64 {
        self.seen.get(self.shard)
    }

    /// The offset of an event that is delivered at `position`.
    pub(crate) fn offset(&self, position: &Position) -> String {
        self.epoch.map(|epoch| epoch.offset(position)).unwrap_or_default()
    }

    /// Reads a client's offset.
    pub(crate) fn parse_offset(&self, text: &str) -> Option<Offset> {
        self.epoch?.parse(text, self.shards)
    }
}
