//! Socket.IO: the namespaces `/` and `/custom`, which echo with and without acknowledgements.

use std::{
    collections::VecDeque,
    net::TcpListener,
    time::{Duration, Instant},
};

use engineio::net;
use socketio::{AckId, Config, ConnectRequest, Decision, DisconnectReason, Event, Handler, Io, Server, SocketKey};

/// How long after the answer to CONNECT the event `auth` comes. The older copy of the suite loses a message that reaches it in the
/// same read as the one before.
const AUTH_AFTER: Duration = Duration::from_millis(10);

/// An event `auth` that is still to be sent.
struct Pending {
    at: Instant,
    socket: SocketKey,
    /// What the client sent with its CONNECT.
    auth: String,
}

#[derive(Default)]
struct Protocol {
    /// All wait equally long, so the first is the next.
    pending: VecDeque<Pending>,
}

impl Handler for Protocol {
    /// What the client sent with its CONNECT.
    type Admission = String;

    fn authorize(&mut self, _: &mut Io<'_>, request: &ConnectRequest<'_>) -> Decision<String> {
        Decision::Admit(request.auth.unwrap_or("{}").to_owned())
    }

    fn on_connect(&mut self, io: &mut Io<'_>, socket: SocketKey, auth: String) {
        self.pending.push_back(Pending { at: io.now() + AUTH_AFTER, socket, auth });
    }

    fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
        if io.nsp(socket) != Some("/") {
            return;
        }
        let (args, attachments) = (event.args.raw(), event.args.attachments());
        // It does not matter here or below whether it arrives: `on_disconnect` reports a socket that is gone.
        let _ = match (&*event.name, ack) {
            ("message", _) => io.emit(socket, "message-back", args, attachments),
            ("message-with-ack", Some(ack)) => io.ack(socket, ack, args, attachments),
            _ => Ok(()),
        };
    }

    fn on_disconnect(&mut self, _: &mut Io<'_>, _: SocketKey, _: DisconnectReason) {}

    fn poll_timeout(&self) -> Option<Instant> {
        self.pending.front().map(|pending| pending.at)
    }

    fn on_timeout(&mut self, io: &mut Io<'_>) {
        let now = io.now();
        while let Some(Pending { socket, auth, .. }) = self.pending.pop_front_if(|pending| pending.at <= now) {
            let _ = io.emit(socket, "auth", &auth, &[]);
        }
    }
}

/// Serves until the process is ended.
pub(crate) fn serve(listener: TcpListener, mut engine: engineio::Config) -> anyhow::Result<()> {
    engine.path = "/socket.io/".to_owned();
    let mut config = Config::default();
    config.namespaces = vec!["/".to_owned(), "/custom".to_owned()];
    config.connect_timeout = Duration::from_millis(1000);
    net::Server::new(engine).serve(listener, move || Server::new(config.clone(), Protocol::default()))?.join()?;
    Ok(())
}
