//! Pages of the history, and what clients missed, on connections that only read.

use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::super::{
    filling::Filling,
    message_ids::{IdParts, Position, position_at, positions_around},
    types::{Chosen, Deleted, Missed, MissedFilling, MissedQuery, PageQuery, Side, Stored},
};

/// The time within which a room hears of a deletion after it is stored. Messages that are stored in between may reach the room first. A shard
/// that is later than this has no clients left: their heartbeats have failed.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

/// The messages that a query asks for. Those that were stored before `oldest` (a wall clock, as the time since the Unix epoch) count
/// as forgotten already.
///
/// # Errors
/// The database cannot be read.
pub(crate) fn page(connection: &Connection, query: &PageQuery, oldest: Duration) -> rusqlite::Result<Chosen> {
    // One transaction: what retention deletes meanwhile is still there.
    let transaction = connection.unchecked_transaction()?;
    let mut find = transaction.prepare_cached("SELECT id FROM room WHERE name = ?")?;
    let Some(room) = find.query_row([query.room.id()], |row| row.get::<_, i64>(0)).optional()? else {
        return Ok(Chosen { messages: Vec::new(), more: false });
    };
    let (mut first, mut last) = (position_at(oldest), IdParts::of(query.until).position);
    if let Some(after) = query.after {
        first = first.max(positions_around(after).0);
    }
    if let Some(before) = query.before {
        last = last.min(positions_around(before).1);
    }
    let order = match query.side {
        Side::Oldest => "ASC",
        Side::Newest => "DESC",
    };
    let sql = format!("{COLUMNS} WHERE room = ? AND position BETWEEN ? AND ? ORDER BY position {order}");
    let mut select = transaction.prepare_cached(&sql)?;
    let mut rows = select.query(params![room, first, last])?;
    let (mut filling, mut chosen) = (Filling::new(query.limit), Chosen { messages: Vec::new(), more: false });
    while let Some(row) = rows.next()? {
        let id = IdParts { position: row.get(0)?, rest: row.get(1)? }.id();
        // At the bound itself positions do not decide.
        if query.after.is_some_and(|after| id <= after) || query.before.is_some_and(|before| id >= before) {
            continue;
        }
        let stored = stored(&transaction, room, row)?;
        if !filling.takes(&stored) {
            chosen.more = true;
            break;
        }
        chosen.messages.push(stored);
    }
    if query.side == Side::Newest {
        chosen.messages.reverse();
    }
    Ok(chosen)
}

/// What [`stored`] reads.
const COLUMNS: &str = "SELECT position, rest, attachments, json FROM message";

/// The message of a room in this row.
fn stored(transaction: &Connection, room: i64, row: &Row<'_>) -> rusqlite::Result<Stored> {
    let parts = IdParts { position: row.get(0)?, rest: row.get(1)? };
    let json = row.get_ref(3)?.as_str().map_err(|error| wrong_text(3, error))?.into();
    let attachments = match row.get::<_, i64>(2)? {
        0 => Box::default(),
        _ => attachments(transaction, room, parts.position)?,
    };
    Ok(Stored { id: parts.id(), json, attachments })
}

/// What a client missed.
///
/// # Errors
/// The database cannot be read.
pub(crate) fn missed(connection: &Connection, query: &MissedQuery) -> rusqlite::Result<Missed> {
    let transaction = connection.unchecked_transaction()?;
    let mut missed = MissedFilling::new(query.max_bytes);
    // Mostly there is none, and then no room needs to be looked at.
    let mut any_deleted = transaction.prepare_cached("SELECT EXISTS (SELECT 1 FROM deleted)")?;
    let any_deleted: bool = any_deleted.query_row([], |row| row.get(0))?;
    for (name, since) in &query.rooms {
        let mut find = transaction.prepare_cached("SELECT id, forgotten FROM room WHERE name = ?")?;
        let found = find.query_row([name.id()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some::<(i64, i64)>((room, forgotten)) = found else { continue };
        if forgotten > since.number() {
            return Ok(None);
        }
        let sql = format!("{COLUMNS} WHERE room = ? AND position > ? AND position <= ? ORDER BY position");
        let mut select = transaction.prepare_cached(&sql)?;
        let mut rows = select.query(params![room, since.number(), query.until.number()])?;
        while let Some(row) = rows.next()? {
            if !missed.push(stored(&transaction, room, row)?) {
                return Ok(None);
            }
        }
        if !any_deleted {
            continue;
        }
        let sql = "SELECT position, rest, after FROM deleted WHERE room = ? AND after >= ? ORDER BY after, position";
        let mut select = transaction.prepare_cached(sql)?;
        let mut rows = select.query([room, since.earlier(TOLD_WITHIN).number()])?;
        while let Some(row) = rows.next()? {
            let id = IdParts { position: row.get(0)?, rest: row.get(1)? }.id();
            let after = Position::from_number(row.get(2)?);
            if !missed.push_deleted(Deleted { room: name.clone(), id, after }) {
                return Ok(None);
            }
        }
    }
    Ok(Some(missed.into_events()))
}

fn wrong_text(column: usize, error: rusqlite::types::FromSqlError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

/// The attachments of a message.
pub(super) fn attachments(connection: &Connection, room: i64, position: i64) -> rusqlite::Result<Box<[Bytes]>> {
    let sql = "SELECT bytes FROM attachment WHERE room = ? AND position = ? ORDER BY number";
    let mut select = connection.prepare_cached(sql)?;
    let rows = select.query_map([room, position], |row| row.get::<_, Vec<u8>>(0))?;
    rows.map(|bytes| bytes.map(Bytes::from)).collect()
}
