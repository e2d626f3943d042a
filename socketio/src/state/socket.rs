//! [`Socket`]: one client's membership of one namespace.

use std::time::Instant;

use engineio::ConnKey;
use smallvec::SmallVec;

use super::ids::{Membership, NspKey, SocketId};
use crate::{packet::AckId, recovery::Session};

/// See the module.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) id: SocketId,
    pub(crate) nsp: NspKey,
    pub(crate) conn: ConnKey,
    /// The rooms it is in. Its own room (named like its id) is not stored: the id itself routes.
    pub(crate) rooms: SmallVec<[Membership; 2]>,
    /// The acknowledgements it owes, oldest first, and by when.
    pub(crate) acks: Vec<(AckId, Option<Instant>)>,
    /// The number of the last broadcast that looked at it: so a socket in several of a broadcast's rooms is reached once,
    /// without building a set.
    pub(crate) last_broadcast: u64,
    /// Of the broadcasts that its rooms hold back until the end of the turn, its connection has those up to this number.
    pub(crate) delivered: u64,
    /// The number of the last flush that found it in a room: a socket in two of a flush's rooms must get both rooms'
    /// broadcasts in the order of their numbers.
    pub(crate) last_flush: u64,
    /// What only sockets have that can be recovered.
    pub(crate) recovery: Option<Box<SocketRecovery>>,
}

/// What recovery keeps with a socket.
#[derive(Debug, Default)]
pub(crate) struct SocketRecovery {
    /// `None`: the application recovers sockets.
    pub(crate) session: Option<Session>,
    /// Whether it was recovered when it connected.
    pub(crate) is_recovered: bool,
    /// What the application says about it at its end; until it has heard that the socket came back, what it said then.
    pub(crate) data: Option<Box<str>>,
}

impl Socket {
    /// A socket in no room, which owes nothing.
    pub(crate) fn new(id: SocketId, nsp: NspKey, conn: ConnKey) -> Self {
        let (rooms, acks) = (SmallVec::new(), Vec::new());
        Self { id, nsp, conn, rooms, acks, last_broadcast: 0, delivered: 0, last_flush: 0, recovery: None }
    }
}
