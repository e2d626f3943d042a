//! A test kit for handlers: an engine without sockets, threads or a real clock.
//!
//! A handler gets everything it needs as arguments, so a test can act as its engine. This kit is such an engine. A test
//! opens sessions, sends messages as a client would, moves the clock, and looks at what the handler sent. Everything
//! happens on the test's thread when the test says so. So a test never waits, and always runs the same way.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use engineio::{CloseReason, ConnKey, Handler, Handshake, Message, Outbox, SharedFrame, testing::Shard};
//!
//! /// Sends back what it gets, and ends a session that says `bye`.
//! struct Echo;
//!
//! impl Handler for Echo {
//!     fn on_open(&mut self, _: &mut dyn Outbox, _: ConnKey, _: &Handshake<'_>) {}
//!     fn on_message(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, message: Message<'_>) {
//!         let Message::Text(text) = message else { return };
//!         // An error means that the session is closing: `on_close` follows.
//!         let _ = outbox.send(conn, &SharedFrame::message(&[text.as_bytes()], &[]));
//!         if text == "bye" {
//!             outbox.close(conn, CloseReason::ForcedClose);
//!         }
//!     }
//!     fn on_close(&mut self, _: &mut dyn Outbox, _: ConnKey, _: CloseReason) {}
//! }
//!
//! let mut shard = Shard::new(Echo);
//! let conn = shard.open();
//! shard.text(conn, "hello");
//! // `4` is the packet type of a message.
//! assert_eq!(shard.sent(conn), ["4hello"]);
//! shard.text(conn, "bye");
//! assert!(!shard.engine.is_open(conn));
//! ```
//!
//! | type | what it is |
//! |---|---|
//! | [`Engine`] | the [`Outbox`](crate::Outbox) of one shard: records frames, closes, shard messages and jobs |
//! | [`Shard`] | a handler and its engine; calls the handler as the engine would |
//! | [`Shards`] | several of them; the test chooses which message between shards arrives next |
//!
//! The kit leaves out what a handler cannot see: transports, Engine.IO packets other than messages, and heartbeats.

mod engine;
mod shard;
mod shards;
#[cfg(test)]
mod tests;

pub use engine::Engine;
pub use shard::Shard;
pub use shards::Shards;
