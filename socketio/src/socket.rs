//! `Socket`: one client's membership of one namespace, and its names.

use std::{fmt, time::Instant};

use engineio::{ConnKey, Sid, slab::Key};
use smallvec::SmallVec;

use crate::{namespace::NspIndex, packet::AckId, room::Membership};

/// A socket within its shard. A stale key finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketKey(pub(crate) Key);

impl SocketKey {
    /// Slot in the shard's table: dense, so applications may index tables of their own with it.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0.index()
    }
}

/// The public id of a socket. Never the engine's sid, which is a secret (B2); it names its shard likewise.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketId(Sid);

impl SocketId {
    pub(crate) fn new(shard: u16, key_index: u32, random: [u8; engineio::sid::RANDOM_LEN]) -> Self {
        Self(Sid::new(shard, key_index, random))
    }

    /// Reads an id back from its text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Sid::parse(text).map(Self)
    }

    /// The shard that owns the socket.
    #[must_use]
    pub const fn shard(&self) -> u16 {
        self.0.shard()
    }

    pub(crate) const fn index(&self) -> u32 {
        self.0.index()
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SocketId({})", self.0)
    }
}

#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) id: SocketId,
    pub(crate) nsp: NspIndex,
    pub(crate) conn: ConnKey,
    /// The rooms it is in. Its own room (named like its id) is not stored: the id itself routes.
    pub(crate) rooms: SmallVec<[Membership; 2]>,
    /// Owed acknowledgements, oldest first, and by when.
    pub(crate) acks: Vec<(AckId, Option<Instant>)>,
    /// The last broadcast that reached it: a socket in several targeted rooms is reached once, without building a set.
    pub(crate) stamp: u64,
    /// The number of the last broadcast that its connection has, of those its rooms hold back until the end of the turn.
    pub(crate) settled: u64,
    /// The last flush that found it in a room: in two of them, it must get both rooms' broadcasts in the order of their
    /// numbers.
    pub(crate) flush: u64,
}
