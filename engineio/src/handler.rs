//! The traits between a session and the layer above it: [`Handler`] (up) and [`Outbox`] (down).
//!
//! Everything happens inside one call on one thread: the engine calls the handler, the handler answers through the
//! outbox it was lent. A handler keeps [`ConnKey`]s, never handles, and so needs no lock.

use std::{net::SocketAddr, time::Duration, time::Instant};

use http::{HeaderMap, Uri};

use crate::{
    Batch, CloseReason, Job, JobId, Message, ShardMessage, SharedFrame,
    job::{JobPanicked, TooManyJobs},
    session::Transport,
    slab::Key,
};

/// A session within its shard: a slab key, so that a stale one never reaches whoever got the slot next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnKey(pub(crate) Key);

impl ConnKey {
    /// Names the session under a slab key: for whoever owns the slab.
    #[must_use]
    pub const fn new(key: Key) -> Self {
        Self(key)
    }

    /// Slot in the shard's slab: dense, so layers above may index tables of their own with it.
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
    /// Path and query.
    pub uri: &'a Uri,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The peer of the TCP connection.
    pub remote: SocketAddr,
}

/// Why the application refuses a handshake ([`Handler::on_handshake`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// 403 with code 4: the client need not come back.
    Forbidden,
    /// 503 with `Retry-After`: the client may come back.
    Unavailable {
        /// When to come back.
        retry_after: Duration,
    },
}

/// Why a frame was not taken ([`Outbox::send`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The session is closed, or closing.
    #[error("the session is closed")]
    Closed,
    /// The peer does not read: its queue is full and the session is being closed as a slow consumer.
    #[error("the peer's queue is full")]
    Full,
}

/// What the application does with sessions. One value a shard, made by a factory on the shard's own thread; calls never
/// overlap. Handlers of different shards share nothing, but may [send](Outbox::send_to_shard) each other messages.
///
/// A panic in any method ends the connection it was called for, not the shard.
pub trait Handler {
    /// May this handshake become a session? Called before anything is kept for it.
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

    /// The session ended; the last call for this key. What was sent before a close of this side is still delivered
    /// where the peer lets it be.
    fn on_close(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, reason: CloseReason);

    /// A message arrived from the handler of a shard ([`Outbox::send_to_shard`]) or from another thread (`net::Handle`).
    /// Messages of one sender arrive in the order in which they were sent.
    ///
    /// No connection is to blame for a panic in here: it is logged, and the message is lost.
    fn on_shard_message(&mut self, outbox: &mut dyn Outbox, message: ShardMessage) {
        let _ = (outbox, message);
    }

    /// A job that this handler started ([`Outbox::start_job`]) is done; `result` is what it returned.
    ///
    /// No connection is to blame for a panic in here: it is logged, and the result is lost.
    fn on_job_done(&mut self, outbox: &mut dyn Outbox, job: JobId, result: Result<ShardMessage, JobPanicked>) {
        let _ = (outbox, job, result);
    }

    /// Whether the handler holds something back that [`Handler::on_flush`] is to send. Asked several times a turn, so it must
    /// be cheap.
    fn wants_flush(&self) -> bool {
        false
    }

    /// The turn ends: every session that had something to say has been heard. A handler that held frames back, to send them
    /// together, sends them now. Called only when [`Handler::wants_flush`] says so.
    fn on_flush(&mut self, outbox: &mut dyn Outbox) {
        let _ = outbox;
    }

    /// When [`Handler::on_timeout`] is to be called next; `None` for never. Asked after every turn, so it must be cheap.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The time has come that [`Handler::poll_timeout`] returned.
    fn on_timeout(&mut self, outbox: &mut dyn Outbox) {
        let _ = outbox;
    }
}

/// The only way down: lent to a handler for the length of a call.
pub trait Outbox {
    /// The monotonic time of this turn.
    fn now(&self) -> Instant;

    /// The shard's number; it goes into the ids that other shards must be able to route.
    fn shard(&self) -> u16;

    /// How many shards the server has; they are numbered from 0.
    fn shards(&self) -> u16;

    /// Hands a message to a shard's handler, which gets it in a later turn of its own; this shard may be meant too. It is
    /// never refused and never waits: a shard whose messages pile up elsewhere reads no sockets until they are dealt
    /// with. A number that is no shard's is a mistake of the caller; the message is dropped, and logged.
    fn send_to_shard(&mut self, shard: u16, message: ShardMessage);

    /// Has work done elsewhere, and goes on at once. The result comes back as [`Handler::on_job_done`] with the id that this
    /// returns, in a later turn of this shard. Jobs end in any order.
    ///
    /// # Errors
    /// [`TooManyJobs`] when [`Config::max_jobs`](crate::Config::max_jobs) of this shard are under way. The job is dropped.
    fn start_job(&mut self, job: Job) -> Result<JobId, TooManyJobs>;

    /// Fills `bytes` from the operating system's entropy.
    fn fill_random(&mut self, bytes: &mut [u8]);

    /// Queues `frame` for `conn`; it leaves at the end of the turn, in order.
    ///
    /// # Errors
    /// [`SendError`] when the frame will not be delivered. The frame is the caller's loss either way: a closed session
    /// is reported by [`Handler::on_close`].
    fn send(&mut self, conn: ConnKey, frame: &SharedFrame) -> Result<(), SendError>;

    /// Sends the frames of `batch` from the one at `first` on, at once where the connection can take them as they are:
    /// one write, nothing queued.
    fn send_batch(&mut self, conn: ConnKey, batch: &Batch, first: usize) {
        for frame in batch.frames(first) {
            if self.send(conn, frame).is_err() {
                return;
            }
        }
    }

    /// Whether a volatile frame may be sent: the session is open and less than `outbound_soft` is queued.
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

    /// Ends the session after what is queued for it was delivered ([`CloseReason::SlowConsumer`] and
    /// [`CloseReason::Internal`] drop the queue and reset the connection). [`Handler::on_close`] follows, after this call.
    fn close(&mut self, conn: ConnKey, reason: CloseReason);
}
