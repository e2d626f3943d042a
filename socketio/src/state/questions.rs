//! [`Questions`]: the broadcasts whose recipients on this shard have not all answered.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use super::ids::{SocketId, SocketKey};
use crate::{
    adapter::{Answer, Answers, collector::Part},
    packet::AckId,
};

/// The ids of acknowledgements from here on are those of broadcasts; below are those of single sockets, which each shard counts
/// for itself. It is half of what a client's JavaScript can count to: at a million a second, neither side ends within a century.
const FIRST: u64 = 1 << 52;

static NEXT: AtomicU64 = AtomicU64::new(FIRST);

/// The id that all recipients of a broadcast acknowledge. No other broadcast of this process has it.
pub(crate) fn next_id() -> AckId {
    AckId(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Whether an acknowledgement belongs to a broadcast.
pub(crate) const fn is_of_broadcast(id: AckId) -> bool {
    id.0 >= FIRST
}

/// A broadcast of which somebody has not answered.
#[derive(Debug)]
struct Waiting {
    part: Part<Answers>,
    sockets: HashSet<SocketKey>,
    deadline: Option<Instant>,
}

/// See the module. Each socket here also owes the id (`Socket::acks`), so the limit of what a socket may owe holds.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    waiting: HashMap<AckId, Waiting>,
    deadlines: BTreeSet<(Instant, AckId)>,
}

impl Questions {
    /// Whether nobody is waited for.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Waits for the answers of these sockets.
    pub(crate) fn add(
        &mut self,
        id: AckId,
        part: Part<Answers>,
        deadline: Option<Instant>,
        sockets: HashSet<SocketKey>,
    ) {
        if sockets.is_empty() {
            return part.done();
        }
        self.deadlines.extend(deadline.map(|deadline| (deadline, id)));
        self.waiting.insert(id, Waiting { part, sockets, deadline });
    }

    /// A socket answered. An answer for which there is no room any more is not kept.
    pub(crate) fn answer(&mut self, id: AckId, key: SocketKey, answer: Answer) {
        let has_room = self.waiting.get(&id).is_some_and(|waiting| waiting.part.spend(answer.args.len()));
        self.settle(id, key, |answers| {
            if has_room {
                answers.answers.push(answer);
            } else {
                answers.unanswered.extend(answer.socket);
            }
        });
    }

    /// A socket left.
    pub(crate) fn leave(&mut self, id: AckId, key: SocketKey, socket: &SocketId) {
        self.settle(id, key, |answers| answers.unanswered.push(socket.to_string()));
    }

    fn settle(&mut self, id: AckId, key: SocketKey, add: impl FnOnce(&mut Answers)) {
        let Some(waiting) = self.waiting.get_mut(&id) else { return };
        if !waiting.sockets.remove(&key) {
            return;
        }
        waiting.part.add(add);
        if waiting.sockets.is_empty() {
            self.end(id);
        }
    }

    fn end(&mut self, id: AckId) {
        let Some(waiting) = self.waiting.remove(&id) else { return };
        if let Some(deadline) = waiting.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        waiting.part.done();
    }

    /// When the next broadcast's time is up.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Takes a broadcast whose time is up, and the sockets that have not answered.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(AckId, Vec<SocketKey>, Part<Answers>)> {
        let (_, id) = *self.deadlines.first().filter(|(deadline, _)| *deadline <= now)?;
        self.deadlines.pop_first();
        let Waiting { part, sockets, .. } = self.waiting.remove(&id)?;
        Some((id, sockets.into_iter().collect(), part))
    }
}
