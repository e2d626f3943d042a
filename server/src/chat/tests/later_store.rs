//! A store that answers when the test says so: SQLite without its threads.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    clock::wall_clock,
    config::Durability,
    store::{
        Answer, Append, Health, PageQuery, Store, StoreError,
        testing::{Database, Location, Moment, page},
    },
};

/// What is asked of it, and what it has answered.
#[derive(Debug)]
struct State {
    database: Database,
    appends: Vec<Append>,
    queries: VecDeque<PageQuery>,
    answers: VecDeque<(u16, Answer)>,
    /// Whether commits fail.
    fails: bool,
    /// How long the test's clock has gone.
    elapsed: Duration,
}

/// See the module.
#[derive(Debug)]
pub(super) struct LaterStore {
    state: Mutex<State>,
    location: Location,
    newest: Uuid,
    health: Arc<Health>,
    max_age: Duration,
    _directory: TempDir,
}

impl LaterStore {
    pub(super) fn new(max_age: Duration) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let location =
            Location { path: directory.path().join("chat.db"), durability: Durability::None, page_cache: 1 << 20 };
        let database = Database::new(location.open_writer().unwrap()).unwrap();
        let newest = database.newest().unwrap();
        let (appends, queries, answers) = (Vec::new(), VecDeque::new(), VecDeque::new());
        let state = Mutex::new(State { database, appends, queries, answers, fails: false, elapsed: Duration::ZERO });
        Self { state, location, newest, health: Arc::default(), max_age, _directory: directory }
    }

    /// The test's clock has gone so far.
    pub(super) fn set_elapsed(&self, elapsed: Duration) {
        self.state.lock().unwrap().elapsed = elapsed;
    }

    /// From now on commits fail, or do not.
    pub(super) fn set_failing(&self, fails: bool) {
        self.state.lock().unwrap().fails = fails;
    }

    /// Commits what has come; `false` when nothing has.
    pub(super) fn commit(&self) -> bool {
        let state = &mut *self.state.lock().unwrap();
        let batch = std::mem::take(&mut state.appends);
        if batch.is_empty() {
            return false;
        }
        let shards: Vec<u16> = batch.iter().map(|append| append.shard).collect();
        let moment = Moment { wall: wall_clock() + state.elapsed, random: [5; 16] };
        let taken = (!state.fails).then(|| state.database.append(moment, batch).unwrap());
        let outcomes: Vec<_> = match taken {
            Some(taken) => taken.into_iter().map(|(shard, taken)| (shard, Ok(taken))).collect(),
            None => shards.into_iter().map(|shard| (shard, Err(StoreError::Unavailable))).collect(),
        };
        for shard in 0..=outcomes.iter().map(|(shard, _)| *shard).max().unwrap() {
            let of = outcomes.iter().filter(|(of, _)| *of == shard).map(|(_, outcome)| outcome.clone());
            let of: Vec<_> = of.collect();
            if !of.is_empty() {
                state.answers.push_back((shard, Answer::Appended(of)));
            }
        }
        true
    }

    /// Reads the page that was asked for first; `false` when none was.
    pub(super) fn read_page(&self) -> bool {
        let state = &mut *self.state.lock().unwrap();
        let Some(query) = state.queries.pop_front() else { return false };
        let connection = self.location.open_reader().unwrap();
        let answer = page(&connection, &query, wall_clock() + state.elapsed - self.max_age).unwrap();
        state.answers.push_back((query.shard, Answer::Page { ticket: query.ticket, page: Ok(answer) }));
        true
    }

    /// The first answer.
    pub(super) fn take_answer(&self) -> Option<(u16, Answer)> {
        self.state.lock().unwrap().answers.pop_front()
    }
}

impl Store for LaterStore {
    fn append(&self, append: Append) -> Result<(), StoreError> {
        self.state.lock().unwrap().appends.push(append);
        Ok(())
    }

    fn read(&self, query: PageQuery) -> Result<(), StoreError> {
        self.state.lock().unwrap().queries.push_back(query);
        Ok(())
    }

    fn newest(&self) -> Uuid {
        self.newest
    }

    fn health(&self) -> &Arc<Health> {
        &self.health
    }

    fn close(&self) {}
}
