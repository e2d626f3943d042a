//! [`ShardIo`]: the part of a shard that is lent to the handler as its [`Outbox`](crate::Outbox). The methods that
//! change it are in the files named for what they do; this file has the ones that only read.

use std::{rc::Rc, sync::Arc, task::Waker, time::Instant};

use tokio::sync::Notify;
#[cfg(feature = "tls")]
use tokio::sync::Semaphore;

use super::{
    super::{
        peer::send_queue::PollBody,
        shards::{mailbox::Outgoing, registry::Registry},
        system::{date::Date, entropy::Entropy},
    },
    congestion::Congestion,
    conn::{Conn, End},
    gradual_end::GradualEnd,
    jobs::Jobs,
    plain_conn::PlainConns,
    timers::Timers,
    transport::WebSocketTransport,
    watching::Watching,
};
use crate::{
    CloseReason, Config, ConnKey, Protocol, SharedFrame,
    http::{Action, compression::Budget},
    packet::Outbound,
    sid::Sid,
    slab::Slab,
};

/// How many TLS handshakes begin before a shard's sessions have their turn again. The server's signature takes from 20
/// µs (P-256) to a millisecond (RSA).
#[cfg(feature = "tls")]
const HANDSHAKES_A_TURN: usize = 4;

/// The state of a shard without its handler. See the module.
#[derive(Debug)]
pub(in crate::net) struct ShardIo {
    pub(in crate::net) config: Rc<Config>,
    pub(in crate::net) id: u16,
    /// What this shard shares with the others.
    pub(in crate::net) registry: Arc<Registry>,
    /// This turn's commands for other shards.
    pub(in crate::net) outgoing: Outgoing,
    pub(super) congestion: Congestion,
    pub(super) jobs: Jobs,
    pub(in crate::net) conns: Slab<Conn>,
    /// Connections with plain requests.
    pub(in crate::net) plain: PlainConns,
    pub(in crate::net) timers: Timers,
    /// Connections with something to write at the end of the turn.
    pub(super) dirty: Vec<ConnKey>,
    /// Connections that were closed in this turn, and how their transports end.
    pub(super) closing: Vec<(ConnKey, CloseReason, End)>,
    pub(in crate::net) now: Instant,
    pub(super) entropy: Entropy,
    pub(in crate::net) date: Date,
    pub(super) ping: SharedFrame,
    pub(super) noop: SharedFrame,
    /// What every session gets after its OPEN packet.
    pub(super) initial: Option<SharedFrame>,
    /// The driver's task, and the deadline for which it sleeps.
    pub(in crate::net) driver: Option<Waker>,
    pub(in crate::net) armed: Option<Instant>,
    /// Shutting down: no new session is opened.
    pub(in crate::net) draining: bool,
    /// Notified when a draining server has no session left: then HTTP connections end after their current response. Not
    /// earlier, because a polling client between two polls learns of the end through its next poll on the same
    /// connection.
    pub(in crate::net) drain: Rc<Notify>,
    /// How many connections speak HTTP.
    pub(in crate::net) http: usize,
    /// How many TLS handshakes may begin before the sessions have their turn again.
    #[cfg(feature = "tls")]
    pub(in crate::net) handshakes: Rc<Semaphore>,
    /// How many bodies may be compressed.
    pub(super) compression: Budget,
    /// A buffer lent to writes that combine small frames.
    pub(super) gather: Vec<u8>,
    pub(super) probes: u64,
    /// While the server drains.
    pub(super) gradual_end: Option<GradualEnd>,
    pub(in crate::net) watching: Watching,
}

