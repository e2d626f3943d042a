//! A shard: one thread that owns connections, their sockets, timers and handler.
//!
//! Everything that happens to a connection happens inside [`ShardRef::turn`]: a synchronous call that borrows the shard,
//! lets the handler answer through [`Io`] (the [`Outbox`]), and settles what was closed on the way. Nothing is borrowed
//! across an `.await`, nothing is shared with another thread.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    Fallback,
    congestion::Congestion,
    conn::{Conn, End, Link, Phase, PollLink},
    counts::Common,
    date::Date,
    entropy::Entropy,
    hooked::Hooked,
    jobs::Jobs,
    mailbox::Outgoing,
    outq::PollBody,
    plain_conn::PlainConns,
    timers::{Due, Timers},
};
use crate::{
    CloseReason, Config, ConnKey, Handler, JobId, Message, Outbox, Protocol, ShardMessage, SharedFrame,
    http::Action,
    job::JobPanicked,
    packet::{Inbound, Outbound},
    session::{Event, Transport},
    sid::Sid,
    slab::Slab,
};

/// How many bytes one read of a socket may bring.
const SCRATCH: usize = 64 * 1024;

/// How many packets are taken in, at most, before what they led to is written.
const HEARD: usize = 1024;

/// A shard as its tasks hold it.
#[derive(Debug)]
pub(super) struct ShardRef<H>(Rc<RefCell<Shard<H>>>);

impl<H> Clone for ShardRef<H> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

#[derive(Debug)]
pub(super) struct Shard<H> {
    pub(super) handler: H,
    pub(super) hooks: Hooked,
    pub(super) io: Io,
    /// The buffer every socket of the shard is read into: an idle connection owns none.
    pub(super) scratch: Vec<u8>,
    /// How many packets were taken in since the last end of a turn.
    pub(super) heard: usize,
}

/// The part of a shard that a handler is lent as its [`Outbox`].
#[derive(Debug)]
pub(super) struct Io {
    pub(super) config: Rc<Config>,
    pub(super) fallback: Fallback,
    pub(super) id: u16,
    /// What it shares with the other shards.
    pub(super) common: Arc<Common>,
    pub(super) outgoing: Outgoing,
    pub(super) congestion: Congestion,
    pub(super) jobs: Jobs,
    pub(super) conns: Slab<Conn>,
    /// Connections with plain requests.
    pub(super) plain: PlainConns,
    pub(super) timers: Timers,
    /// Connections with something to write at the end of the turn.
    pub(super) dirty: Vec<ConnKey>,
    /// Connections that were closed in this turn, and how their transports end.
    pub(super) closing: Vec<(ConnKey, CloseReason, End)>,
    pub(super) now: Instant,
    pub(super) entropy: Entropy,
    pub(super) date: Date,
    ping: SharedFrame,
    /// What every session gets behind its OPEN packet.
    pub(super) initial: Option<SharedFrame>,
    pub(super) noop: SharedFrame,
    /// The driver's task, and the deadline it sleeps to.
    pub(super) driver: Option<Waker>,
    pub(super) armed: Option<Instant>,
    /// Shutting down: no new session.
    pub(super) draining: bool,
    /// Told when a server that drains has no session left: connections that speak HTTP end after the response they owe. Not
    /// before: a polling client between two polls hears of the end by the next one, on the connection it kept.
    pub(super) drain: Rc<Notify>,
    /// How many connections speak HTTP.
    pub(super) http: usize,
    /// Lent to writes that gather small frames.
    pub(super) gather: Vec<u8>,
    probes: u64,
}

impl<H: Handler> ShardRef<H> {
    pub(super) fn new(
        id: u16,
        common: Arc<Common>,
        config: Config,
        fallback: Fallback,
        hooks: Hooked,
        handler: H,
    ) -> Self {
        let io = Io {
            initial: config.initial_frame(),
            timers: Timers::new(config.intervals()),
            plain: PlainConns::new(&config),
            config: Rc::new(config),
            fallback,
            id,
            outgoing: Outgoing::new(common.shards()),
            common,
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
        };
        Self(Rc::new(RefCell::new(Shard { handler, hooks, io, scratch: vec![0; SCRATCH], heard: 0 })))
    }

    /// One synchronous visit. Afterwards every close is settled and the driver knows what is to be flushed.
    ///
    /// The handler's panics are caught closer to it. One that gets here leaves the shard in a state nobody knows, and a
    /// task's panic would go unnoticed: the process ends.
    pub(super) fn turn<R>(&self, visit: impl FnOnce(&mut Shard<H>) -> R) -> R {
        let mut shard = self.0.borrow_mut();
        let turn = AssertUnwindSafe(|| {
            shard.io.now = Instant::now();
            let result = visit(&mut shard);
            shard.settle();
            if shard.heard >= HEARD {
                shard.end_turn();
            }
            if shard.needs_driver()
                && let Some(driver) = &shard.io.driver
            {
                driver.wake_by_ref();
            }
            result
        });
        catch_unwind(turn).unwrap_or_else(|_| {
            tracing::error!("a shard is broken; the process ends");
            std::process::exit(super::BROKEN)
        })
    }
}

