//! [`Homes`]: the rooms whose home is this shard, and the store of their messages.

use std::{collections::HashMap, sync::Arc};

use socketio::RoomHandle;

use super::{occupants::Occupants, stamps::Stamps};
use crate::{
    config::Config,
    room::Room,
    store::{LogKey, MemoryStore},
};

/// See the module.
#[derive(Debug)]
pub(in crate::chat) struct Homes {
    pub(super) config: Arc<Config>,
    pub(super) rooms: HashMap<Room, Home>,
    pub(super) store: MemoryStore,
    pub(super) stamps: Stamps,
}

/// A room, as its home knows it.
#[derive(Debug, Default)]
pub(super) struct Home {
    pub(super) occupants: Occupants,
    /// Whether the room is too large for presence, as all shards were told.
    pub(super) quiet: bool,
    pub(super) location: RoomLocation,
}

/// Where a room's messages are kept, and where its sockets are on the home's own shard. Both are found with one look for the
/// room's name: three looks, one in each map, would each touch memory that nothing else of a message is near.
#[derive(Debug, Default)]
pub(super) struct RoomLocation {
    pub(super) log: Option<LogKey>,
    pub(super) sockets: Option<RoomHandle>,
}

impl Homes {
    /// No rooms yet; the store is one of `shards` that share what the configuration allows.
    pub(in crate::chat) fn new(config: Arc<Config>, shards: usize) -> Self {
        Self {
            rooms: HashMap::new(),
            store: MemoryStore::new(config.store.max_age, config.store.max_count, shards),
            stamps: Stamps::default(),
            config,
        }
    }

    /// How many rooms have their home here and are not forgotten.
    #[cfg(test)]
    pub(in crate::chat) fn len(&self) -> usize {
        self.rooms.len()
    }
}
