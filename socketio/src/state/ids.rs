//! The keys and ids of sockets, namespaces and rooms. They are together here, so that the parts of the state name each
//! other's keys without importing each other.

use std::fmt;

use engineio::{ConnKey, JobId, Sid, slab::Key};

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

/// The public id of a socket. It is made from other random bytes than the engine's session id, which is a secret. Like
/// that, it names the shard that the socket is on.
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

    /// The shard that the socket was made on. It is still there, unless it was recovered on another one.
    #[must_use]
    pub const fn shard(&self) -> u16 {
        self.0.shard()
    }

    pub(crate) const fn index(&self) -> u32 {
        self.0.index()
    }

    /// Whether `name` can be the id of a socket of a server with so many shards. Such a name must not stand for a room where the
    /// socket may be elsewhere: whoever joins a room of that name would get what is meant for the socket.
    pub(crate) fn is_of(name: &str, shards: u16) -> bool {
        Self::parse(name).is_some_and(|id| id.shard() < shards)
    }
}

/// The private id by which a client gets its socket back: a secret of other random bytes than the socket's public id.
pub(crate) type Pid = Sid;

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

/// A namespace within its shard. A dynamic namespace that is empty ceases to exist, and its key finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct NspKey(pub(crate) Key);

/// A client that waits until the application has decided about its CONNECT ([`Decision::Later`](crate::handler::Decision::Later)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PendingConnect {
    pub(crate) conn: ConnKey,
    pub(crate) nsp: NspKey,
    /// Tells it from an earlier one of the same client in the same namespace.
    pub(crate) number: u64,
}

/// A question to many sockets or servers. The [`Reply`](crate::adapter::Reply) comes with it
/// ([`Handler::on_reply`](crate::Handler::on_reply)). No two requests of one shard have the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(crate) JobId);

/// A room within its namespace and shard. A room that is empty ceases to exist, and its key finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RoomKey(pub(crate) Key);

/// A room that a socket is in, and the socket's position among the members.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Membership {
    pub(crate) room: RoomKey,
    pub(crate) position: u32,
}

/// A member of a room, as a broadcast needs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    pub(crate) socket: SocketKey,
    pub(crate) conn: ConnKey,
}
