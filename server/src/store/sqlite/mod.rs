//! [`SqliteStore`]: messages in a file. One thread writes, a few read.
//!
//! | file | what it does |
//! |---|---|
//! | `schema` | opens the database; what is in it |
//! | `database` | batches of messages |
//! | `page` | pages of the history |
//! | `retention` | what is forgotten, and space given back |
//! | `writer`, `readers`, `queue` | the threads, and what waits for them |
//! | `lock` | one server uses a data directory |
//! | `tools` | what operators do with a database |
//! | `error` | what is wrong, in an operator's words |

mod database;
mod error;
mod lock;
mod page;
mod queue;
mod readers;
mod retention;
mod schema;
pub(crate) mod tools;
mod writer;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use uuid::Uuid;

#[cfg(test)]
pub(crate) use database::Moment;
pub(crate) use error::OpenError;
#[cfg(test)]
pub(crate) use page::page;
#[cfg(test)]
pub(crate) use retention::{Left, Sweep};

use super::{
    Store,
    answers::Answers,
    health::Health,
    types::{Append, PageQuery, StoreError},
};
use crate::config;
pub(crate) use database::Database;
use error::reason;
use lock::DirectoryLock;
use queue::Queue;
use readers::{READERS, Reader};
pub(crate) use retention::Bounds;
pub(crate) use schema::Location;
use writer::Writer;

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
    appends: Arc<Queue<Append>>,
    queries: Arc<Queue<PageQuery>>,
    health: Arc<Health>,
    newest: Uuid,
    running: Mutex<Option<Running>>,
}

impl SqliteStore {
    /// Opens the store of a data directory, and makes one if there is none. `answers` is asked once for each thread.
    ///
    /// # Errors
    /// Something is wrong with the directory or the file, another process uses it, or there are no threads.
    pub(crate) fn open<A: Answers + 'static>(
        data_dir: &Path,
        settings: &config::Store,
        answers: impl Fn() -> A,
    ) -> Result<Self, OpenError> {
        let lock = DirectoryLock::take(data_dir)?;
        let page_cache = settings.page_cache / (READERS + 1);
        let location = Location { path: schema::path(data_dir), durability: settings.durability, page_cache };
        let fail = |error: rusqlite::Error| OpenError::Database { path: location.path.clone(), reason: reason(&error) };
        let database = Database::new(location.open_writer()?).map_err(fail)?;
        let newest = database.newest().map_err(fail)?;
        // What cannot write is found out now, and not when the first message comes.
        database.probe().map_err(fail)?;
        let bounds = Bounds { max_age: settings.max_age, max_count: settings.max_count };
        let (appends, queries) = (Arc::new(Queue::new(writer::CAPACITY)), Arc::new(Queue::new(readers::CAPACITY)));
        let health = Arc::<Health>::default();
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
                queue: Arc::clone(&queries),
                answers: Box::new(answers()),
                health: Arc::clone(&health),
            };
            readers.push(spawn("store-reader", Box::new(move || reader.run(connection)))?);
        }
        let writer = Writer {
            location: location.clone(),
            bounds,
            queue: Arc::clone(&appends),
            answers: Box::new(answers()),
            health: Arc::clone(&health),
        };
        let writer = spawn("store-writer", Box::new(move || writer.run(database)))?;
        let running = Mutex::new(Some(Running { readers, writer, lock }));
        Ok(Self { appends, queries, health, newest, running })
    }
}

impl Store for SqliteStore {
    fn append(&self, append: Append) -> Result<(), StoreError> {
        if self.health.refuses() {
            return Err(StoreError::Unavailable);
        }
        let bytes = append.draft.weight();
        self.appends.push(append, bytes)
    }

    fn read(&self, query: PageQuery) -> Result<(), StoreError> {
        self.queries.push(query, 0)
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
        self.queries.close();
        readers.into_iter().for_each(|reader| drop(reader.join()));
        self.appends.close();
        drop(writer.join());
        drop(lock);
    }
}
