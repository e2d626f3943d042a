//! [`Handle`] itself, and why what it does may fail.

use std::sync::Arc;

use engineio::net::ShardGone;

use crate::config::Config;

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
    pub(super) engine: engineio::net::Handle,
    pub(super) config: Arc<Config>,
}

/// Why an [`Emitter`](super::Emitter) did not do for everybody what it was to do.
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
}
