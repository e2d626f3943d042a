//! [`ShardIo`]: the part of a shard that a handler is lent as its [`Outbox`](crate::Outbox). Its methods stand where what they do
//! is told; here are those that only look.

use std::{rc::Rc, sync::Arc, task::Waker, time::Instant};

use tokio::sync::Notify;

use super::{
    super::{
        peer::send_queue::PollBody,
        shards::{mailbox::Outgoing, registry::Registry},
        system::{date::Date, entropy::Entropy},
    },
    congestion::Congestion,
    conn::{Conn, End},
    jobs::Jobs,
    plain_conn::PlainConns,
    timers::Timers,
    transport::WebSocketTransport,
};
use crate::{
    CloseReason, Config, ConnKey, Protocol, SharedFrame, http::Action, packet::Outbound, sid::Sid, slab::Slab,
};

/// See the module.
#[derive(Debug)]
pub(in crate::net) struct ShardIo {
    pub(in crate::net) config: Rc<Config>,
    pub(in crate::net) id: u16,
    /// What it shares with the other shards.
    pub(in crate::net) registry: Arc<Registry>,
    /// What this turn has for other shards.
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
    /// What every session gets behind its OPEN packet.
    pub(super) initial: Option<SharedFrame>,
    /// The driver's task, and the deadline it sleeps to.
    pub(in crate::net) driver: Option<Waker>,
    pub(in crate::net) armed: Option<Instant>,
    /// Shutting down: no new session.
    pub(in crate::net) draining: bool,
    /// Told when a server that drains has no session left: connections that speak HTTP end after the response they owe. Not
    /// before: a polling client between two polls hears of the end by the next one, on the connection it kept.
    pub(in crate::net) drain: Rc<Notify>,
    /// How many connections speak HTTP.
    pub(in crate::net) http: usize,
    /// Lent to writes that gather small frames.
    pub(super) gather: Vec<u8>,
    pub(super) probes: u64,
}

impl ShardIo {
    pub(super) fn new(id: u16, registry: Arc<Registry>, config: Config) -> Self {
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
            now: Instant::now(),
            entropy: Entropy::new(),
            date: Date::default(),
            ping: SharedFrame::packet(&Outbound::Ping),
            noop: SharedFrame::packet(&Outbound::Noop),
            driver: None,
            armed: None,
            draining: false,
            drain: Rc::default(),
            http: 0,
            gather: Vec::new(),
            probes: 0,
        }
    }

    pub(in crate::net) fn conn(&mut self, key: ConnKey) -> Option<&mut Conn> {
        self.conns.get_mut(key.0)
    }

    /// The WebSocket of a session that is on one.
    pub(in crate::net) fn websocket_mut(&mut self, key: ConnKey) -> Option<&mut WebSocketTransport> {
        self.conn(key)?.transport.websocket_mut()
    }

    pub(in crate::net) fn is_open(&self, key: ConnKey) -> bool {
        self.conns.get(key.0).is_some_and(Conn::is_open)
    }

    /// The revision that an open session speaks.
    pub(in crate::net) fn open_protocol(&self, key: ConnKey) -> Option<Protocol> {
        self.conns.get(key.0).filter(|conn| conn.is_open()).map(|conn| conn.session.protocol())
    }

    /// The session this sid names, if it is open; one that closed is known only to the poll that is to hear of it.
    pub(super) fn lookup(&self, sid: &Sid, action: Action) -> Option<ConnKey> {
        let key = self.conns.key_at(sid.index()).filter(|_| sid.shard() == self.id)?;
        let conn = self.conns.get(key).filter(|conn| sid.proves(&conn.random))?;
        let owed = action == Action::Poll && conn.transport.websocket().is_none();
        (conn.is_open() || owed).then_some(ConnKey(key))
    }

    /// The body of the polling handshake's answer; `None` when the session is gone already. The OPEN packet, and the
    /// configured message: what the handler has sent since waits for a poll, as in the reference.
    pub(in crate::net) fn take_body(&mut self, key: ConnKey) -> Option<PollBody> {
        let (max, frames) = (self.max_poll_body(), 1 + usize::from(self.initial.is_some()));
        self.conn(key).map(|conn| conn.out.take_polling(conn.poll_form(), max, frames))
    }

    /// The most that answers one poll, where it is more than one frame. `max_payload` says what a client may send; it gets
    /// all that is queued, as from the reference, and the queue has a limit of its own.
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

    /// Tells connections that speak HTTP, when a server that shuts down has no session left.
    pub(in crate::net) fn end_http_if_drained(&mut self) {
        if self.draining && self.registry.is_drained() {
            self.plain.end_all();
            self.drain.notify_waiters();
        }
    }

    /// Nothing is left to wait for: no session, and no response under way.
    pub(in crate::net) fn is_drained(&self) -> bool {
        self.draining && self.registry.is_drained() && self.http == 0
    }
}
