//! [`Operator`]: which sockets a broadcast is for.

use std::{sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::oneshot;

use super::{
    app::App,
    commands::{self, Action, Command, Outgoing, Targets},
    error::{AnswerError, SendError},
    remote::{Answers, Sockets},
};
use crate::{
    adapter::{Reply, ServerAnswers},
    state::ids::{SocketId, SocketKey},
};

/// The sockets of a namespace, or those in some of its rooms. Made by [`SocketIo::of`](super::SocketIo::of), [`Socket::to`](super::Socket::to) and
/// [`Socket::broadcast`](super::Socket::broadcast). It may be kept, and used many times.
///
/// ```no_run
/// # fn example(io: &socketio::router::SocketIo) -> Result<(), socketio::router::SendError> {
/// let players = io.of("/game").to("red").to("blue").except("spectators");
/// players.emit("score", &[3, 2])?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "it only says which sockets are meant"]
pub struct Operator {
    app: Arc<App>,
    /// The shard of the socket that is left out.
    shard: Option<u16>,
    targets: Targets,
}

impl Operator {
    pub(crate) fn new(app: Arc<App>, nsp: Arc<str>) -> Self {
        let targets = Targets {
            nsp,
            to: Vec::new(),
            narrowed: false,
            except: Vec::new(),
            except_socket: None,
            volatile: false,
            local: false,
            compress: true,
        };
        Self { app, shard: None, targets }
    }

    /// Leaves out a socket of a shard. One that may come back is left out by its id: under its key it is found no more then.
    pub(crate) fn without(mut self, shard: u16, socket: SocketKey, id: &SocketId) -> Self {
        self.shard = Some(shard);
        if self.app.recovery().is_some() {
            return self.except(&id.to_string());
        }
        self.targets.except_socket = Some(socket);
        self
    }

    /// Narrows it to several rooms, as [`Operator::to`] for each does. With no room it reaches nobody.
    pub fn to_all<R: AsRef<str>>(mut self, rooms: impl IntoIterator<Item = R>) -> Self {
        self.targets.narrowed = true;
        rooms.into_iter().fold(self, |operator, room| operator.to(room.as_ref()))
    }

    /// Narrows it to a room, or to the socket whose id this is. Several calls add up; a socket that is in several of the rooms is
    /// reached once.
    pub fn to(mut self, room: &str) -> Self {
        self.targets.narrowed = true;
        self.targets.to.push(room.into());
        self
    }

    /// Leaves out the members of a room, or the socket whose id this is.
    pub fn except(mut self, room: &str) -> Self {
        self.targets.except.push(room.into());
        self
    }

    /// Leaves out sockets that have much unread.
    pub const fn volatile(mut self) -> Self {
        self.targets.volatile = true;
        self
    }

    /// Leaves out the sockets of other shards and servers.
    pub const fn local(mut self) -> Self {
        self.targets.local = true;
        self
    }

    /// Whether the event may be compressed; it may, unless this says otherwise. It matters only where the engine's configuration
    /// has compression.
    pub const fn compress(mut self, compress: bool) -> Self {
        self.targets.compress = compress;
        self
    }

    /// Sends an event with one argument to these sockets.
    ///
    /// # Errors
    /// [`SendError`]. It is no error when there is nobody to send to.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, value: &T) -> Result<(), SendError> {
        self.send(Action::Emit(Outgoing::one(event, value)?))
    }

    /// Sends an event with as many arguments as a tuple or `Vec` has items to these sockets; with none for `()`.
    ///
    /// # Errors
    /// [`SendError`]. It is no error when there is nobody to send to.
    pub fn emit_all<T: Serialize + ?Sized>(&self, event: &str, values: &T) -> Result<(), SendError> {
        self.send(Action::Emit(Outgoing::all(event, values)?))
    }

    /// Sends an event with one argument to these sockets, and gathers the first argument of each acknowledgement that comes within
    /// `timeout`. With nobody to ask it is done at once.
    ///
    /// # Errors
    /// [`AnswerError::Send`]. That somebody did not answer is no error: see [`Answers`].
    pub async fn emit_with_ack<R: DeserializeOwned>(
        &self,
        event: &str,
        value: &(impl Serialize + ?Sized),
        timeout: Duration,
    ) -> Result<Answers<R>, AnswerError> {
        let event = Outgoing::one(event, value)?;
        let (reply, answers) = oneshot::channel();
        self.send(Action::EmitWithAck { event, timeout, reply })?;
        match answers.await {
            Ok(Ok(Reply::Answers(answers))) => Ok(Answers::new(answers)),
            Ok(Err(error)) => Err(error.into()),
            _ => Err(SendError::NotRunning.into()),
        }
    }

    /// These sockets join rooms.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn sockets_join<R: Into<Box<str>>>(&self, rooms: impl IntoIterator<Item = R>) -> Result<(), SendError> {
        self.send(Action::Join(rooms.into_iter().map(Into::into).collect()))
    }

    /// These sockets leave rooms.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn sockets_leave<R: Into<Box<str>>>(&self, rooms: impl IntoIterator<Item = R>) -> Result<(), SendError> {
        self.send(Action::Leave(rooms.into_iter().map(Into::into).collect()))
    }

    /// These sockets leave the namespace, and with `close` their clients' sessions end. The clients do not come back by themselves.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn disconnect_sockets(&self, close: bool) -> Result<(), SendError> {
        self.send(Action::Disconnect { close })
    }

    /// Lists these sockets. Who does not say within `timeout` which it has is named in the result.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn fetch_sockets(&self, timeout: Duration) -> Result<Sockets, SendError> {
        let (reply, sockets) = oneshot::channel();
        self.send(Action::Fetch { timeout, reply })?;
        match sockets.await {
            Ok(Ok(Reply::Sockets(sockets))) => Ok(Sockets::new(sockets)),
            Ok(Err(error)) => Err(error),
            _ => Err(SendError::NotRunning),
        }
    }

    /// Sends an event with one argument to the other servers ([`Namespace::on_server_event`](super::Namespace::on_server_event)).
    /// Rooms do not count. Without an [`Adapter`](crate::adapter::Adapter) there are no other servers, and nothing happens.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn server_side_emit<T: Serialize + ?Sized>(&self, event: &str, value: &T) -> Result<(), SendError> {
        self.send(Action::ServerSideEmit(Outgoing::one(event, value)?))
    }

    /// [`Operator::server_side_emit`], with the answers that come within `timeout`.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn server_side_emit_with_ack(
        &self,
        event: &str,
        value: &(impl Serialize + ?Sized),
        timeout: Duration,
    ) -> Result<ServerAnswers, SendError> {
        let event = Outgoing::one(event, value)?;
        let (reply, answers) = oneshot::channel();
        self.send(Action::ServerSideEmitWithAck { event, timeout, reply })?;
        match answers.await {
            Ok(Ok(Reply::Servers(answers))) => Ok(answers),
            Ok(Err(error)) => Err(error),
            _ => Err(SendError::NotRunning),
        }
    }

    fn send(&self, action: Action) -> Result<(), SendError> {
        // A pattern fits itself, and nobody is in a namespace of that name.
        let is_pattern = self.app.patterns.iter().any(|pattern| **pattern == *self.targets.nsp);
        if is_pattern || !self.app.config.is_namespace(&self.targets.nsp) {
            return Err(SendError::UnknownNamespace);
        }
        // One shard begins it, so that it is either done or not: the others get it from there.
        let shard = self.shard.unwrap_or_else(|| commands::nearest_shard(&self.app));
        commands::send(&self.app, shard, Command::OnAll { targets: self.targets.clone(), action })
    }
}
