//! [`User`]: one person, however many sockets; and [`Member`]: one socket as the chat sees it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use smallvec::SmallVec;
use socketio::{SocketKey, json};

use crate::{
    auth::Rooms,
    config::{Limits, RoomAccess},
    limits::{Bucket, Strikes},
};

/// A room of the chat as a user is known there.
#[derive(Debug)]
pub(super) struct Presence {
    pub(super) room: Arc<str>,
    /// How many of the user's sockets are in it.
    pub(super) sockets: u32,
    /// When the last of them left by `leave`. Nobody is told of that; only coming back soon is not told again either.
    pub(super) left: Option<Instant>,
}

/// Above this many rooms a user's past ones are forgotten.
const REMEMBERED_ROOMS: usize = 1000;

/// A user with at least one socket, or within the grace after the last one.
#[derive(Debug)]
pub(super) struct User {
    pub(super) id: Arc<str>,
    /// `"userId":...,"username":...`, the way every event carries them.
    pub(super) fields: Box<str>,
    pub(super) sockets: SmallVec<[SocketKey; 1]>,
    /// Rooms whose other users take this user for online.
    pub(super) rooms: Vec<Presence>,
    /// Since when the user has no socket.
    pub(super) gone: Option<Instant>,
    /// Whether a deadline for `gone` is set: one at a time, however often the user comes and goes.
    pub(super) watched: bool,
    /// Made when first needed: most users only listen.
    messages: Option<Box<Bucket>>,
    typing: Option<Box<Bucket>>,
}

impl User {
    pub(super) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            fields: Box::default(),
            sockets: SmallVec::new(),
            rooms: Vec::new(),
            gone: None,
            watched: false,
            messages: None,
            typing: None,
        }
    }

    /// Takes the display name of the newest token.
    pub(super) fn rename(&mut self, username: &str) {
        let mut fields = br#""userId":"#.to_vec();
        json::quote(&self.id, &mut fields);
        fields.extend_from_slice(br#","username":"#);
        json::quote(username, &mut fields);
        self.fields = String::from_utf8(fields).unwrap_or_default().into();
    }

    /// The rooms whose other users take this one for online, whether or not a socket is there.
    pub(super) fn taken_for_online(&self) -> impl Iterator<Item = Arc<str>> {
        self.rooms.iter().filter(|presence| presence.left.is_none()).map(|presence| Arc::clone(&presence.room))
    }

    /// Sees to it that past rooms do not pile up. Those that were left go first, because nobody is told anything there any
    /// more; only beyond the bound those too where the user's end would be told. Returns which were forgotten.
    pub(super) fn forget_rooms(&mut self, now: Instant, grace: Duration) -> Vec<Arc<str>> {
        let mut forgotten = Vec::new();
        let mut forget = |past: &dyn Fn(&Presence) -> bool| {
            if self.rooms.len() >= REMEMBERED_ROOMS {
                let gone = self.rooms.extract_if(.., |presence| presence.sockets == 0 && past(presence));
                forgotten.extend(gone.map(|presence| presence.room));
            }
        };
        forget(&|presence| presence.left.is_some_and(|left| now.duration_since(left) >= grace));
        forget(&|_| true);
        forgotten
    }

    pub(super) fn messages(&mut self, limits: &Limits) -> &Bucket {
        self.messages.get_or_insert_with(|| Box::new(Bucket::new(limits.message_rate, limits.message_burst)))
    }

    pub(super) fn typing(&mut self, limits: &Limits) -> &Bucket {
        let burst = limits.typing_rate.ceil().clamp(1.0, f64::from(u32::MAX)) as u32;
        self.typing.get_or_insert_with(|| Box::new(Bucket::new(limits.typing_rate, burst)))
    }
}

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
    pub(super) room: Option<Arc<str>>,
    pub(super) until: Instant,
}

/// A connected socket.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) key: SocketKey,
    pub(super) user: Arc<str>,
    pub(super) access: Access,
    pub(super) rooms: SmallVec<[Arc<str>; 2]>,
    pub(super) typing: Vec<Typing>,
    pub(super) last_event: Instant,
    pub(super) strikes: Option<Box<Strikes>>,
    /// When the token expires, as the time since the Unix epoch, leeway included.
    pub(super) expires: Option<Duration>,
}
