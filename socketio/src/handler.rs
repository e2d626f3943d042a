//! [`Handler`]: what an application does with sockets.

use std::time::Instant;

use engineio::{ConnKey, Handshake, JobId, Refusal, ShardMessage, job::JobPanicked};

use crate::{
    error::{AckError, ConnectError, DisconnectReason},
    io::Io,
    packet::{AckId, Args, Event},
    state::ids::SocketKey,
};

/// A client's wish to join a namespace.
#[derive(Debug, Clone, Copy)]
pub struct ConnectRequest<'a> {
    /// The engine session it comes by.
    pub conn: ConnKey,
    /// The namespace, which exists.
    pub nsp: &'a str,
    /// The payload of the CONNECT packet: a JSON object, as sent. `None` when there was none.
    pub auth: Option<&'a str>,
}

/// An application. One value a shard; calls never overlap, and each may answer through the [`Io`] it is lent.
///
/// A panic in any method ends the connection it was called for, whoever caused the call; the calls that are owed for it
/// and for others still come. Only [`Handler::on_timeout`], [`Handler::on_shard_message`] and [`Handler::on_job_done`] are for no connection: there the
/// engine decides.
pub trait Handler {
    /// What [`Handler::authorize`] hands to [`Handler::on_connect`].
    type Admission;

    /// May this engine handshake go on? Nothing is kept for it yet.
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

    /// An engine session is over; its sockets were disconnected before.
    fn on_close(&mut self, io: &mut Io<'_>, conn: ConnKey) {
        let _ = (io, conn);
    }

    /// May this client join the namespace?
    ///
    /// # Errors
    /// A [`ConnectError`], sent as CONNECT_ERROR.
    fn authorize(&mut self, io: &mut Io<'_>, request: &ConnectRequest<'_>) -> Result<Self::Admission, ConnectError>;

    /// A socket is connected; the client has been answered already, so what is emitted here follows the answer.
    fn on_connect(&mut self, io: &mut Io<'_>, socket: SocketKey, admission: Self::Admission);

    /// An event arrived. With `ack`, the client waits for [`Io::ack`].
    fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>);

    /// The answer to [`Io::emit_with_ack`], or why there is none.
    fn on_ack(&mut self, io: &mut Io<'_>, socket: SocketKey, id: AckId, answer: Result<&Args<'_>, AckError>) {
        let _ = (io, socket, id, answer);
    }

    /// A socket is no longer connected. It has left its rooms and [`Io`] knows nothing of it; the last call for this key,
    /// and none for the next holder of its index comes before it.
    fn on_disconnect(&mut self, io: &mut Io<'_>, socket: SocketKey, reason: DisconnectReason);

    /// A message arrived from the handler of a shard ([`Io::send_to_shard`]) or from another thread.
    fn on_shard_message(&mut self, io: &mut Io<'_>, message: ShardMessage) {
        let _ = (io, message);
    }

    /// A job that this handler started ([`Io::start_job`]) is done; `result` is what it returned.
    fn on_job_done(&mut self, io: &mut Io<'_>, job: JobId, result: Result<ShardMessage, JobPanicked>) {
        let _ = (io, job, result);
    }

    /// When [`Handler::on_timeout`] wants to be called next. Asked after every turn, so it must be cheap.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// The time that [`Handler::poll_timeout`] named has come.
    fn on_timeout(&mut self, io: &mut Io<'_>) {
        let _ = io;
    }
}
