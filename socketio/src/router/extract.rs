//! The arguments that handlers may have.

use std::{collections::BTreeMap, ops::Deref, sync::Arc};

use http::HeaderMap;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    callback::{Extract, Kind, OnAuthorize, OnConnect, OnDisconnect, OnEvent, SocketKind},
    commands::{self, Command},
    context::AckSlot,
    error::{EventError, SendError},
    handshake::Handshake,
    io::SocketIo,
    payload::{self, PayloadError, Written},
    socket::Socket,
    type_map::Requirements,
};
use crate::{
    adapter::EventData as RawEvent,
    error::{ConnectError, DisconnectReason},
    packet::Event,
};

impl<K: SocketKind> Extract<K> for Socket {
    fn extract(context: &K::Context<'_>) -> Result<Self, EventError> {
        Ok(K::socket(context).clone())
    }
}

/// The first argument of an event, read as a `T`. An absent argument is read as `null`.
///
/// If it is of another type, the handler is not called, and [`Namespace::on_error`](super::Namespace::on_error) is. A handler that has
/// `Result<Data<T>, PayloadError>` is called all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data<T>(pub T);

impl<T: DeserializeOwned> Extract<OnEvent> for Data<T> {
    fn extract(context: &<OnEvent as Kind>::Context<'_>) -> Result<Self, EventError> {
        Ok(Self(payload::read_one(&context.event.args, 0)?))
    }
}

impl<T: DeserializeOwned> Extract<OnEvent> for Result<Data<T>, PayloadError> {
    fn extract(context: &<OnEvent as Kind>::Context<'_>) -> Result<Self, EventError> {
        Ok(payload::read_one(&context.event.args, 0).map(Data))
    }
}

/// All arguments of an event, read as a tuple, an array or a `Vec`: `Payload((room, text)): Payload<(String, String)>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload<T>(pub T);

impl<T: DeserializeOwned> Extract<OnEvent> for Payload<T> {
    fn extract(context: &<OnEvent as Kind>::Context<'_>) -> Result<Self, EventError> {
        Ok(Self(payload::read_all(&context.event.args)?))
    }
}

impl<T: DeserializeOwned> Extract<OnEvent> for Result<Payload<T>, PayloadError> {
    fn extract(context: &<OnEvent as Kind>::Context<'_>) -> Result<Self, EventError> {
        Ok(payload::read_all(&context.event.args).map(Payload))
    }
}

impl Extract<OnEvent> for RawEvent {
    fn extract(context: &<OnEvent as Kind>::Context<'_>) -> Result<Self, EventError> {
        let Event { name, args } = context.event;
        Ok(Self::new(name, args.raw(), args.attachments()))
    }
}

/// The way to acknowledge an event. If the client does not wait for that, or another handler of the event has answered, sending does
/// nothing.
#[derive(Debug)]
#[must_use = "a client that waits for an acknowledgement waits until it is sent"]
pub struct Ack {
    socket: Socket,
    slot: AckSlot,
}

impl Ack {
    pub(crate) const fn new(socket: Socket, slot: AckSlot) -> Self {
        Self { socket, slot }
    }

    /// Whether the client waits for it, and has no answer yet.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.slot.is_wanted()
    }

    /// Acknowledges with one argument.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send<T: Serialize + ?Sized>(self, value: &T) -> Result<(), SendError> {
        self.send_with(|| Written::one(value))
    }

    /// Acknowledges with as many arguments as a tuple or `Vec` has items; with none for `()`.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send_all<T: Serialize + ?Sized>(self, values: &T) -> Result<(), SendError> {
        self.send_with(|| Written::all(values))
    }

    fn send_with(self, write: impl FnOnce() -> Result<Written, PayloadError>) -> Result<(), SendError> {
        if !self.slot.is_wanted() {
            return Ok(());
        }
        let payload = write()?;
        let Some(id) = self.slot.take() else { return Ok(()) };
        let command = Command::Ack { socket: self.socket.key(), id, payload };
        commands::send(self.socket.app(), self.socket.shard(), command)
    }
}

impl Extract<OnEvent> for Ack {
    fn extract(context: &<OnEvent as Kind>::Context<'_>) -> Result<Self, EventError> {
        Ok(Self::new(context.socket.clone(), context.ack.clone()))
    }
}

/// The application's state of type `T`, given to [`Router::state`](super::Router::state).
#[derive(Debug, Clone, Copy)]
pub struct State<T>(pub T);

impl<K: Kind, T: Clone + Send + Sync + 'static> Extract<K> for State<T> {
    #[expect(clippy::expect_used, reason = "a router that lacks a state does not start")]
    fn extract(context: &K::Context<'_>) -> Result<Self, K::Error> {
        let state = K::app(context).state.get::<T>();
        Ok(Self((*state.expect("the router checked that it has every state")).clone()))
    }

    fn requires(requirements: &mut Requirements) {
        requirements.state::<T>();
    }
}

/// What an (earlier) authorisation of the namespace returned ([`Namespace::authorize`](super::Namespace::authorize)), or what
/// [`Socket::insert`] stored.
#[derive(Debug)]
pub struct Extension<T> {
    value: Arc<T>,
}

