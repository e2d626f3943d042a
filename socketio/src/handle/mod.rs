//! [`Handle`]: how any other thread reaches the sockets of a running server.

mod dispatch;
mod emitter;
mod waiting;

use std::sync::Arc;

use engineio::net::ShardGone;

pub use self::emitter::Emitter;
use crate::{
    adapter::{Operation, Reply},
    config::Config,
};

/// A way to the sockets of a running server, from any thread: a background task, a thread of a store, an HTTP handler. Clones
/// are the same server.
///
/// An event is encoded once, on the calling thread, and goes to every shard that may have a target. What one thread emits
/// arrives in the order in which it was emitted. What a handler's [`Io`](crate::Io) emits meanwhile comes before or after it.
///
/// ```no_run
/// # async fn example(engine: engineio::net::Handle) -> Result<(), Box<dyn std::error::Error>> {
/// // `engine` is what `engineio::net::Running::handle` gives, the configuration that of the server.
/// let io = socketio::Handle::new(engine, &socketio::Config::default());
/// io.of("/").to("news").emit("headline", r#"{"title":"Tea is ready"}"#, &[]).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Handle {
    engine: engineio::net::Handle,
    config: Arc<Config>,
}

/// Why an [`Emitter`] did not send an event to everybody it was meant for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmitterError {
    /// A name that the protocol keeps for itself (`connect`, `disconnect`, ...). Nobody was sent the event.
    #[error("this event name is reserved")]
    ReservedName,
    /// The server's configuration has no such namespace. Nobody was sent the event.
    #[error("the server has no such namespace")]
    UnknownNamespace,
    /// A shard has ended, so its sockets are gone. The sockets of other shards were sent the event.
    #[error(transparent)]
    ShardGone(#[from] ShardGone),
}

impl Handle {
    /// The way to the server behind `engine`, whose handlers are [`Server`](crate::Server)s with this configuration.
    #[must_use]
    pub fn new(engine: engineio::net::Handle, config: &Config) -> Self {
        Self { engine, config: Arc::new(config.clone()) }
    }

    /// The engine's handle: for messages to handlers ([`Handler::on_shard_message`](crate::Handler::on_shard_message)), and to shut
    /// the server down.
    #[must_use]
    pub const fn engine(&self) -> &engineio::net::Handle {
        &self.engine
    }

    /// The sockets of a namespace, to be narrowed, for a broadcast or another operation. A namespace that exists only while clients are
    /// in it ([`Config::dynamic_namespaces`]) may have none.
    pub fn of(&self, nsp: &str) -> Emitter {
        Emitter::new(self.clone(), nsp)
    }

    /// Does what another server asks for, on the shards of this server only: for an [`Adapter`](crate::adapter::Adapter). An operation
    /// that asks has a reply. A server that has stuck or broken shards replies what the others say, before the time of the
    /// server that asked is up.
    ///
    /// # Errors
    /// [`EmitterError`] when not all shards did it.
    pub async fn apply(&self, operation: Operation) -> Result<Option<Reply>, EmitterError> {
        self.start(operation, false)?.finish().await
    }

    /// [`Handle::apply`] for a thread that may block.
    ///
    /// # Errors
    /// [`EmitterError`] when not all shards did it.
    pub fn apply_blocking(&self, operation: Operation) -> Result<Option<Reply>, EmitterError> {
        self.start(operation, false)?.finish_blocking()
    }
}
