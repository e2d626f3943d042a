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
        Answer, Append, Ban, Change, Health, Identity, Lookup, MissedQuery, PageQuery, Saving, SessionChange,
        SessionQuery, Store, StoreError, Urgency,
        testing::{Database, Location, Moment, VoidSessions, Write, Written, find_session, missed, page},
    },
};

/// What is to be read.
#[derive(Debug)]
enum Query {
    Page(PageQuery),
    Session(SessionQuery),
    Missed(MissedQuery),
}

/// What is asked of it, and what it has answered.
#[derive(Debug)]
struct State {
    database: Database,
    writes: Vec<Write>,
    queries: VecDeque<Query>,
    answers: VecDeque<(u16, Answer)>,
    /// Whether commits fail.
    fails: bool,
    /// Whether more waits for it than may.
    is_busy: bool,
    /// How long the test's clock has gone.
    elapsed: Duration,
}

/// See the module.
#[derive(Debug)]
pub(super) struct LaterStore {
    state: Mutex<State>,
    void: VoidSessions,
    location: Location,
    newest: Uuid,
    identity: Identity,
    health: Arc<Health>,
    max_age: Duration,
    directory: Arc<TempDir>,
}

impl LaterStore {
    pub(super) fn new(max_age: Duration) -> Self {
        Self::open(Arc::new(tempfile::tempdir().unwrap()), max_age, Duration::ZERO)
    }

    /// The same store in the next run of the server. What was not committed is lost.
    pub(super) fn reopen(&self) -> Self {
        Self::open(Arc::clone(&self.directory), self.max_age, self.state.lock().unwrap().elapsed)
    }

    fn open(directory: Arc<TempDir>, max_age: Duration, elapsed: Duration) -> Self {
        let location =
            Location { path: directory.path().join("chat.db"), durability: Durability::None, page_cache: 1 << 20 };
        let database = Database::new(location.open_writer().unwrap()).unwrap();
        let (newest, identity) = (database.newest().unwrap(), database.identity());
        let (writes, queries, answers) = (Vec::new(), VecDeque::new(), VecDeque::new());
        let state = Mutex::new(State { database, writes, queries, answers, fails: false, is_busy: false, elapsed });
        Self {
            state,
            void: VoidSessions::default(),
            location,
            newest,
            identity,
            health: Arc::default(),
            max_age,
            directory,
        }
    }

    /// The test's clock has gone so far.
    pub(super) fn set_elapsed(&self, elapsed: Duration) {
        self.state.lock().unwrap().elapsed = elapsed;
    }

    /// From now on commits fail, or do not.
    pub(super) fn set_failing(&self, fails: bool) {
        let state = &mut *self.state.lock().unwrap();
        state.fails = fails;
        self.remove_void(state);
    }

    /// From now on it is not told of sessions, for want of room, or is.
    pub(super) fn set_busy(&self, is_busy: bool) {
        self.state.lock().unwrap().is_busy = is_busy;
    }

    fn remove_void(&self, state: &State) {
        if !state.fails {
            self.void.take(|void| void.remove(state.database.connection())).unwrap();
        }
    }

    /// How much the database has of sessions that began in this run.
    pub(super) fn sessions_of_this_run(&self) -> i64 {
        let connection = self.location.open_reader().unwrap();
        let count = "SELECT (SELECT count(*) FROM session WHERE id >> 40 = ?1)
                     + (SELECT count(*) FROM session_room WHERE session >> 40 = ?1)";
        connection.query_row(count, [self.identity.run], |row| row.get(0)).unwrap()
    }

