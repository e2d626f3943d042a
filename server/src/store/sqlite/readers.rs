//! The threads that read the history. They see what was committed before they look, and never wait for the writer.

use std::{sync::Arc, time::Instant};

use rusqlite::Connection;

use super::{
    super::{
        administration::Lookup,
        answers::Answers,
        health::{Health, Part},
        types::{Answer, Chosen, MissedQuery, PageQuery, SessionQuery, StoreError},
    },
    administration::{of_user, room_of, rooms},
    error::reason,
    page::{missed, page},
    queue::{Capacity, Next, Queue},
    retention::Bounds,
    schema::Location,
    sessions,
};
use crate::clock::wall_clock;

/// What a shard asks.
#[derive(Debug)]
pub(super) enum Query {
    Page(PageQuery),
    Session(SessionQuery),
    Missed(MissedQuery),
}

/// How many there are: so that one long page does not hold up all others, and no more, for the cores are the shards'.
pub(super) const READERS: usize = 2;

/// What may wait for them. Each shard asks for a few pages at a time.
pub(super) const CAPACITY: Capacity = Capacity { items: 65_536, bytes: usize::MAX };

/// Takes the questions one by one, so that the next thread can have the next one.
const ONE: Capacity = Capacity { items: 1, bytes: usize::MAX };

/// What is asked.
#[derive(Debug)]
pub(super) enum Question {
    /// By a shard, which gets the answer.
    Shard(Query),
    /// By the HTTP API.
    Lookup(Lookup),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) location: Location,
    pub(super) bounds: Bounds,
    pub(super) queue: Arc<Queue<Question>>,
    pub(super) answers: Box<dyn Answers>,
    pub(super) health: Arc<Health>,
    /// Which run of the server this is.
    pub(super) run: u32,
}

impl Reader {
    /// Reads until the queue is closed and empty.
    pub(super) fn run(self, connection: Connection) {
        let mut connection = Some(connection);
        while let Next::Items(questions) = self.queue.take(ONE, None) {
            for question in questions {
                match question {
                    Question::Shard(query) => {
                        let (shard, answer) = self.answer(&mut connection, &query);
                        self.answers.send(shard, answer);
                    }
                    Question::Lookup(lookup) => self.look_up(&mut connection, lookup),
                }
            }
        }
    }

    fn answer(&self, connection: &mut Option<Connection>, query: &Query) -> (u16, Answer) {
        match query {
            Query::Page(query) => {
                (query.shard, Answer::Page { ticket: query.ticket, page: self.read_page(connection, query) })
            }
            Query::Session(SessionQuery { shard, ticket, session }) => {
                let session = self.read(connection, |connection| sessions::find(connection, self.run, *session));
                (*shard, Answer::Session { ticket: *ticket, session })
            }
            Query::Missed(query) => {
                let missed = self.read(connection, |connection| missed(connection, query));
                (query.shard, Answer::Missed { ticket: query.ticket, home: query.home, missed })
            }
        }
    }

    /// Answers the HTTP API, which may be gone.
    fn look_up(&self, connection: &mut Option<Connection>, lookup: Lookup) {
        match lookup {
            Lookup::Page { query, answer } => drop(answer.send(self.read_page(connection, &query))),
            Lookup::RoomOf { id, answer } => drop(answer.send(self.read(connection, |opened| room_of(opened, id)))),
            Lookup::OfUser { user, from, answer } => {
                drop(answer.send(self.read(connection, |opened| of_user(opened, &user, from))));
            }
            Lookup::Rooms { after, limit, answer } => {
                drop(answer.send(self.read(connection, |opened| rooms(opened, after.as_ref(), limit))));
            }
        }
    }

    fn read_page(&self, connection: &mut Option<Connection>, query: &PageQuery) -> Result<Chosen, StoreError> {
        self.read(connection, |opened| page(opened, query, self.bounds.oldest(wall_clock())))
    }

    fn read<T>(
        &self,
        connection: &mut Option<Connection>,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let opened = match connection.take() {
            Some(connection) => Ok(connection),
            // After a fault nothing is trusted that the last connection knows.
            None => self.location.open_reader().map_err(|error| error.to_string()),
        };
        let read = opened.and_then(|opened| {
            let begun = Instant::now();
            let read = read(&opened).map_err(|error| reason(&error))?;
            self.health.count_read(begun.elapsed());
            *connection = Some(opened);
            Ok(read)
        });
        match read {
            Ok(read) => {
                self.health.recover(Part::Reading);
                Ok(read)
            }
            Err(reason) => {
                self.health.fail(Part::Reading, reason);
                Err(StoreError::Unavailable)
            }
        }
    }
}
