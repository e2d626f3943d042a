//! [`Homes`]: the rooms whose home is this shard, and the store of their messages.

use std::{collections::HashMap, sync::Arc};

use socketio::RoomHandle;

use super::{awaited::Awaited, occupants::Occupants, stamps::Stamps};
use crate::{
    config::Config,
    room::Room,
    store::{LogKey, MemoryStore, Position, Store},
    webhooks::Webhooks,
};

/// See the module.
#[derive(Debug)]
pub(in crate::chat) struct Homes {
    pub(super) config: Arc<Config>,
    pub(super) rooms: HashMap<Room, Home>,
    pub(super) store: HomeStore,
    pub(super) stamps: Stamps,
    pub(super) webhooks: Webhooks,
}

/// Where the messages of these rooms are.
#[derive(Debug)]
pub(super) enum HomeStore {
    /// In memory, on this shard. It answers at once.
    Here(MemoryStore),
    /// In a store that answers later.
    Elsewhere(Awaited),
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
    /// The configuration is another one from now on.
    pub(in crate::chat) fn renew(&mut self, config: Arc<Config>) {
        self.config = config;
    }

    /// No rooms yet. Without a `store` messages are kept in memory, which is one of `shards` that share what the configuration allows.
    pub(in crate::chat) fn new(config: Arc<Config>, shards: usize, store: Option<Arc<dyn Store>>) -> Self {
        let in_memory = || HomeStore::Here(MemoryStore::new(config.store.max_age, config.store.max_count, shards));
        Self {
            rooms: HashMap::new(),
            store: store.map_or_else(in_memory, |store| HomeStore::Elsewhere(Awaited::new(store))),
            stamps: Stamps::default(),
            webhooks: Webhooks::default(),
            config,
        }
    }

    /// The last message of these rooms that was sent to their members: what comes later is still to be sent.
    pub(super) fn position(&self) -> Position {
        match &self.store {
            HomeStore::Here(_) => self.stamps.position(),
            HomeStore::Elsewhere(awaited) => Position::of(awaited.position()),
        }
    }

    /// The same homes, of whose messages these webhooks tell.
    pub(in crate::chat) fn with_webhooks(self, webhooks: Webhooks) -> Self {
        Self { webhooks, ..self }
    }

    /// How much is waited for from the store.
    #[cfg(test)]
    pub(in crate::chat) fn awaited(&self) -> usize {
        match &self.store {
            HomeStore::Here(_) => 0,
            HomeStore::Elsewhere(awaited) => awaited.len(),
        }
    }

    /// The ids of the users who are in a room.
    #[cfg(test)]
    pub(in crate::chat) fn users_in(&self, room: &Room) -> Vec<String> {
        let home = self.rooms.get(room);
        home.into_iter().flat_map(|home| home.occupants.users()).map(|user| user.id.to_string()).collect()
    }

    /// How many rooms have their home here and are not forgotten.
    #[cfg(test)]
    pub(in crate::chat) fn len(&self) -> usize {
        self.rooms.len()
    }
}
