//! [`SqliteStore`]: messages in a file. One thread writes, a few read.
//!
//! | file | what it does |
//! |---|---|
//! | `schema` | opens the database; what is in it |
//! | `database` | batches of messages |
//! | `page` | pages of the history, and what clients missed |
//! | `administration` | what the HTTP API asks |
//! | `sessions`, `void` | what lets clients be recovered after a restart |
//! | `retention` | what is forgotten, and space given back |
//! | `writer`, `readers`, `queue` | the threads, and what waits for them |
//! | `lock` | one server uses a data directory |
//! | `tools` | what operators do with a database |
//! | `error` | what is wrong, in an operator's words |

mod administration;
mod database;
mod error;
mod lock;
mod page;
mod queue;
mod readers;
mod retention;
mod schema;
mod sessions;
pub(crate) mod tools;
mod void;
mod writer;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use uuid::Uuid;

#[cfg(test)]
pub(crate) use database::{Moment, Written};
pub(crate) use error::OpenError;
#[cfg(test)]
pub(crate) use page::{missed, page};
#[cfg(test)]
pub(crate) use retention::{Left, Sweep};
#[cfg(test)]
pub(crate) use sessions::find as find_session;

use super::{
    Store,
    administration::{Ban, Change, Lookup},
    answers::Answers,
    health::Health,
    types::{Append, Identity, MissedQuery, PageQuery, Saving, SessionChange, SessionQuery, StoreError, Urgency},
};
use crate::{clock::wall_clock, config};
pub(crate) use database::{Database, Write};
use error::reason;
use lock::DirectoryLock;
use queue::Queue;
use readers::{Query, Question, READERS, Reader};
pub(crate) use retention::Bounds;
pub(crate) use schema::Location;
pub(crate) use void::VoidSessions;
use writer::{Job, Writer};

/// What [`Store::close`] ends, in this order: the last connection is to be one that can tidy up the log.
#[derive(Debug)]
struct Running {
    readers: Vec<JoinHandle<()>>,
    writer: JoinHandle<()>,
    lock: DirectoryLock,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct SqliteStore {
    writes: Arc<Queue<Job>>,
    questions: Arc<Queue<Question>>,
    void: Arc<VoidSessions>,
    health: Arc<Health>,
    newest: Uuid,
    identity: Identity,
    /// Those that it had when it was opened.
    bans: Vec<Ban>,
    running: Mutex<Option<Running>>,
}

impl SqliteStore {
    /// Opens the store of a data directory, and makes one if there is none. For the time `claimable`, sessions of earlier runs can be
    /// claimed. `answers` is asked once for each thread.
    ///
    /// # Errors
    /// Something is wrong with the directory or the file, another process uses it, or there are no threads.
    pub(crate) fn open<A: Answers + 'static>(
        data_dir: &Path,
        settings: &config::Store,
        claimable: Duration,
        answers: impl Fn() -> A,
    ) -> Result<Self, OpenError> {
        let lock = DirectoryLock::take(data_dir)?;
        let page_cache = settings.page_cache / (READERS + 1);
        let location = Location { path: schema::path(data_dir), durability: settings.durability, page_cache };
        let fail = |error: rusqlite::Error| OpenError::Database { path: location.path.clone(), reason: reason(&error) };
        let database = Database::new(location.open_writer()?).map_err(fail)?;
        if location.is_public() {
            let file = location.path.display();
            tracing::warn!(
                "every user of this machine can read the messages in {file}; chmod 600 it and the files beside it \
                 (-wal, -shm), or its directory 700"
            );
        }
        let (newest, identity) = (database.newest().map_err(fail)?, database.identity());
        let bans = administration::bans(&database.connection).map_err(fail)?;
        // What cannot write is found out now, and not when the first message comes.
        database.probe().map_err(fail)?;
        let (max_age, max_count) = (settings.max_age, settings.max_count);
        let bounds = Bounds { max_age, max_count, claimable, begun: wall_clock() };
        let (writes, questions) = (Arc::new(Queue::new(writer::CAPACITY)), Arc::new(Queue::new(readers::CAPACITY)));
        let (health, void) = (Arc::<Health>::default(), Arc::<VoidSessions>::default());
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
            spawned.map_err(|error: io::Error| OpenError::Directory { path: data_dir.to_owned(), error })
        };
        let mut readers = Vec::new();
        for _ in 0..READERS {
            let connection = location.open_reader()?;
            let reader = Reader {
                location: location.clone(),
                bounds,
                queue: Arc::clone(&questions),
                answers: Box::new(answers()),
                health: Arc::clone(&health),
                run: identity.run,
            };
            readers.push(spawn("store-reader", Box::new(move || reader.run(connection)))?);
        }
        let writer = Writer {
            location: location.clone(),
            bounds,
            queue: Arc::clone(&writes),
            answers: Box::new(answers()),
            health: Arc::clone(&health),
            void: Arc::clone(&void),
            claimable,
        };
        let writer = spawn("store-writer", Box::new(move || writer.run(database)))?;
        let running = Mutex::new(Some(Running { readers, writer, lock }));
        Ok(Self { writes, questions, void, health, newest, identity, bans, running })
    }
}

impl Store for SqliteStore {
    fn append(&self, append: Append) -> Result<(), StoreError> {
        if self.health.refuses() {
            return Err(StoreError::Unavailable);
        }
        let bytes = append.draft.weight();
        self.writes.push(Job::Write(Write::Message(append)), bytes)
    }

    fn read(&self, query: PageQuery) -> Result<(), StoreError> {
        self.questions.push(Question::Shard(Query::Page(query)), 0)
    }

    fn save(&self, change: SessionChange, urgency: Urgency) -> Saving {
        let session = change.session();
        let told = match urgency {
            Urgency::Told { shard, ticket } => Some((shard, ticket)),
            Urgency::Whenever | Urgency::Soon => None,
        };
        let write = Job::Write(Write::Session { change, told });
        let pushed = match urgency {
            _ if self.health.refuses() => Err(StoreError::Busy),
            Urgency::Whenever => self.writes.push_lazily(write, 0),
            Urgency::Soon | Urgency::Told { .. } => self.writes.push(write, 0),
        };
        match pushed {
            Ok(()) => Saving::Queued,
            Err(StoreError::Busy) => {
                self.void.add(session);
                Saving::Void
            }
            Err(StoreError::Unavailable) => Saving::Closed,
        }
    }

    fn find_session(&self, query: SessionQuery) -> Result<(), StoreError> {
        self.questions.push(Question::Shard(Query::Session(query)), 0)
    }

    fn read_missed(&self, query: MissedQuery) -> Result<(), StoreError> {
        self.questions.push(Question::Shard(Query::Missed(query)), 0)
    }

    fn identity(&self) -> Identity {
        self.identity
    }

    fn look_up(&self, lookup: Lookup) -> Result<(), StoreError> {
        self.questions.push(Question::Lookup(lookup), 0)
    }

    fn change(&self, change: Change) -> Result<(), StoreError> {
        if self.health.refuses() {
            return Err(StoreError::Unavailable);
        }
        let bytes = change.weight();
        self.writes.push(Job::Change(change), bytes)
    }

    fn bans(&self) -> Vec<Ban> {
        self.bans.clone()
    }

    fn newest(&self) -> Uuid {
        self.newest
    }

    fn health(&self) -> &Arc<Health> {
        &self.health
    }

    fn close(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { readers, writer, lock }) = running else { return };
        // A thread that panicked has said so.
        self.questions.close();
        readers.into_iter().for_each(|reader| drop(reader.join()));
        self.writes.close();
        drop(writer.join());
        drop(lock);
    }
}
