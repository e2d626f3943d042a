//! [`Engine`]: the outbox of one shard, which records what a handler does with it.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque},
    fmt,
    rc::Rc,
    time::{Duration, Instant},
};

use crate::{
    CloseReason, Config, ConnKey, Job, JobId, Outbox, SendError, ShardMessage, SharedFrame, Wire, job::TooManyJobs,
    slab::Slab,
};

/// A message between shards that has not been delivered.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) from: u16,
    pub(super) to: u16,
    pub(super) message: ShardMessage,
}

/// The messages that shards have sent each other, in the order in which they were sent.
pub(super) type Mailbox = Rc<RefCell<VecDeque<InFlight>>>;

type CloseWatch = Box<dyn FnMut(ConnKey, CloseReason)>;

/// A session and what was sent to it. It is kept after the session has ended.
#[derive(Debug, Default)]
struct Session {
    closed: bool,
    wire: Wire,
    sent: Vec<SharedFrame>,
    /// The peer reads nothing: what is sent stays queued.
    stalled: bool,
    /// Bytes of the queued frames, without `oversized`.
    queued: usize,
    /// Bytes of the first frame, where that alone is more than may be queued.
    oversized: usize,
    last_heartbeat: Option<Instant>,
}

/// The [`Outbox`] of one shard, without sockets.
///
/// Its clock stands still until the test moves it ([`Engine::advance`]), and its random bytes are the same in every
/// run. A peer reads everything it is sent, unless the test says otherwise ([`Engine::stop_reading`]). Frames, closes,
/// shard messages and jobs are recorded. A test that drives a handler with [`Shard`](super::Shard) inspects them here.
pub struct Engine {
    now: Instant,
    shard: u16,
    shards: u16,
    random: u64,
    soft: usize,
    hard: usize,
    max_jobs: usize,
    keys: Slab<()>,
    sessions: HashMap<ConnKey, Session>,
    closed: Vec<(ConnKey, CloseReason)>,
    watch: Option<CloseWatch>,
    mailbox: Mailbox,
    jobs: VecDeque<(JobId, Job)>,
    next_job: u64,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("shard", &self.shard).field("sessions", &self.sessions).finish_non_exhaustive()
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine {
    /// The engine of a server with one shard, with the limits of [`Config::default`].
    #[must_use]
    pub fn new() -> Self {
        Self::of_shard(0, 1)
    }

    /// The engine of shard number `shard` of `shards`. Each shard has different random bytes.
    ///
    /// # Panics
    /// When there is no such shard.
    #[must_use]
    pub fn of_shard(shard: u16, shards: u16) -> Self {
        Self::with_mailbox(shard, shards, Instant::now(), Mailbox::default())
    }

    /// The engine of one of several shards on the same clock. Its messages go to `mailbox`.
    pub(super) fn with_mailbox(shard: u16, shards: u16, now: Instant, mailbox: Mailbox) -> Self {
        assert!(shard < shards, "shard {shard} of {shards} does not exist");
        let Config { outbound_soft, outbound_hard, max_jobs, .. } = Config::default();
        Self {
            now,
            shard,
            shards,
            random: u64::from(shard),
            soft: outbound_soft,
            hard: outbound_hard,
            max_jobs,
            keys: Slab::default(),
            sessions: HashMap::new(),
            closed: Vec::new(),
            watch: None,
            mailbox,
            jobs: VecDeque::new(),
            next_job: 0,
        }
    }

    /// Sets `outbound_soft`, `outbound_hard` (both in bytes) and `max_jobs` from a configuration.
    #[must_use]
    pub const fn with_limits_of(mut self, config: &Config) -> Self {
        (self.soft, self.hard, self.max_jobs) = (config.outbound_soft, config.outbound_hard, config.max_jobs);
        self
    }

    /// Restarts the random bytes from `seed`; the same seed gives the same bytes.
    pub const fn seed(&mut self, seed: u64) {
        self.random = seed;
    }

    /// Moves the clock forward by `time`. Calls no handler: see [`Shard::advance`](super::Shard::advance).
    pub fn advance(&mut self, time: Duration) {
        self.now += time;
    }

    /// Sets the clock to `now`, unless it is later already.
    pub(super) fn advance_to(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Adds a session. Calls no handler: see [`Shard::open`](super::Shard::open).
    pub fn open(&mut self) -> ConnKey {
        let conn = ConnKey::new(self.keys.insert(()));
        self.sessions.insert(conn, Session { last_heartbeat: Some(self.now), ..Session::default() });
        conn
    }

    /// Sets the form in which frames to this session are recorded from now on.
    pub fn set_wire(&mut self, conn: ConnKey, wire: Wire) {
        self.session(conn).wire = wire;
    }

    /// From now on the peer reads nothing: frames stay queued, and the limits of the queue apply.
    pub fn stop_reading(&mut self, conn: ConnKey) {
        self.session(conn).stalled = true;
    }

    /// The peer reads nothing, and `bytes` bytes are queued for it.
    pub fn set_queued(&mut self, conn: ConnKey, bytes: usize) {
        let session = self.session(conn);
        (session.stalled, session.queued) = (true, bytes);
    }

    /// The peer reads everything that is queued, and whatever is sent to it from now on.
    pub fn resume_reading(&mut self, conn: ConnKey) {
        let session = self.session(conn);
        (session.stalled, session.queued, session.oversized) = (false, 0, 0);
    }

    /// The peer answers a ping now.
    pub fn beat(&mut self, conn: ConnKey) {
        self.session(conn).last_heartbeat = Some(self.now);
    }

    #[expect(clippy::expect_used, reason = "only a faulty test names a session that was never opened")]
    fn session(&mut self, conn: ConnKey) -> &mut Session {
        self.sessions.get_mut(&conn).expect("a session that was opened")
    }

    /// Whether the session is open: neither side has closed it.
    #[must_use]
    pub fn is_open(&self, conn: ConnKey) -> bool {
        self.sessions.get(&conn).is_some_and(|session| !session.closed)
    }

    /// How many sessions there are whose end has not been reported to the handler.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.keys.len()
    }

    /// The frames that were sent to the session and not taken by the test yet. They remain after it is closed.
    #[must_use]
    pub fn sent(&self, conn: ConnKey) -> &[SharedFrame] {
        self.sessions.get(&conn).map_or(&[], |session| &session.sent)
    }

    /// Takes the frames that were sent to the session.
    pub fn take_sent(&mut self, conn: ConnKey) -> Vec<SharedFrame> {
        self.sessions.get_mut(&conn).map(|session| std::mem::take(&mut session.sent)).unwrap_or_default()
    }

    /// Takes the frames that were sent to the session, each as text: its packets as in the body of a poll, binary as
    /// `b` and base64, with the byte 0x1e between packets.
    ///
    /// # Panics
    /// When a frame is not UTF-8.
    pub fn take_sent_text(&mut self, conn: ConnKey) -> Vec<String> {
        #[expect(clippy::expect_used, reason = "a frame that is not text fails the test")]
        let text = |frame: SharedFrame| String::from_utf8(frame.polling().to_vec()).expect("packets as text");
        self.take_sent(conn).into_iter().map(text).collect()
    }

    /// Sets a function that is called at the moment when a session is closed. The handler is told later, after the call
    /// in which it was closed.
    pub fn watch_closes(&mut self, watch: impl FnMut(ConnKey, CloseReason) + 'static) {
        self.watch = Some(Box::new(watch));
    }

    /// Takes a closed session whose end has not been reported to the handler; the last one first, as the engine does.
    /// Call [`Engine::forget`] after reporting it.
    pub fn pop_closed(&mut self) -> Option<(ConnKey, CloseReason)> {
        self.closed.pop()
    }

    /// Frees the index of a session whose end was reported: the next session may get it. The frames sent to it remain.
    pub fn forget(&mut self, conn: ConnKey) {
        self.keys.remove(conn.0);
    }

    /// Takes the messages that were sent to shards and not delivered, in order, each with its target shard.
    pub fn take_shard_messages(&mut self) -> Vec<(u16, ShardMessage)> {
        self.mailbox.borrow_mut().drain(..).map(|InFlight { to, message, .. }| (to, message)).collect()
    }

    /// The jobs that were started and have not run, in the order in which they were started.
    pub fn jobs(&self) -> impl ExactSizeIterator<Item = JobId> {
        self.jobs.iter().map(|(id, _)| *id)
    }

    /// Takes a job, to run it or to drop it.
    pub fn take_job(&mut self, id: JobId) -> Option<Job> {
        let index = self.jobs.iter().position(|(of, _)| *of == id)?;
        self.jobs.remove(index).map(|(_, job)| job)
    }

    /// Puts back a job that is not finished.
    pub(super) fn put_back(&mut self, id: JobId, job: Job) {
        self.jobs.push_back((id, job));
    }
}

impl Outbox for Engine {
    fn now(&self) -> Instant {
        self.now
    }

