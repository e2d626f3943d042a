//! Sessions: what lets a client be recovered after a restart of the server.
//!
//! A running server knows its own sessions in memory. Here is what the next run of the server is to know of them, should this one
//! end without warning. A session that began in an earlier run, and was claimed in none since, can be claimed for as long as the
//! server says; then [`Remains`] removes it, a bounded piece at a time.

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::super::{
    message_ids::Position,
    types::{Identity, RUN_MAX, SavedSession, SessionChange, SessionId, SessionSecret},
};
use crate::room::Room;

/// Counts this opening of the store.
///
/// # Errors
/// The database cannot be written.
pub(super) fn begin_run(connection: &Connection) -> rusqlite::Result<Identity> {
    let next = "UPDATE instance SET run = run % ? + 1 RETURNING run, home_keys";
    connection.query_row(next, [RUN_MAX], |row| Ok(Identity { run: row.get(0)?, home_keys: row.get(1)? }))
}

/// Stores what changed of a session. `run` is this one.
pub(super) fn save(transaction: &Transaction<'_>, run: u32, change: &SessionChange) -> rusqlite::Result<()> {
    match change {
        SessionChange::Began { session, secret, sid, user } => {
            let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO session VALUES (?, ?, ?, ?, ?)")?;
            insert.execute(params![number(*session), run, secret.0, &**sid, &**user])?;
        }
        SessionChange::Resumed(session) => {
            let mut update = transaction.prepare_cached("UPDATE session SET run = ? WHERE id = ?")?;
            update.execute(params![run, number(*session)])?;
        }
        SessionChange::Entered { session, room, since } => {
            let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO session_room VALUES (?, ?, ?)")?;
            insert.execute(params![number(*session), room.id(), since.number()])?;
        }
        SessionChange::Left { session, room } => {
            let mut delete = transaction.prepare_cached("DELETE FROM session_room WHERE session = ? AND room = ?")?;
            delete.execute(params![number(*session), room.id()])?;
        }
        SessionChange::Ended(session) => remove(transaction, *session)?,
    }
    Ok(())
}

/// Removes a session.
pub(super) fn remove(connection: &Connection, session: SessionId) -> rusqlite::Result<()> {
    let session = [number(session)];
    connection.prepare_cached("DELETE FROM session WHERE id = ?")?.execute(session)?;
    connection.prepare_cached("DELETE FROM session_room WHERE session = ?")?.execute(session).map(drop)
}

/// Removes all sessions with this number or a lower one.
pub(super) fn remove_until(connection: &Connection, last: SessionId) -> rusqlite::Result<()> {
    let last = [number(last)];
    connection.execute("DELETE FROM session WHERE id <= ?", last)?;
    connection.execute("DELETE FROM session_room WHERE session <= ?", last).map(drop)
}

/// The session, if it began in an earlier run than this one and was claimed in none since.
///
/// # Errors
/// The database cannot be read.
pub(crate) fn find(connection: &Connection, run: u32, session: SessionId) -> rusqlite::Result<Option<SavedSession>> {
    let transaction = connection.unchecked_transaction()?;
    let mut find = transaction.prepare_cached("SELECT secret, sid, user FROM session WHERE id = ? AND run != ?")?;
    let found = find.query_row(params![number(session), run], |row| {
        let (secret, sid, user) = (SessionSecret(row.get(0)?), row.get(1)?, row.get(2)?);
        Ok(SavedSession { secret, sid, user, rooms: Vec::new() })
    });
    let Some(mut saved) = found.optional()? else { return Ok(None) };
    let mut rooms = transaction.prepare_cached("SELECT room, since FROM session_room WHERE session = ?")?;
    let rooms = rooms.query_map([number(session)], |row| {
        Ok((Room::new(row.get_ref(0)?.as_str()?), Position::from_number(row.get(1)?)))
    })?;
    saved.rooms = rooms.collect::<Result<_, _>>()?;
    Ok(Some(saved))
}

/// How many rows one step looks at.
const ROWS: i64 = 1024;

/// Removes the sessions of earlier runs that nobody claimed.
#[derive(Debug)]
pub(super) struct Remains {
    run: u32,
    /// The last session that was looked at, in each of the two tables.
    sessions: i64,
    rooms: i64,
}

impl Remains {
    /// What runs before this one left.
    pub(super) const fn before(run: u32) -> Self {
        Self { run, sessions: 0, rooms: 0 }
    }

