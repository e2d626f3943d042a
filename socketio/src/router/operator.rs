//! [`Operator`]: which sockets a broadcast is for.

use std::sync::Arc;

use serde::Serialize;

use super::{
    app::App,
    commands::{self, Command, Outgoing, Targets},
    error::SendError,
    socket::Socket,
};

/// The sockets of a namespace, or those in some of its rooms. Made by [`SocketIo::of`](super::SocketIo::of), [`Socket::to`] and
/// [`Socket::broadcast`]. It may be kept, and used many times.
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
        };
        Self { app, shard: None, targets }
    }

    pub(crate) fn except_socket(socket: &Socket) -> Self {
        let mut operator = socket.io().of(socket.nsp());
        operator.shard = Some(socket.shard());
        operator.targets.except_socket = Some(socket.key());
        operator
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

    /// Sends an event with one argument to these sockets.
    ///
    /// # Errors
    /// [`SendError`]. It is no error when there is nobody to send to.
    pub fn emit<T: Serialize + ?Sized>(&self, event: &str, value: &T) -> Result<(), SendError> {
        self.send(Outgoing::one(event, value)?)
    }

    /// Sends an event with as many arguments as a tuple or `Vec` has items to these sockets; with none for `()`.
    ///
    /// # Errors
    /// [`SendError`]. It is no error when there is nobody to send to.
    pub fn emit_all<T: Serialize + ?Sized>(&self, event: &str, values: &T) -> Result<(), SendError> {
        self.send(Outgoing::all(event, values)?)
    }

    fn send(&self, event: Outgoing) -> Result<(), SendError> {
        if !self.app.config.is_namespace(&self.targets.nsp) {
            return Err(SendError::UnknownNamespace);
        }
        // One shard begins the broadcast, so that it is either sent or not: the others get it from there.
        let shard = self.shard.unwrap_or_else(|| commands::nearest_shard(&self.app));
        commands::send(&self.app, shard, Command::Broadcast { targets: self.targets.clone(), event })
    }
}
