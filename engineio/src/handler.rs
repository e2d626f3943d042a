//! The traits between a session and the layer above it: [`Handler`] (up) and [`Outbox`] (down).
//!
//! Everything happens inside one call on one thread: the engine calls the handler and lends it the outbox, and the
//! handler answers through it. A handler keeps [`ConnKey`]s, never handles, so it needs no lock.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use http::{HeaderMap, Uri};

use crate::{
    Batch, CloseReason, Job, JobId, Message, Protocol, ShardMessage, SharedFrame,
    job::{JobPanicked, TooManyJobs},
    session::Transport,
    sid::IssuedSid,
    slab::Key,
};

/// Names a session within its shard. It is a slab key, so a stale one never reaches the session that uses the slot
/// next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnKey(pub(crate) Key);

impl ConnKey {
    /// Makes the key of the session under a slab key. For the code that owns the slab.
    #[must_use]
    pub const fn new(key: Key) -> Self {
        Self(key)
    }

    /// The slot in the shard's slab. Slots are dense, so layers above may use them as indices into their own tables.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.0.index()
    }
}

/// The request that opened a session.
#[derive(Debug, Clone, Copy)]
pub struct Handshake<'a> {
    /// The transport the session starts on.
    pub transport: Transport,
    /// The revision of the protocol that the session speaks.
    pub protocol: Protocol,
    /// The session's id, as the client gets it; `None` while it is not decided whether there will be a session
    /// ([`Handler::on_handshake`]). It is a secret: whoever knows it can use the session.
    pub sid: Option<&'a IssuedSid>,
    /// Path and query.
    pub uri: &'a Uri,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The peer of the TCP connection, which may be a proxy.
    pub remote: SocketAddr,
    /// The client's address, for limits: that of the peer, or the one that trusted proxies name
    /// ([`Config::trusted_proxies`](crate::Config::trusted_proxies)). `None` if only trusted proxies are known, whose
    /// addresses are those of many clients.
    pub client: Option<IpAddr>,
}

/// Why the application refuses a handshake ([`Handler::on_handshake`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// 403 with code 4: the client should not come back.
    Forbidden,
    /// 503 with `Retry-After`: the client may come back.
    Unavailable {
        /// When to come back.
        retry_after: Duration,
    },
}

/// Why a frame was not accepted ([`Outbox::send`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The session is closed, or closing.
    #[error("the session is closed")]
    Closed,
    /// The peer does not read: its queue is full, and the session is being closed as a slow consumer.
    #[error("the peer's queue is full")]
    Full,
}

/// The application's side of the sessions of one shard. A factory makes one handler on each shard's own thread, and
/// calls to it never overlap. Handlers of different shards share nothing, but may [send](Outbox::send_to_shard) each
/// other messages.
///
/// A panic in a method that is called for a connection ends that connection, not the shard. A panic in [`Handler::on_flush`],
/// [`Handler::on_timeout`], [`Handler::wants_flush`] or [`Handler::poll_timeout`] breaks the shard, because nobody knows what state
/// the handler is in: the shard ends, and `net::Running::join` returns that.
pub trait Handler {
    /// Whether this handshake may become a session. Called before anything is stored for it.
    ///
    /// # Errors
    /// A [`Refusal`], sent as an HTTP error before any upgrade.
    fn on_handshake(&mut self, outbox: &mut dyn Outbox, handshake: &Handshake<'_>) -> Result<(), Refusal> {
        let _ = (outbox, handshake);
        Ok(())
    }

