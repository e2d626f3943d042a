//! [`Shard`]: a shard with the application's handler, and all calls to that handler.
//!
//! A panic in a call for a connection ends only that connection. A panic in a call for no connection loses the message
//! or result that the call was about. If the state behind the call may be broken (flush, timers), the panic ends the
//! shard.

use std::{
    net::IpAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use super::{
    super::shards::registry::{Registry, SessionPermit},
    conn::End,
    fallback::Fallback,
    gradual_end::GradualEnd,
    hooks::CaughtHooks,
    io::ShardIo,
    opening::Admitted,
    transport::ActiveTransport,
};
use crate::{
    CloseReason, Config, ConnKey, Handler, Handshake, JobId, Message, Outbox, Refusal, ShardMessage, SharedFrame,
    deadlines::soonest,
    hooks::{IdGenerationError, SidPart, Verdict},
    http::{
        Query, Refused,
        admission::{Admission, Panicked, Question},
    },
    job::JobPanicked,
    packet::{Inbound, Outbound},
    session::{SessionEvent, Transport},
    sid::IssuedSid,
};

/// The most bytes that one read of a socket returns.
const SCRATCH: usize = 64 * 1024;

/// The most packets that are received in one turn before their output is written.
const MAX_RECEIVED: usize = 1024;

/// A shard with its handler. See the module.
#[derive(Debug)]
pub(in crate::net) struct Shard<H> {
    pub(super) handler: H,
    pub(in crate::net) hooks: CaughtHooks,
    /// Answers requests outside the engine's path.
    pub(in crate::net) fallback: Fallback,
    pub(in crate::net) io: ShardIo,
    /// The buffer into which every socket of the shard is read: an idle connection owns none.
    pub(in crate::net) scratch: Vec<u8>,
    /// How many packets were received since the last end of a turn.
    received: usize,
}

/// The admission of a handshake that is under way, with its permit.
#[derive(Debug, Default)]
pub(in crate::net) struct Admitting {
    pub(in crate::net) admission: Admission,
    permit: Option<SessionPermit>,
}

impl Admitting {
    /// Finishes the admission of this client.
    pub(in crate::net) fn finish(
        self,
        part: Result<Option<SidPart>, IdGenerationError>,
        client: Option<IpAddr>,
    ) -> Result<Admitted, Refused> {
        let terms = self.admission.sid_part(part)?;
        // The admission asked for the permit first.
        let permit = self.permit.ok_or(Refused::BadRequest)?;
        Ok(Admitted { permit, terms, client, answer: None })
    }
}

impl<H: Handler> Shard<H> {
    pub(in crate::net) fn new(
        id: u16,
        registry: Arc<Registry>,
        config: Config,
        fallback: Fallback,
        hooks: CaughtHooks,
        handler: H,
    ) -> Self {
        let io = ShardIo::new(id, registry, config);
        Self { handler, hooks, fallback, io, scratch: vec![0; SCRATCH], received: 0 }
    }

    /// Answers the admission's questions about the shard and its handler, until it has a question for the hooks or none
    /// left.
    pub(in crate::net) fn admit(
        &mut self,
        admitting: &mut Admitting,
        handshake: &Handshake<'_>,
        query: &Query<'_>,
    ) -> Result<(), Refused> {
        loop {
            match admitting.admission.question() {
                Question::Room => {
                    let Self { io, .. } = self;
                    let permit = if io.draining { None } else { io.registry.permit(io.config.max_sessions) };
                    io.watching.stats.full += u64::from(permit.is_none());
                    admitting.permit = permit;
                    admitting.admission.room(admitting.permit.is_some())?;
                }
                Question::Handler => {
                    let Self { handler, io, .. } = self;
                    let said = catch_unwind(AssertUnwindSafe(|| handler.on_handshake(io, handshake)));
                    let said: Result<Result<(), Refusal>, Panicked> = said.map_err(|_| {
                        tracing::error!("the handler panicked in a handshake; it is refused");
                        Panicked
                    });
                    admitting.admission.handler(said, query, &io.config)?;
                }
                Question::AllowRequest if !self.hooks.is_some() => {
                    admitting.admission.verdict(Ok(&Verdict::Allow))?;
                }
                Question::AllowRequest | Question::SidPart => return Ok(()),
            }
        }
    }

    /// Opens a session: queues its OPEN packet, then the configured message, then calls the handler.
    pub(in crate::net) fn open(
        &mut self,
        admitted: Admitted,
        active: ActiveTransport,
        handshake: &Handshake<'_>,
    ) -> (ConnKey, IssuedSid) {
        let (key, sid) = self.io.insert(admitted, active, handshake.transport);
        let handshake = Handshake { sid: Some(&sid), ..*handshake };
        self.guarded(key, |handler, io| handler.on_open(io, key, &handshake));
        (key, sid)
    }

    /// Passes one packet of a session's transport to its state machine, and the resulting event to the handler.
    pub(in crate::net) fn receive(&mut self, key: ConnKey, packet: Inbound<'_>) {
        let now = self.io.now;
        self.received += 1;
        let Some(conn) = self.io.conns.get_mut(key.0).filter(|conn| conn.is_open()) else { return };
        let via = conn.session.transport();
        match conn.session.handle_packet(now, packet) {
            Ok(Some(SessionEvent::Message(message))) => {
                self.guarded(key, |handler, io| handler.on_message(io, key, message));
            }
            Ok(Some(SessionEvent::Pong)) => {
                self.io.timers.pings.push(conn.session.next_beat(), key);
            }
            Ok(Some(SessionEvent::Answer(data))) => {
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

    /// Passes on a message of a plain WebSocket, which has no packets.
    pub(in crate::net) fn receive_plain(&mut self, key: ConnKey, message: Message<'_>) {
        self.received += 1;
        self.guarded(key, |handler, io| handler.on_message(io, key, message));
    }

    /// Passes a message from another shard or thread to the handler.
    pub(in crate::net) fn receive_shard_message(&mut self, message: ShardMessage) {
        let Self { handler, io, .. } = self;
        if catch_unwind(AssertUnwindSafe(|| handler.on_shard_message(io, message))).is_err() {
            tracing::error!("the handler panicked on a shard message; the message is lost");
        }
    }

    /// Passes the result of a job to the handler that started it.
    pub(in crate::net) fn receive_job(&mut self, job: JobId, result: Result<ShardMessage, JobPanicked>) {
        let Self { handler, io, .. } = self;
        io.jobs.end();
        if catch_unwind(AssertUnwindSafe(|| handler.on_job_done(io, job, result))).is_err() {
            tracing::error!("the handler panicked on the result of a job; the result is lost");
        }
    }

    /// Calls the handler; a panic in it ends only this connection.
    fn guarded(&mut self, key: ConnKey, call: impl FnOnce(&mut H, &mut ShardIo)) {
        let Self { handler, io, .. } = self;
        if catch_unwind(AssertUnwindSafe(|| call(handler, io))).is_err() {
            tracing::error!(index = key.index(), "the handler panicked; its connection is closed");
            io.end(key, CloseReason::Internal, End::Abort);
        }
    }

    /// Reports every close to the handler, and ends the transports.
    pub(in crate::net) fn report_closed(&mut self) {
        while let Some((key, reason, end)) = self.io.closing.pop() {
            if reason == CloseReason::TooLong {
                self.guarded(key, |handler, io| {
                    if let Some(frame) = handler.last_frame(key) {
                        io.push(key, &frame);
                    }
                });
            }
            self.io.watching.stats.count_closed(reason);
            self.guarded(key, |handler, io| handler.on_close(io, key, reason));
            tracing::debug!(index = key.index(), %reason, "session closed");
            self.io.end_transport(key, end);
        }
    }

    /// Whether so many packets were received that their output must be written now.
    pub(super) const fn has_received_enough(&self) -> bool {
        self.received >= MAX_RECEIVED
    }

    /// The end of a turn: writes what was queued to sockets and other shards.
    pub(in crate::net) fn end_turn(&mut self) {
        self.io.watching.stats.packets_received += std::mem::take(&mut self.received) as u64;
        // A flush can close a connection (a broken stream), and a close queues frames and calls the handler, which
        // sends: repeat until nothing is left.
        while self.handler.wants_flush() || !self.io.dirty.is_empty() {
            // Other shards first, then sockets, which the handler's flush also writes to. So other shards can work
            // while this one writes, and a client that has read an answer can rely on what was sent to other shards
            // before it.
            self.io.flush_to_mailboxes();
            self.flush_handler();
            self.io.flush_to_mailboxes();
            self.io.flush_dirty();
            self.report_closed();
        }
        self.io.flush_to_mailboxes();
    }

    /// Lets the handler send what it held back until the end of the turn. A panic in here breaks the shard: it is
    /// unknown what was sent to whom.
    fn flush_handler(&mut self) {
        if self.handler.wants_flush() {
            self.handler.on_flush(&mut self.io);
        }
    }

    /// Runs deadlines of connections that have come, then the handler's. A panic of the handler in here breaks the
    /// shard: no connection is to blame, the state behind the timers may be broken, and they would fire again and
    /// again.
    pub(in crate::net) fn run_timers(&mut self) {
        let due = self.next_deadline();
        self.io.timers.begin_run(due, self.io.now);
        self.io.timers.first_bytes.expire(self.io.now);
        self.io.plain.expire(self.io.now);
        self.io.run_gradual_end();
        while let Some((key, due)) = self.io.timers.pop_due(self.io.now) {
            self.io.on_deadline(key, due);
        }
        // Nothing above calls the handler, so its deadline is not before the first one.
        if due.is_some_and(|due| due <= self.io.now)
            && self.handler.poll_timeout().is_some_and(|deadline| deadline <= self.io.now)
        {
            self.handler.on_timeout(&mut self.io);
        }
        self.report_closed();
    }

    /// The next instant at which [`Shard::run_timers`] has something to do.
    pub(in crate::net) fn next_deadline(&self) -> Option<Instant> {
        let gradual_end = self.io.gradual_end.as_ref().map(GradualEnd::next);
        soonest([self.io.timers.next(), self.io.plain.next_deadline(), gradual_end, self.handler.poll_timeout()])
    }

    /// Whether the driver has something to do.
    pub(super) fn needs_driver(&self) -> bool {
        !self.io.dirty.is_empty()
            || !self.io.outgoing.is_empty()
            || self.handler.wants_flush()
            || self.io.is_drained()
            || self.next_deadline().is_some_and(|next| self.io.armed.is_none_or(|armed| next < armed))
    }

    /// Admits no more sessions; ends every open one, so that its client reconnects to another server.
    pub(in crate::net) fn shut_down(&mut self) {
        // What was held back before must still be sent.
        self.flush_handler();
        self.io.draining = true;
        self.io.gradual_end = None;
        let keys: Vec<_> = self.io.conns.keys().map(ConnKey).collect();
        for key in keys {
            self.io.end(key, CloseReason::ServerShuttingDown, End::of(CloseReason::ServerShuttingDown));
        }
        self.io.end_http_if_drained();
    }
}
