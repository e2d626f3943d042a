//! Pages of the history, on connections that only read.

use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::{
    filling::Filling,
    message_ids::{IdParts, position_at, positions_around},
    types::{Chosen, PageQuery, Side, Stored},
};

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
    let columns = "SELECT position, rest, attachments, json FROM message";
    let sql = format!("{columns} WHERE room = ? AND position BETWEEN ? AND ? ORDER BY position {order}");
    let mut select = transaction.prepare_cached(&sql)?;
    let mut rows = select.query(params![room, first, last])?;
    let (mut filling, mut chosen) = (Filling::new(query.limit), Chosen { messages: Vec::new(), more: false });
    while let Some(row) = rows.next()? {
        let parts = IdParts { position: row.get(0)?, rest: row.get(1)? };
        let id = parts.id();
        // At the bound itself positions do not decide.
        if query.after.is_some_and(|after| id <= after) || query.before.is_some_and(|before| id >= before) {
            continue;
        }
        let json = row.get_ref(3)?.as_str().map_err(|error| wrong_text(3, error))?.into();
        let attachments = match row.get::<_, i64>(2)? {
            0 => Box::default(),
            _ => attachments(&transaction, room, parts.position)?,
        };
        let stored = Stored { id, json, attachments };
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
