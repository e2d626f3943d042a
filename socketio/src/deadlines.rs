//! The deadlines of one shard's clients and sockets.

use std::time::Instant;

use engineio::{
    ConnKey,
    deadlines::{Fifo, Heap},
};

use crate::{packet::AckId, socket::SocketKey};

#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    /// Clients that are in no namespace.
    pub(crate) connects: Fifo<ConnKey>,
    /// Clients whose packet waits for attachments.
    pub(crate) attachments: Fifo<ConnKey>,
    /// Acknowledgements that sockets owe.
    pub(crate) acks: Heap<(SocketKey, AckId)>,
}

impl Deadlines {
    pub(crate) fn next(&self) -> Option<Instant> {
        [self.connects.next(), self.attachments.next(), self.acks.next()].into_iter().flatten().min()
    }
}
