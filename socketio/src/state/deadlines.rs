//! [`Deadlines`]: by when the clients and sockets of one shard must have done what is due.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use engineio::{
    ConnKey, JobId,
    deadlines::{Heap, soonest},
};

use super::ids::SocketKey;
use crate::{
    adapter::{
        collector::{Close, Collector},
        reply::Gathered,
    },
    packet::AckId,
};

/// A point in time, or never.
pub(crate) type Deadline = Option<Instant>;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    /// Clients that are in no namespace, one entry each. An entry that comes too early is put back with a later time, so
    /// the entries are not in order, and a heap holds them.
    pub(crate) connects: Heap<ConnKey>,
    /// Clients whose packet waits for attachments; likewise.
    pub(crate) attachments: Heap<ConnKey>,
    /// Acknowledgements that sockets owe. An answer removes its entry: otherwise a client that answers fast would pile
    /// them up.
    pub(crate) acks: BTreeMap<(Instant, AckId), SocketKey>,
    /// What this shard asked other shards and servers, with the job that waits for their replies.
    pub(crate) requests: BTreeMap<(Instant, JobId), Arc<dyn Close>>,
}

impl Deadlines {
    /// The next deadline of all.
    pub(crate) fn next(&self) -> Option<Instant> {
        let ack = self.acks.first_key_value().map(|((deadline, _), _)| *deadline);
        let request = self.requests.first_key_value().map(|((deadline, _), _)| *deadline);
        soonest([self.connects.next(), self.attachments.next(), ack, request])
    }

    /// A job waits for what is gathered.
    pub(crate) fn add_request<T: Gathered>(&mut self, deadline: Deadline, job: JobId, collector: &Arc<Collector<T>>) {
        if let Some(deadline) = deadline {
            self.requests.insert((deadline, job), Arc::<Collector<T>>::clone(collector));
        }
    }

    /// A job is done.
    pub(crate) fn forget_request(&mut self, deadline: Deadline, job: JobId) {
        if let Some(deadline) = deadline {
            self.requests.remove(&(deadline, job));
        }
    }

    /// Tells the requests whose time is up. The job of each ends, and the application gets what there is.
    pub(crate) fn close_due_requests(&mut self, now: Instant) {
        while let Some(first) = self.requests.first_entry().filter(|first| first.key().0 <= now) {
            first.remove().close();
        }
    }

    /// Takes the next acknowledgement that did not come in time, of those asked for before `limit`.
    pub(crate) fn pop_due_ack(&mut self, now: Instant, limit: AckId) -> Option<(SocketKey, AckId)> {
        let first = self.acks.first_entry()?;
        let (deadline, id) = *first.key();
        (deadline <= now && id < limit).then(|| (first.remove(), id))
    }

    /// Removes the deadline of an acknowledgement.
    pub(crate) fn forget_ack(&mut self, id: AckId, deadline: Option<Instant>) {
        if let Some(deadline) = deadline {
            self.acks.remove(&(deadline, id));
        }
    }
}
