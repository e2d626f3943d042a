//! [`Socket`]: a client in a namespace, as handlers have it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::{Notify, oneshot};

use super::{
    app::App,
    commands::{self, Command, Outgoing},
    error::{AnswerError, SendError},
    handshake::Handshake,
    io::SocketIo,
    operator::Operator,
    payload::{self, Answer, PayloadError},
    type_map::TypeMap,
};
use crate::{
    error::AckError,
    state::ids::{SocketId, SocketKey},
};

/// A client in a namespace. Clones are the same socket; they may be kept, and used on any thread.
///
/// What a handler does with a socket happens in the order in which it does it, when the handler returns or waits. A socket that
/// is gone stays usable: nothing reaches its client, and [`Socket::is_connected`] is `false`.
#[derive(Clone)]
pub struct Socket(Arc<Inner>);

struct Inner {
    app: Arc<App>,
    id: SocketId,
    key: SocketKey,
    shard: u16,
    nsp: Arc<str>,
    handshake: Arc<Handshake>,
    params: Arc<BTreeMap<String, String>>,
    is_recovered: bool,
    is_connected: AtomicBool,
    disconnected: Notify,
    shared: Mutex<Shared>,
}

/// What handlers on several threads may change.
#[derive(Default)]
struct Shared {
    /// The payload of the CONNECT, until the handlers of the connection are done. It may be as long as a message.
    auth: Option<Arc<str>>,
    rooms: BTreeSet<Box<str>>,
    extensions: TypeMap,
    data: Option<Box<str>>,
}

/// What a new socket is made of.
pub(crate) struct Parts {
    pub(crate) app: Arc<App>,
    pub(crate) id: SocketId,
    pub(crate) key: SocketKey,
    pub(crate) shard: u16,
    pub(crate) nsp: Arc<str>,
    pub(crate) handshake: Arc<Handshake>,
    pub(crate) auth: Option<Arc<str>>,
    pub(crate) params: Arc<BTreeMap<String, String>>,
    pub(crate) extensions: TypeMap,
    /// Of a socket that came back.
    pub(crate) recovered: Option<Restored>,
}

/// What a socket that came back has again.
#[derive(Default)]
pub(crate) struct Restored {
    pub(crate) rooms: BTreeSet<Box<str>>,
    pub(crate) data: Option<Box<str>>,
}

