//! Socket.IO v5 server, on top of `engineio`.
//!
//! Sans-IO like the engine's core: the application is called with an [`Io`], through which it answers; sockets and clocks
//! are the engine's. The feature `net` (on by default) only switches the engine's on.
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

pub use config::Config;
pub use error::{AckError, ConnectError, DisconnectReason, EmitError};
pub use handler::{ConnectRequest, Handler};
pub use io::Io;
pub use packet::{AckId, Args, Event};
pub use server::Server;
pub use socket::{SocketId, SocketKey};
