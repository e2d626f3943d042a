//! What every store takes and gives: messages, and what they are acknowledged with.

use std::{fmt, num::NonZeroU64, sync::Arc, time::Duration};

use bytes::Bytes;
use uuid::{Uuid, fmt::Hyphenated};

use super::message_ids::{Position, Receipt};
use crate::room::Room;

/// A message as it was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Grows within a room: ids put its messages in order.
    pub(crate) id: Uuid,
    /// The event's payload, as JSON.
    pub(crate) json: Box<str>,
    /// What the placeholders in it stand for.
    pub(crate) attachments: Box<[Bytes]>,
}

impl Stored {
    /// How many bytes of text and attachments it has.
    pub(crate) fn len(&self) -> usize {
        self.json.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

/// The length of a time as RFC 3339 in UTC with milliseconds, of the years 0 to 9999.
const TIMESTAMP: usize = "2030-01-31T12:00:00.000Z".len();

/// A message without id and time, which the store gives it. Its JSON has gaps of the right length for both.
#[derive(Debug)]
pub(crate) struct Draft {
    json: String,
    id_at: usize,
    time_at: usize,
    attachments: Box<[Bytes]>,
}

impl Draft {
    /// The JSON before the id, between id and time, and after that.
    pub(crate) fn new(before: &[&str], between: &[&str], after: &[&str], attachments: Box<[Bytes]>) -> Self {
        let parts = [before, between, after];
        let len = parts.into_iter().flatten().map(|part| part.len()).sum::<usize>();
        let mut json = String::with_capacity(len + Hyphenated::LENGTH + TIMESTAMP);
        let mut gaps = [0; 2];
        for (number, parts) in parts.into_iter().enumerate() {
            json.extend(parts.iter().copied());
            if let Some(at) = gaps.get_mut(number) {
                *at = json.len();
                json.extend(std::iter::repeat_n(' ', [Hyphenated::LENGTH, TIMESTAMP][number]));
            }
        }
        let [id_at, time_at] = gaps;
        Self { json, id_at, time_at, attachments }
    }

    /// The message with its id and time.
    pub(crate) fn stamp(self, receipt: Receipt, timestamp: &str) -> Stored {
        let Self { mut json, id_at, time_at, attachments } = self;
        json.replace_range(time_at..time_at + TIMESTAMP, timestamp);
        let id = &mut [0; Hyphenated::LENGTH];
        json.replace_range(id_at..id_at + Hyphenated::LENGTH, receipt.id.hyphenated().encode_lower(id));
        Stored { id: receipt.id, json: json.into(), attachments }
    }

    /// About how many bytes it keeps in memory.
    pub(super) fn weight(&self) -> usize {
        self.json.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }
}

/// A message for the store, from the home of its room.
#[derive(Debug)]
pub(crate) struct Append {
    /// The home, which gets the answer.
    pub(crate) shard: u16,
    pub(crate) room: Room,
    /// The id of its user.
    pub(crate) user: Arc<str>,
    /// Of two messages of one user in one room with the same one, within ten minutes, the second is not taken again.
    pub(crate) client_id: Option<Box<str>>,
    pub(crate) draft: Draft,
}

/// What became of a message that a store took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is stored. Its place among the messages of its room is that among the answers.
    New { receipt: Receipt, stored: Stored },
    /// It was stored before, under the same `clientId`.
    Repeated(Receipt),
}

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreError {
    /// It cannot write or read at present.
    Unavailable,
    /// More waits for it than it may keep in memory.
    Busy,
}

/// How much a page may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageLimit {
    pub(crate) messages: usize,
    /// Of JSON and attachments together.
    pub(crate) bytes: usize,
    /// Whether there is one message at least, even if that alone has more bytes.
    pub(crate) one_at_least: bool,
}

/// Some messages of a room in a row are wanted.
#[derive(Debug, Clone)]
pub(crate) struct PageQuery {
    /// The shard that gets the answer, and what that answer is to carry.
    pub(crate) shard: u16,
    pub(crate) ticket: u64,
    pub(crate) room: Room,
    pub(crate) after: Option<Uuid>,
    pub(crate) before: Option<Uuid>,
    /// The last one that may be among them.
    pub(crate) until: Uuid,
    pub(crate) side: Side,
    pub(crate) limit: PageLimit,
}

/// Which messages are chosen when there are more than a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Oldest,
    Newest,
}

/// The messages that were wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    /// Oldest first.
    pub(crate) messages: Vec<Stored>,
    /// Whether there are more on the side that was not chosen.
    pub(crate) more: bool,
}

/// Names a session: a socket of a client that may come back, over all its connections and over restarts of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(NonZeroU64);

/// A session's number within its run has so many bits, and the number of the run has the others.
const NUMBER_BITS: u32 = 40;