impl ShardIo {
    pub(super) fn new(id: u16, registry: Arc<Registry>, config: Config) -> Self {
        let now = Instant::now();
        Self {
            initial: config.initial_frame(),
            timers: Timers::new(config.intervals()),
            plain: PlainConns::new(&config),
            config: Rc::new(config),
            id,
            outgoing: Outgoing::new(registry.shards()),
            registry,
            congestion: Congestion::default(),
            jobs: Jobs::default(),
            conns: Slab::default(),
            dirty: Vec::new(),
            closing: Vec::new(),
            now,
            entropy: Entropy::new(),
            date: Date::default(),
            ping: SharedFrame::packet(&Outbound::Ping),
            noop: SharedFrame::packet(&Outbound::Noop),
            driver: None,
            armed: None,
            draining: false,
            drain: Rc::default(),
            http: 0,
            #[cfg(feature = "tls")]
            handshakes: Rc::new(Semaphore::new(HANDSHAKES_A_TURN)),
            compression: Budget::default(),
            gather: Vec::new(),
            probes: 0,
            gradual_end: None,
            watching: Watching::new(now),
        }
    }

    /// Takes over the changes that a running server can.
    pub(in crate::net) fn reconfigure(&mut self, new: &Config) {
        // Connections that have the old settings keep them.
        let config = Rc::make_mut(&mut self.config);
        config.take_changes(new);
        self.plain.renew_templates(&self.config);
    }

    pub(in crate::net) fn conn(&mut self, key: ConnKey) -> Option<&mut Conn> {
        self.conns.get_mut(key.0)
    }

    /// The WebSocket of a session, if that is its transport.
    pub(in crate::net) fn websocket_mut(&mut self, key: ConnKey) -> Option<&mut WebSocketTransport> {
        self.conn(key)?.transport.websocket_mut()
    }

    pub(in crate::net) fn is_open(&self, key: ConnKey) -> bool {
        self.conns.get(key.0).is_some_and(Conn::is_open)
    }

    /// The protocol revision of an open session, and the largest message that it may send.
    pub(in crate::net) fn open_protocol(&self, key: ConnKey) -> Option<(Protocol, usize)> {
        let conn = self.conns.get(key.0).filter(|conn| conn.is_open())?;
        Some((conn.session.protocol(), self.config.max_message(conn.accepted)))
    }

    /// The session that this sid names, if it is open. A closed session is found only by the poll that will be told of
    /// the close.
    pub(super) fn lookup(&self, sid: &Sid, action: Action) -> Option<ConnKey> {
        let key = self.conns.key_at(sid.index()).filter(|_| sid.shard() == self.id)?;
        let conn = self.conns.get(key).filter(|conn| sid.proves(&conn.random))?;
        let owed = action == Action::Poll && conn.transport.websocket().is_none();
        (conn.is_open() || owed).then_some(ConnKey(key))
    }

    /// The body of the answer to a polling handshake; `None` if the session is gone already. It holds the OPEN packet
    /// and the configured message. What the handler has sent since waits for a poll, as in Node.
    pub(in crate::net) fn take_body(&mut self, key: ConnKey) -> Option<PollBody> {
        let (max, frames) = (self.max_poll_body(), 1 + usize::from(self.initial.is_some()));
        self.conn(key).map(|conn| conn.out.take_polling(conn.poll_form(), max, frames))
    }

    /// The most bytes in the answer to one poll of more than one frame. `max_payload` limits what a client may send; a
    /// client gets everything that is queued, as from Node, and the queue has its own limit.
    pub(super) fn max_poll_body(&self) -> usize {
        self.config.max_payload.max(self.config.outbound_hard)
    }

    pub(super) fn mark_dirty(&mut self, key: ConnKey) {
        if let Some(conn) = self.conns.get_mut(key.0)
            && !std::mem::replace(&mut conn.dirty, true)
        {
            self.dirty.push(key);
        }
    }

    /// Notifies HTTP connections if a server that shuts down has no session left.
    pub(in crate::net) fn end_http_if_drained(&mut self) {
        if self.draining && self.registry.is_drained() {
            self.plain.end_all();
            self.drain.notify_waiters();
        }
    }

    /// Whether nothing is left to wait for: no session, and no response being sent.
    pub(in crate::net) fn is_drained(&self) -> bool {
        self.draining && self.registry.is_drained() && self.http == 0
    }
}
