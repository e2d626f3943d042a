//! What every store takes and gives: messages, and what they are acknowledged with.

use std::sync::Arc;

use bytes::Bytes;
use uuid::{Uuid, fmt::Hyphenated};

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

/// The id and the time a message got; its sender is told both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// See [`Stored::id`].
    pub(crate) id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub(crate) millis: u64,
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

/// An answer of a store, for one shard.
#[derive(Debug)]
pub(crate) enum Answer {
    /// What became of messages, in the order in which the shard gave them to the store.
    Appended(Vec<Result<Taken, StoreError>>),
    /// The messages that [`PageQuery::ticket`] asked for.
    Page { ticket: u64, page: Result<Chosen, StoreError> },
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
            Self::Page { page: Err(_), .. } => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_is_stamped_where_its_gaps_are() {
        let draft = Draft::new(&["{\"id\":\"", ""], &["\",\"é\":\""], &["\",", "\"x\":1}"], Box::default());
        let receipt = Receipt { id: Uuid::from_u128(7), millis: 0 };
        let stored = draft.stamp(receipt, "1970-01-01T00:00:00.000Z");
        let id = "00000000-0000-0000-0000-000000000007";
        assert_eq!(*stored.json, format!("{{\"id\":\"{id}\",\"é\":\"1970-01-01T00:00:00.000Z\",\"x\":1}}"));
    }
}