/// Numbers of runs begin anew above this, so that the database can keep an id as a signed number.
pub(super) const RUN_MAX: u32 = (1 << 23) - 1;

impl SessionId {
    /// The session with this number, counted from one, among those that began in this run of the server.
    pub(crate) fn new(run: u32, number: u64) -> Self {
        let number = NonZeroU64::new(number & ((1 << NUMBER_BITS) - 1)).unwrap_or(NonZeroU64::MIN);
        Self(number | u64::from(run & RUN_MAX) << NUMBER_BITS)
    }

    /// The id as a number.
    pub(crate) const fn get(self) -> u64 {
        self.0.get()
    }

    /// Reads [`SessionId::get`] back.
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        NonZeroU64::new(number).filter(|number| number.get() >> (NUMBER_BITS + RUN_MAX.count_ones()) == 0).map(Self)
    }

    /// The run in which the session began.
    pub(crate) const fn run(self) -> u32 {
        (self.0.get() >> NUMBER_BITS) as u32
    }
}

/// What makes a claim of a session more than a guess.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionSecret(pub(crate) [u8; 16]);

impl fmt::Debug for SessionSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionSecret")
    }
}

/// What a store is told of sessions, so that they can be recovered after a restart.
#[derive(Debug, Clone)]
pub(crate) enum SessionChange {
    /// A session began. The rooms that it entered at its beginning were named before.
    Began { session: SessionId, secret: SessionSecret, sid: Box<str>, user: Arc<str> },
    /// A session of an earlier run was claimed, and goes on in this one.
    Resumed(SessionId),
    /// A session is in a room, whose messages up to this one it has or need not have.
    Entered { session: SessionId, room: Room, since: Position },
    /// A session left a room by its own wish.
    Left { session: SessionId, room: Room },
    /// A session is over.
    Ended(SessionId),
}

impl SessionChange {
    /// Whose change it is.
    pub(crate) const fn session(&self) -> SessionId {
        match self {
            Self::Began { session, .. } | Self::Entered { session, .. } | Self::Left { session, .. } => *session,
            Self::Resumed(session) | Self::Ended(session) => *session,
        }
    }
}

/// How soon a [`SessionChange`] is to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Within a second, or together with what comes after it.
    Whenever,
    /// Soon.
    Soon,
    /// Soon, and this shard is to hear of it by this ticket ([`Answer::Saved`]).
    Told { shard: u16, ticket: u64 },
}

/// What became of a [`SessionChange`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Saving {
    /// It waits to be stored.
    Queued,
    /// It cannot be stored at present. The session will not be recovered after a restart.
    Void,
    /// The store is closed.
    Closed,
}

/// A session of an earlier run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SavedSession {
    pub(crate) secret: SessionSecret,
    /// The id of its socket.
    pub(crate) sid: Box<str>,
    pub(crate) user: Box<str>,
    /// Its rooms. It has all messages of each up to the position, or need not have them.
    pub(crate) rooms: Vec<(Room, Position)>,
}

/// A session of an earlier run is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionQuery {
    /// The shard that gets the answer, and what that answer is to carry.
    pub(crate) shard: u16,
    pub(crate) ticket: u64,
    pub(crate) session: SessionId,
}

/// What a client missed in some rooms is wanted: messages, and that others were deleted.
#[derive(Debug, Clone)]
pub(crate) struct MissedQuery {
    /// The shard that gets the answer, and what that answer is to carry.
    pub(crate) shard: u16,
    pub(crate) ticket: u64,
    pub(crate) home: u16,
    /// All of one home. The client has what came up to the position.
    pub(crate) rooms: Vec<(Room, Position)>,
    /// The last position of messages that is wanted.
    pub(crate) until: Position,
    /// How many bytes all of it may have.
    pub(crate) max_bytes: usize,
}

/// What a client missed; `None` when that is not known any more, or more than it may be sent.
pub(crate) type Missed = Option<MissedEvents>;

/// What happened in some rooms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MissedEvents {
    /// In the order of ids.
    pub(crate) messages: Vec<Stored>,
    /// The client may have heard of some of them.
    pub(crate) deleted: Vec<Deleted>,
}

impl MissedEvents {
    /// About how many bytes it keeps in memory.
    pub(crate) fn weight(&self) -> usize {
        self.messages.iter().map(Stored::len).sum::<usize>() + size_of_val(self.deleted.as_slice())
    }
}

/// For how long the end of a connection may go unnoticed; what was sent into it, the client has missed. Far longer than heartbeats take.
pub(crate) const UNNOTICED: Duration = Duration::from_secs(600);

/// A message that was deleted by whoever runs the server. One that is too old is forgotten, not deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Deleted {
    pub(crate) room: Room,
    pub(crate) id: Uuid,
    /// The last message before the deletion.
    pub(crate) after: Position,
}

