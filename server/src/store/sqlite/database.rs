//! [`Database`]: the connection that writes. Batches of messages, each in one transaction. Knows no clock and no thread.

use std::{collections::HashMap, time::Duration};

use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Transaction, params};
use uuid::Uuid;

use super::super::{
    message_ids::{IdParts, MessageIds, Receipt},
    types::{Append, Identity, SessionChange, Stored, Taken},
};
use super::sessions;
use crate::{clock::Timestamps, room::Room};

/// How long a `clientId` is remembered (docs/chat-protocol.md, "Events from the client").
pub(super) const REMEMBERED: Duration = Duration::from_secs(600);

/// How many rooms' numbers are kept in memory. Above that all are looked up again.
const ROOMS: usize = 65_536;

/// Time and entropy for a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    /// The wall clock, as the time since the Unix epoch.
    pub(crate) wall: Duration,
    /// Fresh entropy. What is drawn from it differs with each message.
    pub(crate) random: [u8; 16],
}

/// What a batch consists of.
#[derive(Debug)]
pub(crate) enum Write {
    Message(Append),
    Session {
        change: SessionChange,
        /// The shard that is to hear of it, and its ticket.
        told: Option<(u16, u64)>,
    },
}

/// What became of a [`Write`].
#[derive(Debug)]
pub(crate) enum Written {
    /// Of a message from this shard.
    Message(u16, Taken),
    /// The change of a session is stored. Who is to hear of it.
    Session(Option<(u16, u64)>),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Database {
    pub(super) connection: Connection,
    identity: Identity,
    ids: MessageIds,
    timestamps: Timestamps,
    /// The numbers of rooms, as far as they were looked up.
    pub(super) rooms: HashMap<Room, i64>,
}

impl Database {
    /// The database of a connection that was opened for writing. A new run of the server begins.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub(crate) fn new(connection: Connection) -> rusqlite::Result<Self> {
        let identity = sessions::begin_run(&connection)?;
        Self::reopened(connection, identity)
    }

    /// The database of a connection that was opened again in the same run.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn reopened(connection: Connection, identity: Identity) -> rusqlite::Result<Self> {
        let ids = MessageIds::after(last_position(&connection)?);
        Ok(Self { connection, identity, ids, timestamps: Timestamps::default(), rooms: HashMap::new() })
    }

    /// Which run of the server this is, and what does not change over them.
    pub(crate) const fn identity(&self) -> Identity {
        self.identity
    }

    /// Its connection.
    #[cfg(test)]
    pub(crate) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// An id that is not less than that of any message.
    pub(crate) fn newest(&self) -> rusqlite::Result<Uuid> {
        last_position(&self.connection).map(IdParts::last_at)
    }

    /// Stores a batch in one transaction: all of it or nothing. The messages get ids in their order.
    ///
    /// # Errors
    /// Nothing was stored. What is in `batch` is lost to the caller all the same.
    pub(crate) fn write(&mut self, moment: Moment, batch: Vec<Write>) -> rusqlite::Result<Vec<Written>> {
        let Self { connection, identity, ids, timestamps, rooms } = self;
        if rooms.len() > ROOMS {
            rooms.clear();
        }
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let mut written = Vec::with_capacity(batch.len());
        let mut added = HashMap::new();
        let result = (0..).zip(batch).try_for_each(|(number, write)| {
            written.push(match write {
                Write::Message(append) => {
                    let shard = append.shard;
                    let mut stamp = || ids.next(moment.wall, moment.random_of(number));
                    let taken = append_one(&transaction, rooms, &mut added, timestamps, moment, &mut stamp, append)?;
                    Written::Message(shard, taken)
                }
                Write::Session { change, told } => {
                    sessions::save(&transaction, identity.run, &change)?;
                    Written::Session(told)
                }
            });
            rusqlite::Result::Ok(())
        });
        let result = result.and_then(|()| finish(&transaction, &added, &written)).and_then(|()| transaction.commit());
        if let Err(error) = result {
            // Rooms may have got their numbers in it.
            rooms.clear();
            return Err(error);
        }
        Ok(written)
    }

    /// Writes something and commits it: whether the disk takes it.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn probe(&self) -> rusqlite::Result<()> {
        // A value that stays what it is would not be written.
        self.connection.execute("UPDATE last SET attempts = attempts + 1", []).map(drop)
    }
}

impl Moment {
    /// Entropy for one message. Ids need it only to be hard to guess, and unique among those of one position, of which there is one.
    fn random_of(self, number: u64) -> [u8; 10] {
        let seed = u128::from_be_bytes(self.random) ^ (u128::from(number) << 64);
        // Two steps of a generator with 128 bits of state: neighbours share no bits.
        let mixed = seed.wrapping_mul(MULTIPLIER).wrapping_add(1).wrapping_mul(MULTIPLIER);
        let mut bytes = [0; 10];
        bytes.copy_from_slice(&mixed.to_be_bytes()[..10]);
        bytes
    }
}

/// Of PCG, whose product mixes all lower bits into the high ones.
const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;

