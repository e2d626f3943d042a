//! Engine.IO server, protocol v4 and, where allowed, v3. "The reference" in these pages is Node's `engine.io` 6.6.
//!
//! Engine.IO carries messages between a server and its clients, over long-polling or WebSocket. You write a
//! [`Handler`]: its methods are called when a session opens, sends a message, or ends. Each call gets an [`Outbox`],
//! which sends messages and closes sessions. Socket.IO, with events, rooms and namespaces, is the crate `socketio` on
//! top of this one.
//!
//! # A first server
//!
//! It sends every message back. It needs the feature `net`, which is on by default:
//!
#![cfg_attr(feature = "net", doc = "```no_run")]
#![cfg_attr(not(feature = "net"), doc = "```ignore")]
//! use engineio::{CloseReason, Config, ConnKey, Handler, Handshake, Message, Outbox, SharedFrame};
//! use engineio::{net::Server, packet::Outbound};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn on_open(&mut self, _: &mut dyn Outbox, _: ConnKey, _: &Handshake<'_>) {}
//!     fn on_message(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, message: Message<'_>) {
//!         // An error means that the session is closing; `on_close` reports that.
//!         let _ = outbox.send(conn, &SharedFrame::packet(&Outbound::Message(message)));
//!     }
//!     fn on_close(&mut self, _: &mut dyn Outbox, _: ConnKey, _: CloseReason) {}
//! }
//!
//! let listener = std::net::TcpListener::bind("127.0.0.1:3000")?;
//! Server::new(Config::default()).shards(2).serve(listener, || Echo)?.join()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Terms
//!
//! | term | meaning |
//! |---|---|
//! | session | one connection of Engine.IO, over long-polling or WebSocket; a handler knows it by its [`ConnKey`] |
//! | sid | the id of a session as its client knows it ([`Sid`]); a secret |
//! | transport | how the packets of a session travel: long-polling or WebSocket |
//! | upgrade | the change of a session from long-polling to WebSocket |
//! | packet | a message, a ping, a pong, ...: one unit of Engine.IO |
//! | payload | several packets in one HTTP body |
//! | shard | one thread of a server, with sessions and a handler of its own |
//! | turn | one synchronous pass of a shard: something happens, the handler is called, its answers are queued |
//! | shard message | a message for a shard's handler, from another shard or another thread ([`ShardMessage`]) |
//! | job | work that a handler starts elsewhere; its result comes back as an event ([`Job`]) |
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `net` (default) | the server that owns sockets, timers and tasks: the module `net` |
//! | `tls` | TLS on the server's own listener, by rustls (`net::Server::tls`) |
//! | `tower` | a tower service, to mount the engine in an axum or hyper application |
//! | `testing` | a test kit for handlers, without sockets and time: the module `testing` |
//!
//! Without features the crate is *sans-IO*: bytes, time and random bytes come in as arguments; events and bytes go out
//! as return values. It then uses no tokio, no hyper, no clock, no randomness and no logging.
//!
//! # Modules
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | options, limits and intervals |
//! | [`handler`] | the traits between a session and the layer above |
//! | [`protocol`] | which revision a session speaks |
//! | [`packet`] | one Engine.IO packet |
//! | [`payload`] | several packets in one HTTP body |
//! | [`ws`] | the RFC 6455 codec of the server side |
//! | [`http`] | from a request to a [`http::Route`], and from the outcome to the answer |
//! | [`session`] | the state machine of one session |
//! | [`sid`] | the ids of sessions |
//! | [`shared_frame`], [`batch`] | packets encoded once for many recipients; several of them in a row |
//! | [`hooks`] | what an application may decide about handshakes and headers |
//! | [`shard_message`], [`job`] | messages for a shard's handler; work done elsewhere |
//! | [`close`], [`error`] | why sessions end; why requests are refused |
//! | [`slab`], [`deadlines`] | keys that go out of date with what they named; deadlines in order |

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

/// The tests compile the code in the README.
#[cfg(all(doctest, feature = "net"))]
#[doc = include_str!("../README.md")]
struct Readme;
