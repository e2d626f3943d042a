//! Where messages are kept, and the ids that put them in order. Knows rooms by name, and nothing of the chat.
//!
//! There are two kinds of stores. [`MemoryStore`] answers at once: each shard has one of its own, which is asked by plain calls. Every
//! other store implements [`Store`]: it is asked by any shard, and sends its answers to the shard later. A store of that kind decides
//! about ids and so about order; it may be a file, or another machine.
//!
//! | module | what it does |
//! |---|---|
//! | `types`, `filling` | what stores take and give; how much a page holds |
//! | `administration` | what the HTTP API asks of a store that answers later |
//! | `message_ids` | ids that grow strictly, and their parts |
//! | `memory` | messages in memory |
//! | `sqlite` | messages in a file |
//! | `answers` | the way of answers to the shards |
//! | `health`, `timings` | whether the store works, and what it says of that in the log; how long it takes |

mod administration;
mod answers;
mod filling;
mod health;
mod memory;
mod message_ids;
mod sqlite;
mod timings;
mod types;

use std::{fmt::Debug, sync::Arc};

use uuid::Uuid;

pub(crate) use administration::{Answering, Ban, Change, Cursor, Lookup, RoomCount};
pub(crate) use answers::ShardAnswers;
pub(crate) use filling::Filling;
pub(crate) use health::{Health, StoreCounts};
pub(crate) use memory::{LogKey, MemoryStore, Sought};
pub(crate) use message_ids::{MessageIds, Position, Receipt};
pub(crate) use sqlite::{SqliteStore, tools};
pub(crate) use timings::{BOUNDS as TIME_BOUNDS, Times};
pub(crate) use types::{
    Answer, Append, Chosen, Deleted, Draft, Identity, Missed, MissedEvents, MissedFilling, MissedQuery, PageLimit,
    PageQuery, SavedSession, Saving, SessionChange, SessionId, SessionQuery, SessionSecret, Side, StoreError, Stored,
    Taken, UNNOTICED, Urgency,
};

/// The parts of [`SqliteStore`], for tests that do without its threads.
#[cfg(test)]
pub(crate) mod testing {
    pub(crate) use super::sqlite::{
        Database, Location, Moment, VoidSessions, Write, Written, find_session, missed, page,
    };
}

/// A store that answers later, by `Answers`. No call blocks.
pub(crate) trait Store: Debug + Send + Sync {
    /// Hands over a message. The answer to each message that is accepted comes in [`Answer::Appended`], in the order of these calls of
    /// one shard. By then it is stored as `store.durability` says. Ids grow strictly in the order of the answers.
    ///
    /// # Errors
    /// The message is refused, and no answer comes.
    fn append(&self, append: Append) -> Result<(), StoreError>;

    /// Asks for messages. Answers come in [`Answer::Page`], in any order. Every message whose answer came before is found.
    ///
    /// # Errors
    /// The question is refused, and no answer comes.
    fn read(&self, query: PageQuery) -> Result<(), StoreError>;

    /// Tells the store how a session changed. It stores that in the order of these calls and those of [`Store::append`]: whoever hears
    /// that a message is stored knows that the changes before it are. What cannot be stored makes the session void: then it will
    /// not be found after a restart.
    fn save(&self, change: SessionChange, urgency: Urgency) -> Saving;

    /// Asks for a session that began in an earlier run, and was claimed in none since. The answer comes in [`Answer::Session`].
    ///
    /// # Errors
    /// The question is refused, and no answer comes.
    fn find_session(&self, query: SessionQuery) -> Result<(), StoreError>;

    /// Asks for what a client missed. The answer comes in [`Answer::Missed`]. Every message whose answer came before is found.
    ///
    /// # Errors
    /// The question is refused, and no answer comes.
    fn read_missed(&self, query: MissedQuery) -> Result<(), StoreError>;

    /// Asks what the HTTP API wants to know.
    ///
    /// # Errors
    /// The question is refused, and no answer comes.
    fn look_up(&self, lookup: Lookup) -> Result<(), StoreError>;

    /// Changes what the HTTP API wants to be changed. It happens after everything that was handed over before.
    ///
    /// # Errors
    /// The change is refused, and no answer comes.
    fn change(&self, change: Change) -> Result<(), StoreError>;

    /// The bans that it had when it was opened.
    fn bans(&self) -> Vec<Ban>;

    /// An id that is not less than that of any message that was stored before this process began.
    fn newest(&self) -> Uuid;

    /// What is the same, or counted, over restarts.
    fn identity(&self) -> Identity;

    /// Whether it works, and what it has done.
    fn health(&self) -> &Arc<Health>;

    /// Takes no more messages, deals with those that it has accepted, and gives up what others may be waiting for. Blocks until then.
    fn close(&self);
}

#[cfg(test)]
mod tests;
