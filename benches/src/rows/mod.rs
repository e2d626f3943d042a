//! The rows, that is benchmarks.

pub mod binary;
pub mod connect;
pub mod echo;
pub mod fanout;
pub mod growth;
pub mod heartbeat;
pub mod idle_memory;
pub mod polling;
pub mod rooms;
pub mod slow;