impl Socket {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { app, id, key, shard, nsp, handshake, auth, params, extensions, recovered } = parts;
        let is_recovered = recovered.is_some();
        let Restored { rooms, data } = recovered.unwrap_or_default();
        let shared = Mutex::new(Shared { auth, rooms, extensions, data });
        let (is_connected, disconnected) = (AtomicBool::new(true), Notify::new());
        Self(Arc::new(Inner {
            app,
            id,
            key,
            shard,
            nsp,
            handshake,
            params,
            is_recovered,
            is_connected,
            disconnected,
            shared,
        }))
    }

    pub(crate) fn app(&self) -> &App {
        &self.0.app
    }

    pub(crate) fn key(&self) -> SocketKey {
        self.0.key
    }

    pub(crate) fn shard(&self) -> u16 {
        self.0.shard
    }

    pub(crate) fn auth(&self) -> Option<Arc<str>> {
        self.shared().auth.clone()
    }

    /// The handlers of its connection are done.
    pub(crate) fn forget_auth(&self) {
        self.shared().auth = None;
    }

    pub(crate) fn params(&self) -> &Arc<BTreeMap<String, String>> {
        &self.0.params
    }

    /// A handler of the application that panics meanwhile leaves these values whole.
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.0.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The socket is gone.
    pub(crate) fn end(&self) {
        self.0.is_connected.store(false, Ordering::Release);
        self.0.disconnected.notify_waiters();
    }

    fn send(&self, command: Command) -> Result<(), SendError> {
        if !self.is_connected() {
            return Err(SendError::Disconnected);
        }
        commands::send(&self.0.app, self.0.shard, command)
    }

    /// The socket's id, as its client and other sockets know it.
    #[must_use]
    pub fn id(&self) -> &SocketId {
        &self.0.id
    }

    /// The name of its namespace.
    #[must_use]
    pub fn nsp(&self) -> &str {
        &self.0.nsp
    }

    /// The request that opened the client's session.
    #[must_use]
    pub fn handshake(&self) -> &Handshake {
        &self.0.handshake
    }

    /// Whether it is connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.0.is_connected.load(Ordering::Acquire)
    }

    /// Whether it is an earlier socket whose connection broke, with its id, rooms and data, and with the events that it missed.
    #[must_use]
    pub fn is_recovered(&self) -> bool {
        self.0.is_recovered
    }

    /// Waits until the socket is gone. A handler runs to its end even then; one that works for a client that waits can be cut short
    /// with this and `tokio::select!`.
    pub async fn disconnected(&self) {
        let mut notified = std::pin::pin!(self.0.disconnected.notified());
        // Registered before the look at the flag, so that the end is not missed.
        notified.as_mut().enable();
        if self.is_connected() {
            notified.await;
        }
    }

    /// The way to all sockets of the server.
    #[must_use]
    pub fn io(&self) -> SocketIo {
        SocketIo::new(Arc::clone(&self.0.app))
    }

    /// Sends the client an event with one argument.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, value: &T) -> Result<(), SendError> {
        self.send(Command::Emit { socket: self.0.key, event: Outgoing::one(event, value)?, volatile: false })
    }

    /// Sends the client an event with as many arguments as a tuple or `Vec` has items; with none for `()`.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn emit_all<T: Serialize + ?Sized>(&self, event: &str, values: &T) -> Result<(), SendError> {
        self.send(Command::Emit { socket: self.0.key, event: Outgoing::all(event, values)?, volatile: false })
    }

    /// Sends the client an event with one argument unless it has much unread; then the event is dropped.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn emit_volatile<T: Serialize + ?Sized>(&self, event: &str, value: &T) -> Result<(), SendError> {
        self.send(Command::Emit { socket: self.0.key, event: Outgoing::one(event, value)?, volatile: true })
    }

    /// Sends the client an event with one argument, and waits for the first argument of its acknowledgement, for as long as
    /// [`Settings::ack_timeout`](super::Settings::ack_timeout) says.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub async fn emit_with_ack<R: DeserializeOwned>(
        &self,
        event: &str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<R, AnswerError> {
        let answer = self.ask(Outgoing::one(event, value)?, self.0.app.settings.ack_timeout).await?;
        Ok(answer.first()?)
    }

    /// Sends the client an event with as many arguments as a tuple or `Vec` has items, and waits for its acknowledgement for as long
    /// as `timeout`.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub async fn emit_all_with_ack(
        &self,
        event: &str,
        values: &(impl Serialize + ?Sized),
        timeout: Duration,
    ) -> Result<Answer, AnswerError> {
        self.ask(Outgoing::all(event, values)?, timeout).await
    }

    fn ask(
        &self,
        event: Outgoing,
        timeout: Duration,
    ) -> impl Future<Output = Result<Answer, AnswerError>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let sent = self.send(Command::EmitWithAck { socket: self.0.key, event, timeout, reply });
        async move {
            sent?;
            // A sender that is dropped belonged to a socket that is gone.
            answer.await.unwrap_or(Err(AckError::Disconnected.into()))
        }
    }

    /// Puts the socket into a room.
    ///
    /// # Errors
    /// [`SendError::Disconnected`]; outside of handlers of the socket's shard also [`SendError::Busy`] and
    /// [`SendError::NotRunning`]. It did not join then.
    pub fn join(&self, room: &str) -> Result<(), SendError> {
        // Locked until the command is on its way, so that what the shard does with it is noted after this.
        let mut shared = self.shared();
        self.send(Command::Join { socket: self.0.key, room: room.into() })?;
        shared.rooms.insert(room.into());
        Ok(())
    }

    /// Takes the socket out of a room. A socket that is gone is in no room: that is no error.
    ///
    /// # Errors
    /// [`SendError::Busy`] and [`SendError::NotRunning`], only outside of handlers of the socket's shard. It did not leave then.
    pub fn leave(&self, room: &str) -> Result<(), SendError> {
        let mut shared = self.shared();
        gone_is_fine(self.send(Command::Leave { socket: self.0.key, room: room.into() }))?;
        shared.rooms.remove(room);
        Ok(())
    }

    /// The rooms that it is in; when it is gone, those that it was in. Its own room, named like its id, is not among them.
    #[must_use]
    pub fn rooms(&self) -> Vec<String> {
        self.shared().rooms.iter().map(|room| String::from(&**room)).collect()
    }

    /// Whether it is in a room.
    #[must_use]
    pub fn is_in(&self, room: &str) -> bool {
        self.shared().rooms.contains(room)
    }

    /// It is in a room now: somebody else made it join.
    pub(crate) fn add_room(&self, room: &str) {
        self.shared().rooms.insert(room.into());
    }

    /// It is no longer in a room.
    pub(crate) fn remove_room(&self, room: &str) {
        self.shared().rooms.remove(room);
    }

    /// Everybody in a room but this socket.
    pub fn to(&self, room: &str) -> Operator {
        self.broadcast().to(room)
    }

    /// Everybody in a room, this socket too if it is there.
    pub fn within(&self, room: &str) -> Operator {
        self.io().of(&self.0.nsp).to(room)
    }

    /// Everybody in the namespace but this socket.
    pub fn broadcast(&self) -> Operator {
        self.io().of(&self.0.nsp).without(self.0.shard, self.0.key, &self.0.id)
    }

    /// Makes the socket leave its namespace. Its client does not come back by itself. That the socket is gone already is no error.
    ///
    /// # Errors
    /// [`SendError::Busy`] and [`SendError::NotRunning`], only outside of handlers of the socket's shard. It is still connected then: try
    /// again when the shard was busy.
    pub fn disconnect(&self) -> Result<(), SendError> {
        gone_is_fine(self.send(Command::Disconnect { socket: self.0.key, close: false }))
    }

    /// Makes all sockets of the client leave their namespaces, and ends its session. That the socket is gone already is no error.
    ///
    /// # Errors
    /// As [`Socket::disconnect`].
    pub fn disconnect_client(&self) -> Result<(), SendError> {
        gone_is_fine(self.send(Command::Disconnect { socket: self.0.key, close: true }))
    }

    /// Stores a value for this socket: one of each type. Handlers get it as [`Extension`](super::Extension).
    pub fn insert<T: Send + Sync + 'static>(&self, value: T) {
        let replaced = self.shared().extensions.insert(value);
        // Only now, when nothing is locked: the application's `Drop` may use this socket.
        drop(replaced);
    }

    /// The value of a type that was stored for this socket.
    #[must_use]
    pub fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.shared().extensions.get()
    }

    /// Stores what others learn of this socket, from other shards and servers (`socket.data` in Node), and what it has again when it is
    /// recovered.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn set_data<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), PayloadError> {
        let data = serde_json::to_string(data)?;
        self.shared().data = Some(data.into());
        Ok(())
    }

    /// What was stored with [`Socket::set_data`].
    ///
    /// # Errors
    /// When it is of another type.
    pub fn data<T: DeserializeOwned>(&self) -> Result<Option<T>, PayloadError> {
        let data = self.shared().data.clone();
        data.map(|data| payload::read(&data, &[])).transpose()
    }

    pub(crate) fn extensions(&self) -> TypeMap {
        self.shared().extensions.clone()
    }

    pub(crate) fn raw_data(&self) -> Option<Box<str>> {
        self.shared().data.clone()
    }
}

/// What was to end is over already.
fn gone_is_fine(sent: Result<(), SendError>) -> Result<(), SendError> {
    match sent {
        Err(SendError::Disconnected) => Ok(()),
        sent => sent,
    }
}

impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Socket {}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("id", &self.0.id).field("nsp", &self.0.nsp).finish_non_exhaustive()
    }
}
