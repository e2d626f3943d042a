//! [`Writer`]: the one thread that writes. A batch is what arrived while the last one was committed.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    super::{
        answers::Answers,
        health::{Health, Part},
        types::{Answer, Append, StoreError, Taken},
    },
    database::{Database, Moment},
    error::{OpenError, reason},
    queue::{Capacity, Next, Queue},
    retention::{Bounds, Left, Sweep},
    schema::Location,
};
use crate::clock::wall_clock;

/// What may wait for the writer. At 100,000 messages a second this is a sixth of a second.
pub(super) const CAPACITY: Capacity = Capacity { items: 16_384, bytes: 64 << 20 };

/// The largest batch: it must not take so long that the others notice.
const BATCH: Capacity = Capacity { items: 1024, bytes: 4 << 20 };

/// The time from one sweep of the retention to the next.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// A step of a sweep is taken when nothing else is to do, or after this time at the latest. Where there is much to forget it is taken
/// after each batch.
const STEP_INTERVAL: Duration = Duration::from_millis(250);

/// The time from the first to the second attempt to write after a fault, and the longest between two. Each is twice the one before.
const SECOND_ATTEMPT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) location: Location,
    pub(super) bounds: Bounds,
    pub(super) queue: Arc<Queue<Append>>,
    pub(super) answers: Box<dyn Answers>,
    pub(super) health: Arc<Health>,
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
        loop {
            let batch = match self.queue.take(BATCH, Some(next_step)) {
                Next::Items(batch) => batch,
                Next::Nothing => Vec::new(),
                Next::Closed => break,
            };
            let mut works = self.write(&mut database, batch);
            if works && Instant::now() >= next_step {
                let left = self.forget(&mut sweep, &mut database);
                works = left.is_some();
                next_step = Instant::now() + self.wait_after(left);
            }
            if !works {
                let Some(repaired) = self.repair(database) else { return };
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

    /// How long to wait for the next step of a sweep.
    fn wait_after(&self, left: Option<Left>) -> Duration {
        match left {
            Some(Left::Nothing) => SWEEP_INTERVAL,
            Some(Left::Rest) if !self.queue.is_empty() => STEP_INTERVAL,
            Some(Left::Rest | Left::Much) | None => Duration::ZERO,
        }
    }

    /// Stores a batch, and tells the shards. Returns whether it could.
    fn write(&self, database: &mut Database, batch: Vec<Append>) -> bool {
        if batch.is_empty() {
            return true;
        }
        let shards: Vec<u16> = batch.iter().map(|append| append.shard).collect();
        let mut moment = Moment { wall: wall_clock(), random: [0; 16] };
        // Without entropy ids would be easy to guess, and still differ.
        let _ = getrandom::fill(&mut moment.random);
        match database.append(moment, batch) {
            Ok(taken) => {
                self.health.count_batch(taken.len());
                self.tell(taken.into_iter().map(|(shard, taken)| (shard, Ok(taken))));
                true
            }
            Err(error) => {
                // Before the senders hear of it: who tries again at once is refused without a look at the disk.
                self.health.fail(Part::Writing, reason(&error));
                self.tell(shards.into_iter().map(|shard| (shard, Err(StoreError::Unavailable))));
                false
            }
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
    fn repair(&self, database: Database) -> Option<Database> {
        drop(database);
        // The first attempt comes at once: it overwrites what a failed commit may have left in the log, where a crash would find it.
        let mut wait = Duration::ZERO;
        loop {
            let is_closed = self.queue.wait_closed(wait);
            // Messages that came before the first of them was refused.
            while let Next::Items(batch) = self.queue.take(BATCH, Some(Instant::now())) {
                self.tell(batch.into_iter().map(|append| (append.shard, Err(StoreError::Unavailable))));
            }
            if is_closed {
                return None;
            }
            match self.reopen() {
                Ok(database) => return Some(database),
                Err(reason) => self.health.fail(Part::Writing, reason),
            }
            wait = (wait * 2).clamp(SECOND_ATTEMPT, LONGEST_WAIT);
        }
    }

    fn reopen(&self) -> Result<Database, String> {
        let connection = self.location.open_writer().map_err(|error| match error {
            OpenError::Database { reason, .. } => reason,
            other => other.to_string(),
        })?;
        let database = Database::new(connection).map_err(|error| reason(&error))?;
        database.probe().map_err(|error| reason(&error))?;
        Ok(database)
    }
}
