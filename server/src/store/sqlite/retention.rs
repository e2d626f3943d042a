//! What is forgotten: messages that are too old or too many in their room, `clientId`s after ten minutes, deletions of which every client
//! has heard; and the space that this leaves in the file. It happens in steps, each bounded.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, Transaction, params};

use super::{
    super::{message_ids::position_at, types::UNNOTICED},
    database::{Database, REMEMBERED, add_messages},
};
use crate::room::Room;

/// How many rooms one step looks at.
const ROOMS: usize = 64;

/// How many messages or receipts one step forgets.
/// No fewer than a batch of the writer adds, so that forgetting keeps up.
const ROWS: i64 = 1024;

/// As how many messages an attachment counts there: one of 256 KiB takes 64 pages.
const ATTACHMENT: i64 = 16;

/// How many pages one step gives back to the file system, of 4 KiB each.
const PAGES: i64 = 256;

/// As long as at most one page in so many is free, the file keeps its free pages: it will need them again.
const KEPT: i64 = 16;

/// What is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Zero: no message is too old.
    pub(crate) max_age: Duration,
    /// In each room.
    pub(crate) max_count: usize,
    /// For how long a client that was away may ask what it missed.
    pub(crate) claimable: Duration,
    /// When this run of the server began, as the time since the Unix epoch. For as long clients of earlier runs may ask.
    pub(crate) begun: Duration,
}

impl Bounds {
    /// Messages from before this time are forgotten, as the time since the Unix epoch.
    pub(crate) fn oldest(&self, now: Duration) -> Duration {
        if self.max_age.is_zero() { Duration::ZERO } else { now.saturating_sub(self.max_age) }
    }

    /// Nobody can have missed what happened before this time and still ask for it.
    fn askable(&self, now: Duration) -> Duration {
        let since = now.saturating_sub(self.claimable);
        if since < self.begun { Duration::ZERO } else { since }
    }
}

/// Where a sweep through all rooms stands.
#[derive(Debug, Default)]
pub(crate) struct Sweep {
    /// The last room that was looked at; `None` when the sweep is through all of them.
    after: Option<i64>,
}

/// What is left to do after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    /// The rest of the sweep.
    Rest,
    /// Likewise, and this step had more to forget than one may: the next one is due soon, or the file grows.
    Much,
}

impl Sweep {
    /// A new sweep.
    pub(crate) const fn start() -> Self {
        Self { after: Some(0) }
    }

    /// Takes one step. Returns what is left.
    ///
    /// # Errors
    /// Nothing of this step was done.
    pub(crate) fn step(&mut self, database: &mut Database, bounds: &Bounds, now: Duration) -> rusqlite::Result<Left> {
        let Some(after) = self.after else { return give_back(database) };
        let Database { connection, rooms: numbers, .. } = database;
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let askable = bounds.askable(now);
        let (mut budget, mut last) = (forget_short_lived(&transaction, now, askable)?, None);
        let rooms = next_rooms(&transaction, after)?;
        let (oldest, max_count) =
            (position_at(bounds.oldest(now)), i64::try_from(bounds.max_count).unwrap_or(i64::MAX));
        for (room, messages) in &rooms {
            if budget <= 0 {
                break;
            }
            let forgotten = forget(&transaction, *room, *messages - max_count, oldest, budget)?;
            budget -= forgotten.spent;
            if forgotten.is_done {
                last = Some(*room);
            }
            if forgotten.count == *messages
                && let Some(name) = remove_empty(&transaction, *room, position_at(askable))?
            {
                numbers.remove(&Room::new(&name));
            }
        }
        if let Err(error) = transaction.commit() {
            numbers.clear();
            return Err(error);
        }
        self.after = if rooms.len() < ROOMS && last == rooms.last().map(|(room, _)| *room) {
            None
        } else {
            last.or(Some(after))
        };
        Ok(if budget <= 0 { Left::Much } else { Left::Rest })
    }
}

