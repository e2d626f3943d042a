//! [`Router`]: an application of closures, each for one event of a namespace.
//!
//! ```no_run
//! use serde::{Deserialize, Serialize};
//! use socketio::router::{Ack, Data, Router, SendError, Socket};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Chat {
//!     room: String,
//!     text: String,
//! }
//!
//! let mut app = Router::new();
//! app.of("/")
//!     .on("join", |socket: Socket, Data(room): Data<String>| socket.join(&room))
//!     .on("message", |socket: Socket, Data(chat): Data<Chat>, ack: Ack| -> Result<(), SendError> {
//!         socket.to(&chat.room).emit("message", &chat)?;
//!         ack.send("sent")
//!     });
//! app.serve("127.0.0.1:3000")?.join()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Handlers
//!
//! A handler is a closure or function, sync or async, with up to eight arguments. Each argument says by its type what it is taken
//! from:
//!
//! | argument | what it is | where |
//! |---|---|---|
//! | [`Socket`] | the socket | everywhere but `authorize` |
//! | [`Data<T>`](Data), [`Payload<T>`](Payload) | the first argument of the event; all of them | events |
//! | [`Ack`] | the way to acknowledge the event | events |
//! | [`RawEvent`] | name and arguments as they came: JSON, and attachments | events |
//! | [`State<T>`](State) | what [`Router::state`] was given | everywhere |
//! | [`Extension<T>`](Extension) | what an earlier `authorize` returned, or [`Socket::insert`] stored | everywhere |
//! | [`Auth<T>`](Auth) | the payload of the client's CONNECT | `authorize`, `on_connect` |
//! | [`Headers`], [`Arc<Handshake>`](Handshake) | the request that opened the session | `authorize` |
//! | [`Params`] | the parts of the namespace's name | everywhere |
//! | [`DisconnectReason`](crate::DisconnectReason) | why the socket is gone | `on_disconnect` |
//! | [`SocketIo`] | all sockets | everywhere |
//!
//! A handler of an event returns `()` or a `Result<(), E>` with any error. Errors, and events whose arguments have other types than
//! the handler takes, go to [`Namespace::on_error`].
//!
//! # Handlers that wait
//!
//! An async handler runs on its shard's thread. While it waits, the shard serves its other sockets; while it computes, the shard
//! does not, so long work belongs into `tokio::task::spawn_blocking`. A handler that keeps its shard busy for longer than
//! [`Settings::blocking_after`] is logged.
//!
//! - Several events of one socket are handled at the same time when their handlers wait. With [`Namespace::ordered`] the
//!   next event waits until the handlers of the last are done.
//! - A handler runs to its end even if its socket is gone meanwhile. [`Socket::disconnected`] is for those that should not.
//! - A panic in a handler ends its socket's connection, and nothing else.

mod app;
mod callback;
mod commands;
mod context;
mod error;
mod event;
mod extract;
mod handshake;
mod io;
mod operator;
mod pattern;
mod payload;
mod recovered;
mod remote;
mod routes;
mod shard;
mod socket;
mod tasks;
mod type_map;

mod builder;

pub use crate::adapter::{EventData as RawEvent, ServerReply};
#[doc(hidden)]
pub use app::App;
pub use app::Settings;
pub use builder::{Namespace, Router, Running};
pub use callback::{
    Admitted, Async, Called, Direct, Extract, Handler, Kind, OnAuthorize, OnConnect, OnDisconnect, OnEvent, Output,
    SocketKind,
};
pub use context::{ConnectContext, DisconnectContext, EventContext};
pub use error::{AnswerError, BoxError, EventError, SendError};
pub use extract::{Ack, Auth, Data, Extension, Headers, MissingExtension, Params, Payload, State};
pub use handshake::Handshake;
pub use io::SocketIo;
pub use operator::Operator;
pub use pattern::PatternError;
pub use payload::{Answer, Binary, PayloadError};
pub use remote::{Answers, RemoteSocket, Sockets};
pub use shard::RouterShard;
pub use socket::Socket;
pub use type_map::Requirements;

#[cfg(test)]
mod tests;
