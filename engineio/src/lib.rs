//! Engine.IO server, protocol v4 and, where allowed, v3. "The reference" in these pages is Node's `engine.io` 6.6.
//!
//! Without features this crate is *sans-IO*: bytes, time and random bytes come in as arguments, events and bytes go
//! out as return values. No tokio, no hyper, no clock, no entropy, no logging. The feature `net` (on by default) adds
//! the server that owns sockets, timers and tasks.
//!
//! | module | what it holds |
//! |---|---|
//! | [`protocol`] | which revision a session speaks |
//! | [`packet`] | one Engine.IO packet |
//! | [`payload`] | several packets in one HTTP body |
//! | [`ws`] | the RFC 6455 codec of the server side |
//! | [`http`] | from a request to a [`http::Route`], and from what came of it to the answer |
//! | [`session`] | the state machine of one session |
//! | [`shared_frame`], [`batch`] | bytes encoded once for many recipients, and several such frames in order |
//! | [`hooks`] | what an application may decide about connections and headers |
//! | [`handler`] | the traits between a session and the layer above |
//! | [`shard_message`] | a message for a shard's handler, from another shard or another thread |
//! | [`job`] | work that runs outside a shard's turn, and whose result comes back as an event |
//! | `testing` | with the feature of that name: a test kit that drives a handler without sockets and clock |

// Nothing that a peer sends may panic. Tests are exempt.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::string_slice))]

pub mod batch;
pub mod close;
pub mod config;
pub mod deadlines;
pub mod error;
pub mod handler;
pub mod hooks;
pub mod http;
pub mod job;
pub mod packet;
pub mod payload;
pub mod protocol;
pub mod proxy_protocol;
pub mod session;
pub mod shard_message;
pub mod shared_frame;
pub mod sid;
pub mod slab;
pub mod ws;

#[cfg(feature = "net")]
pub mod net;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use batch::Batch;
pub use close::CloseReason;
pub use config::{Config, ConfigError, OpenPacket, SettingNames};
pub use handler::{ConnKey, Handler, Handshake, Outbox, Refusal, SendError};
pub use job::{Job, JobId};
pub use packet::Message;
pub use protocol::Protocol;
pub use shard_message::ShardMessage;
pub use shared_frame::{SharedFrame, Wire};
pub use sid::Sid;
