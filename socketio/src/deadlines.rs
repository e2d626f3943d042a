//! The deadlines of one shard's clients and sockets.

use std::{collections::BTreeMap, time::Instant};

use engineio::{ConnKey, deadlines::Heap};

use crate::{packet::AckId, socket::SocketKey};

#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    /// Clients that are in no namespace. One entry a client, which moves back when it is not due yet: so not in order.
    pub(crate) connects: Heap<ConnKey>,
    /// Clients whose packet waits for attachments; likewise.
    pub(crate) attachments: Heap<ConnKey>,
    /// Acknowledgements that sockets owe. An answer takes its entry out: whoever answers fast would pile them up.
    pub(crate) acks: BTreeMap<(Instant, AckId), SocketKey>,
}

impl Deadlines {
    pub(crate) fn next(&self) -> Option<Instant> {
        let ack = self.acks.first_key_value().map(|((deadline, _), _)| *deadline);
        [self.connects.next(), self.attachments.next(), ack].into_iter().flatten().min()
    }

    /// Takes the next acknowledgement that did not come in time, of those asked for before `limit`.
    pub(crate) fn pop_due_ack(&mut self, now: Instant, limit: AckId) -> Option<(SocketKey, AckId)> {
        let first = self.acks.first_entry()?;
        let (deadline, id) = *first.key();
        (deadline <= now && id < limit).then(|| (first.remove(), id))
    }

    pub(crate) fn forget_ack(&mut self, id: AckId, deadline: Option<Instant>) {
        if let Some(deadline) = deadline {
            self.acks.remove(&(deadline, id));
        }
    }
}
