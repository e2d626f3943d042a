//! [`Sessions`]: which sockets a client may come back as.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use super::position::Position;
use crate::state::ids::{Pid, SocketId, SocketKey};

/// What a connected socket keeps for the time when its connection breaks.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) pid: Pid,
    /// What the client had seen when the socket connected.
    pub(crate) base: Position,
    pub(crate) connected: Instant,
    /// Events that were added to the log before this need not be sent, although the client may not have seen what was sent when
    /// the socket connected.
    pub(crate) since: Instant,
    /// Of the claim by which the socket was recovered; 0 for a new socket.
    pub(crate) ticket: u64,
}

/// A socket whose connection broke.
#[derive(Debug, Clone)]
pub(crate) struct Saved {
    pub(crate) session: Session,
    pub(crate) id: SocketId,
    pub(crate) nsp: Arc<str>,
    pub(crate) rooms: Vec<Arc<str>>,
    /// What the application saved with the socket.
    pub(crate) data: Option<Box<str>>,
    /// The shard it was on, and what that had delivered at the end.
    pub(crate) shard: u16,
    pub(crate) end: Position,
    pub(crate) ended: Instant,
}

impl Saved {
    /// How many bytes of memory it takes, roughly.
    fn bytes(&self) -> usize {
        let rooms = self.rooms.iter().map(|room| room.len() + 32).sum::<usize>();
        let positions = self.session.base.heap_bytes() + self.end.heap_bytes();
        // The entries in the map and the queue.
        2 * size_of::<Self>() + rooms + positions + self.nsp.len() + self.data.as_deref().map_or(0, str::len)
    }
}

/// A socket that is connected.
#[derive(Debug)]
struct Live {
    nsp: Arc<str>,
    shard: u16,
    key: SocketKey,
    ticket: u64,
}

/// Where the session of a pid is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// Its socket is connected: on this shard, under this key.
    Live(u16, SocketKey),
    /// Its socket's connection broke, when its shard had delivered this.
    Saved(Position),
}

/// The sessions that can be recovered. Those of connected sockets are as many as there are sockets; the others are bounded in
/// time, number and bytes.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    live: HashMap<Pid, Live>,
    /// Each with its number in the order in which they ended.
    saved: HashMap<Pid, (u64, Saved)>,
    /// The saved ones in that order, and some that were taken since.
    order: VecDeque<(u64, Pid)>,
    last_number: u64,
    bytes: usize,
    /// The last ticket.
    tickets: u64,
}

impl Sessions {
    /// A claim comes in. Its ticket is higher than those of the claims before it.
    pub(super) const fn ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// A socket connected.
    pub(super) fn begin(&mut self, session: &Session, nsp: Arc<str>, shard: u16, key: SocketKey) {
        self.live.insert(session.pid, Live { nsp, shard, key, ticket: session.ticket });
    }

    /// A socket is gone, and cannot be recovered.
    pub(super) fn forget(&mut self, pid: Pid) {
        self.live.remove(&pid);
    }

    /// A socket's connection broke. Drops those that ended before `keep_since`, and the oldest ones as the limits demand.
    pub(super) fn save(&mut self, saved: Saved, keep_since: Option<Instant>, max_count: usize, max_bytes: usize) {
        let pid = saved.session.pid;
        self.live.remove(&pid);
        self.take(pid);
        self.bytes += saved.bytes();
        self.last_number += 1;
        self.order.push_back((self.last_number, pid));
        self.saved.insert(pid, (self.last_number, saved));
        while let Some((number, pid)) = self.order.front().copied() {
            let first = self.saved.get(&pid).filter(|(of, _)| *of == number).map(|(_, saved)| saved.ended);
            let is_taken = first.is_none();
            let is_old = first.zip(keep_since).is_some_and(|(ended, since)| ended < since);
            if !is_taken && !is_old && self.saved.len() <= max_count && self.bytes <= max_bytes {
                break;
            }
            self.order.pop_front();
            if !is_taken {
                self.take(pid);
            }
        }
        // Clients that come and go quickly must not fill the queue with what was taken.
        if self.order.len() > 2 * self.saved.len() + 64 {
            let saved = &self.saved;
            self.order.retain(|(number, pid)| saved.get(pid).is_some_and(|(of, _)| of == number));
        }
    }

    /// Where the session of a pid is, if it is one of this namespace, and no later claim got it. (A client whose connection breaks
    /// while its claim waits makes another one. The first must not take the socket from the second.)
    pub(super) fn find(&self, pid: Pid, nsp: &str, ticket: u64) -> Option<Whereabouts> {
        if let Some(live) = self.live.get(&pid) {
            return (*live.nsp == *nsp && live.ticket <= ticket).then_some(Whereabouts::Live(live.shard, live.key));
        }
        let (_, saved) =
            self.saved.get(&pid).filter(|(_, saved)| *saved.nsp == *nsp && saved.session.ticket <= ticket)?;
        Some(Whereabouts::Saved(saved.end.clone()))
    }

    /// Takes a saved session: it can be used once.
    pub(super) fn take(&mut self, pid: Pid) -> Option<Saved> {
        let (_, saved) = self.saved.remove(&pid)?;
        self.bytes -= saved.bytes();
        Some(saved)
    }

    #[cfg(test)]
    pub(super) fn lens(&self) -> [usize; 4] {
        [self.live.len(), self.saved.len(), self.order.len(), self.bytes]
    }
}
