//! What the router knows on one shard.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use engineio::{ConnKey, Job, JobId, job::TooManyJobs};
use tokio::sync::oneshot;

use super::super::{
    app::App,
    commands::{Command, WhoAsks},
    context::{AckSlot, ConnectContext},
    error::AnswerError,
    event::{OwnedEvent, Routed},
    handshake::Handshake,
    payload::Answer,
    routes::{NamespaceRoutes, Routes},
};
use crate::{
    io::Io,
    packet::AckId,
    state::ids::{PendingConnect, RequestId, SocketKey},
};

/// A client that an authorisation let in.
pub struct Admission {
    pub(super) context: ConnectContext,
    pub(super) routes: Arc<NamespaceRoutes>,
}

/// A socket of this shard.
pub(super) struct Entry {
    pub(super) of: Routed,
    /// Whether an event is being handled whose end the others wait for; only where events are handled in order.
    pub(super) is_busy: bool,
    waiting: VecDeque<OwnedEvent>,
    /// The bytes of these.
    waiting_bytes: usize,
}

impl Entry {
    pub(super) fn new(of: Routed) -> Self {
        let is_busy = of.routes.ordered;
        Self { of, is_busy, waiting: VecDeque::new(), waiting_bytes: 0 }
    }

    /// An event waits for its turn, unless there are too many.
    pub(super) fn push(&mut self, event: OwnedEvent, max_events: usize, max_bytes: usize) -> bool {
        let bytes = self.waiting_bytes.saturating_add(event.bytes());
        if self.waiting.len() >= max_events || bytes > max_bytes && !self.waiting.is_empty() {
            return false;
        }
        self.waiting_bytes = bytes;
        self.waiting.push_back(event);
        true
    }

    /// It is the turn of the next event.
    pub(super) fn pop(&mut self) -> Option<OwnedEvent> {
        let event = self.waiting.pop_front()?;
        self.waiting_bytes = self.waiting_bytes.saturating_sub(event.bytes());
        Some(event)
    }
}

impl Drop for Entry {
    /// Also when the shard breaks: it reports no ends then, and other threads may wait for this one.
    fn drop(&mut self) {
        self.of.socket.end();
    }
}

/// What a job is.
pub(super) enum JobKind {
    Authorize { pending: PendingConnect, conn: ConnKey, routes: Arc<NamespaceRoutes> },
    Task { of: Routed, conn: Option<ConnKey>, name: Box<str>, ack: AckSlot },
}

impl JobKind {
    /// The connection that it is for; `None` if that is gone.
    const fn conn(&self) -> Option<ConnKey> {
        match self {
            Self::Authorize { conn, .. } => Some(*conn),
            Self::Task { conn, .. } => *conn,
        }
    }
}

/// See the module.
pub struct RouterShard {
    pub(super) app: Arc<App>,
    pub(super) routes: Arc<Routes>,
    /// By the connection's index.
    pub(super) handshakes: Vec<Option<Arc<Handshake>>>,
    /// By the socket's index.
    pub(super) sockets: Vec<Option<Entry>>,
    pub(super) answers: HashMap<AckId, oneshot::Sender<Result<Answer, AnswerError>>>,
    /// Who waits for replies of many sockets.
    pub(super) replies: HashMap<RequestId, WhoAsks>,
    jobs: HashMap<JobId, JobKind>,
    /// How many of the jobs are for a connection, also for one that is gone by now.
    jobs_of: HashMap<ConnKey, usize>,
    /// Empty between calls.
    pub(super) commands: Vec<Command>,
}

impl std::fmt::Debug for RouterShard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouterShard").field("app", &self.app).finish_non_exhaustive()
    }
}

impl RouterShard {
    pub(crate) fn new(app: Arc<App>, routes: Arc<Routes>) -> Self {
        Self {
            app,
            routes,
            handshakes: Vec::new(),
            sockets: Vec::new(),
            answers: HashMap::new(),
            replies: HashMap::new(),
            jobs: HashMap::new(),
            jobs_of: HashMap::new(),
            commands: Vec::new(),
        }
    }

    /// Starts a job, unless its client or the shard has too many under way.
    pub(super) fn start_job(&mut self, io: &mut Io<'_>, kind: JobKind, job: Job) -> Result<(), TooManyJobs> {
        let conn = kind.conn();
        let of_conn = conn.and_then(|conn| self.jobs_of.get(&conn)).copied().unwrap_or_default();
        if of_conn >= self.app.settings.waiting_handlers {
            return Err(TooManyJobs);
        }
        self.jobs.insert(io.start_job(job)?, kind);
        if let Some(conn) = conn {
            self.jobs_of.insert(conn, of_conn + 1);
        }
        Ok(())
    }

    /// A job is done; what it was.
    pub(super) fn end_job(&mut self, job: JobId) -> Option<JobKind> {
        let kind = self.jobs.remove(&job)?;
        if let Some(conn) = kind.conn()
            && let Some(count) = self.jobs_of.get_mut(&conn)
        {
            *count -= 1;
            if *count == 0 {
                self.jobs_of.remove(&conn);
            }
        }
        Some(kind)
    }

    pub(super) fn entry(&mut self, key: SocketKey) -> Option<&mut Entry> {
        self.sockets.get_mut(key.index() as usize)?.as_mut().filter(|entry| entry.of.socket.key() == key)
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission").field("context", &self.context).finish_non_exhaustive()
    }
}