/// Collects what is found for a [`MissedQuery`], as long as it is not too much.
#[derive(Debug)]
pub(crate) struct MissedFilling {
    events: MissedEvents,
    bytes: usize,
    max_bytes: usize,
}

/// What an event takes beside its payload: its name, its offset, and its frame.
const EVENT_COST: usize = 96;

impl Deleted {
    /// How many bytes its event has, about.
    pub(crate) fn len(&self) -> usize {
        Hyphenated::LENGTH + self.room.id().len() + EVENT_COST
    }
}

impl MissedFilling {
    /// Nothing yet, and at most so many bytes.
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self { events: MissedEvents::default(), bytes: 0, max_bytes }
    }

    /// Adds a message; `false` when it does not fit.
    #[must_use]
    pub(crate) fn push(&mut self, stored: Stored) -> bool {
        let fits = self.takes(stored.len() + EVENT_COST);
        if fits {
            self.events.messages.push(stored);
        }
        fits
    }

    /// Adds a message that was deleted; `false` when that does not fit.
    #[must_use]
    pub(crate) fn push_deleted(&mut self, deleted: Deleted) -> bool {
        let fits = self.takes(deleted.len());
        if fits {
            self.events.deleted.push(deleted);
        }
        fits
    }

    const fn takes(&mut self, bytes: usize) -> bool {
        self.bytes += bytes;
        self.bytes <= self.max_bytes
    }

    /// All of it.
    pub(crate) fn into_events(mut self) -> MissedEvents {
        self.events.messages.sort_by_key(|stored| stored.id);
        self.events
    }
}

/// What stores of one data directory have in common over restarts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    /// Counts how often the store was opened.
    pub(crate) run: u32,
    /// The keys of the hash that says which shard is the home of a room.
    pub(crate) home_keys: [u8; 16],
}

impl Identity {
    /// Of messages that are gone with the process.
    pub(crate) fn in_memory() -> Self {
        let mut home_keys = [0; 16];
        // Without entropy it would be easy to find rooms of one home, and still work.
        let _ = getrandom::fill(&mut home_keys);
        Self { run: 1, home_keys }
    }
}

/// An answer of a store, for one shard.
#[derive(Debug)]
pub(crate) enum Answer {
    /// What became of messages, in the order in which the shard gave them to the store.
    Appended(Vec<Result<Taken, StoreError>>),
    /// The messages that [`PageQuery::ticket`] asked for.
    Page { ticket: u64, page: Result<Chosen, StoreError> },
    /// A [`SessionChange`] is stored, or cannot be: then the session will not be recovered after a restart.
    Saved { ticket: u64 },
    /// The session that [`SessionQuery::ticket`] asked for, if there is one.
    Session { ticket: u64, session: Result<Option<SavedSession>, StoreError> },
    /// What [`MissedQuery::ticket`] asked for, of the rooms of this home.
    Missed { ticket: u64, home: u16, missed: Result<Missed, StoreError> },
}

impl Answer {
    /// About how many bytes it keeps in memory.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Appended(outcomes) => {
                let len = |outcome: &Result<Taken, StoreError>| match outcome {
                    Ok(Taken::New { stored, .. }) => stored.len(),
                    Ok(Taken::Repeated(_)) | Err(_) => 0,
                };
                size_of_val(outcomes.as_slice()) + outcomes.iter().map(len).sum::<usize>()
            }
            Self::Page { page: Ok(page), .. } => page.messages.iter().map(Stored::len).sum(),
            Self::Missed { missed: Ok(Some(missed)), .. } => missed.weight(),
            Self::Session { session: Ok(Some(session)), .. } => size_of_val(session.rooms.as_slice()),
            Self::Page { .. } | Self::Missed { .. } | Self::Session { .. } | Self::Saved { .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_are_numbers_that_a_database_keeps() {
        for (run, number) in [(0, 1), (1, 1), (7, 12_345), (RUN_MAX, (1 << NUMBER_BITS) - 1)] {
            let id = SessionId::new(run, number);
            assert_eq!((id.run(), SessionId::from_number(id.get())), (run, Some(id)), "{run} {number}");
            assert!(id.get().cast_signed() > 0);
        }
        assert_eq!((SessionId::from_number(0), SessionId::from_number(u64::MAX)), (None, None));
    }

    #[test]
    fn a_draft_is_stamped_where_its_gaps_are() {
        let draft = Draft::new(&["{\"id\":\"", ""], &["\",\"é\":\""], &["\",", "\"x\":1}"], Box::default());
        let receipt = Receipt { id: Uuid::from_u128(7), millis: 0 };
        let stored = draft.stamp(receipt, "1970-01-01T00:00:00.000Z");
        let id = "00000000-0000-0000-0000-000000000007";
        assert_eq!(*stored.json, format!("{{\"id\":\"{id}\",\"é\":\"1970-01-01T00:00:00.000Z\",\"x\":1}}"));
    }
}