impl<H: Handler> Shard<H> {
    /// Hands one packet of a session's transport to its state machine, and what comes of it to the handler.
    pub(super) fn receive(&mut self, key: ConnKey, packet: Inbound<'_>) {
        let now = self.io.now;
        self.heard += 1;
        let Some(conn) = self.io.conns.get_mut(key.0).filter(|conn| conn.is_open()) else { return };
        let via = conn.session.transport();
        match conn.session.handle_packet(now, packet) {
            Ok(Some(Event::Message(message))) => {
                self.guarded(key, |handler, io| handler.on_message(io, key, message));
            }
            Ok(Some(Event::Pong)) => {
                self.io.timers.pings.push(conn.session.next_beat(), key);
            }
            Ok(Some(Event::Answer(data))) => {
                // A full queue closes the connection; a closed one needs no pong.
                let _ = self.io.send(key, &SharedFrame::packet(&Outbound::Pong(data)));
            }
            Ok(_) => {}
            Err(CloseReason::TransportClose) if via == Transport::Polling => {
                self.io.end(key, CloseReason::TransportClose, End::Noop);
            }
            Err(CloseReason::TransportClose) => self.io.end(key, CloseReason::TransportClose, End::Close(None)),
            Err(reason) => self.io.end(key, reason, End::Fault(None)),
        }
    }

    /// Hands on a message of a plain WebSocket, which has no packets.
    pub(super) fn receive_plain(&mut self, key: ConnKey, message: Message<'_>) {
        self.heard += 1;
        self.guarded(key, |handler, io| handler.on_message(io, key, message));
    }

    /// Hands the handler what another shard's posted.
    pub(super) fn receive_shard_message(&mut self, message: ShardMessage) {
        let Self { handler, io, .. } = self;
        if catch_unwind(AssertUnwindSafe(|| handler.on_shard_message(io, message))).is_err() {
            tracing::error!("the handler panicked over another shard's message; it is lost");
        }
    }

    /// Hands the handler the result of a job that it started.
    pub(super) fn receive_job(&mut self, job: JobId, result: Result<ShardMessage, JobPanicked>) {
        let Self { handler, io, .. } = self;
        io.jobs.end();
        if catch_unwind(AssertUnwindSafe(|| handler.on_job_done(io, job, result))).is_err() {
            tracing::error!("the handler panicked over the result of a job; it is lost");
        }
    }

    /// Calls the handler; a panic in it ends this connection and no other.
    pub(super) fn guarded(&mut self, key: ConnKey, call: impl FnOnce(&mut H, &mut Io)) {
        let Self { handler, io, .. } = self;
        if catch_unwind(AssertUnwindSafe(|| call(handler, io))).is_err() {
            tracing::error!(index = key.index(), "the handler panicked; its connection is closed");
            io.end(key, CloseReason::Internal, End::Abort);
        }
    }

    /// Tells the handler of every close, and lets the transports end.
    pub(super) fn settle(&mut self) {
        while let Some((key, reason, end)) = self.io.closing.pop() {
            self.guarded(key, |handler, io| handler.on_close(io, key, reason));
            tracing::debug!(index = key.index(), %reason, "session closed");
            self.io.end_transport(key, end);
        }
    }

    /// Lets the handler send what it held back until the end of the turn.
    pub(super) fn flush_handler(&mut self) {
        let Self { handler, io, .. } = self;
        if handler.wants_flush() && catch_unwind(AssertUnwindSafe(|| handler.on_flush(io))).is_err() {
            tracing::error!("the handler panicked in a flush; the process ends");
            std::process::exit(super::BROKEN);
        }
    }

    /// Runs what is due: deadlines of connections, then the handler's.
    pub(super) fn run_timers(&mut self) {
        let due = self.next_deadline();
        self.io.timers.begin_run(due, self.io.now);
        self.io.timers.arrivals.expire(self.io.now);
        self.io.plain.expire(self.io.now);
        while let Some((key, due)) = self.io.timers.pop_due(self.io.now) {
            self.io.on_deadline(key, due);
        }
        if self.handler.poll_timeout().is_some_and(|deadline| deadline <= self.io.now) {
            let Self { handler, io, .. } = self;
            if catch_unwind(AssertUnwindSafe(|| handler.on_timeout(io))).is_err() {
                // No connection to blame: the state behind the timers may be broken, and they would fire for ever.
                tracing::error!("the handler panicked in a timer; the process ends");
                std::process::exit(super::BROKEN);
            }
        }
        self.settle();
    }