    /// Takes a step; whether there may be more.
    ///
    /// # Errors
    /// Nothing of this step was done.
    pub(super) fn step(&mut self, connection: &mut Connection) -> rusqlite::Result<bool> {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        // Numbers of runs begin anew some time, so no session of another run is too young.
        let ids = ids(&transaction, "SELECT id FROM session WHERE id > ? ORDER BY id LIMIT ?", self.sessions)?;
        for id in &ids {
            let mut delete = transaction.prepare_cached("DELETE FROM session WHERE id = ? AND run != ?")?;
            delete.execute(params![id, self.run])?;
        }
        if let Some(last) = ids.last() {
            transaction.commit()?;
            self.sessions = *last;
            return Ok(true);
        }
        let next = "SELECT DISTINCT session FROM session_room WHERE session > ? ORDER BY session LIMIT ?";
        let ids = self::ids(&transaction, next, self.rooms)?;
        for id in &ids {
            // Rooms are stored before their session is, so those of this run may be about to get one.
            let is_of_this_run = SessionId::from_number(id.cast_unsigned()).is_some_and(|id| id.run() == self.run);
            if !is_of_this_run {
                let sql =
                    "DELETE FROM session_room WHERE session = ?1 AND NOT EXISTS (SELECT 1 FROM session WHERE id = ?1)";
                transaction.prepare_cached(sql)?.execute([id])?;
            }
        }
        transaction.commit()?;
        let Some(last) = ids.last() else { return Ok(false) };
        self.rooms = *last;
        Ok(true)
    }
}

fn ids(transaction: &Transaction<'_>, sql: &str, after: i64) -> rusqlite::Result<Vec<i64>> {
    let mut select = transaction.prepare_cached(sql)?;
    let ids = select.query_map([after, ROWS], |row| row.get(0))?;
    ids.collect()
}

/// As the database keeps it.
fn number(session: SessionId) -> i64 {
    session.get().cast_signed()
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::{
        super::{Database, Location, Moment, Write},
        *,
    };
    use crate::config::Durability;

    /// A database in the next run of the server.
    fn open(directory: &tempfile::TempDir) -> Database {
        let path = directory.path().join("chat.db");
        let location = Location { path, durability: Durability::None, page_cache: 1 << 20 };
        Database::new(location.open_writer().unwrap()).unwrap()
    }

    fn save_all(database: &mut Database, changes: impl IntoIterator<Item = SessionChange>) {
        let writes = changes.into_iter().map(|change| Write::Session { change, told: None }).collect();
        let moment = Moment { wall: Duration::from_secs(1), random: [0; 16] };
        assert!(!database.write(moment, writes).unwrap().is_empty());
    }

    fn began(session: SessionId) -> SessionChange {
        let user = Arc::from("alice");
        SessionChange::Began { session, secret: SessionSecret([7; 16]), sid: "sid".into(), user }
    }

    fn entered(session: SessionId, room: &str, since: i64) -> SessionChange {
        SessionChange::Entered { session, room: Room::new(room), since: Position::from_number(since) }
    }

    fn rooms(database: &Database, session: SessionId) -> Option<Vec<(String, i64)>> {
        let found = find(&database.connection, database.identity().run, session).unwrap()?;
        assert_eq!((&*found.sid, &*found.user, found.secret), ("sid", "alice", SessionSecret([7; 16])));
        Some(found.rooms.iter().map(|(room, since)| (room.id().to_owned(), since.number())).collect())
    }

    #[test]
    fn a_session_is_found_in_the_next_run_as_it_was_last() {
        let directory = tempfile::tempdir().unwrap();
        let mut database = open(&directory);
        let run = database.identity().run;
        let [one, two, three] = [1, 2, 3].map(|number| SessionId::new(run, number));
        save_all(&mut database, [entered(one, "a", 5), entered(one, "b", 6), began(one), began(two), began(three)]);
        let left = SessionChange::Left { session: one, room: Room::new("a") };
        save_all(&mut database, [left, entered(one, "b", 9), SessionChange::Ended(two)]);
        assert_eq!(rooms(&database, one), None, "it is of this run");
        let next = open(&directory);
        assert_eq!((next.identity().run, next.identity().home_keys), (run + 1, database.identity().home_keys));
        assert_eq!(rooms(&next, one), Some(vec![("b".to_owned(), 9)]));
        assert_eq!((rooms(&next, two), rooms(&next, three)), (None, Some(vec![])));
    }

    #[test]
    fn what_nobody_claimed_is_removed_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let mut database = open(&directory);
        let old = |number| SessionId::new(1, number);
        save_all(&mut database, (1..=2000).map(old).flat_map(|session| [entered(session, "a", 5), began(session)]));
        // Killed before it began.
        save_all(&mut database, [entered(old(2001), "a", 5)]);
        let mut database = open(&directory);
        let new = SessionId::new(database.identity().run, 1);
        save_all(&mut database, [SessionChange::Resumed(old(77)), entered(new, "a", 5)]);
        let mut remains = Remains::before(database.identity().run);
        while remains.step(&mut database.connection).unwrap() {}
        let count = |table: &str| {
            let sql = format!("SELECT count(*) FROM {table}");
            database.connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!((count("session"), count("session_room")), (1, 2));
        let next = open(&directory);
        assert_eq!(rooms(&next, old(77)), Some(vec![("a".to_owned(), 5)]));
    }
}
