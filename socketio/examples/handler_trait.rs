//! An application on the trait [`Handler`], below the router: it reads and writes JSON itself, and nothing is allocated for it.
//! The router is easier; this is for applications that count microseconds.
//!
//! `join` puts a socket into a room; `say` reaches everyone in the room but the speaker, and the acknowledgement says
//! how many these are.
//!
//! `cargo run --release -p socketio --example handler_trait`, then with `socket.io-client`:
//! `socket.emit('join', 'tea'); socket.emit('say', 'tea', { any: 'value' }, console.log)`.

use std::net::TcpListener;

use engineio::net;
use socketio::{
    AckId, Config, ConnectRequest, Decision, DisconnectReason, Event, Handler, Io, Server, SocketKey, json,
};

struct Rooms;

impl Handler for Rooms {
    type Admission = ();

    fn authorize(&mut self, _: &mut Io<'_>, _: &ConnectRequest<'_>) -> Decision<()> {
        Decision::Admit(())
    }

    fn on_connect(&mut self, _: &mut Io<'_>, _: SocketKey, (): ()) {}

    fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
        // Arguments are raw JSON; a room's name is a string.
        let room = event.args.get(0).filter(|arg| json::kind(arg) == json::Kind::String);
        let Some(Ok(room)) = room.map(json::unquote) else { return };
        match &*event.name {
            "join" => drop(io.join(socket, &room)),
            "say" => {
                let said = event.args.get(1).unwrap_or("null");
                // `said` holds the placeholders of the attachments.
                let broadcast = io.of("/").to(&room).except_socket(socket);
                let reached = broadcast.emit("said", said, event.args.attachments()).unwrap_or_default();
                if let Some(id) = ack {
                    // It fails only for a socket that is gone, which `on_disconnect` reports.
                    let _ = io.ack(socket, id, &reached.to_string(), &[]);
                }
            }
            _ => {}
        }
    }

    fn on_disconnect(&mut self, _: &mut Io<'_>, _: SocketKey, _: DisconnectReason) {}
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut engine = engineio::Config::default();
    engine.path = "/socket.io/".to_owned();
    let listener = TcpListener::bind("127.0.0.1:3000")?;
    net::Server::new(engine).serve(listener, || Server::new(Config::default(), Rooms))?.join()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use engineio::testing::Shard;

    use super::*;

    #[test]
    fn everyone_in_the_room_but_the_speaker_hears() {
        let mut shard = Shard::new(Server::new(Config::default(), Rooms));
        let [ada, ben] = [shard.open(), shard.open()];
        for client in [ada, ben] {
            shard.text(client, "0");
            shard.text(client, r#"2["join","tea"]"#);
            shard.sent(client);
        }
        shard.text(ada, r#"21["say","tea",{"any":"value"}]"#);
        assert_eq!(shard.sent(ada), ["431[1]"]);
        assert_eq!(shard.sent(ben), [r#"42["said",{"any":"value"}]"#]);
    }
}
