//! [`Store`]: what the shards of a server keep together for recovery, behind one lock.
//!
//! The lock is taken once for each event, CONNECT and end of a socket, never for a recipient.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use super::{
    event::{RecoverableEvent, Scope},
    log::Log,
    options::Options,
    position::{Epoch, Position},
    sessions::{Saved, Session, Sessions, Whereabouts},
};
use crate::state::ids::{Pid, SocketId, SocketKey};

/// By how much the clocks of shards may differ: by the length of a turn.
const CLOCK_SLACK: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(crate) struct Store {
    options: Options,
    epoch: OnceLock<Epoch>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    log: Log,
    sessions: Sessions,
}

/// A client comes back.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    pub(crate) pid: Pid,
    pub(crate) ticket: u64,
    pub(crate) nsp: &'a str,
    /// What it says that it has seen, if it has seen an event.
    pub(crate) offset: Option<&'a Position>,
    /// The shard it comes back on, and what that has delivered: later events reach the client in the usual way.
    pub(crate) shard: u16,
    pub(crate) shards: u16,
    pub(crate) seen: &'a Position,
    /// How many bytes the missed events may have. Each counts `EVENT` besides its content.
    pub(crate) max_bytes: usize,
    pub(crate) now: Instant,
}

/// The bytes of a missed event besides name, arguments and attachments: its offset, and what frames add.
const EVENT: usize = 128;

/// A session that a client got back.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) saved: Saved,
    /// The events that the client missed, and what it had seen before them.
    pub(crate) missed: Vec<Arc<RecoverableEvent>>,
    pub(crate) from: Position,
    /// As in a [`Session`]: what the client cannot have missed.
    pub(crate) since: Instant,
    pub(crate) ticket: u64,
}

impl Store {
    pub(super) fn new(options: Options) -> Self {
        Self { options, epoch: OnceLock::new(), kept: Mutex::default() }
    }

    pub(crate) const fn options(&self) -> &Options {
        &self.options
    }

    /// The epoch; the first shard that asks makes it of random bytes.
    pub(crate) fn epoch(&self, random: impl FnOnce() -> [u8; 8]) -> Epoch {
        *self.epoch.get_or_init(|| Epoch::new(random()))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing in here is left half done by a panic.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps an event.
    pub(crate) fn append(&self, event: Arc<RecoverableEvent>, now: Instant) {
        let Options { max_disconnection, detection, log_bytes, .. } = self.options;
        let keep_since = now.checked_sub(max_disconnection.saturating_add(detection).saturating_add(CLOCK_SLACK));
        self.lock().log.append(event, now, keep_since, log_bytes);
    }

    /// A socket connected.
    pub(crate) fn begin(&self, session: &Session, nsp: Arc<str>, shard: u16, key: SocketKey) {
        self.lock().sessions.begin(session, nsp, shard, key);
    }

    /// A claim comes in. Its ticket is higher than those of the claims before it.
    pub(crate) fn ticket(&self) -> u64 {
        self.lock().sessions.ticket()
    }

    /// A socket is gone, and cannot be recovered.
    pub(crate) fn forget(&self, pid: Pid) {
        self.lock().sessions.forget(pid);
    }

    /// A socket's connection broke.
    pub(crate) fn save(&self, saved: Saved) {
        let Options { max_disconnection, sessions, session_bytes, .. } = self.options;
        let keep_since = saved.ended.checked_sub(max_disconnection);
        self.lock().sessions.save(saved, keep_since, sessions, session_bytes);
    }

    /// Where the session of a pid is, unless a claim with a later ticket got it.
    pub(crate) fn find(&self, pid: Pid, nsp: &str, ticket: u64) -> Option<Whereabouts> {
        self.lock().sessions.find(pid, nsp, ticket)
    }

    /// When a session begins whose socket connects now: no event of an earlier time concerns it.
    pub(crate) fn since(now: Instant) -> Instant {
        now.checked_sub(CLOCK_SLACK).unwrap_or(now)
    }

    /// Takes a saved session, with the events that its client missed. `None` when there is none, or when not all of them are here,
    /// or when they are too large. Then the client gets a new session.
    pub(crate) fn claim(&self, claim: &Claim<'_>) -> Option<Claimed> {
        let mut kept = self.lock();
        kept.sessions.find(claim.pid, claim.nsp, claim.ticket)?;
        let saved = kept.sessions.take(claim.pid)?;
        if claim.now.saturating_duration_since(saved.ended) > self.options.max_disconnection {
            return None;
        }
        let since = self.unseen_since(&saved);
        // A client keeps the offset of an earlier session, which may be lower, or higher than what this shard has delivered.
        let offset = claim.offset.cloned().unwrap_or_default();
        let from = offset.join(&saved.session.base).meet(claim.seen);
        if !kept.log.reaches(&from, since) {
            return None;
        }
        let id = saved.id.to_string();
        let names = saved.rooms.iter().map(|room| &**room).chain([&*id]);
        let mut missed = kept.log.between(&from, claim.seen, since, claim.nsp, names);
        drop(kept);
        retain_missed(&mut missed, &saved, claim);
        let bytes: usize = missed.iter().map(|event| event.event.len() + EVENT).sum();
        (missed.is_empty() || bytes <= claim.max_bytes).then_some(Claimed {
            saved,
            missed,
            from,
            since,
            ticket: claim.ticket,
        })
    }

    /// The time from which on the client may have missed what was logged. What was sent longer than `detection` before the end has
    /// arrived: otherwise the heartbeat would have ended the connection earlier.
    fn unseen_since(&self, saved: &Saved) -> Instant {
        let Saved { session, ended, .. } = saved;
        let arrived = ended.checked_sub(self.options.detection.saturating_add(CLOCK_SLACK));
        // What the socket was sent when it connected may be older in the log.
        arrived.filter(|arrived| session.connected <= *arrived).unwrap_or(session.since)
    }
}

/// Leaves the events that were for this socket.
fn retain_missed(events: &mut Vec<Arc<RecoverableEvent>>, saved: &Saved, claim: &Claim<'_>) {
    let id = saved.id.to_string();
    let rooms: HashSet<&str> = saved.rooms.iter().map(|room| &**room).collect();
    let names = |names: &[Arc<str>]| {
        names.iter().any(|name| **name == *id || rooms.contains(&**name) && !SocketId::is_of(name, claim.shards))
    };
    events.retain(|event| {
        let targets = &event.targets;
        let is_named = || targets.rooms.as_deref().is_none_or(names) && !names(&targets.except);
        let is_for_it = match &event.scope {
            Scope::Socket(id) => *id == saved.id,
            Scope::Shard => was_on_origin(event, saved, claim) && is_named(),
            Scope::Server => is_named(),
        };
        is_for_it && *targets.nsp == *claim.nsp
    });
}

/// Whether the socket was on the event's shard when the event was sent, or is there again.
fn was_on_origin(event: &RecoverableEvent, saved: &Saved, claim: &Claim<'_>) -> bool {
    let before_end = event.number <= saved.end.get(event.origin);
    saved.shard == event.origin && (before_end || claim.shard == event.origin)
}

#[cfg(test)]
mod tests;
