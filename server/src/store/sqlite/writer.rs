//! [`Writer`]: the one thread that writes. A batch is what arrived while the last one was committed.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{
        administration::Change,
        answers::Answers,
        health::{Health, Part},
        types::{Answer, Identity, SessionId, StoreError, Taken},
    },
    database::{Database, Moment, Write, Written},
    error::{OpenError, reason},
    queue::{Capacity, Next, Queue},
    retention::{Bounds, Left, Sweep},
    schema::Location,
    sessions::Remains,
    void::VoidSessions,
};
use crate::clock::wall_clock;

/// What may wait for the writer. At 100,000 messages a second this is a sixth of a second.
pub(super) const CAPACITY: Capacity = Capacity { items: 16_384, bytes: 64 << 20 };

/// The largest batch: it must not take so long that the others notice.
const BATCH: Capacity = Capacity { items: 1024, bytes: 4 << 20 };

/// The time from one sweep of the retention to the next.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// A step of a sweep is taken when nothing else is to do ([`PACE`]), or after this time at the latest. Where there is much to forget it is taken
/// after each batch.
const STEP_INTERVAL: Duration = Duration::from_millis(250);

/// The time between two steps where nothing else is to do. Without it a sweep through a million rooms took a core for five seconds, and
/// again and again; now it takes some minutes, and 3 % of a core.
const PACE: Duration = Duration::from_millis(10);

/// The time from the first to the second attempt to write after a fault, and the longest between two. Each is twice the one before.
const SECOND_ATTEMPT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// What is to be done.
#[derive(Debug)]
pub(super) enum Job {
    /// What a shard has to store.
    Write(Write),
    /// What the HTTP API changes.
    Change(Change),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) location: Location,
    pub(super) bounds: Bounds,
    pub(super) queue: Arc<Queue<Job>>,
    pub(super) answers: Box<dyn Answers>,
    pub(super) health: Arc<Health>,
    pub(super) void: Arc<VoidSessions>,
    /// How long sessions of earlier runs can be claimed.
    pub(super) claimable: Duration,
}

/// Who is to hear that something could not be stored.
enum Refused {
    /// Of a message.
    Message(u16),
    Session {
        session: SessionId,
        told: Option<(u16, u64)>,
    },
}

impl Refused {
    fn of(write: &Write) -> Self {
        match write {
            Write::Message(append) => Self::Message(append.shard),
            Write::Session { change, told } => Self::Session { session: change.session(), told: *told },
        }
    }
}

/// What shards have to store, and what the HTTP API changes.
fn separate(batch: Vec<Job>) -> (Vec<Write>, Vec<Change>) {
    let (mut writes, mut changes) = (Vec::with_capacity(batch.len()), Vec::new());
    for job in batch {
        match job {
            Job::Write(write) => writes.push(write),
            Job::Change(change) => changes.push(change),
        }
    }
    (writes, changes)
}

/// If the writer panics, nobody takes messages any more.
struct PanicGuard<'a>(&'a Writer);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.queue.close();
            self.0.health.fail(Part::Writing, "the thread that writes has ended by a fault of this program".to_owned());
        }
    }
}

impl Writer {
    /// Writes until the queue is closed and empty.
    pub(super) fn run(self, mut database: Database) {
        let _guard = PanicGuard(&self);
        let (mut sweep, mut next_step) = (Sweep::start(), Instant::now());
        let claimable_until = Instant::now() + self.claimable;
        let mut remains = Some(Remains::before(database.identity().run));
        loop {
            let batch = match self.queue.take(BATCH, Some(next_step)) {
                Next::Items(batch) => batch,
                Next::Nothing => Vec::new(),
                Next::Closed => break,
            };
            let mut works = self.work(&mut database, batch) && self.remove_void(&database);
            if works && Instant::now() >= claimable_until && remains.is_some() {
                works = self.remove_remains(&mut remains, &mut database);
            }
            if works && Instant::now() >= next_step {
                let left = self.forget(&mut sweep, &mut database);
                works = left.is_some();
                next_step = Instant::now() + self.wait_after(left);
            }
            if !works {
                let identity = database.identity();
                let Some(repaired) = self.repair(database, identity) else { return };
                database = repaired;
                self.health.recover(Part::Writing);
            }
        }
    }

    /// Takes a step of a sweep, and begins a new one after the last; `None` when that failed.
    fn forget(&self, sweep: &mut Sweep, database: &mut Database) -> Option<Left> {
        match sweep.step(database, &self.bounds, wall_clock()) {
            Ok(left) => {
                if left == Left::Nothing {
                    *sweep = Sweep::start();
                }
                Some(left)
            }
            Err(error) => {
                self.health.fail(Part::Writing, reason(&error));
                None
            }
        }
    }

    /// Takes a step in removing the sessions of earlier runs; `false` when that failed.
    fn remove_remains(&self, remains: &mut Option<Remains>, database: &mut Database) -> bool {
        match remains.as_mut().map(|remains| remains.step(&mut database.connection)) {
            Some(Ok(true)) => true,
            Some(Err(error)) => {
                self.health.fail(Part::Writing, reason(&error));
                false
            }
            Some(Ok(false)) | None => {
                *remains = None;
                true
            }
        }
    }

