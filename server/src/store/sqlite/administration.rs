//! What the HTTP API looks up, deletes and forbids.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use socketio::json;
use uuid::Uuid;

use super::{
    super::{
        administration::{Ban, Change, Cursor, RoomCount, UserMessages},
        message_ids::IdParts,
        types::StoreError,
    },
    database::{Database, add_messages, last_position},
};
use crate::room::Room;

/// How many messages one look for those of a user goes through.
const LOOK: usize = 2000;

/// The room of a message. Messages are found by room, so all rooms are asked; that is one look into an index for each, and no message
/// pays for an index of its own.
pub(super) fn room_of(connection: &Connection, id: Uuid) -> rusqlite::Result<Option<Room>> {
    let IdParts { position, rest } = IdParts::of(id);
    let sql = "SELECT room.name FROM room CROSS JOIN message ON message.room = room.id AND message.position = ?
               WHERE message.rest = ?";
    let mut find = connection.prepare_cached(sql)?;
    let name = find.query_row([position, rest], |row| row.get::<_, String>(0)).optional()?;
    Ok(name.filter(|_| IdParts { position, rest }.id() == id).map(|name| Room::new(&name)))
}

/// Messages of a user among the next ones behind a cursor. No index knows whose messages are whose: deletions are rare, and messages
/// are not.
pub(super) fn of_user(connection: &Connection, user: &str, from: Cursor) -> rusqlite::Result<UserMessages> {
    let transaction = connection.unchecked_transaction()?;
    let sql = "SELECT room, position, rest, json FROM message WHERE (room, position) > (?, ?)
               ORDER BY room, position LIMIT ?";
    let mut select = transaction.prepare_cached(sql)?;
    let mut rows = select.query(params![from.room, from.position, LOOK as i64])?;
    let (mut found, mut last, mut seen, mut name) = (Vec::new(), from, 0, None);
    while let Some(row) = rows.next()? {
        last = Cursor { room: row.get(0)?, position: row.get(1)? };
        seen += 1;
        let Ok(json) = row.get_ref(3)?.as_str() else { continue };
        if !is_of(json, user) {
            continue;
        }
        if name.as_ref().is_none_or(|(room, _)| *room != last.room) {
            name = Some((last.room, name_of(&transaction, last.room)?));
        }
        if let Some((_, Some(room))) = &name {
            found.push((room.clone(), IdParts { position: last.position, rest: row.get(2)? }.id()));
        }
    }
    Ok(UserMessages { found, next: (seen == LOOK).then_some(last) })
}

/// Whether an event's payload says that it is this user's.
fn is_of(payload: &str, user: &str) -> bool {
    let value = json::members(payload).find(|(key, _)| *key == r#""userId""#).map(|(_, value)| value);
    value.and_then(|value| json::unquote(value).ok()).is_some_and(|id| id == user)
}

fn name_of(connection: &Connection, room: i64) -> rusqlite::Result<Option<Room>> {
    let mut find = connection.prepare_cached("SELECT name FROM room WHERE id = ?")?;
    find.query_row([room], |row| row.get::<_, String>(0).map(|name| Room::new(&name))).optional()
}

/// The first rooms by id that have messages, behind one.
pub(super) fn rooms(connection: &Connection, after: Option<&Room>, limit: usize) -> rusqlite::Result<Vec<RoomCount>> {
    // No room has an empty id, so all come after it.
    let after = after.map_or("", Room::id);
    let sql = "SELECT name, messages FROM room WHERE name > ? AND messages > 0 ORDER BY name LIMIT ?";
    let mut select = connection.prepare_cached(sql)?;
    let rows = select.query_map(params![after, limit as i64], |row| {
        let (name, messages): (String, i64) = (row.get(0)?, row.get(1)?);
        Ok(RoomCount { room: Room::new(&name), messages: messages.cast_unsigned() })
    })?;
    rows.collect()
}

/// All bans.
pub(super) fn bans(connection: &Connection) -> rusqlite::Result<Vec<Ban>> {
    let mut select = connection.prepare("SELECT user, reason, time FROM ban")?;
    let rows = select.query_map([], |row| {
        let (user, reason, time): (String, Option<String>, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Ban { user: user.into(), reason: reason.map(Into::into), millis: time.cast_unsigned() })
    })?;
    rows.collect()
}

impl Database {
    /// Makes a change in a transaction of its own, and answers. `now` is the wall clock, as the time since the Unix epoch.
    ///
    /// # Errors
    /// It was not made, and whoever asked was told so.
    pub(crate) fn change(&mut self, now: Duration, change: Change) -> rusqlite::Result<()> {
        // Whoever asked may be gone.
        match change {
            Change::Delete { room, ids, answer } => {
                let deleted = self.in_transaction(|transaction| delete(transaction, now, &room, &ids));
                let (outcome, result) = split(deleted);
                let _ = answer.send(outcome);
                result
            }
            Change::Ban { ban: Ban { user, reason, millis }, answer } => {
                let values = params![&*user, reason.as_deref(), millis.cast_signed()];
                let sql = "INSERT OR REPLACE INTO ban VALUES (?, ?, ?)";
                let (outcome, result) =
                    split(self.in_transaction(|transaction| transaction.execute(sql, values).map(drop)));
                let _ = answer.send(outcome);
                result
            }
            Change::LiftBan { user, answer } => {
                let sql = "DELETE FROM ban WHERE user = ?";
                let (outcome, result) =
                    split(self.in_transaction(|transaction| transaction.execute(sql, [&*user]).map(drop)));
                let _ = answer.send(outcome);
                result
            }
        }
    }

    fn in_transaction<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let done = work(&transaction)?;
        transaction.commit()?;
        Ok(done)
    }
}

/// An outcome for whoever asked, and for the writer.
fn split<T>(result: rusqlite::Result<T>) -> (Result<T, StoreError>, rusqlite::Result<()>) {
    match result {
        Ok(done) => (Ok(done), Ok(())),
        Err(error) => (Err(StoreError::Unavailable), Err(error)),
    }
}

/// Deletes messages of a room, with their attachments, and remembers that for clients that are away. Returns those that there were.
fn delete(transaction: &Transaction<'_>, now: Duration, room: &Room, ids: &[Uuid]) -> rusqlite::Result<Vec<Uuid>> {
    let mut find = transaction.prepare_cached("SELECT id FROM room WHERE name = ?")?;
    let Some(room) = find.query_row([room.id()], |row| row.get::<_, i64>(0)).optional()? else { return Ok(Vec::new()) };
    let sql = "DELETE FROM message WHERE room = ? AND position = ? AND rest = ? RETURNING attachments";
    let mut delete = transaction.prepare_cached(sql)?;
    let mut remember = transaction.prepare_cached("INSERT OR REPLACE INTO deleted VALUES (?, ?, ?, ?, ?)")?;
    let (after, now) = (last_position(transaction)?, now.as_millis() as i64);
    let mut deleted = Vec::new();
    for id in ids {
        let IdParts { position, rest } = IdParts::of(*id);
        let attachments = delete.query_row([room, position, rest], |row| row.get::<_, i64>(0)).optional()?;
        let Some(attachments) = attachments else { continue };
        if attachments > 0 {
            let sql = "DELETE FROM attachment WHERE room = ? AND position = ?";
            transaction.prepare_cached(sql)?.execute([room, position])?;
        }
        remember.execute([room, after, position, rest, now])?;
        deleted.push(*id);
    }
    add_messages(transaction, room, -(deleted.len() as i64))?;
    Ok(deleted)
}