impl<T> Deref for Extension<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Extension<T> {
    const fn new(value: Arc<T>) -> Self {
        Self { value }
    }

    /// The value, to be kept.
    #[must_use]
    pub fn into_inner(self) -> Arc<T> {
        self.value
    }
}

impl<T> Clone for Extension<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value) }
    }
}

/// The socket has no extension of this type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no authorisation of the namespace brought a {0}, and it was not inserted")]
pub struct MissingExtension(&'static str);

impl<K: SocketKind, T: Send + Sync + 'static> Extract<K> for Extension<T> {
    fn extract(context: &K::Context<'_>) -> Result<Self, EventError> {
        let missing = || EventError::Handler(Box::new(MissingExtension(std::any::type_name::<T>())));
        K::socket(context).get().map(Self::new).ok_or_else(missing)
    }
}

impl<T: Send + Sync + 'static> Extract<OnAuthorize> for Extension<T> {
    fn extract(context: &<OnAuthorize as Kind>::Context<'_>) -> Result<Self, ConnectError> {
        let value = context.extensions.get().map(Self::new);
        value.ok_or_else(|| {
            // The application's mistake: the client is not told which.
            let missing = MissingExtension(std::any::type_name::<T>());
            tracing::error!(nsp = &*context.nsp, error = %missing, "a client is refused");
            ConnectError::new("internal error")
        })
    }
}

impl<K: SocketKind, T: Send + Sync + 'static> Extract<K> for Option<Extension<T>> {
    fn extract(context: &K::Context<'_>) -> Result<Self, EventError> {
        Ok(K::socket(context).get().map(Extension::new))
    }
}

/// The payload of the client's CONNECT packet (`auth` in `socket.io-client`), read as a `T`; as `{}` when there is none. If it is of
/// another type, the client is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auth<T>(pub T);

fn read_auth<T: DeserializeOwned>(auth: Option<&str>) -> Result<T, PayloadError> {
    payload::read(auth.unwrap_or("{}"), &[])
}

impl<T: DeserializeOwned> Extract<OnAuthorize> for Auth<T> {
    fn extract(context: &<OnAuthorize as Kind>::Context<'_>) -> Result<Self, ConnectError> {
        read_auth(context.auth.as_deref())
            .map(Self)
            .map_err(|error| ConnectError::new(format!("invalid auth: {error}")))
    }
}

impl<T: DeserializeOwned> Extract<OnAuthorize> for Result<Auth<T>, PayloadError> {
    fn extract(context: &<OnAuthorize as Kind>::Context<'_>) -> Result<Self, ConnectError> {
        Ok(read_auth(context.auth.as_deref()).map(Auth))
    }
}

impl<T: DeserializeOwned> Extract<OnConnect> for Auth<T> {
    fn extract(context: &Socket) -> Result<Self, EventError> {
        Ok(read_auth(context.auth().as_deref()).map(Self)?)
    }
}

impl Extract<OnAuthorize> for Arc<Handshake> {
    fn extract(context: &<OnAuthorize as Kind>::Context<'_>) -> Result<Self, ConnectError> {
        Ok(Self::clone(&context.handshake))
    }
}

/// The headers of the request that opened the session.
#[derive(Debug, Clone)]
pub struct Headers(Arc<Handshake>);

impl Deref for Headers {
    type Target = HeaderMap;

    fn deref(&self) -> &HeaderMap {
        &self.0.headers
    }
}

impl Extract<OnAuthorize> for Headers {
    fn extract(context: &<OnAuthorize as Kind>::Context<'_>) -> Result<Self, ConnectError> {
        Ok(Self(Arc::clone(&context.handshake)))
    }
}

/// The parts of the namespace's name that its pattern names: with `/orders-{id}`, `params.get("id")`.
#[derive(Debug, Clone)]
pub struct Params(Arc<BTreeMap<String, String>>);

impl Params {
    /// A part.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

impl Extract<OnAuthorize> for Params {
    fn extract(context: &<OnAuthorize as Kind>::Context<'_>) -> Result<Self, ConnectError> {
        Ok(Self(Arc::clone(&context.params)))
    }
}

impl<K: SocketKind> Extract<K> for Params {
    fn extract(context: &K::Context<'_>) -> Result<Self, EventError> {
        Ok(Self(Arc::clone(K::socket(context).params())))
    }
}

impl Extract<OnDisconnect> for DisconnectReason {
    fn extract(context: &<OnDisconnect as Kind>::Context<'_>) -> Result<Self, EventError> {
        Ok(context.reason)
    }
}

impl<K: SocketKind> Extract<K> for SocketIo {
    fn extract(context: &K::Context<'_>) -> Result<Self, EventError> {
        Ok(K::socket(context).io())
    }
}

impl Extract<OnAuthorize> for SocketIo {
    fn extract(context: &<OnAuthorize as Kind>::Context<'_>) -> Result<Self, ConnectError> {
        Ok(Self::new(Arc::clone(&context.app)))
    }
}
