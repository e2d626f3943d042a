//! What shards and other threads share: a mailbox in front of each shard, a few counters, and the handle that reaches
//! them.
//!
//! A mailbox holds data ([`command::Command`]). The shard that takes a command out decides what to do with it.

pub(in crate::net) mod command;
pub(in crate::net) mod connections;
pub(in crate::net) mod handle;
pub(in crate::net) mod http_connections;
pub(in crate::net) mod mailbox;
pub(in crate::net) mod peer;
pub(in crate::net) mod registry;
pub(in crate::net) mod session_request;
pub(in crate::net) mod stats;
#[cfg(feature = "tls")]
pub(in crate::net) mod tls;
