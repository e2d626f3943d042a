//! Sockets, clocks and tasks: the only part of the crate that has them.
//!
//! A server is one or more *shards*. A shard is one thread with its own tokio runtime. It owns its connections, their
//! sockets, their timers and one [`Handler`](crate::Handler). Shards share mailboxes and a few counters, nothing else.
//! Any other thread reaches them through a [`Handle`].
//!
//! The folders, from the top down. A file uses files of its own layer and of the layers below it:
//!
//! | folder | what it does |
//! |---|---|
//! | `server` | starts the shards' threads, and reports when they have ended |
//! | `driver` | the task of a shard that ends turns, runs timers, and runs the commands in its mailbox |
//! | `accept` | new connections: choosing a shard, first bytes, requests from another server |
//! | `http` | HTTP/1.1 on one connection, from a request to its answer |
//! | `transport` | long-polling, WebSocket, the upgrade from one to the other |
//! | `shard` | who owns what; turns; calls to the handler; writes, closes and deadlines |
//! | `shards` | mailboxes, counters, and the handle for other threads |
//! | `peer` | one peer's stream, send queue and frame format |
//! | `system` | random bytes, the time of day |

mod accept;
mod driver;
mod http;
mod peer;
mod server;
mod shard;
mod shards;
mod system;
mod transport;

#[cfg(feature = "tower")]
pub use accept::tower::EngineService;
pub use server::{BrokenShard, Running, Server};
pub use shard::fallback::{BodyError, OtherBody, OtherRequest};
pub use shards::{
    handle::{Handle, Reply, ShardGone, TrySendError},
    stats::{LAG_BOUNDS, LagTimes, ShardStats},
};
