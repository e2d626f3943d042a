//! [`Room`]: a chat room's name.

use std::{borrow::Borrow, sync::Arc};

/// The id of the room that everybody is in, unless `rooms.lobby` is off.
pub(crate) const LOBBY: &str = "lobby";

/// Chat rooms live under a prefix, so that no `roomId` can name a socket's own room.
const PREFIX: &str = "room:";

/// A room, by the name under which its sockets are kept. Cloning copies a pointer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Room(Arc<str>);

impl Room {
    /// The room with this id.
    pub(crate) fn new(id: &str) -> Self {
        Self([PREFIX, id].concat().into())
    }

    /// The id, as clients know it.
    pub(crate) fn id(&self) -> &str {
        self.0.strip_prefix(PREFIX).unwrap_or_default()
    }

    /// The name of its Socket.IO room.
    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Room {
    fn borrow(&self) -> &str {
        &self.0
    }
}