    /// The next instant at which [`Shard::run_timers`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        [self.io.timers.next(), self.io.plain.next_deadline(), self.handler.poll_timeout()].into_iter().flatten().min()
    }

    fn needs_driver(&self) -> bool {
        !self.io.dirty.is_empty()
            || !self.io.outgoing.is_empty()
            || self.handler.wants_flush()
            || self.io.is_drained()
            || self.next_deadline().is_some_and(|next| self.io.armed.is_none_or(|armed| next < armed))
    }
}

impl Io {
    pub(super) fn end_http_if_drained(&mut self) {
        if self.draining && self.common.is_drained() {
            self.plain.end_all();
            self.drain.notify_waiters();
        }
    }

    /// Nothing is left to wait for: no session, and no response under way.
    pub(super) fn is_drained(&self) -> bool {
        self.draining && self.common.is_drained() && self.http == 0
    }

    /// The session this sid names, if it is open; one that closed is known only to the poll that shall hear of it.
    pub(super) fn lookup(&self, sid: &Sid, action: Action) -> Option<ConnKey> {
        let key = self.conns.key_at(sid.index()).filter(|_| sid.shard() == self.id)?;
        let conn = self.conns.get(key).filter(|conn| sid.proves(&conn.random))?;
        let owed = action == Action::Poll && matches!(conn.link, Link::Polling(_));
        (conn.is_open() || owed).then_some(ConnKey(key))
    }

    pub(super) fn conn(&mut self, key: ConnKey) -> Option<&mut Conn> {
        self.conns.get_mut(key.0)
    }

    pub(super) fn is_open(&self, key: ConnKey) -> bool {
        self.conns.get(key.0).is_some_and(Conn::is_open)
    }

    /// The revision that an open session speaks.
    pub(super) fn open_protocol(&self, key: ConnKey) -> Option<Protocol> {
        self.conns.get(key.0).filter(|conn| conn.is_open()).map(|conn| conn.session.protocol())
    }

    /// The body of the polling handshake's answer; `None` when the session is gone already. The OPEN packet, and the
    /// configured message (A17, A19): what the handler has sent since waits for a poll, as in the reference.
    pub(super) fn take_body(&mut self, key: ConnKey) -> Option<PollBody> {
        let (max, frames) = (self.max_poll_body(), 1 + usize::from(self.initial.is_some()));
        self.conn(key).map(|conn| conn.out.take_polling(conn.poll_form(), max, frames))
    }

    /// The most that answers one poll, where it is more than one frame. `max_payload` says what a client may send; it gets
    /// all that is queued, as from the reference, and the queue has a limit of its own.
    pub(super) fn max_poll_body(&self) -> usize {
        self.config.max_payload.max(self.config.outbound_hard)
    }

    /// A number for the next probing WebSocket.
    pub(super) const fn next_probe(&mut self) -> u64 {
        self.probes += 1;
        self.probes
    }

    /// Ends a session: the handler hears of it before the turn ends, the transport ends as `end` says.
    pub(super) fn end(&mut self, key: ConnKey, reason: CloseReason, end: End) {
        let Some(conn) = self.conns.get_mut(key.0).filter(|conn| conn.is_open()) else { return };
        conn.phase = Phase::Closing;
        if let Some(Some(task)) = conn.probe.as_ref().map(|probe| &probe.task) {
            task.wake_by_ref();
        }
        self.closing.push((key, reason, end));
    }

    fn end_transport(&mut self, key: ConnKey, end: End) {
        let Some(conn) = self.conns.get(key.0) else { return };
        match end {
            End::Gone | End::Abort => {
                if let (Link::WebSocket(ws), End::Abort) = (&conn.link, end) {
                    // Best effort: without it the close is polite, and the kernel keeps the unread bytes a while.
                    let _ = socket2::SockRef::from(&ws.stream).set_linger(Some(Duration::ZERO));
                }
                self.remove(key);
            }
            End::Fault(_) if matches!(conn.link, Link::Polling(PollLink { waiting: None, .. })) => self.remove(key),
            End::Close(code) | End::Fault(code) => self.linger(key, SharedFrame::close(code), end),
            End::Noop => self.linger(key, self.noop.clone(), end),
        }
    }

    /// Queues the last frame of a closed session, and gives its transport `close_timeout` to take it.
    fn linger(&mut self, key: ConnKey, last: SharedFrame, end: End) {
        let until = self.now + self.config.close_timeout;
        let Some(conn) = self.conns.get_mut(key.0) else { return };
        match &mut conn.link {
            Link::Polling(poll) if end != End::Noop => poll.last = Some(last),
            _ => conn.out.push(last),
        }
        conn.phase = Phase::Lingering { until };
        self.mark_dirty(key);
        self.timers.others.push(until, (key, Due::Linger));
    }