    /// A session was opened.
    fn on_open(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, handshake: &Handshake<'_>);

    /// A message arrived.
    fn on_message(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, message: Message<'_>);

    /// The session ended. This is the last call with this key. What was sent before [`Outbox::close`] is still
    /// delivered if the peer reads it.
    fn on_close(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, reason: CloseReason);

    /// A last frame for the peer of a session that ends with [`CloseReason::TooLong`], so that its application is told why. The
    /// message itself was dropped. [`Handler::on_close`] follows.
    fn last_frame(&mut self, conn: ConnKey) -> Option<SharedFrame> {
        let _ = conn;
        None
    }

    /// A message arrived from the handler of a shard ([`Outbox::send_to_shard`]) or from another thread
    /// (`net::Handle`). Messages from one sender arrive in the order in which they were sent.
    ///
    /// A panic in here ends no connection: it is logged, and the message is lost.
    fn on_shard_message(&mut self, outbox: &mut dyn Outbox, message: ShardMessage) {
        let _ = (outbox, message);
    }

    /// A job that this handler started ([`Outbox::start_job`]) is done; `result` is what it returned.
    ///
    /// A panic in here ends no connection: it is logged, and the result is lost.
    fn on_job_done(&mut self, outbox: &mut dyn Outbox, job: JobId, result: Result<ShardMessage, JobPanicked>) {
        let _ = (outbox, job, result);
    }

    /// Whether the handler holds frames back for [`Handler::on_flush`] to send. Asked several times a turn, so it must
    /// be cheap.
    fn wants_flush(&self) -> bool {
        false
    }

    /// The turn ends: every session with input has been handled. A handler that held frames back, to send them
    /// together, sends them now. Called only if [`Handler::wants_flush`] returned true.
    fn on_flush(&mut self, outbox: &mut dyn Outbox) {
        let _ = outbox;
    }

    /// When to call [`Handler::on_timeout`] next; `None` for never. Asked after every turn, so it must be cheap.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The time that [`Handler::poll_timeout`] returned has come.
    fn on_timeout(&mut self, outbox: &mut dyn Outbox) {
        let _ = outbox;
    }
}

/// What a handler acts on sessions through. It is lent to the handler for the length of a call.
pub trait Outbox {
    /// The monotonic time of this turn.
    fn now(&self) -> Instant;

    /// The shard's number. It is part of the ids that other shards must be able to route.
    fn shard(&self) -> u16;

    /// How many shards the server has. They are numbered from 0.
    fn shards(&self) -> u16;

    /// Sends a message to a shard's handler, which gets it in a later turn. The target may be this shard. The call
    /// never fails and never waits: if messages pile up in front of another shard, this one reads no sockets until they
    /// are handled. A number that names no shard is the caller's mistake; the message is dropped and logged.
    fn send_to_shard(&mut self, shard: u16, message: ShardMessage);

    /// Starts work outside the shard's turn and returns at once. The result comes back as [`Handler::on_job_done`] with
    /// the returned id, in a later turn of this shard. Jobs end in any order.
    ///
    /// # Errors
    /// [`TooManyJobs`] when [`Config::max_jobs`](crate::Config::max_jobs) of this shard are running. The job is
    /// dropped.
    fn start_job(&mut self, job: Job) -> Result<JobId, TooManyJobs>;

    /// Fills `bytes` from the operating system's entropy source.
    fn fill_random(&mut self, bytes: &mut [u8]);

    /// Queues `frame` for `conn`. It leaves at the end of the turn, in order.
    ///
    /// # Errors
    /// [`SendError`] when the frame will not be delivered. The caller may ignore it: [`Handler::on_close`] reports a
    /// closed session.
    fn send(&mut self, conn: ConnKey, frame: &SharedFrame) -> Result<(), SendError>;

    /// Sends the frames of `batch` from index `first` on. If the connection can take them as they are, they leave at
    /// once, in one write, without queueing.
    fn send_batch(&mut self, conn: ConnKey, batch: &Batch, first: usize) {
        for frame in batch.frames(first) {
            if self.send(conn, frame).is_err() {
                return;
            }
        }
    }

    /// Whether a volatile frame may be sent: the session is open, and less than `outbound_soft` bytes are queued.
    fn is_writable(&self, conn: ConnKey) -> bool;

    /// How many more bytes may be queued for `conn` before it is closed as a slow consumer; 0 when the session is not open. The
    /// peer is given first what it takes now.
    fn send_room(&mut self, conn: ConnKey) -> usize {
        if self.is_writable(conn) { usize::MAX } else { 0 }
    }

    /// When the peer was last heard of by the heartbeat, at the latest: it may have sent something else since. `None` when the
    /// session is not open.
    fn last_heartbeat(&self, conn: ConnKey) -> Option<Instant> {
        let _ = conn;
        None
    }

    /// The application knows who the client is: from now on its messages may have `max_payload` bytes
    /// ([`Config::max_unaccepted`](crate::Config::max_unaccepted)).
    fn accept(&mut self, conn: ConnKey) {
        let _ = conn;
    }

    /// Ends the session once its queue is delivered. ([`CloseReason::SlowConsumer`],
    /// [`CloseReason::LimitExceeded`] and [`CloseReason::Internal`] drop the queue and reset the connection.) [`Handler::on_close`] follows after this call returns.
    fn close(&mut self, conn: ConnKey, reason: CloseReason);
}
