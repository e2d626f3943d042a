//! [`Io`]: what an application may do within a call.

mod admission;

use std::time::{Duration, Instant};

use bytes::Bytes;
use engineio::{CloseReason, ConnKey, Job, JobId, Outbox, ShardMessage, SharedFrame, job::TooManyJobs};

use crate::{
    broadcast::{Broadcast, numbered, one_socket},
    error::{ConnectError, EmitError},
    packet::{AckId, is_reserved},
    parser::Encoder,
    state::{
        State,
        ids::{NspKey, PendingConnect, SocketId, SocketKey},
        room::handle::RoomHandle,
    },
};

/// What an application may do within a call: emit, join, leave, broadcast, disconnect.
pub struct Io<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) outbox: &'a mut dyn Outbox,
}

impl std::fmt::Debug for Io<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Io").finish_non_exhaustive()
    }
}

impl Io<'_> {
    /// The monotonic time of this turn.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.outbox.now()
    }

    /// Fills `bytes` from the operating system's entropy.
    pub fn fill_random(&mut self, bytes: &mut [u8]) {
        self.outbox.fill_random(bytes);
    }

    /// The number of the shard that this handler belongs to.
    #[must_use]
    pub fn shard(&self) -> u16 {
        self.outbox.shard()
    }

    /// Encodes packets in the format of this server's clients: for [`Broadcast::emit_frame`].
    #[must_use]
    pub const fn encoder(&self) -> Encoder {
        self.state.config.encoder()
    }

    /// How many shards the server has; they are numbered from 0.
    #[must_use]
    pub fn shards(&self) -> u16 {
        self.outbox.shards()
    }

    /// Sends a message to the handler of a shard, which gets it by [`crate::Handler::on_shard_message`]. Another shard gets this
    /// shard's messages and broadcasts in the order in which they were sent.
    pub fn send_to_shard(&mut self, shard: u16, message: ShardMessage) {
        self.outbox.send_to_shard(shard, message);
    }

    /// Starts work that is done elsewhere, and returns at once. [`crate::Handler::on_job_done`] gets the result.
    ///
    /// # Errors
    /// [`TooManyJobs`] when this shard has as many jobs under way as `engineio::Config::max_jobs` allows.
    pub fn start_job(&mut self, job: Job) -> Result<JobId, TooManyJobs> {
        self.outbox.start_job(job)
    }

    /// The socket's public id.
    #[must_use]
    pub fn id(&self, socket: SocketKey) -> Option<SocketId> {
        self.state.socket(socket).map(|socket| socket.id.clone())
    }

    /// The engine session under a socket.
    #[must_use]
    pub fn conn(&self, socket: SocketKey) -> Option<ConnKey> {
        self.state.socket(socket).map(|socket| socket.conn)
    }

    /// The socket's namespace.
    #[must_use]
    pub fn nsp(&self, socket: SocketKey) -> Option<&str> {
        let nsp = self.state.socket(socket)?.nsp;
        self.state.namespaces.get(nsp).map(|nsp| &*nsp.name)
    }

    /// Puts the socket into a room; `false` when it was there, or is gone.
    pub fn join(&mut self, socket: SocketKey, room: &str) -> bool {
        one_socket::join(self.state, self.outbox, socket, room)
    }

    /// Takes the socket out of a room; `false` when it was not there.
    pub fn leave(&mut self, socket: SocketKey, room: &str) -> bool {
        one_socket::leave(self.state, self.outbox, socket, room)
    }

    /// The rooms that the socket joined. Its own room, named like its id, is not among them.
    pub fn rooms(&self, socket: SocketKey) -> impl Iterator<Item = &str> {
        let socket = self.state.socket(socket);
        let rooms = socket.and_then(|socket| self.state.namespaces.get(socket.nsp)).map(|nsp| &nsp.rooms);
        socket
            .into_iter()
            .flat_map(|socket| &socket.rooms)
            .filter_map(move |membership| rooms.and_then(|rooms| rooms.name(membership)))
    }

    /// This shard's sockets in a room.
    pub fn members(&self, nsp: &str, room: &str) -> impl ExactSizeIterator<Item = SocketKey> {
        let nsp = self.state.namespaces.find(nsp).and_then(|index| self.state.namespaces.get(index));
        let members = nsp.and_then(|nsp| nsp.rooms.find(room).map(|room| nsp.rooms.members(room)));
        members.unwrap_or_default().iter().map(|member| member.socket)
    }

    /// A handle of a room, for broadcasts to it by [`Broadcast::to_room`]; `None` when there is no such namespace. The room need
    /// not exist yet.
    #[must_use]
    pub fn room(&self, nsp: &str, name: &str) -> Option<RoomHandle> {
        let nsp = self.state.namespaces.find(nsp)?;
        Some(RoomHandle::new(self.outbox.shard(), nsp, name))
    }

    /// Sends an event to one socket. `args` are JSON values joined by commas, with a
    /// [placeholder](crate::parser::attachments::placeholder) for each attachment.
    ///
    /// # Errors
    /// [`EmitError`] when it will not be delivered.
    pub fn emit(&mut self, socket: SocketKey, name: &str, args: &str, attachments: &[Bytes]) -> Result<(), EmitError> {
        if self.state.recovery.is_some() && !is_reserved(name) {
            return numbered::emit_to_socket(self.state, self.outbox, socket, name, args, attachments);
        }
        self.send_event(socket, None, name, args, attachments)
    }

    /// Sends an event that asks for an acknowledgement. [`crate::Handler::on_ack`] gets the answer, or why there is none after
    /// `timeout`. With [`Duration::MAX`] the answer may come as long as the socket is connected.
    ///
    /// # Errors
    /// [`EmitError`] when it was not sent; then there will be no answer either.
    pub fn emit_with_ack(
        &mut self,
        socket: SocketKey,
        name: &str,
        args: &str,
        attachments: &[Bytes],
        timeout: Duration,
    ) -> Result<AckId, EmitError> {
        let deadline = self.now().checked_add(timeout);
        let limit = self.state.config.acks_per_socket;
        let owed = self.state.socket(socket).ok_or(EmitError::Disconnected)?.acks.len();
        if owed >= limit {
            return Err(EmitError::TooManyAcks);
        }
        let id = AckId(self.state.next_ack);
        self.send_event(socket, Some(id), name, args, attachments)?;
        self.state.next_ack += 1;
        if let Some(deadline) = deadline {
            self.state.deadlines.acks.insert((deadline, id), socket);
        }
        if let Some(socket) = self.state.sockets.get_mut(socket.0) {
            socket.acks.push((id, deadline));
        }
        Ok(id)
    }

    fn send_event(
        &mut self,
        key: SocketKey,
        ack: Option<AckId>,
        name: &str,
        args: &str,
        attachments: &[Bytes],
    ) -> Result<(), EmitError> {
        if is_reserved(name) {
            return Err(EmitError::ReservedName);
        }
        self.send(key, |encoder, nsp| encoder.event(nsp, ack, name, args, attachments))
    }

    /// Answers the event that came with `id`. Only the first answer counts: the client ignores a second one.
    ///
    /// # Errors
    /// [`EmitError`] when it will not be delivered.
    pub fn ack(&mut self, socket: SocketKey, id: AckId, args: &str, attachments: &[Bytes]) -> Result<(), EmitError> {
        self.send(socket, |encoder, nsp| encoder.ack(nsp, id, args, attachments))
    }

    fn send(&mut self, key: SocketKey, encode: impl FnOnce(Encoder, &str) -> SharedFrame) -> Result<(), EmitError> {
        // What its rooms hold back was broadcast before this.
        self.flush_held_frames(key);
        let socket = self.state.socket(key).ok_or(EmitError::Disconnected)?;
        let nsp = self.state.namespaces.get(socket.nsp).ok_or(EmitError::Disconnected)?;
        let frame = encode(self.state.config.encoder(), &nsp.name);
        Ok(self.outbox.send(socket.conn, &frame)?)
    }

    /// Sends a socket what its rooms hold back, before anything else that concerns it.
    fn flush_held_frames(&mut self, key: SocketKey) {
        one_socket::flush_held_frames(self.state, self.outbox, key);
    }

    /// Begins a broadcast or another operation within a namespace: for all its sockets, on every shard and server, unless it is
    /// narrowed.
    pub fn of<'b>(&'b mut self, nsp: &str) -> Broadcast<'b> {
        Broadcast::new(self.state, self.outbox, nsp)
    }

    /// Whether the socket's client has little unread, so that a volatile event is worth sending.
    #[must_use]
    pub fn is_writable(&self, socket: SocketKey) -> bool {
        self.conn(socket).is_some_and(|conn| self.outbox.is_writable(conn))
    }

    /// How many more bytes may be queued for the socket's client before its session is closed as a slow consumer; 0 when the
    /// socket is gone. The client is given first what it takes now.
    pub fn send_room(&mut self, socket: SocketKey) -> usize {
        self.flush_held_frames(socket);
        self.conn(socket).map_or(0, |conn| self.outbox.send_room(conn))
    }

    /// When the socket's client was last heard of by the heartbeat, at the latest: it may have sent something else since.
    #[must_use]
    pub fn last_heartbeat(&self, socket: SocketKey) -> Option<Instant> {
        self.outbox.last_heartbeat(self.conn(socket)?)
    }

    /// Ends an engine session after what is queued for it was delivered. The client gets no disconnect packet, so it comes back by
    /// itself: see [`Io::disconnect`] for an end for good.
    pub fn close(&mut self, conn: ConnKey) {
        self.outbox.close(conn, CloseReason::ForcedClose);
    }

    /// Ends an engine session at once, without what is queued for it: a WebSocket is reset, and the sid is unknown from now on. For
    /// clients that nobody waits for, in such numbers that the time they would have to close is too dear.
    pub fn abort(&mut self, conn: ConnKey) {
        self.outbox.close(conn, CloseReason::LimitExceeded);
    }

    /// Makes the socket leave its namespace. The client gets a disconnect packet, after which it does not come back by itself.
    /// With `close`, all sockets of the client leave theirs, and then the engine session ends.
    pub fn disconnect(&mut self, socket: SocketKey, close: bool) {
        one_socket::disconnect(self.state, self.outbox, socket, close);
    }

    /// Refuses a client whose CONNECT was to be decided later; `false` when it no longer waits.
    pub fn refuse(&mut self, pending: PendingConnect, error: &ConnectError) -> bool {
        if !self.state.take_pending(pending) {
            return false;
        }
        self.send_refusal(pending.conn, pending.nsp, error);
        self.state.namespaces.forget_client(pending.nsp);
        true
    }

    pub(crate) fn send_refusal(&mut self, conn: ConnKey, nsp: NspKey, error: &ConnectError) {
        let v4 = self.state.client(conn).is_some_and(|client| client.v4.is_some());
        if let Some(nsp) = self.state.namespaces.get(nsp) {
            let encode = if v4 { Encoder::connect_error_v4 } else { Encoder::connect_error };
            let frame = encode(self.state.config.encoder(), &nsp.name, &error.message, error.data.as_deref());
            // A closed connection needs no answer.
            let _ = self.outbox.send(conn, &frame);
        }
    }
}