/// The last position of any message.
pub(super) fn last_position(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT position FROM last", [], |row| row.get(0))
}

/// Stores one message, unless its `clientId` says that it is stored.
fn append_one(
    transaction: &Transaction<'_>,
    rooms: &mut HashMap<Room, i64>,
    added: &mut HashMap<i64, i64>,
    timestamps: &mut Timestamps,
    moment: Moment,
    stamp: &mut dyn FnMut() -> Receipt,
    append: Append,
) -> rusqlite::Result<Taken> {
    let Append { room, user, client_id, draft, .. } = append;
    let room = match rooms.get(&room) {
        Some(number) => *number,
        None => {
            let number = number_of(transaction, room.id())?;
            rooms.insert(room, number);
            number
        }
    };
    if let Some(client_id) = &client_id
        && let Some(receipt) = receipt(transaction, moment, room, &user, client_id)?
    {
        return Ok(Taken::Repeated(receipt));
    }
    let receipt = stamp();
    let stored = draft.stamp(receipt, timestamps.format(receipt.millis));
    insert(transaction, room, &stored)?;
    *added.entry(room).or_default() += 1;
    if let Some(client_id) = &client_id {
        let IdParts { position, rest } = IdParts::of(receipt.id);
        let mut remember = transaction.prepare_cached("INSERT OR REPLACE INTO receipt VALUES (?, ?, ?, ?, ?, ?)")?;
        remember.execute(params![room, &*user, &**client_id, position, rest, signed(receipt.millis)])?;
    }
    Ok(Taken::New { receipt, stored })
}

/// Stores a message of a room.
pub(super) fn insert(transaction: &Transaction<'_>, room: i64, stored: &Stored) -> rusqlite::Result<()> {
    let IdParts { position, rest } = IdParts::of(stored.id);
    let mut insert = transaction.prepare_cached("INSERT INTO message VALUES (?, ?, ?, ?, ?)")?;
    insert.execute(params![room, position, rest, stored.attachments.len() as i64, &*stored.json])?;
    for (number, bytes) in (0_i64..).zip(&stored.attachments) {
        let mut insert = transaction.prepare_cached("INSERT INTO attachment VALUES (?, ?, ?, ?)")?;
        insert.execute(params![room, position, number, &**bytes])?;
    }
    Ok(())
}

/// The number of a room, which gets one if it has none.
pub(super) fn number_of(transaction: &Transaction<'_>, room: &str) -> rusqlite::Result<i64> {
    let mut find = transaction.prepare_cached("SELECT id FROM room WHERE name = ?")?;
    if let Some(number) = find.query_row([room], |row| row.get(0)).optional()? {
        return Ok(number);
    }
    let mut insert = transaction.prepare_cached("INSERT INTO room (name, messages) VALUES (?, 0) RETURNING id")?;
    insert.query_row([room], |row| row.get(0))
}

/// What a message with this `clientId` was acknowledged with in the last ten minutes.
fn receipt(
    transaction: &Transaction<'_>,
    moment: Moment,
    room: i64,
    user: &str,
    client_id: &str,
) -> rusqlite::Result<Option<Receipt>> {
    let sql = "SELECT position, rest, time FROM receipt WHERE room = ? AND user = ? AND client_id = ? AND time >= ?";
    let mut find: CachedStatement<'_> = transaction.prepare_cached(sql)?;
    let since = moment.wall.saturating_sub(REMEMBERED).as_millis() as i64;
    find.query_row(params![room, user, client_id, since], |row| {
        let parts = IdParts { position: row.get(0)?, rest: row.get(1)? };
        Ok(Receipt { id: parts.id(), millis: row.get::<_, i64>(2)?.cast_unsigned() })
    })
    .optional()
}

/// Writes what a batch changed beside its messages.
fn finish(transaction: &Transaction<'_>, added: &HashMap<i64, i64>, written: &[Written]) -> rusqlite::Result<()> {
    for (room, count) in added {
        add_messages(transaction, *room, *count)?;
    }
    let ids = written.iter().rev().filter_map(|written| match written {
        Written::Message(_, Taken::New { receipt, .. }) => Some(receipt.id),
        Written::Message(_, Taken::Repeated(_)) | Written::Session(_) => None,
    });
    if let Some(last) = ids.into_iter().next() {
        set_last(transaction, IdParts::of(last).position)?;
    }
    Ok(())
}

/// A room has so many messages more.
pub(super) fn add_messages(transaction: &Transaction<'_>, room: i64, count: i64) -> rusqlite::Result<()> {
    let mut update = transaction.prepare_cached("UPDATE room SET messages = messages + ? WHERE id = ?")?;
    update.execute([count, room]).map(drop)
}

/// Ids come after this position from now on.
pub(super) fn set_last(transaction: &Transaction<'_>, position: i64) -> rusqlite::Result<()> {
    let mut update = transaction.prepare_cached("UPDATE last SET position = max(position, ?)")?;
    update.execute([position]).map(drop)
}

const fn signed(millis: u64) -> i64 {
    millis.cast_signed()
}
