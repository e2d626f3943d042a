//! [`Handler`]: what an application does with sockets.

use std::time::Instant;

use engineio::{ConnKey, Handshake, JobId, Refusal, ShardMessage, job::JobPanicked};

use crate::{
    adapter::{EventData, Reply, ServerReply},
    error::{AckError, ConnectError, DisconnectReason},
    io::Io,
    packet::{AckId, Args, Event, OversizeEvent},
    recovery::{Admission, RecoveryRequest},
    state::{
        ids::{PendingConnect, RequestId, SocketKey},
        report::RoomEvent,
    },
};

/// A client asks to join a namespace.
#[derive(Debug, Clone, Copy)]
pub struct ConnectRequest<'a> {
    /// The engine session it comes by.
    pub conn: ConnKey,
    /// The namespace, which exists.
    pub nsp: &'a str,
    /// The payload of the CONNECT packet: a JSON object, as sent. `None` when there was none. For a client of version 2
    /// (`engineio::Config::allow_eio3`) it is the query behind the namespace's name, as an object of strings. `/` has none: such a
    /// client is connected to it when the session opens, and only the handshake says who it is.
    pub auth: Option<&'a str>,
    /// What the client says about the socket that it was before its connection broke ([`recovery`](crate::recovery)).
    pub recovery: Option<RecoveryRequest<'a>>,
    /// What a decision that comes later is about ([`Decision::Later`]).
    pub pending: PendingConnect,
}

/// What becomes of a CONNECT ([`Handler::authorize`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision<A> {
    /// The client joins the namespace. [`Handler::on_connect`] gets the value.
    Admit(A),
    /// The client joins the namespace, as the socket that it was or with a private id of the application's. [`Handler::on_connect`] gets the
    /// value.
    AdmitAs(A, Box<Admission>),
    /// The client is refused.
    Refuse(ConnectError),
    /// The application says so later, with [`Io::admit`], [`Io::admit_as`] or [`Io::refuse`] and [`ConnectRequest::pending`]. Until then the client is in no
    /// namespace by this CONNECT; what it sends there closes its connection, as in Node. Another CONNECT to the same
    /// namespace is answered together with the first.
    Later,
}

impl<A> From<Result<A, ConnectError>> for Decision<A> {
    fn from(result: Result<A, ConnectError>) -> Self {
        result.map_or_else(Self::Refuse, Self::Admit)
    }
}

/// An application. Each shard has a handler of its own, and calls to it never overlap. A call acts through the [`Io`] that it is
/// lent.
///
/// A panic in a method ends the connection that the method was called for. The calls that are still due, for this connection
/// and for others, come nevertheless. [`Handler::on_timeout`], [`Handler::on_shard_message`] and [`Handler::on_job_done`] are
/// called for no connection: what a panic does there, the engine decides (see `engineio::Handler`).
pub trait Handler {
    /// What [`Handler::authorize`] admits with and [`Handler::on_connect`] gets.
    type Admission;

    /// Decides whether a handshake may become an engine session. Nothing is kept for it yet.
    ///
    /// # Errors
    /// A [`Refusal`], answered over HTTP.
    fn on_handshake(&mut self, now: Instant, handshake: &Handshake<'_>) -> Result<(), Refusal> {
        let _ = (now, handshake);
        Ok(())
    }

    /// An engine session was opened.
    fn on_open(&mut self, io: &mut Io<'_>, conn: ConnKey, handshake: &Handshake<'_>) {
        let _ = (io, conn, handshake);
    }

    /// An engine session is over. Its sockets were reported by [`Handler::on_disconnect`] before.
    fn on_close(&mut self, io: &mut Io<'_>, conn: ConnKey) {
        let _ = (io, conn);
    }

    /// Decides whether a client may join a namespace. A refusal is sent as CONNECT_ERROR.
    fn authorize(&mut self, io: &mut Io<'_>, request: &ConnectRequest<'_>) -> Decision<Self::Admission>;

    /// What a client is told that has joined no namespace and sent a message longer than
    /// [`max_unaccepted`](engineio::Config::max_unaccepted), as CONNECT_ERROR for the main namespace. Its session ends then. `None`: it
    /// only ends, and official clients come back with the same message.
    fn refuse_long(&mut self, conn: ConnKey) -> Option<ConnectError> {
        let _ = conn;
        None
    }

