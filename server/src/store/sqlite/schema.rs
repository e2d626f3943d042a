//! The database: how it is opened, and what is in it.
//!
//! A message is found by its room and its position, the part of its id that orders it ([`IdParts`](super::super::message_ids::IdParts)).
//! The messages of a room lie beside each other, so a page of the history costs a few reads, however many rooms there are.

use std::{
    fs::OpenOptions,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::error::{OpenError, reason};
use crate::config::Durability;

/// The database in the data directory.
pub(crate) const FILE: &str = "chat.db";

/// Marks the file as ours (`PRAGMA application_id`): "chat".
const APPLICATION: i64 = 0x6368_6174;

/// The steps from each schema to the next one. A step that was released is never changed: it may have run.
const STEPS: [&str; 4] = [
    // 1: messages, what is remembered of `clientId`, and the last position.
    "CREATE TABLE room (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, messages INTEGER NOT NULL) STRICT;
     CREATE TABLE message (
         room INTEGER NOT NULL, position INTEGER NOT NULL, rest INTEGER NOT NULL, attachments INTEGER NOT NULL,
         json TEXT NOT NULL, PRIMARY KEY (room, position)
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE attachment (
         room INTEGER NOT NULL, position INTEGER NOT NULL, number INTEGER NOT NULL, bytes BLOB NOT NULL,
         PRIMARY KEY (room, position, number)
     ) STRICT, WITHOUT ROWID;
     CREATE TABLE receipt (
         room INTEGER NOT NULL, user TEXT NOT NULL, client_id TEXT NOT NULL, position INTEGER NOT NULL,
         rest INTEGER NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (room, user, client_id)
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX receipt_time ON receipt (time);
     CREATE TABLE last (position INTEGER NOT NULL, attempts INTEGER NOT NULL) STRICT;
     INSERT INTO last VALUES (0, 0);",
    // 2: sessions, so that clients are recovered after a restart; and up to which position messages of a room were forgotten. A
    // session's rooms are kept by name, because a room without messages has no number for long.
    "CREATE TABLE instance (run INTEGER NOT NULL, home_keys BLOB NOT NULL) STRICT;
     INSERT INTO instance VALUES (0, randomblob(16));
     CREATE TABLE session (
         id INTEGER PRIMARY KEY, run INTEGER NOT NULL, secret BLOB NOT NULL, sid TEXT NOT NULL, user TEXT NOT NULL
     ) STRICT;
     CREATE TABLE session_room (
         session INTEGER NOT NULL, room TEXT NOT NULL, since INTEGER NOT NULL, PRIMARY KEY (session, room)
     ) STRICT, WITHOUT ROWID;
     ALTER TABLE room ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;",
    // 3: users who may not connect.
    "CREATE TABLE ban (user TEXT NOT NULL PRIMARY KEY, reason TEXT, time INTEGER NOT NULL) STRICT, WITHOUT ROWID;",
    // 4: messages that were deleted a short time ago, for clients that were away meanwhile; and after which position of any message.
    "CREATE TABLE deleted (
         room INTEGER NOT NULL, after INTEGER NOT NULL, position INTEGER NOT NULL, rest INTEGER NOT NULL, time INTEGER NOT NULL,
         PRIMARY KEY (room, after, position)
     ) STRICT, WITHOUT ROWID;
     CREATE INDEX deleted_time ON deleted (time);",
];

/// The schema of this version.
pub(crate) const SCHEMA: i64 = STEPS.len() as i64;

/// How long a statement waits for another process, such as a shell that holds the file for a moment.
const BUSY: Duration = Duration::from_secs(2);

/// A database, and how it is used.
#[derive(Debug, Clone)]
pub(crate) struct Location {
    pub(crate) path: PathBuf,
    pub(crate) durability: Durability,
    /// Of one connection, in bytes.
    pub(crate) page_cache: usize,
}

impl Location {
    /// The connection that writes. Makes the database if there is none, for its owner only, and brings its schema up to this version's.
    ///
    /// # Errors
    /// The file cannot be used, or is not of a schema that this version knows.
    pub(crate) fn open_writer(&self) -> Result<Connection, OpenError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let fail = |error: rusqlite::Error| self.fail(&error);
        self.make_private();
        let mut connection = Connection::open_with_flags(&self.path, flags).map_err(fail)?;
        self.prepare(&connection).map_err(fail)?;
        self.check_schema(&connection)?;
        let version = schema(&connection).map_err(fail)?;
        if version == 0 {
            // Both decide about the form of the file, so before there is anything in it.
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(fail)?;
        }
        connection.pragma_update(None, "journal_mode", "WAL").map_err(fail)?;
        let synchronous = match self.durability {
            Durability::Commit => "FULL",
            Durability::Os => "NORMAL",
            Durability::None => "OFF",
        };
        connection.pragma_update(None, "synchronous", synchronous).map_err(fail)?;
        // In pages. The log goes into the file 4 MiB at a time, in a commit.
        connection.pragma_update(None, "wal_autocheckpoint", 1000).map_err(fail)?;
        connection.pragma_update(None, "journal_size_limit", 64 << 20).map_err(fail)?;
        self.migrate(&mut connection, version).map_err(fail)?;
        Ok(connection)
    }

    /// A connection that reads only, of a database that exists.
    ///
    /// # Errors
    /// As [`Location::open_writer`].
    pub(crate) fn open_reader(&self) -> Result<Connection, OpenError> {
        if !self.path.exists() {
            return Err(OpenError::Missing(self.path.clone()));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(|error| self.fail(&error))?;
        self.prepare(&connection).map_err(|error| self.fail(&error))?;
        self.check_schema(&connection)?;
        Ok(connection)
    }

    /// Makes an empty file for the owner only, if there is none. What SQLite puts beside it gets the same mode.
    fn make_private(&self) {
        // Whatever is wrong, SQLite finds it out too, and says it.
        let _ = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path);
    }

    /// Whether every user of this machine can read the database, or what belongs to it, and no directory above keeps them out.
    pub(super) fn is_public(&self) -> bool {
        let Ok(path) = self.path.canonicalize() else { return false };
        let allows = |path: &Path, bit| path.metadata().is_ok_and(|file| file.mode() & bit != 0);
        let is_readable = ["", "-wal", "-shm"].into_iter().any(|suffix| {
            let mut name = path.clone().into_os_string();
            name.push(suffix);
            allows(Path::new(&name), 0o004)
        });
        is_readable && path.ancestors().skip(1).all(|directory| allows(directory, 0o001))
    }

    fn fail(&self, error: &rusqlite::Error) -> OpenError {
        OpenError::Database { path: self.path.clone(), reason: reason(error) }
    }

    fn prepare(&self, connection: &Connection) -> rusqlite::Result<()> {
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(64);
        // Whoever can change the file must not thereby run anything here.
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        // A negative number counts KiB.
        let kibibytes = i64::try_from(self.page_cache / 1024).unwrap_or(i64::MAX).max(64);
        connection.pragma_update(None, "cache_size", -kibibytes)
    }

    /// Refuses what another program or a newer version wrote.
    fn check_schema(&self, connection: &Connection) -> Result<(), OpenError> {
        let fail = |error: rusqlite::Error| self.fail(&error);
        let found = schema(connection).map_err(fail)?;
        let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(fail)?;
        let tables: i64 =
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(fail)?;
        if application != APPLICATION && (tables > 0 || found != 0) {
            return Err(OpenError::Foreign(self.path.clone()));
        }
        if found > SCHEMA {
            return Err(OpenError::Newer { path: self.path.clone(), found, known: SCHEMA });
        }
        Ok(())
    }

    /// Takes the steps that are left. Each is done whole or not at all.
    fn migrate(&self, connection: &mut Connection, from: i64) -> rusqlite::Result<()> {
        let steps = STEPS.iter().zip(1..).filter(|(_, to)| *to > from);
        for (step, to) in steps {
            let transaction = connection.transaction()?;
            transaction.execute_batch(step)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", to)?;
            transaction.commit()?;
            tracing::info!(schema = to, file = %self.path.display(), "the store has a new schema");
        }
        Ok(())
    }
}

/// The schema of a database; 0 of a new one.
pub(crate) fn schema(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// A database as the operators' tools use it: everything they change is on the disk when they end.
pub(crate) fn for_tools(data_dir: &Path) -> Location {
    Location { path: path(data_dir), durability: Durability::Commit, page_cache: 32 << 20 }
}

/// The database of a data directory.
pub(crate) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_log_that_all_can_read_is_public_too() {
        let directory = tempfile::tempdir().unwrap();
        let location = for_tools(directory.path());
        let log = directory.path().join("chat.db-wal");
        let set_mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        for file in [&location.path, &log] {
            fs::write(file, "").unwrap();
            set_mode(file, 0o600);
        }
        set_mode(directory.path(), 0o755);
        assert!(!location.is_public());
        set_mode(&log, 0o644);
        // Where directories above are private, so is all that is below.
        let may_enter = |path: &Path| fs::metadata(path).unwrap().mode() & 0o001 != 0;
        assert_eq!(location.is_public(), directory.path().canonicalize().unwrap().ancestors().all(may_enter));
        set_mode(directory.path(), 0o750);
        assert!(!location.is_public());
    }
}
