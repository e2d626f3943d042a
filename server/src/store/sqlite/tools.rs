//! What operators do with a database: look at it, check it, write its messages out as JSON lines, and read such lines.

use std::{
    io::{self, BufRead, Write},
    path::Path,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension as _, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{
    super::{message_ids::IdParts, types::Stored},
    database::{add_messages, insert, number_of, set_last},
    error::{OpenError, reason},
    lock::DirectoryLock,
    page::attachments,
    queue::Capacity,
    schema::{self, for_tools},
};

/// How many lines of an import, and of how many bytes, are in one transaction. Lines in the order of time go to many rooms, and each
/// transaction writes the last pages of all these: with a tenth of this, 1,000 rooms took five times as long.
const BATCH: Capacity = Capacity { items: 32_768, bytes: 32 << 20 };

/// How many faults a check names.
const FAULTS: usize = 100;

/// Why a tool did not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the store: {}", reason(.0))]
    Database(#[from] rusqlite::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("line {line}: {reason}; the lines before {first} were imported")]
    Line { line: u64, first: u64, reason: String },
}

/// What is in a store.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Info {
    pub(crate) schema: i64,
    pub(crate) rooms: i64,
    pub(crate) messages: i64,
    /// `clientId`s that are remembered.
    pub(crate) receipts: i64,
    /// The times of the first and the last message, in milliseconds since the Unix epoch.
    pub(crate) times: Option<[i64; 2]>,
    pub(crate) file_bytes: u64,
    /// Of them, bytes that are free.
    pub(crate) free_bytes: u64,
    /// Of the log beside the file.
    pub(crate) log_bytes: u64,
}

/// Says what is in a store.
///
/// # Errors
/// There is none, or it cannot be read.
pub(crate) fn info(data_dir: &Path) -> Result<Info, ToolError> {
    let location = for_tools(data_dir);
    let connection = location.open_reader()?;
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let log = location.path.with_extension("db-wal");
    // Of each room, because that is what the messages are sorted by: one look at all messages reads the whole file.
    let sql = "SELECT min(first) >> 12, max(last) >> 12 FROM (SELECT
               (SELECT min(position) FROM message WHERE room = room.id) AS first,
               (SELECT max(position) FROM message WHERE room = room.id) AS last FROM room)";
    let times =
        connection.query_row(sql, [], |row| Ok(row.get::<_, Option<i64>>(0)?.zip(row.get::<_, Option<i64>>(1)?)))?;
    Ok(Info {
        schema: schema::schema(&connection)?,
        rooms: number("SELECT count(*) FROM room WHERE messages > 0")?,
        messages: number("SELECT coalesce(sum(messages), 0) FROM room")?,
        receipts: number("SELECT count(*) FROM receipt")?,
        times: times.map(|(first, last)| [first, last]),
        file_bytes: std::fs::metadata(&location.path)?.len(),
        free_bytes: number("SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size")?
            .cast_unsigned(),
        log_bytes: std::fs::metadata(log).map_or(0, |log| log.len()),
    })
}

/// Looks for damage; returns what it found.
///
/// # Errors
/// There is no store, or it cannot be read at all.
pub(crate) fn check(data_dir: &Path) -> Result<Vec<String>, ToolError> {
    let connection = for_tools(data_dir).open_reader()?;
    let mut faults = Vec::new();
    let mut integrity = connection.prepare(&format!("PRAGMA integrity_check({FAULTS})"))?;
    let rows = integrity.query_map([], |row| row.get::<_, String>(0))?;
    for row in rows {
        faults.extend(Some(row?).filter(|row| row != "ok"));
    }
    // What SQLite does not know.
    for (what, sql) in [
        (
            "the number of messages of a room is wrong",
            "SELECT count(*) FROM room WHERE messages != (SELECT count(*) FROM message WHERE room = room.id)",
        ),
        ("a message belongs to no room", "SELECT count(*) FROM message WHERE room NOT IN (SELECT id FROM room)"),
        (
            "a message lacks attachments, or has too many",
            "SELECT count(*) FROM message AS m WHERE attachments !=
             (SELECT count(*) FROM attachment AS a WHERE a.room = m.room AND a.position = m.position)",
        ),
        (
            "a message comes after the last id",
            "SELECT count(*) FROM message WHERE position > (SELECT position FROM last)",
        ),
        ("a message is no JSON", "SELECT count(*) FROM message WHERE NOT json_valid(json)"),
    ] {
        let count: i64 = connection.query_row(sql, [], |row| row.get(0))?;
        if count > 0 {
            faults.push(format!("{what} ({count} times)"));
        }
    }
    Ok(faults)
}

