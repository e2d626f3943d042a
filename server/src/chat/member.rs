//! [`Member`]: one socket as the chat sees it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use smallvec::SmallVec;
use socketio::SocketKey;

use super::accounts::Account;
use crate::room::Room;
use crate::{auth::Rooms, config::RoomAccess, limits::Strikes};

/// Which rooms a socket's token opens.
#[derive(Debug, Clone)]
pub(super) enum Access {
    Any,
    Listed(Box<[String]>),
}

impl Access {
    pub(super) fn of(claim: Option<&Rooms>, default: RoomAccess) -> Self {
        match claim {
            Some(rooms) if rooms.any => Self::Any,
            Some(rooms) => Self::Listed(rooms.ids.clone().into()),
            None if default == RoomAccess::Open => Self::Any,
            None => Self::Listed(Box::default()),
        }
    }

    pub(super) fn allows(&self, room: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(rooms) => rooms.iter().any(|listed| listed == room),
        }
    }
}

/// Where a socket's user is typing: a room, or (without one) every room of the socket.
#[derive(Debug)]
pub(super) struct Typing {
    pub(super) room: Option<Room>,
    pub(super) until: Instant,
}

/// A room that a socket is in, or on its way into: its home was asked, and has not answered yet.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) room: Room,
    /// Tells this entry from an earlier one of the same socket, whose answer may still come.
    pub(super) entry: u32,
}

/// A connected socket.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) key: SocketKey,
    pub(super) account: Arc<Account>,
    pub(super) access: Access,
    pub(super) rooms: SmallVec<[Joined; 2]>,
    /// How often it entered a room.
    pub(super) entries: u32,
    pub(super) typing: Vec<Typing>,
    pub(super) last_event: Instant,
    pub(super) strikes: Option<Box<Strikes>>,
    /// When the token expires, as the time since the Unix epoch, leeway included.
    pub(super) expires: Option<Duration>,
}
