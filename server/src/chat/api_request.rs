//! [`ApiRequest`]: what the HTTP API asks of a shard. It comes from whatever thread, by a handle, and the answer goes back there.

use std::sync::Arc;

use engineio::{ShardMessage, net::Reply};
use uuid::Uuid;

use super::{
    error::ChatError,
    reply::Reply as Members,
    request::{OwnedMessage, PageRequest},
    users::Account,
};
use crate::{
    room::Room,
    store::{Chosen, RoomCount},
};

/// Where the answer to a message goes: what `message` is acknowledged with.
pub(super) type PublishReply = Reply<Result<Members, ChatError>>;

/// See the module. What is said of messages is for the home of the room, where the store is in memory; a store that answers later is
/// asked directly.
#[derive(Debug)]
pub(super) enum ApiRequest {
    /// A message of a user for a room.
    Publish { room: Room, account: Arc<Account>, message: OwnedMessage, reply: PublishReply },
    /// Messages of a room in memory.
    Page { room: Room, page: PageRequest, reply: Reply<Chosen> },
    /// Who is in a room.
    Presence { room: Room, reply: Reply<String> },
    /// The first rooms by id, behind one, that have members or messages and whose home is this shard.
    Rooms { after: Option<Room>, limit: usize, reply: Reply<Vec<RoomSummary>> },
    /// Messages are to be deleted from the store in memory, and their rooms told.
    Delete { which: Doomed, from: u32, reply: Reply<DeletedSome> },
    /// Messages of a room were deleted, and its members are to be told.
    Deleted { room: Room, ids: Vec<Uuid>, reply: Reply<()> },
    /// The user's sockets on this shard are to end, with this reason. The answer is how many there were.
    Disconnect { user: Arc<str>, reason: ChatError, reply: Reply<usize> },
}

/// Which messages are to be deleted from a store in memory.
#[derive(Debug, Clone)]
pub(super) enum Doomed {
    /// The one with this id; with a room, if it is there.
    Message(Uuid, Option<Room>),
    /// All of the user with this hash.
    User(u64),
}

/// What one step of a deletion did.
#[derive(Debug, Default)]
pub(super) struct DeletedSome {
    pub(super) count: usize,
    /// The room of the last one.
    pub(super) room: Option<Room>,
    /// Where the next step begins; `None` after the last one.
    pub(super) next: Option<u32>,
}

/// A room, as far as one source knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RoomSummary {
    pub(super) count: RoomCount,
    /// Users who are in it.
    pub(super) users: usize,
}

impl From<ApiRequest> for ShardMessage {
    fn from(request: ApiRequest) -> Self {
        let weight = match &request {
            ApiRequest::Publish { message, .. } => message.weight(),
            ApiRequest::Deleted { ids, .. } => size_of_val(ids.as_slice()),
            _ => 0,
        };
        Self::new(request).with_weight(weight)
    }
}
