//! Where messages are kept.

mod memory;

pub(crate) use memory::{MemoryStore, Receipt, Stored};
