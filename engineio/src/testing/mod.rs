//! A test kit for handlers: an engine without sockets, threads and time.
//!
//! A handler gets all it needs by arguments, so a test can be its engine. The kit is that engine. A test opens sessions,
//! sends messages as a client would, lets time pass, and looks at what the handler sent. Everything happens on the test's
//! thread when the test says so, so a test never waits and always takes the same course.
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
//! What the kit leaves out is what a handler cannot see: transports, packets of Engine.IO other than messages, heartbeats.

mod engine;
mod shard;
mod shards;
#[cfg(test)]
mod tests;

pub use engine::Engine;
pub use shard::Shard;
pub use shards::Shards;
