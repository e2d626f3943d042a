//! What the HTTP API asks of a store that answers later, and has it change. Answers go straight to whoever asked, and not to a shard.

use std::sync::Arc;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::types::{Chosen, PageQuery, StoreError};
use crate::room::Room;

/// Where an answer goes. Whoever asked may be gone.
pub(crate) type Answering<T> = oneshot::Sender<Result<T, StoreError>>;

/// A user who may not connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ban {
    pub(crate) user: Arc<str>,
    /// For operators; the user is not told.
    pub(crate) reason: Option<Box<str>>,
    /// Since when, in milliseconds since the Unix epoch.
    pub(crate) millis: u64,
}

/// A room and how many messages it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoomCount {
    pub(crate) room: Room,
    pub(crate) messages: u64,
}

/// Where a look through all messages stands; the default is its beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cursor {
    pub(super) room: i64,
    pub(super) position: i64,
}

/// Some messages of a user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UserMessages {
    /// By room.
    pub(crate) found: Vec<(Room, Uuid)>,
    /// Where the next look begins; `None` after the last one.
    pub(crate) next: Option<Cursor>,
}

/// A question.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// Messages of a room; the query's shard and ticket do not count.
    Page { query: PageQuery, answer: Answering<Chosen> },
    /// The room of the message with this id.
    RoomOf { id: Uuid, answer: Answering<Option<Room>> },
    /// Messages of a user, as many as are found in one short look.
    OfUser { user: Arc<str>, from: Cursor, answer: Answering<UserMessages> },
    /// The first rooms by id that have messages, behind one.
    Rooms { after: Option<Room>, limit: usize, answer: Answering<Vec<RoomCount>> },
}

/// A change. What came before it is stored by then.
#[derive(Debug)]
pub(crate) enum Change {
    /// Deletes messages of a room. The answer are those that there were.
    Delete { room: Room, ids: Vec<Uuid>, answer: Answering<Vec<Uuid>> },
    /// Adds a ban, or replaces it.
    Ban { ban: Ban, answer: Answering<()> },
    /// Lifts a ban.
    LiftBan { user: Arc<str>, answer: Answering<()> },
}

impl Change {
    /// Answers that the store cannot.
    pub(super) fn refuse(self, error: StoreError) {
        // Whoever asked may be gone.
        match self {
            Self::Delete { answer, .. } => drop(answer.send(Err(error))),
            Self::Ban { answer, .. } | Self::LiftBan { answer, .. } => drop(answer.send(Err(error))),
        }
    }

    /// About how many bytes it keeps in memory.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Delete { ids, .. } => size_of_val(ids.as_slice()),
            Self::Ban { .. } | Self::LiftBan { .. } => 0,
        }
    }
}
