//! [`Operation`]: something that many sockets are to do or to be sent, as plain data.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

/// An operation on the sockets of a namespace, or an event for the other servers. It has names where this server has keys, and an
/// event's parts where this server has a frame: so it means the same in every process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Whom it concerns. Of an event for servers only the namespace counts.
    pub targets: Targets,
    /// What is to be done.
    pub action: Action,
}

#[cfg(feature = "net")]
impl Operation {
    /// Whether other servers may have something to do with it.
    pub(crate) fn reaches_servers(&self) -> bool {
        let is_for_handlers =
            matches!(self.action, Action::ServerSideEmit { .. } | Action::ServerSideEmitWithAck { .. });
        is_for_handlers || !self.targets.is_nobody()
    }
}

/// Sockets of a namespace, chosen by names: of rooms, or of sockets (their ids).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// The namespace.
    pub nsp: Arc<str>,
    /// Rooms, or ids of sockets; each socket in any of them is meant once. `None`: every socket of the namespace.
    pub rooms: Option<Vec<Arc<str>>>,
    /// Rooms, or ids of sockets, that are left out.
    pub except: Vec<Arc<str>>,
}

impl Targets {
    /// Every socket of a namespace.
    #[must_use]
    pub fn everyone(nsp: &str) -> Self {
        Self { nsp: nsp.into(), rooms: None, except: Vec::new() }
    }

    /// Narrows it to a room, or to the socket whose id this is. Several calls add up.
    pub fn to(&mut self, room: &str) {
        self.rooms.get_or_insert_default().push(room.into());
    }

    /// Leaves out a room, or the socket whose id this is.
    pub fn except(&mut self, room: &str) {
        self.except.push(room.into());
    }

    /// Whether no socket can be meant.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        self.rooms.as_ref().is_some_and(Vec::is_empty)
    }
}

/// What an [`Operation`] does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// The sockets are sent an event.
    Emit {
        /// The event.
        event: EventData,
        /// How it is sent.
        flags: Flags,
    },
    /// The sockets are sent an event, and their answers are gathered.
    EmitWithAck {
        /// The event.
        event: EventData,
        /// How it is sent.
        flags: Flags,
        /// How long answers are waited for.
        timeout: Duration,
    },
    /// The sockets are listed.
    FetchSockets {
        /// How long the lists are waited for.
        timeout: Duration,
    },
    /// The sockets join rooms.
    Join {
        /// Which rooms.
        rooms: Vec<Arc<str>>,
    },
    /// The sockets leave rooms.
    Leave {
        /// Which rooms.
        rooms: Vec<Arc<str>>,
    },
    /// The sockets are disconnected.
    Disconnect {
        /// Whether the connections under them end too.
        close: bool,
    },
    /// The handlers of the other servers are sent an event.
    ServerSideEmit {
        /// The event.
        event: EventData,
    },
    /// The handlers of the other servers are sent an event, and their answers are gathered.
    ServerSideEmitWithAck {
        /// The event.
        event: EventData,
        /// How long answers are waited for.
        timeout: Duration,
    },
}

/// An event that is not encoded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventData {
    /// Its name.
    pub name: String,
    /// Its arguments: JSON values joined by commas, with a placeholder for each attachment.
    pub args: String,
    /// The attachments.
    pub attachments: Vec<Bytes>,
}

impl EventData {
    /// An event of these parts.
    #[must_use]
    pub fn new(name: &str, args: &str, attachments: &[Bytes]) -> Self {
        Self { name: name.to_owned(), args: args.to_owned(), attachments: attachments.to_vec() }
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> usize {
        self.name.len() + self.args.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

/// How an event is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags {
    /// It is left out for sockets that have much unread.
    pub volatile: bool,
    /// It may be compressed, where the connection has compression.
    pub compress: bool,
}

impl Default for Flags {
    fn default() -> Self {
        Self { volatile: false, compress: true }
    }
}