    /// Commits what has come; `false` when nothing has.
    pub(super) fn commit(&self) -> bool {
        let state = &mut *self.state.lock().unwrap();
        let mut batch = std::mem::take(&mut state.writes);
        if batch.is_empty() {
            return false;
        }
        for (shard, ticket) in self.void.strip(&mut batch) {
            state.answers.push_back((shard, Answer::Saved { ticket }));
        }
        let sessions: Vec<_> = batch
            .iter()
            .filter_map(|write| match write {
                Write::Session { change, .. } => Some(change.session()),
                Write::Message(_) => None,
            })
            .collect();
        let told = |write: &Write| match write {
            Write::Message(append) => (Some(append.shard), None),
            Write::Session { told, .. } => (None, *told),
        };
        let told: Vec<_> = batch.iter().map(told).collect();
        let moment = Moment { wall: wall_clock() + state.elapsed, random: [5; 16] };
        let written = (!state.fails).then(|| state.database.write(moment, batch).unwrap());
        if written.is_none() {
            sessions.into_iter().for_each(|session| self.void.add(session));
        }
        self.remove_void(state);
        let outcomes: Vec<_> = match written {
            Some(written) => written
                .into_iter()
                .filter_map(|written| match written {
                    Written::Message(shard, taken) => Some((shard, Ok(taken))),
                    Written::Session(_) => None,
                })
                .collect(),
            None => told.iter().filter_map(|(shard, _)| Some(((*shard)?, Err(StoreError::Unavailable)))).collect(),
        };
        for shard in 0..=outcomes.iter().map(|(shard, _)| *shard).max().unwrap_or_default() {
            let of = outcomes.iter().filter(|(of, _)| *of == shard).map(|(_, outcome)| outcome.clone());
            let of: Vec<_> = of.collect();
            if !of.is_empty() {
                state.answers.push_back((shard, Answer::Appended(of)));
            }
        }
        for (shard, ticket) in told.into_iter().filter_map(|(_, told)| told) {
            state.answers.push_back((shard, Answer::Saved { ticket }));
        }
        true
    }

    /// Reads what was asked for first; `false` when nothing was.
    pub(super) fn read_one(&self) -> bool {
        let state = &mut *self.state.lock().unwrap();
        let Some(query) = state.queries.pop_front() else { return false };
        let connection = self.location.open_reader().unwrap();
        let answer = match query {
            Query::Page(query) => {
                let page = page(&connection, &query, wall_clock() + state.elapsed - self.max_age).unwrap();
                (query.shard, Answer::Page { ticket: query.ticket, page: Ok(page) })
            }
            Query::Session(SessionQuery { shard, ticket, session }) => {
                let session = find_session(&connection, self.identity.run, session).unwrap();
                (shard, Answer::Session { ticket, session: Ok(session) })
            }
            Query::Missed(query) => {
                let missed = missed(&connection, &query).unwrap();
                (query.shard, Answer::Missed { ticket: query.ticket, home: query.home, missed: Ok(missed) })
            }
        };
        state.answers.push_back(answer);
        true
    }

    /// The first answer.
    pub(super) fn take_answer(&self) -> Option<(u16, Answer)> {
        self.state.lock().unwrap().answers.pop_front()
    }
}

impl Store for LaterStore {
    fn append(&self, append: Append) -> Result<(), StoreError> {
        self.state.lock().unwrap().writes.push(Write::Message(append));
        Ok(())
    }

    fn read(&self, query: PageQuery) -> Result<(), StoreError> {
        self.state.lock().unwrap().queries.push_back(Query::Page(query));
        Ok(())
    }

    fn save(&self, change: SessionChange, urgency: Urgency) -> Saving {
        let told = match urgency {
            Urgency::Told { shard, ticket } => Some((shard, ticket)),
            Urgency::Whenever | Urgency::Soon => None,
        };
        let mut state = self.state.lock().unwrap();
        if state.is_busy {
            self.void.add(change.session());
            return Saving::Void;
        }
        state.writes.push(Write::Session { change, told });
        Saving::Queued
    }

    fn find_session(&self, query: SessionQuery) -> Result<(), StoreError> {
        self.state.lock().unwrap().queries.push_back(Query::Session(query));
        Ok(())
    }

    fn read_missed(&self, query: MissedQuery) -> Result<(), StoreError> {
        self.state.lock().unwrap().queries.push_back(Query::Missed(query));
        Ok(())
    }

    fn identity(&self) -> Identity {
        self.identity
    }

    fn look_up(&self, _: Lookup) -> Result<(), StoreError> {
        Err(StoreError::Unavailable)
    }

    fn change(&self, change: Change) -> Result<(), StoreError> {
        let state = &mut *self.state.lock().unwrap();
        state.database.change(wall_clock() + state.elapsed, change).map_err(|_| StoreError::Unavailable)
    }

    fn bans(&self) -> Vec<Ban> {
        Vec::new()
    }

    fn newest(&self) -> Uuid {
        self.newest
    }

    fn health(&self) -> &Arc<Health> {
        &self.health
    }

    fn close(&self) {}
}