    /// A client is about to get its socket back ([`Config::recovery`](crate::Config::recovery)). The answer is what [`Handler::on_connect`] gets for
    /// it, in place of what [`Handler::authorize`] would admit it with; `data` is what [`Handler::socket_data`] said when the old
    /// connection ended. `None`, the default: the client is treated as a new one.
    ///
    /// It is not called without [`Options::skip_middlewares`](crate::recovery::Options::skip_middlewares): then `authorize` decides, and
    /// [`Io::recovered_data`] has `data`.
    fn readmit(
        &mut self,
        io: &mut Io<'_>,
        request: &ConnectRequest<'_>,
        data: Option<&str>,
    ) -> Option<Self::Admission> {
        let _ = (io, request, data);
        None
    }

    /// A socket is connected; [`Io::is_recovered`] says whether it is one that the client had before. The client has been sent the answer to its CONNECT, so what is emitted here follows that.
    fn on_connect(&mut self, io: &mut Io<'_>, socket: SocketKey, admission: Self::Admission);

    /// An event arrived. With `ack`, the client waits for [`Io::ack`].
    fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>);

    /// An event arrived that exceeds a limit of [`Config::packet`](crate::Config::packet), so that its arguments were not read. `true`: the
    /// handler has dealt with it, and the connection goes on. `false`, the default: the connection is closed, as official servers close
    /// one for too many attachments. The client then comes back by itself, and learns nothing. In MessagePack
    /// ([`Parser::Msgpack`](crate::parser::Parser::Msgpack)) such an event closes the connection without this call.
    fn on_oversize_event(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        event: &OversizeEvent<'_>,
        ack: Option<AckId>,
    ) -> bool {
        let _ = (io, socket, event, ack);
        false
    }

    /// The answer to [`Io::emit_with_ack`], or why there is none.
    fn on_ack(&mut self, io: &mut Io<'_>, socket: SocketKey, id: AckId, answer: Result<&Args<'_>, AckError>) {
        let _ = (io, socket, id, answer);
    }

    /// The reply to something that this handler asked many sockets or servers for, with `fetch_sockets`, `emit_with_ack` or
    /// `server_side_emit_with_ack` of a [`Broadcast`](crate::broadcast::Broadcast). It comes in a later turn than the request.
    fn on_reply(&mut self, io: &mut Io<'_>, request: RequestId, reply: Reply) {
        let _ = (io, request, reply);
    }

    /// What is saved with a socket that may be recovered ([`Handler::readmit`]), and what others learn about it when they fetch it ([`Broadcast::fetch_sockets`](crate::broadcast::Broadcast::fetch_sockets)): JSON, or nothing.
    fn socket_data(&self, io: &Io<'_>, socket: SocketKey) -> Option<String> {
        let _ = (io, socket);
        None
    }

    /// A socket joined a room or left it. Called only if [`Config::room_events`](crate::Config::room_events) says so, after the call in
    /// which it happened, and before [`Handler::on_disconnect`] of a socket that left its rooms by that.
    fn on_room_event(&mut self, io: &mut Io<'_>, event: &RoomEvent) {
        let _ = (io, event);
    }

    /// An event came from another server ([`Broadcast::server_side_emit`](crate::broadcast::Broadcast::server_side_emit)). Of all handlers of this server, that of shard 0 gets
    /// it. With `reply`, the other server waits for an answer; without one, this server is missing there.
    fn on_server_event(&mut self, io: &mut Io<'_>, nsp: &str, event: &EventData, reply: Option<ServerReply>) {
        let _ = (io, nsp, event, reply);
    }

    /// A socket is no longer connected. It has left its rooms, and [`Io`] finds nothing under its key. This is the last call for
    /// the key; calls for the next socket with the same index come after it.
    fn on_disconnect(&mut self, io: &mut Io<'_>, socket: SocketKey, reason: DisconnectReason);

    /// A message arrived from the handler of a shard ([`Io::send_to_shard`]), or from another thread.
    fn on_shard_message(&mut self, io: &mut Io<'_>, message: ShardMessage) {
        let _ = (io, message);
    }

    /// A job that this handler started ([`Io::start_job`]) is done; `result` is what it returned.
    fn on_job_done(&mut self, io: &mut Io<'_>, job: JobId, result: Result<ShardMessage, JobPanicked>) {
        let _ = (io, job, result);
    }

    /// When [`Handler::on_timeout`] is to be called next; `None` for never. Asked after every turn, so it must be cheap.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The time has come that [`Handler::poll_timeout`] returned.
    fn on_timeout(&mut self, io: &mut Io<'_>) {
        let _ = io;
    }
}
