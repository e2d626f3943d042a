//! A Socket.IO server (protocol v5, and v4 for clients of version 2) on top of the Engine.IO server [`engineio`].
//!
//! There are two ways to write an application:
//!
//! - the *router* (module `router`, feature `router`, on by default): closures for events, with typed arguments, sync or async. Begin there,
//!   and with the guide, `docs/library.md` in the repository;
//! - the trait [`Handler`], below it, for applications that count microseconds. The rest of this page is about that.
//!
//! A [`Handler`]'s methods are called when a client connects, sends an event, or leaves. Each call gets an [`Io`].
//! With it the handler sends events, puts sockets into rooms, broadcasts, and disconnects.
//!
//! # A first server on the trait
//!
//! It sends every event to everyone who is connected, and acknowledges it. Engine.IO's own default path is `/engine.io/`, so a
//! Socket.IO server sets the path that its clients ask for:
//!
#![cfg_attr(feature = "net", doc = "```no_run")]
#![cfg_attr(not(feature = "net"), doc = "```ignore")]
//! # use socketio::{AckId, Config, ConnectRequest, Decision, DisconnectReason, Event, Handler, Io, Server, SocketKey};
//! struct App;
//!
//! impl Handler for App {
//!     type Admission = ();
//!     fn authorize(&mut self, _: &mut Io<'_>, _: &ConnectRequest<'_>) -> Decision<()> {
//!         Decision::Admit(())
//!     }
//!     fn on_connect(&mut self, _: &mut Io<'_>, _: SocketKey, (): ()) {}
//!     fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
//!         let first = event.args.get(0).unwrap_or("null"); // arguments are JSON text, in and out
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
//! engineio::net::Server::new(engine).serve(listener, || Server::new(Config::default(), App))?.join()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Terms
//!
//! | term | meaning |
//! |---|---|
//! | session | a connection of Engine.IO, over long-polling or WebSocket; named by an `engineio::ConnKey` |
//! | client | the Socket.IO side of a session |
//! | namespace | a name, such as `/`, that clients connect to; the configuration says which there are ([`Config::namespaces`]) |
//! | socket | one client in one namespace; named by a [`SocketKey`] here, and by a [`SocketId`] for everybody else |
//! | room | sockets of one namespace under a name that the handler chose |
//! | shard | one thread of the server, with a handler and sessions of its own |
//! | turn | what a shard does between two waits: it hears every session that has something to say, then sends |
//!
//! A broadcast to a room is held back until the end of the turn, so that each member gets all of the turn's broadcasts in one
//! write. A client sees no difference: everything arrives in the order in which it was emitted.
//!
//! # Testing an application
//!
//! The crate is *sans-IO*: it has no sockets, clocks and tasks of its own; those are the engine's, and the feature `net` (on by
//! default) only switches the engine's on. So a test can be the engine. With its feature `testing`, `engineio` has a kit for
//! that:
//!
//! ```
//! # use socketio::{AckId, Config, ConnectRequest, Decision, DisconnectReason, Event, Handler, Io, Server, SocketKey};
//! # struct App;
//! # impl Handler for App {
//! #     type Admission = ();
//! #     fn authorize(&mut self, _: &mut Io<'_>, _: &ConnectRequest<'_>) -> Decision<()> {
//! #         Decision::Admit(())
//! #     }
//! #     fn on_connect(&mut self, _: &mut Io<'_>, _: SocketKey, (): ()) {}
//! #     fn on_event(&mut self, io: &mut Io<'_>, _: SocketKey, event: &Event<'_>, _: Option<AckId>) {
//! #         let _ = io.of("/").emit(&event.name, event.args.raw(), &[]);
//! #     }
//! #     fn on_disconnect(&mut self, _: &mut Io<'_>, _: SocketKey, _: DisconnectReason) {}
//! # }
//! use engineio::testing::Shard;
//!
//! let mut shard = Shard::new(Server::new(Config::default(), App));
//! let [alice, bob] = [shard.open(), shard.open()];
//! for client in [alice, bob] {
//!     shard.text(client, "0"); // CONNECT
//!     assert!(shard.sent(client)[0].starts_with(r#"40{"sid":"#));
//! }
//! shard.text(alice, r#"2["hello",1]"#); // EVENT
//! assert_eq!(shard.sent(bob), [r#"42["hello",1]"#]);
//! ```
//!
//! # Modules
//!
//! Each module uses only those below it:
//!
//! | module | what it holds |
//! |---|---|
//! | `router` | an application of closures with typed arguments, instead of the trait (feature `router`) |
//! | [`server`] | the engine's messages become packets, and packets become calls of the handler |
//! | `handle` | how other threads, and other servers, reach the server's sockets (feature `net`) |
//! | `client_files` | the bundles of the official client, for browsers (feature `net`) |
//! | [`handler`] | the trait that an application implements |
//! | [`io`] | what a handler may do |
//! | [`broadcast`] | events and other operations for many sockets; what rooms hold back until the end of the turn |
//! | `relay` | what shards send each other about many sockets |
//! | `state` | the clients, sockets, namespaces, rooms and deadlines of one shard |
//! | [`config`], [`error`] | limits and time-outs; errors and reasons |
//! | [`recovery`] | what a client whose connection broke gets back: the log of events, and the sessions |
//! | [`adapter`] | operations and replies as plain data; how other servers get them |
//! | [`parser`] | messages to packets, and packets to frames |
//! | [`packet`] | the packets that a client may send |
//! | [`json`] | a scanner that checks JSON text and gives its slices |

// Nothing that a peer sends may panic. Tests are exempt.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable))]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::string_slice))]

pub mod adapter;
pub mod broadcast;
#[cfg(feature = "net")]
mod client_files;
pub mod config;
pub mod error;
#[cfg(feature = "net")]
pub mod handle;
pub mod handler;
pub mod io;
pub mod json;
pub mod packet;
pub mod parser;
pub mod recovery;
mod relay;
#[cfg(feature = "router")]
pub mod router;
pub mod server;
mod state;

/// The engine below: its options, its handle, its test kit.
pub use engineio;

#[cfg(feature = "net")]
pub use client_files::client_files;
pub use config::Config;
pub use error::{AckError, ConnectError, DisconnectReason, EmitError};
#[cfg(feature = "net")]
pub use handle::{AnswerProgress, AnswerStream, Emitter, EmitterError, Handle};
pub use handler::{ConnectRequest, Decision, Handler};
pub use io::Io;
pub use packet::{AckId, Args, Event, Excess, OversizeEvent};
#[cfg(feature = "router")]
pub use router::Binary;
pub use server::Server;
pub use state::{
    ids::{PendingConnect, RequestId, SocketId, SocketKey},
    report::{RoomChange, RoomEvent},
    room::handle::RoomHandle,
};

/// The tests compile the code in the guide, and in the repository's README.
#[cfg(all(doctest, feature = "tower", feature = "testing"))]
#[doc = include_str!("../../docs/library.md")]
#[doc = include_str!("../../README.md")]
struct Library;

/// The tests compile the code in the README.
#[cfg(all(doctest, feature = "router"))]
#[doc = include_str!("../README.md")]
struct Readme;