/// The rooms behind this one, with the number of their messages.
fn next_rooms(transaction: &Transaction<'_>, after: i64) -> rusqlite::Result<Vec<(i64, i64)>> {
    let mut select = transaction.prepare_cached("SELECT id, messages FROM room WHERE id > ? ORDER BY id LIMIT ?")?;
    let rooms = select.query_map(params![after, ROOMS as i64], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rooms.collect()
}

/// What one step forgot in one room.
struct Forgotten {
    count: i64,
    /// How much of the budget that took.
    spent: i64,
    /// Whether that was all.
    is_done: bool,
}

/// Forgets the oldest messages of a room: `excess` of them, and those before a position, as far as the budget goes.
fn forget(
    transaction: &Transaction<'_>,
    room: i64,
    excess: i64,
    oldest: i64,
    budget: i64,
) -> rusqlite::Result<Forgotten> {
    let mut select = transaction
        .prepare_cached("SELECT position, attachments FROM message WHERE room = ? ORDER BY position LIMIT ?")?;
    let mut rows = select.query([room, budget])?;
    let (mut count, mut spent, mut until, mut with_attachments) = (0, 0, None, false);
    while let Some(row) = rows.next()? {
        let (position, attachments): (i64, i64) = (row.get(0)?, row.get(1)?);
        if spent >= budget || (count >= excess && position >= oldest) {
            break;
        }
        count += 1;
        spent += 1 + attachments * ATTACHMENT;
        with_attachments |= attachments > 0;
        until = Some(position);
    }
    if let Some(until) = until {
        let mut delete = transaction.prepare_cached("DELETE FROM message WHERE room = ? AND position <= ?")?;
        delete.execute([room, until])?;
        if with_attachments {
            let mut delete = transaction.prepare_cached("DELETE FROM attachment WHERE room = ? AND position <= ?")?;
            delete.execute([room, until])?;
        }
        add_messages(transaction, room, -count)?;
        let mut note = transaction.prepare_cached("UPDATE room SET forgotten = ? WHERE id = ?")?;
        note.execute([until, room])?;
    }
    Ok(Forgotten { count, spent, is_done: spent < budget })
}

/// Removes a room without messages, unless something else names its number. Returns its name if it did. A room that has forgotten messages
/// from after `askable` stays, or a client that missed them would not hear of it.
fn remove_empty(transaction: &Transaction<'_>, room: i64, askable: i64) -> rusqlite::Result<Option<String>> {
    let sql = "DELETE FROM room WHERE id = ?1 AND messages = 0 AND (forgotten = 0 OR forgotten < ?2)
               AND NOT EXISTS (SELECT 1 FROM receipt WHERE room = ?1)
               AND NOT EXISTS (SELECT 1 FROM deleted WHERE room = ?1) RETURNING name";
    transaction.prepare_cached(sql)?.query_row([room, askable], |row| row.get(0)).optional()
}

/// Forgets `clientId`s, and deletions from so long before `askable` that no client asks for them. Returns how much of the step's budget is
/// left.
fn forget_short_lived(transaction: &Transaction<'_>, now: Duration, askable: Duration) -> rusqlite::Result<i64> {
    let until = now.saturating_sub(REMEMBERED).as_millis() as i64;
    let sql = "DELETE FROM receipt WHERE (room, user, client_id) IN
               (SELECT room, user, client_id FROM receipt WHERE time < ? ORDER BY time LIMIT ?)";
    let receipts = transaction.prepare_cached(sql)?.execute([until, ROWS])?;
    let until = askable.saturating_sub(UNNOTICED).as_millis() as i64;
    let sql = "DELETE FROM deleted WHERE (room, after, position) IN
               (SELECT room, after, position FROM deleted WHERE time < ? ORDER BY time LIMIT ?)";
    let deletions = transaction.prepare_cached(sql)?.execute([until, ROWS])?;
    Ok(if receipts.max(deletions) as i64 == ROWS { 0 } else { ROWS })
}

/// Gives free pages back to the file system, if there are many.
fn give_back(database: &Database) -> rusqlite::Result<Left> {
    let connection = &database.connection;
    let count = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (free, all) = (count("freelist_count")?, count("page_count")?);
    if free <= (all / KEPT).max(PAGES) {
        return Ok(Left::Nothing);
    }
    let mut vacuum = connection.prepare_cached("PRAGMA incremental_vacuum(256)")?;
    let mut rows = vacuum.query([])?;
    while rows.next()?.is_some() {}
    Ok(Left::Rest)
}
