//! The threads that read the history. They see what was committed before they look, and never wait for the writer.

use std::sync::Arc;

use rusqlite::Connection;

use super::{
    super::{
        answers::Answers,
        health::{Health, Part},
        types::{Answer, Chosen, PageQuery, StoreError},
    },
    error::reason,
    page::page,
    queue::{Capacity, Next, Queue},
    retention::Bounds,
    schema::Location,
};
use crate::clock::wall_clock;

/// How many there are: so that one long page does not hold up all others, and no more, for the cores are the shards'.
pub(super) const READERS: usize = 2;

/// What may wait for them. Each shard asks for a few pages at a time.
pub(super) const CAPACITY: Capacity = Capacity { items: 65_536, bytes: usize::MAX };

/// Takes the questions one by one, so that the next thread can have the next one.
const ONE: Capacity = Capacity { items: 1, bytes: usize::MAX };

/// See the module.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) location: Location,
    pub(super) bounds: Bounds,
    pub(super) queue: Arc<Queue<PageQuery>>,
    pub(super) answers: Box<dyn Answers>,
    pub(super) health: Arc<Health>,
}

impl Reader {
    /// Reads until the queue is closed and empty.
    pub(super) fn run(self, connection: Connection) {
        let mut connection = Some(connection);
        while let Next::Items(queries) = self.queue.take(ONE, None) {
            for query in queries {
                let page = self.read(&mut connection, &query);
                self.answers.send(query.shard, Answer::Page { ticket: query.ticket, page });
            }
        }
    }

    fn read(&self, connection: &mut Option<Connection>, query: &PageQuery) -> Result<Chosen, StoreError> {
        let opened = match connection.take() {
            Some(connection) => Ok(connection),
            // After a fault nothing is trusted that the last connection knows.
            None => self.location.open_reader().map_err(|error| error.to_string()),
        };
        let read = opened.and_then(|opened| {
            let read = page(&opened, query, self.bounds.oldest(wall_clock())).map_err(|error| reason(&error))?;
            *connection = Some(opened);
            Ok(read)
        });
        match read {
            Ok(chosen) => {
                self.health.recover(Part::Reading);
                Ok(chosen)
            }
            Err(reason) => {
                self.health.fail(Part::Reading, reason);
                Err(StoreError::Unavailable)
            }
        }
    }
}
