//! What the router knows on one shard.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use engineio::{ConnKey, JobId};
use tokio::sync::oneshot;

use super::super::{
    app::App,
    commands::Command,
    context::{AckSlot, ConnectContext},
    error::AnswerError,
    event::{OwnedEvent, Routed},
    handshake::Handshake,
    payload::Answer,
    routes::{NamespaceRoutes, Routes},
};
use crate::{
    adapter::Reply,
    packet::AckId,
    state::ids::{PendingConnect, RequestId, SocketKey},
};

/// A client that an authorisation let in.
pub struct Admission {
    pub(super) context: ConnectContext,
    pub(super) routes: Arc<NamespaceRoutes>,
    /// Of a socket that comes back: its data.
    pub(super) data: Option<Box<str>>,
}

/// A socket of this shard.
pub(super) struct Entry {
    pub(super) of: Routed,
    /// Whether an event is being handled whose end the others wait for; only where events are handled in order.
    pub(super) is_busy: bool,
    pub(super) waiting: VecDeque<OwnedEvent>,
}

/// What a job is.
pub(super) enum JobKind {
    Authorize { pending: PendingConnect, conn: ConnKey, routes: Arc<NamespaceRoutes> },
    Task { of: Routed, conn: Option<ConnKey>, name: Box<str>, ack: AckSlot },
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
    pub(super) replies: HashMap<RequestId, oneshot::Sender<Reply>>,
    pub(super) jobs: HashMap<JobId, JobKind>,
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
        let (answers, replies, jobs) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { app, routes, handshakes: Vec::new(), sockets: Vec::new(), answers, replies, jobs, commands: Vec::new() }
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