    /// Forgets the connection; its stream closes, its tasks find nothing and end.
    pub(super) fn remove(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.remove(key.0) else { return };
        match conn.link {
            Link::WebSocket(ws) => ws.wake(),
            Link::Polling(poll) => {
                if let Some(waiting) = &poll.waiting {
                    self.refuse_waiting(waiting);
                }
            }
        }
        if let Some(task) = conn.probe.and_then(|probe| probe.task) {
            task.wake();
        }
    }

    pub(super) fn mark_dirty(&mut self, key: ConnKey) {
        if let Some(conn) = self.conns.get_mut(key.0)
            && !std::mem::replace(&mut conn.dirty, true)
        {
            self.dirty.push(key);
        }
    }

    /// A deadline of this connection has come, or a stale entry of one: see what is due.
    fn on_deadline(&mut self, key: ConnKey, due: Due) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(key.0) else { return };
        match (due, conn.phase) {
            (Due::Session, Phase::Open) => {
                conn.look_at = conn.look_at.filter(|at| *at > now);
                self.run_session(key);
            }
            (Due::Blocked, Phase::Open) => self.check_blocked(key),
            (Due::Linger, Phase::Lingering { until }) if now >= until => self.remove(key),
            _ => {}
        }
    }

    /// Has the session's state machine run at `at`, the heartbeat's own queues apart. Entries are not taken back, so
    /// one that comes sooner serves: whoever begins upgrade after upgrade does not fill the heap.
    pub(super) fn look_at(&mut self, key: ConnKey, at: Instant) {
        let Some(conn) = self.conns.get_mut(key.0) else { return };
        if conn.look_at.is_none_or(|sooner| at < sooner) {
            conn.look_at = Some(at);
            self.timers.others.push(at, (key, Due::Session));
        }
    }

    /// A peer that has taken no byte for `ping_timeout` although some wait for it is closed.
    fn check_blocked(&mut self, key: ConnKey) {
        let patience = self.config.ping_timeout;
        let Some(Conn { link: Link::WebSocket(ws), .. }) = self.conns.get_mut(key.0) else { return };
        ws.watched = false;
        let Some(since) = ws.blocked else { return };
        if self.now >= since + patience {
            self.end(key, CloseReason::SlowConsumer, End::Abort);
        } else {
            ws.watched = true;
            self.timers.others.push(since + patience, (key, Due::Blocked));
        }
    }

    fn run_session(&mut self, key: ConnKey) {
        let now = self.now;
        let (congested, mut pinged) = (self.is_congested(), false);
        while let Some(conn) = self.conns.get_mut(key.0).filter(|conn| conn.is_open()) {
            // We stopped reading from this peer, so its pong may lie unread: its writes' progress counts instead. Or we
            // read from nobody.
            if congested || (conn.out.cost() > self.config.outbound_soft && matches!(conn.link, Link::WebSocket(_))) {
                conn.session.excuse_pong(now);
            }
            if self.timers.stood_still {
                conn.session.forgive_standstill(now);
            }
            match conn.session.handle_timeout(now) {
                Ok(Some(Event::Ping)) => {
                    pinged = true;
                    self.timers.pongs.push(conn.session.next_beat(), key);
                    let ping = self.ping.clone();
                    // A full queue closes the connection; a closed one needs no ping.
                    let _ = self.send(key, &ping);
                }
                Ok(Some(Event::Noop)) => self.release_poll(key),
                Ok(Some(Event::UpgradeExpired)) => {
                    if let Some(task) = conn.probe.take().and_then(|probe| probe.task) {
                        task.wake();
                    }
                }
                Ok(_) => {
                    // Pings and regular pongs have queues of their own; this is an upgrade, a pong with more time, or v3.
                    let more_time = conn.session.awaits_pong() && !pinged;
                    if conn.session.is_upgrading() || more_time || conn.session.protocol() == Protocol::V3 {
                        let at = conn.session.poll_timeout();
                        self.look_at(key, at);
                    }
                    return;
                }
                Err(reason) => return self.end(key, reason, End::Fault(None)),
            }
        }
    }

    /// Answers a waiting poll with a noop, so that the client can stop polling and finish its upgrade.
    fn release_poll(&mut self, key: ConnKey) {
        let noop = self.noop.clone();
        let Some(conn) = self.conns.get_mut(key.0) else { return };
        if matches!(&conn.link, Link::Polling(PollLink { waiting: Some(_), .. })) && conn.out.is_empty() {
            conn.out.push(noop);
            self.mark_dirty(key);
        }
    }
}
