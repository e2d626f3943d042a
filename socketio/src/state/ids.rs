//! The keys and ids of sockets, namespaces and rooms. They are together here, so that the parts of the state name each
//! other's keys without importing each other.

use std::{fmt, sync::Arc};

use engineio::{ConnKey, JobId, Sid, sid::IssuedSid, slab::Key};

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

/// The public id of a socket. Like the engine's session id it names the shard that the socket is on.
///
/// It is made from other random bytes than the session id, which is a secret. The sockets of clients of version 2
/// (`engineio::Config::allow_eio3`) are the exception: such a client is not told an id, but makes it from the session id, alone
/// for `/` and as `/chat#` and the session id elsewhere. So there **whoever is told the id of a socket can use its session**, as in
/// Node. An application that allows such clients should keep their ids to itself.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SocketId(Form);

/// A text has one form only, so equal texts are equal ids.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Form {
    /// A text as of a session id.
    Plain(Sid),
    /// Any other text.
    Other { text: Arc<str>, shard: u16 },
}

impl SocketId {
    pub(crate) fn new(shard: u16, key_index: u32, random: [u8; engineio::sid::RANDOM_LEN]) -> Self {
        Self(Form::Plain(Sid::new(shard, key_index, random)))
    }

    /// The id that a client of protocol v4 makes for its socket in a namespace.
    pub(crate) fn of_v4(nsp: &str, sid: &IssuedSid) -> Self {
        let text = if nsp == "/" { sid.to_string() } else { format!("{nsp}#{sid}") };
        Self::parse(&text).unwrap_or_else(|| Self(Form::Other { text: text.into(), shard: sid.sid().shard() }))
    }

    /// Reads an id back from its text. `None` also for the id of a client of version 2 whose session id has a part that the
    /// application chose: it looks like any other text. [`Broadcast::to`](crate::broadcast::Broadcast::to) finds the socket
    /// nevertheless.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(sid) = Sid::parse(text) {
            return Some(Self(Form::Plain(sid)));
        }
        let (nsp, sid) = text.rsplit_once('#')?;
        let sid = Sid::parse(sid).filter(|_| nsp.starts_with('/'))?;
        Some(Self(Form::Other { text: text.into(), shard: sid.shard() }))
    }

    /// The shard that the socket was made on. It is still there, unless it was recovered on another one.
    #[must_use]
    pub const fn shard(&self) -> u16 {
        match &self.0 {
            Form::Plain(sid) => sid.shard(),
            Form::Other { shard, .. } => *shard,
        }
    }

    /// Where the shard keeps the socket, unless its client made the id.
    pub(crate) const fn index(&self) -> Option<u32> {
        match &self.0 {
            Form::Plain(sid) => Some(sid.index()),
            Form::Other { .. } => None,
        }
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
        match &self.0 {
            Form::Plain(sid) => sid.fmt(f),
            Form::Other { text, .. } => f.write_str(text),
        }
    }
}

#[cfg(feature = "router")]
impl serde::Serialize for SocketId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SocketId({self})")
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
