//! [`Report`]: what the application hears as soon as it is not being called.

use std::sync::Arc;

use engineio::ConnKey;

use super::ids::{SocketId, SocketKey};
use crate::adapter::{Sockets, collector::Part};

/// See the module.
#[derive(Debug)]
pub(crate) enum Report {
    /// Somebody fetches sockets: the application is to describe them.
    Fetch(Vec<SocketKey>, Part<Sockets>),
    /// Who is in a room has changed.
    Room(RoomEvent),
}

/// Somebody joined a room of this shard, or left it ([`Handler::on_room_event`](crate::Handler::on_room_event)).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomEvent {
    /// The namespace.
    pub nsp: Arc<str>,
    /// The room.
    pub room: Arc<str>,
    /// What happened.
    pub change: RoomChange,
    /// The socket that joined or left. When it left because it was disconnected, [`Io`](crate::Io) finds nothing under the key.
    pub socket: SocketKey,
    /// The id of the socket.
    pub id: SocketId,
    /// Its session, which ends if the application panics.
    pub(crate) conn: ConnKey,
}

/// What happened to a room, by the names of Node's adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RoomChange {
    /// `create-room`: the room has its first member on this shard. `Joined` follows.
    Created,
    /// `join-room`: a socket joined.
    Joined,
    /// `leave-room`: a socket left.
    Left,
    /// `delete-room`: the room's last member on this shard left.
    Deleted,
}