    /// Removes sessions of which something could not be stored; `false` when that failed.
    fn remove_void(&self, database: &Database) -> bool {
        let removed = self.void.take(|void| void.remove(&database.connection));
        removed.inspect_err(|error| self.health.fail(Part::Writing, reason(error))).is_ok()
    }

    /// How long to wait for the next step of a sweep.
    fn wait_after(&self, left: Option<Left>) -> Duration {
        match left {
            Some(Left::Nothing) => SWEEP_INTERVAL,
            Some(Left::Rest) if !self.queue.is_empty() => STEP_INTERVAL,
            Some(Left::Rest) => PACE,
            Some(Left::Much) | None => Duration::ZERO,
        }
    }

    /// Does what came, the messages first: a change is about what was stored before it. Returns whether it could.
    fn work(&self, database: &mut Database, batch: Vec<Job>) -> bool {
        let (writes, changes) = separate(batch);
        let mut works = self.write(database, writes);
        for change in changes {
            if !works {
                change.refuse(StoreError::Unavailable);
            } else if let Err(error) = database.change(wall_clock(), change) {
                self.health.fail(Part::Writing, reason(&error));
                works = false;
            }
        }
        works
    }

    /// Stores a batch, and tells the shards. Returns whether it could.
    fn write(&self, database: &mut Database, mut batch: Vec<Write>) -> bool {
        self.tell_saved(self.void.strip(&mut batch));
        if batch.is_empty() {
            return true;
        }
        let refused: Vec<Refused> = batch.iter().map(Refused::of).collect();
        let mut moment = Moment { wall: wall_clock(), random: [0; 16] };
        // Without entropy ids would be easy to guess, and still differ.
        let _ = getrandom::fill(&mut moment.random);
        let begun = Instant::now();
        match database.write(moment, batch) {
            Ok(written) => {
                let took = begun.elapsed();
                let (mut taken, mut saved) = (Vec::new(), Vec::new());
                for written in written {
                    match written {
                        Written::Message(shard, message) => taken.push((shard, Ok(message))),
                        Written::Session(told) => saved.extend(told),
                    }
                }
                self.health.count_batch(taken.len(), took);
                self.tell(taken.into_iter());
                self.tell_saved(saved);
                true
            }
            Err(error) => {
                // Before the senders hear of it: who tries again at once is refused without a look at the disk.
                self.health.fail(Part::Writing, reason(&error));
                self.refuse(refused);
                false
            }
        }
    }

    /// Says that these could not be stored.
    fn refuse(&self, refused: Vec<Refused>) {
        let (mut shards, mut saved) = (Vec::new(), Vec::new());
        for refused in refused {
            match refused {
                Refused::Message(shard) => shards.push(shard),
                Refused::Session { session, told } => {
                    self.void.add(session);
                    saved.extend(told);
                }
            }
        }
        self.tell(shards.into_iter().map(|shard| (shard, Err(StoreError::Unavailable))));
        self.tell_saved(saved);
    }

    fn tell_saved(&self, saved: Vec<(u16, u64)>) {
        for (shard, ticket) in saved {
            self.answers.send(shard, Answer::Saved { ticket });
        }
    }

    /// Sends each shard what became of its messages: one answer for each shard.
    fn tell(&self, outcomes: impl Iterator<Item = (u16, Result<Taken, StoreError>)>) {
        let mut by_shard: Vec<(u16, Vec<Result<Taken, StoreError>>)> = Vec::new();
        for (shard, outcome) in outcomes {
            match by_shard.iter_mut().find(|(of, _)| *of == shard) {
                Some((_, outcomes)) => outcomes.push(outcome),
                None => by_shard.push((shard, vec![outcome])),
            }
        }
        for (shard, outcomes) in by_shard {
            self.answers.send(shard, Answer::Appended(outcomes));
        }
    }

    /// Tries again and again until the disk takes a commit. Each attempt opens the file anew: after an fsync that failed, an open file
    /// may seem whole although the disk has lost some of it. `None` when the store was closed meanwhile.
    fn repair(&self, database: Database, identity: Identity) -> Option<Database> {
        drop(database);
        // The first attempt comes at once: it overwrites what a failed commit may have left in the log, where a crash would find it.
        let mut wait = Duration::ZERO;
        loop {
            let is_closed = self.queue.wait_closed(wait);
            // Messages that came before the first of them was refused.
            while let Next::Items(batch) = self.queue.take(BATCH, Some(Instant::now())) {
                let (writes, changes) = separate(batch);
                self.refuse(writes.iter().map(Refused::of).collect());
                changes.into_iter().for_each(|change| change.refuse(StoreError::Unavailable));
            }
            if is_closed {
                return None;
            }
            match self.reopen(identity) {
                Ok(database) => return Some(database),
                Err(reason) => self.health.fail(Part::Writing, reason),
            }
            wait = (wait * 2).clamp(SECOND_ATTEMPT, LONGEST_WAIT);
        }
    }

    fn reopen(&self, identity: Identity) -> Result<Database, String> {
        let connection = self.location.open_writer().map_err(|error| match error {
            OpenError::Database { reason, .. } => reason,
            other => other.to_string(),
        })?;
        let database = Database::reopened(connection, identity).map_err(|error| reason(&error))?;
        database.probe().map_err(|error| reason(&error))?;
        Ok(database)
    }
}
