//! [`Handle`]: how any other thread emits to the sockets of a running server.

use std::sync::Arc;

use bytes::Bytes;
use engineio::{ShardMessage, net::ShardGone};

use crate::{
    adapter::{RelayedBroadcast, TargetNames, owners},
    config::Config,
    packet::is_reserved,
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

    /// A broadcast to the sockets of a namespace, to be narrowed and sent.
    pub fn of<'a>(&'a self, nsp: &'a str) -> Emitter<'a> {
        Emitter { handle: self, nsp, narrowed: false, volatile: false, names: TargetNames::default() }
    }
}

/// A broadcast from another thread that is being put together; [`Emitter::emit`] sends it.
///
/// It narrows like [`Broadcast`](crate::broadcast::Broadcast): `to` to rooms or sockets (by id), each socket once; `except` leaves
/// some out, `volatile` those that have much unread.
#[derive(Debug, Clone)]
#[must_use = "nothing is sent before `emit`"]
pub struct Emitter<'a> {
    handle: &'a Handle,
    nsp: &'a str,
    narrowed: bool,
    volatile: bool,
    names: TargetNames,
}

impl Emitter<'_> {
    /// Narrows the broadcast to a room, or to the socket whose id this is. Several calls add up.
    pub fn to(mut self, room: &str) -> Self {
        self.narrowed = true;
        self.names.to.push(room.into());
        self
    }

    /// Leaves out the members of a room, or the socket whose id this is.
    pub fn except(mut self, room: &str) -> Self {
        self.names.except.push(room.into());
        self
    }

    /// Leaves out sockets whose queue is above the engine's `outbound_soft`.
    pub const fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Sends the event. `args` are JSON values joined by commas, with a [placeholder](crate::parser::attachments::placeholder)
    /// for each attachment. Waits while a shard has too much to do.
    ///
    /// # Errors
    /// [`EmitterError`] when it will not reach everybody.
    pub async fn emit(self, name: &str, args: &str, attachments: &[Bytes]) -> Result<(), EmitterError> {
        let engine = &self.handle.engine;
        let mut result = Ok(());
        for (shard, message) in self.messages(name, args, attachments)? {
            let sent = engine.send(shard, message).await;
            result = result.and(sent);
        }
        Ok(result?)
    }

    /// [`Emitter::emit`] for a thread that may block.
    ///
    /// # Errors
    /// [`EmitterError`] when it will not reach everybody.
    pub fn emit_blocking(self, name: &str, args: &str, attachments: &[Bytes]) -> Result<(), EmitterError> {
        let engine = &self.handle.engine;
        let mut result = Ok(());
        for (shard, message) in self.messages(name, args, attachments)? {
            let sent = engine.send_blocking(shard, message);
            result = result.and(sent);
        }
        Ok(result?)
    }

    /// What each shard that may have a target is sent.
    fn messages(
        &self,
        name: &str,
        args: &str,
        attachments: &[Bytes],
    ) -> Result<impl Iterator<Item = (u16, ShardMessage)> + use<>, EmitterError> {
        if is_reserved(name) {
            return Err(EmitterError::ReservedName);
        }
        let Self { handle, nsp, narrowed, volatile, names } = self;
        if !handle.config.is_namespace(nsp) {
            return Err(EmitterError::UnknownNamespace);
        }
        let frame = handle.config.encoder().event(nsp, None, name, args, attachments);
        let (weight, shards) = (frame.websocket().len(), handle.engine.shards());
        let names = names.clone();
        let broadcast = RelayedBroadcast { nsp: (*nsp).into(), narrowed: *narrowed, names, volatile: *volatile, frame };
        let owners = owners(&broadcast, shards);
        let broadcast = Arc::new(broadcast);
        let wanted = (0..shards).filter(move |shard| owners.as_ref().is_none_or(|owners| owners.contains(shard)));
        Ok(wanted.map(move |shard| (shard, ShardMessage::new(Arc::clone(&broadcast)).with_weight(weight))))
    }
}
