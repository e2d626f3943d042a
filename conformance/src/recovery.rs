//! Connection state recovery: a client can `join` a room and `send` events to one. The first argument of `send` is the room, the second
//! is `{"volatile":BOOLEAN}`, the others are those of the event `sent`.

use std::net::TcpListener;

use engineio::net;
use socketio::{
    AckId, Config, ConnectRequest, Decision, DisconnectReason, Event, Handler, Io, Server, SocketKey, json,
    recovery::{Options, Recovery},
};

struct Protocol;

impl Handler for Protocol {
    type Admission = ();

    fn authorize(&mut self, _: &mut Io<'_>, _: &ConnectRequest<'_>) -> Decision<()> {
        Decision::Admit(())
    }

    fn readmit(&mut self, _: &mut Io<'_>, _: &ConnectRequest<'_>, _: Option<&str>) -> Option<()> {
        Some(())
    }

    fn on_connect(&mut self, _: &mut Io<'_>, _: SocketKey, (): ()) {}

    fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
        // It does not matter whether it arrives: `on_disconnect` reports a socket that is gone.
        let _ = match (&*event.name, ack) {
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
pub(crate) fn serve(listener: TcpListener, mut engine: engineio::Config, shards: u16) -> anyhow::Result<()> {
    engine.path = "/socket.io/".to_owned();
    let mut config = Config::default();
    config.recovery = Some(Recovery::new(Options::default()));
    net::Server::new(engine).shards(shards).serve(listener, move || Server::new(config.clone(), Protocol))?.join()?;
    Ok(())
}
