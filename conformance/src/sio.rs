//! Socket.IO: the namespaces `/` and `/custom`, which echo with and without acknowledgements.
//!
//! With `RECOVERY=1` connection state recovery is on, nobody gets `auth`, and a client of `/` can `join` a room and `send` events to one: the first
//! argument is the room, the second is `{"volatile":BOOLEAN}`, the others are those of the event `sent`.

use std::{
    collections::VecDeque,
    net::TcpListener,
    time::{Duration, Instant},
};

use engineio::net;
use socketio::{
    AckId, Config, ConnectRequest, Decision, DisconnectReason, Event, Handler, Io, Server, SocketKey, json,
    recovery::{Options, Recovery},
};

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

struct Protocol {
    /// Whether a client gets an event when it has connected.
    greets: bool,
    /// All wait equally long, so the first is the next.
    pending: VecDeque<Pending>,
}

impl Protocol {
    const fn new(greets: bool) -> Self {
        Self { greets, pending: VecDeque::new() }
    }
}

impl Handler for Protocol {
    /// What the client sent with its CONNECT.
    type Admission = String;

    fn authorize(&mut self, _: &mut Io<'_>, request: &ConnectRequest<'_>) -> Decision<String> {
        Decision::Admit(request.auth.unwrap_or("{}").to_owned())
    }

    fn readmit(&mut self, _: &mut Io<'_>, _: &ConnectRequest<'_>, _: Option<&str>) -> Option<String> {
        Some(String::new())
    }

    fn on_connect(&mut self, io: &mut Io<'_>, socket: SocketKey, auth: String) {
        if self.greets {
            self.pending.push_back(Pending { at: io.now() + AUTH_AFTER, socket, auth });
        }
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
            ("join", Some(ack)) => {
                if let Some(room) = text(event, 0) {
                    io.join(socket, &room);
                }
                io.ack(socket, ack, "", &[])
            }
            ("send", _) => send(io, event),
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

/// An argument that is a string.
fn text(event: &Event<'_>, index: usize) -> Option<String> {
    event.args.get(index).and_then(|raw| json::unquote(raw).ok()).map(std::borrow::Cow::into_owned)
}

/// Sends an event to a room, as a client said.
fn send(io: &mut Io<'_>, event: &Event<'_>) -> Result<(), socketio::EmitError> {
    let room = text(event, 0).unwrap_or_default();
    let args = event.args.iter().skip(2).collect::<Vec<_>>().join(",");
    let mut broadcast = io.of("/").to(&room);
    if event.args.get(1) == Some(r#"{"volatile":true}"#) {
        broadcast = broadcast.volatile();
    }
    broadcast.emit("sent", &args, event.args.attachments()).map(drop)
}

/// Serves until the process is ended.
pub(crate) fn serve(
    listener: TcpListener,
    mut engine: engineio::Config,
    shards: u16,
    recovery: bool,
) -> anyhow::Result<()> {
    engine.path = "/socket.io/".to_owned();
    let mut config = Config::default();
    config.namespaces = vec!["/".to_owned(), "/custom".to_owned()];
    config.connect_timeout = Duration::from_millis(1000);
    config.recovery = recovery.then(|| Recovery::new(Options::default()));
    net::Server::new(engine)
        .shards(shards)
        .serve(listener, move || Server::new(config.clone(), Protocol::new(!recovery)))?
        .join()?;
    Ok(())
}
