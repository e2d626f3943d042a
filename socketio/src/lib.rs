//! Socket.IO v5 server, on top of `engineio`.
//!
//! Sans-IO like the engine's core: the application is called with an [`Io`], through which it answers; sockets and clocks
//! are the engine's. The feature `net` (on by default) only switches the engine's on.
//!
//! A server that sends every event to whoever is connected, and acknowledges it. The engine's own default path is
//! `/engine.io/`, so a Socket.IO server has to set the one that its clients ask for:
//!
#![cfg_attr(feature = "net", doc = "```no_run")]
#![cfg_attr(not(feature = "net"), doc = "```ignore")]
//! # use socketio::{AckId, Config, ConnectError, ConnectRequest, DisconnectReason, Event, Handler, Io, Server, SocketKey};
//! struct App;
//!
//! impl Handler for App {
//!     type Admission = ();
//!     fn authorize(&mut self, _: &mut Io<'_>, _: &ConnectRequest<'_>) -> Result<(), ConnectError> {
//!         Ok(())
//!     }
//!     fn on_connect(&mut self, _: &mut Io<'_>, _: SocketKey, (): ()) {}
//!     fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
//!         let first = event.args.get(0).unwrap_or("null"); // raw JSON, in and out
//!         let _ = io.of("/").emit(&event.name, first, event.args.attachments());
//!         if let Some(id) = ack {
//!             let _ = io.ack(socket, id, "true", &[]);
//!         }
//!     }
//!     fn on_disconnect(&mut self, _: &mut Io<'_>, _: SocketKey, _: DisconnectReason) {}
//! }
//!
//! let mut engine = engineio::Config::default();
//! engine.path = "/socket.io/".to_owned();
//! let listener = std::net::TcpListener::bind("127.0.0.1:3000")?;
//! engineio::net::Server::new(engine).serve(listener, || Server::new(Config::default(), App))?.join();
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`json`] | one scanner that checks JSON text and gives its slices |
//! | [`packet`], [`parser`] | the packets a client may send; text and binary messages to packets and back |
//! | [`server`] | packets to calls of the application |
//! | [`handler`] | the application's trait |
//! | [`io`], [`broadcast`] | what the application may do |
//! | `gather` | what a room's members get together at the end of a turn |
//! | `core`: `client`, `socket`, `namespace`, `room`, `deadlines` | the state of one shard |

// Nothing that a peer sends may panic. Tests are exempt.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::string_slice))]

pub mod broadcast;
mod client;
pub mod config;
mod core;
mod deadlines;
pub mod error;
mod gather;
pub mod handler;
pub mod io;
pub mod json;
mod namespace;
pub mod packet;
pub mod parser;
mod room;
pub mod server;
pub mod socket;

pub use broadcast::RoomPlace;
pub use config::Config;
pub use error::{AckError, ConnectError, DisconnectReason, EmitError};
pub use handler::{ConnectRequest, Handler};
pub use io::Io;
pub use packet::{AckId, Args, Event};
pub use server::Server;
pub use socket::{SocketId, SocketKey};