/// A message as a line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    room: String,
    /// The event's payload.
    message: Box<RawValue>,
    /// In base64. What the placeholders in `message` stand for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<String>,
}

/// Writes all messages as lines, room by room, the oldest of each first. Returns how many.
///
/// # Errors
/// The store cannot be read, or nobody takes the lines.
pub(crate) fn export(data_dir: &Path, output: &mut dyn Write) -> Result<u64, ToolError> {
    let mut connection = for_tools(data_dir).open_reader()?;
    // One transaction: the store as it is now, whatever a server writes meanwhile.
    let transaction = connection.transaction()?;
    let sql =
        "SELECT room.name, message.room, position, attachments, json FROM message JOIN room ON room.id = message.room
               ORDER BY message.room, position";
    let mut select = transaction.prepare(sql)?;
    let mut rows = select.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let (room, position) = (row.get(1)?, row.get(2)?);
        let blobs = if row.get::<_, i64>(3)? > 0 { attachments(&transaction, room, position)? } else { Box::default() };
        let message = RawValue::from_string(row.get(4)?).map_err(io::Error::other)?;
        let attachments = blobs.iter().map(|bytes| STANDARD.encode(bytes)).collect();
        serde_json::to_writer(&mut *output, &Line { room: row.get(0)?, message, attachments })
            .map_err(io::Error::from)?;
        output.write_all(b"\n")?;
        count += 1;
    }
    output.flush()?;
    Ok(count)
}

/// How many lines an import added, and how many were there already.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Imported {
    pub(crate) added: u64,
    pub(crate) known: u64,
}

/// Adds messages that are given as lines, with the ids that they have. No server may use the store.
///
/// # Errors
/// The store cannot be written, or a line is wrong. What came before the batch of that line is imported.
pub(crate) fn import(data_dir: &Path, input: &mut dyn BufRead) -> Result<Imported, ToolError> {
    let _lock = DirectoryLock::take(data_dir)?;
    let mut connection = for_tools(data_dir).open_writer()?;
    let (mut imported, mut lines, mut number) = (Imported::default(), input.lines(), 0);
    loop {
        let first = number + 1;
        let transaction = connection.transaction()?;
        let (mut count, mut bytes) = (0, 0);
        while count < BATCH.items && bytes < BATCH.bytes {
            let Some(line) = lines.next().transpose()? else {
                transaction.commit()?;
                return Ok(imported);
            };
            (number, count, bytes) = (number + 1, count + 1, bytes + line.len());
            let wrong = |reason: String| ToolError::Line { line: number, first, reason };
            let line: Line = serde_json::from_str(&line).map_err(|error| wrong(error.to_string()))?;
            if import_line(&transaction, line, &wrong)? {
                imported.added += 1;
            } else {
                imported.known += 1;
            }
        }
        transaction.commit()?;
    }
}

/// Adds one message; `false` when it is there already.
fn import_line(
    transaction: &Transaction<'_>,
    line: Line,
    wrong: &dyn Fn(String) -> ToolError,
) -> Result<bool, ToolError> {
    #[derive(Deserialize)]
    struct Identified {
        id: String,
    }
    let Line { room, message, attachments } = line;
    let Identified { id } = serde_json::from_str(message.get()).map_err(|error| wrong(error.to_string()))?;
    let id = Uuid::parse_str(&id).ok().filter(|id| IdParts::of(*id).id() == *id);
    let id = id.ok_or_else(|| wrong("the message's id is no UUID of version 7".to_owned()))?;
    let parts = IdParts::of(id);
    let decoded = attachments.iter().map(|text| STANDARD.decode(text).map(Bytes::from));
    let attachments = decoded.collect::<Result<_, _>>().map_err(|error| wrong(format!("an attachment: {error}")))?;
    let room = number_of(transaction, &room)?;
    match rest_at(transaction, room, parts.position)? {
        Some(rest) if rest == parts.rest => return Ok(false),
        Some(_) => return Err(wrong(format!("another message has the place of {id}"))),
        None => {}
    }
    insert(transaction, room, &Stored { id, json: message.get().into(), attachments })?;
    add_messages(transaction, room, 1)?;
    set_last(transaction, parts.position)?;
    Ok(true)
}

/// The rest of the id of the message at a position.
fn rest_at(connection: &Connection, room: i64, position: i64) -> rusqlite::Result<Option<i64>> {
    let mut find = connection.prepare_cached("SELECT rest FROM message WHERE room = ? AND position = ?")?;
    find.query_row([room, position], |row| row.get(0)).optional()
}
