//! [`Client`]: the Socket.IO side of one engine session, with a socket for each namespace it joined.

use std::time::Instant;

use engineio::{ConnKey, sid::IssuedSid};
use smallvec::SmallVec;

use super::ids::{NspKey, SocketKey};
use crate::parser::Decoder;

/// See the module.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) conn: ConnKey,
    pub(crate) decoder: Decoder,
    /// The engine's session id, if the client speaks protocol v4: its sockets' ids are made from it.
    pub(crate) v4: Option<Box<IssuedSid>>,
    pub(crate) sockets: SmallVec<[(NspKey, SocketKey); 1]>,
    /// Since when it has been in no namespace; `None` while it is in one.
    pub(crate) idle_since: Option<Instant>,
    /// Since when a packet has waited for its attachments.
    pub(crate) awaiting_since: Option<Instant>,
    /// Whether a deadline for `idle_since` is set. There is one at a time, however often the client comes and goes.
    pub(crate) has_connect_deadline: bool,
    /// Likewise for `awaiting_since`.
    pub(crate) has_attachment_deadline: bool,
}

impl Client {
    /// A client that opened its session now.
    pub(crate) fn new(conn: ConnKey, v4: Option<&IssuedSid>, now: Instant) -> Self {
        Self {
            conn,
            decoder: Decoder::default(),
            v4: v4.cloned().map(Box::new),
            sockets: SmallVec::new(),
            idle_since: Some(now),
            awaiting_since: None,
            has_connect_deadline: false,
            has_attachment_deadline: false,
        }
    }

    /// Its socket in a namespace.
    pub(crate) fn socket_of(&self, nsp: NspKey) -> Option<SocketKey> {
        self.sockets.iter().find(|(of, _)| *of == nsp).map(|(_, socket)| *socket)
    }
}
