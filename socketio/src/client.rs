//! [`Client`]: the Socket.IO side of one engine session, with a socket for each namespace it joined.

use std::time::Instant;

use engineio::ConnKey;
use smallvec::SmallVec;

use crate::{namespace::NspIndex, parser::Decoder, socket::SocketKey};

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) conn: ConnKey,
    pub(crate) decoder: Decoder,
    pub(crate) sockets: SmallVec<[(NspIndex, SocketKey); 1]>,
    /// Since when it has been without a namespace.
    pub(crate) idle_since: Option<Instant>,
    /// Since when a packet has waited for its attachments.
    pub(crate) awaiting_since: Option<Instant>,
    /// Whether a deadline for `idle_since` or `awaiting_since` is set: one of each at a time, whatever the client does.
    pub(crate) idle_watched: bool,
    pub(crate) awaiting_watched: bool,
}

impl Client {
    pub(crate) fn new(conn: ConnKey, now: Instant) -> Self {
        Self {
            conn,
            decoder: Decoder::default(),
            sockets: SmallVec::new(),
            idle_since: Some(now),
            awaiting_since: None,
            idle_watched: false,
            awaiting_watched: false,
        }
    }

    pub(crate) fn socket_of(&self, nsp: NspIndex) -> Option<SocketKey> {
        self.sockets.iter().find(|(of, _)| *of == nsp).map(|(_, socket)| *socket)
    }
}
