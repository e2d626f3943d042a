//! Where messages are kept.

mod memory;

pub(crate) use memory::{LogKey, MemoryStore, Receipt, Stored};
