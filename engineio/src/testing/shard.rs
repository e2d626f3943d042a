//! [`Shard`]: a handler and its engine.

use std::{
    net::{Ipv4Addr, SocketAddr},
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use http::{HeaderMap, Uri};

use super::engine::Engine;
use crate::{
    CloseReason, ConnKey, Handler, Handshake, Job, JobId, Message, Outbox, Protocol, Refusal, ShardMessage,
    job::{JobPanicked, Work},
    session::Transport,
    sid::{IssuedSid, RANDOM_LEN},
};

/// How many times in a row a handler may be called for a deadline before the test counts as hanging.
const DEADLINES: usize = 1_000_000;

/// A handler and its engine. It calls the handler as the real engine would: the end of a session that is closed in a
/// call is reported after the call, and the session gets no more messages.
///
/// The turn does not end by itself: [`Shard::end_turn`] ends it, and so does [`Shard::sent`] before it returns.
#[derive(Debug)]
pub struct Shard<H> {
    /// The handler.
    pub handler: H,
    /// The handler's outbox, which records what the handler did.
    pub engine: Engine,
    catches_panics: bool,
}

impl<H: Handler> Shard<H> {
    /// The only shard of a server.
    #[must_use]
    pub fn new(handler: H) -> Self {
        Self::with_engine(handler, Engine::new())
    }

    /// A shard with an engine that the test has configured.
    #[must_use]
    pub const fn with_engine(handler: H, engine: Engine) -> Self {
        Self { handler, engine, catches_panics: false }
    }

    /// From now on a panic of the handler in a call for a session ends that session with [`CloseReason::Internal`], as
    /// in the real engine. Without this the panic fails the test.
    #[must_use]
    pub const fn catching_panics(mut self) -> Self {
        self.catches_panics = true;
        self
    }

    /// Opens a session on WebSocket.
    ///
    /// # Panics
    /// When the handler refuses the handshake.
    pub fn open(&mut self) -> ConnKey {
        self.open_protocol(Protocol::V4)
    }

    /// Opens a session of this revision of the protocol, on WebSocket.
    ///
    /// # Panics
    /// When the handler refuses the handshake.
    #[expect(clippy::panic, reason = "an unexpected refusal fails the test")]
    pub fn open_protocol(&mut self, protocol: Protocol) -> ConnKey {
        let uri = match protocol {
            Protocol::V3 => Uri::from_static("/engine.io/?EIO=3&transport=websocket"),
            Protocol::V4 => Uri::from_static("/engine.io/?EIO=4&transport=websocket"),
        };
        let headers = HeaderMap::new();
        let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let handshake = Handshake {
            transport: Transport::WebSocket,
            protocol,
            sid: None,
            uri: &uri,
            headers: &headers,
            remote,
            client: Some(remote.ip()),
        };
        match self.open_with(&handshake) {
            Ok(conn) => conn,
            Err(refusal) => panic!("the handler refuses the handshake: {refusal:?}"),
        }
    }

    /// Opens a session with this handshake. If that names no sid, the session gets one that depends on its key alone.
    ///
    /// # Errors
    /// The handler's refusal.
    pub fn open_with(&mut self, handshake: &Handshake<'_>) -> Result<ConnKey, Refusal> {
        self.handler.on_handshake(&mut self.engine, handshake)?;
        let conn = self.engine.open();
        let made = IssuedSid::random(self.engine.shard(), conn.index(), [0xa5; RANDOM_LEN]);
        let handshake = Handshake { sid: Some(handshake.sid.unwrap_or(&made)), ..*handshake };
        self.call_for(conn, |handler, engine| handler.on_open(engine, conn, &handshake));
        Ok(conn)
    }

    /// The client sends a message. A closed session gets none.
    pub fn message(&mut self, conn: ConnKey, message: Message<'_>) {
        if self.engine.is_open(conn) {
            self.call_for(conn, |handler, engine| handler.on_message(engine, conn, message));
        }
    }

    /// The client sends a text message.
    pub fn text(&mut self, conn: ConnKey, text: &str) {
        self.message(conn, Message::Text(text.into()));
    }

    /// The client sends a binary message.
    pub fn binary(&mut self, conn: ConnKey, bytes: &[u8]) {
        self.message(conn, Message::Binary(bytes.into()));
    }

    /// Ends the session as the client or the engine would, not the handler.
    pub fn close(&mut self, conn: ConnKey, reason: CloseReason) {
        self.engine.close(conn, reason);
        self.report_closed();
    }

    /// A message arrives from a shard or from another thread.
    pub fn receive(&mut self, message: ShardMessage) {
        self.handler.on_shard_message(&mut self.engine, message);
        self.report_closed();
    }

    /// Uses the handler in a way that is not a call of the engine.
    pub fn call<R>(&mut self, call: impl FnOnce(&mut H, &mut Engine) -> R) -> R {
        let result = call(&mut self.handler, &mut self.engine);
        self.report_closed();
        result
    }

    /// Calls the handler for a session.
    fn call_for(&mut self, conn: ConnKey, call: impl FnOnce(&mut H, &mut Engine)) {
        self.guarded(conn, call);
        self.report_closed();
    }

    fn guarded(&mut self, conn: ConnKey, call: impl FnOnce(&mut H, &mut Engine)) {
        let Self { handler, engine, catches_panics } = self;
        if !*catches_panics {
            call(handler, engine);
        } else if catch_unwind(AssertUnwindSafe(|| call(handler, engine))).is_err() {
            engine.close(conn, CloseReason::Internal);
        }
    }

    /// Reports closed sessions to the handler. Needed only after the engine was used directly.
    pub fn report_closed(&mut self) {
        while let Some((conn, reason)) = self.engine.pop_closed() {
            self.guarded(conn, |handler, engine| handler.on_close(engine, conn, reason));
            self.engine.forget(conn);
        }
    }

    /// Ends the turn: the handler sends what it held back.
    ///
    /// # Panics
    /// When the handler still holds something back after that.
    pub fn end_turn(&mut self) {
        if self.handler.wants_flush() {
            self.handler.on_flush(&mut self.engine);
            self.report_closed();
        }
        assert!(!self.handler.wants_flush(), "the handler holds frames back after a flush");
    }

    /// Ends the turn, and takes what was sent to a session since the last call: one text for each frame, see
    /// [`Engine::take_sent_text`].
    pub fn sent(&mut self, conn: ConnKey) -> Vec<String> {
        self.end_turn();
        self.engine.take_sent_text(conn)
    }

    /// Moves the clock forward by `time`. It stops at each deadline of the handler, and the handler is called.
    ///
    /// # Panics
    /// When the handler's deadline is due again and again without end.
    #[expect(clippy::panic, reason = "it would hang otherwise")]
    pub fn advance(&mut self, time: Duration) {
        let until = self.engine.now() + time;
        for _ in 0..DEADLINES {
            if !self.advance_to_deadline(until) {
                return;
            }
        }
        panic!("the deadline of the handler does not move");
    }

    /// Moves the clock to the handler's next deadline and calls the handler, if the deadline is at or before `until`.
    /// Otherwise moves the clock to `until` and returns `false`.
    pub(super) fn advance_to_deadline(&mut self, until: Instant) -> bool {
        let deadline = self.handler.poll_timeout().filter(|deadline| *deadline <= until);
        self.engine.advance_to(deadline.unwrap_or(until));
        if deadline.is_some() {
            self.handler.on_timeout(&mut self.engine);
            self.report_closed();
        }
        deadline.is_some()
    }

    /// Runs a job that the handler started, and passes the result to the handler. A future is polled once. Returns
    /// `false` when it is not done after that, or when there is no such job. A panic of the work becomes
    /// [`JobPanicked`].
    pub fn run_job(&mut self, id: JobId) -> bool {
        let Some(job) = self.engine.take_job(id) else { return false };
        let result = match job.into_work() {
            Work::Blocking(work) => catch_unwind(AssertUnwindSafe(work)),
            Work::Future(mut work) => {
                let mut context = Context::from_waker(Waker::noop());
                match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut context))) {
                    Ok(Poll::Pending) => {
                        self.engine.put_back(id, Job::from(Work::Future(work)));
                        return false;
                    }
                    Ok(Poll::Ready(result)) => Ok(result),
                    Err(panic) => Err(panic),
                }
            }
        };
        self.handler.on_job_done(&mut self.engine, id, result.map_err(|_| JobPanicked));
        self.report_closed();
        true
    }
    /// Runs the jobs that can be done now, also those that other jobs start or make possible. Returns how many are done.
    pub fn run_jobs(&mut self) -> usize {
        let mut done = 0;
        loop {
            let jobs: Vec<_> = self.engine.jobs().collect();
            let before = done;
            done += jobs.into_iter().filter(|id| self.run_job(*id)).count();
            if done == before {
                return done;
            }
        }
    }
}