    fn shard(&self) -> u16 {
        self.shard
    }

    fn shards(&self) -> u16 {
        self.shards
    }

    /// # Panics
    /// When there is no such shard. The real engine drops the message and logs it.
    fn send_to_shard(&mut self, shard: u16, message: ShardMessage) {
        assert!(shard < self.shards, "a message to shard {shard}, which does not exist");
        self.mailbox.borrow_mut().push_back(InFlight { from: self.shard, to: shard, message });
    }

    fn start_job(&mut self, job: Job) -> Result<JobId, TooManyJobs> {
        if self.jobs.len() >= self.max_jobs {
            return Err(TooManyJobs);
        }
        let id = JobId::new(self.next_job);
        self.next_job += 1;
        self.jobs.push_back((id, job));
        Ok(id)
    }

    fn fill_random(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            // Knuth's MMIX generator; its high bits are the good ones.
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (self.random >> 56) as u8;
        }
    }

    fn send(&mut self, conn: ConnKey, frame: &SharedFrame) -> Result<(), SendError> {
        let session = self.sessions.get_mut(&conn).filter(|session| !session.closed).ok_or(SendError::Closed)?;
        let frame = frame.adapt(session.wire);
        let len = frame.websocket().len();
        // One frame larger than the limit is taken when the queue is empty.
        let is_first = session.queued + session.oversized == 0;
        if !is_first && session.queued + len > self.hard {
            self.close(conn, CloseReason::SlowConsumer);
            return Err(SendError::Full);
        }
        match session.stalled {
            true if is_first && len > self.hard => session.oversized = len,
            true => session.queued += len,
            false => {}
        }
        session.sent.push(frame);
        Ok(())
    }

    fn is_writable(&self, conn: ConnKey) -> bool {
        self.sessions
            .get(&conn)
            .is_some_and(|session| !session.closed && session.queued + session.oversized < self.soft)
    }

    fn send_room(&mut self, conn: ConnKey) -> usize {
        let session = self.sessions.get(&conn).filter(|session| !session.closed);
        session.map_or(0, |session| self.hard.saturating_sub(session.queued))
    }

    fn last_heartbeat(&self, conn: ConnKey) -> Option<Instant> {
        self.sessions.get(&conn).filter(|session| !session.closed)?.last_heartbeat
    }

    fn close(&mut self, conn: ConnKey, reason: CloseReason) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        if !std::mem::replace(&mut session.closed, true) {
            self.closed.push((conn, reason));
            if let Some(watch) = &mut self.watch {
                watch(conn, reason);
            }
        }
    }
}
