//! The port of `http.admin_listen`: API, metrics and health, apart from what the public reaches.
//!
//! It has a thread and an engine of its own, which opens no sessions: whatever keeps the chat's shards busy, an operator gets an answer,
//! if only that they do not answer.

use std::{io, net::TcpListener};

use engineio::{
    CloseReason, ConnKey, Handler, Handshake, Message, Outbox, Refusal,
    hooks::Outcome,
    net::{Handle, OtherRequest, Running, Server},
};

/// The most connections of this port: it is for a few programs of the operator.
const MAX_CONNECTIONS: usize = 256;

/// A path that no request has, for it has a space: all of them go past the engine.
const NO_PATH: &str = "/no path/";

/// Nobody gets a session here.
struct NoSessions;

impl Handler for NoSessions {
    fn on_handshake(&mut self, _: &mut dyn Outbox, _: &Handshake<'_>) -> Result<(), Refusal> {
        Err(Refusal::Forbidden)
    }
    fn on_open(&mut self, _: &mut dyn Outbox, _: ConnKey, _: &Handshake<'_>) {}
    fn on_message(&mut self, _: &mut dyn Outbox, _: ConnKey, _: Message<'_>) {}
    fn on_close(&mut self, _: &mut dyn Outbox, _: ConnKey, _: CloseReason) {}
}

/// Serves what `answer` answers; `shards` are the chat's.
///
/// # Errors
/// The operating system gives no thread.
pub(crate) fn start(
    listener: TcpListener,
    shards: Handle,
    answer: impl Fn(&OtherRequest<'_>) -> Outcome<http::Response<bytes::Bytes>> + Send + Sync + 'static,
) -> io::Result<Running> {
    let mut engine = engineio::Config::default();
    engine.path = NO_PATH.to_owned();
    engine.max_connections = MAX_CONNECTIONS;
    Server::new(engine)
        .fallback(move |request| answer(&OtherRequest { handle: &shards, ..*request }))
        .serve(listener, || NoSessions)
}
