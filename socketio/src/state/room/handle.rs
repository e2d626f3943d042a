//! [`RoomHandle`]: a room that is broadcast to often, without a look-up of its name each time.

use std::{cell::Cell, marker::PhantomData, sync::Arc};

use crate::state::ids::{NspKey, RoomKey};

/// A room for [`Broadcast::to_room`](crate::broadcast::Broadcast::to_room); made by [`Io::room`](crate::Io::room).
///
/// A room is found by its name, which costs a look-up in a hash table. A handle is for a room that is broadcast to often: it
/// finds the room without its name as long as the room exists, and by its name when the room was empty in between. The
/// room need not exist when the handle is made, and the handle does not keep it alive.
///
/// A handle belongs to the shard that it was made on, so it cannot be sent to another thread:
///
/// ```compile_fail
/// fn send<T: Send>() {}
/// send::<socketio::RoomHandle>();
/// ```
#[derive(Debug, Clone)]
pub struct RoomHandle {
    pub(crate) shard: u16,
    pub(crate) nsp: NspKey,
    /// The key that was found last. A room that became empty and has members again has another one.
    pub(crate) key: Cell<Option<RoomKey>>,
    pub(crate) name: Arc<str>,
    /// The key means something on one shard only.
    one_thread: PhantomData<*const ()>,
}

impl RoomHandle {
    pub(crate) fn new(shard: u16, nsp: NspKey, name: &str) -> Self {
        Self { shard, nsp, key: Cell::new(None), name: name.into(), one_thread: PhantomData }
    }

    /// The name of the room.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}
