//! Where messages are kept, and the ids that put them in order. Knows rooms by name, and nothing of the chat.

mod memory;
mod message_ids;
mod types;

pub(crate) use memory::{LogKey, MemoryStore};
pub(crate) use message_ids::MessageIds;
pub(crate) use types::{Receipt, Stored};
