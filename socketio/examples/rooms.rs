//! Rooms: clients join and leave them, and an event reaches everyone in a room.
//!
//! `cargo run --release -p socketio --example rooms`, then with `socket.io-client`:
//!
//! ```js
//! socket.emit('join', ['tea', 'coffee'], (rooms) => console.log(rooms));
//! socket.emit('say', 'tea', { any: 'value' });
//! ```

use std::error::Error;

use serde_json::Value;
use socketio::router::{Ack, Data, Payload, Router, SendError, Socket};

fn app() -> Router {
    let mut app = Router::new();
    let nsp = app.of("/");

    nsp.on("join", |socket: Socket, Data(rooms): Data<Vec<String>>, ack: Ack| {
        rooms.iter().try_for_each(|room| socket.join(room))?;
        ack.send(&socket.rooms())
    });

    nsp.on("leave", |socket: Socket, Data(room): Data<String>, ack: Ack| {
        socket.leave(&room)?;
        ack.send(&socket.rooms())
    });

    // `socket.to` leaves out the socket itself; `socket.io().of("/").to` would not.
    nsp.on("say", |socket: Socket, Payload((room, said)): Payload<(String, Value)>| {
        socket.to(&room).emit_all("said", &(&room, &said))
    });

    // A socket that is gone still knows the rooms that it was in.
    nsp.on_disconnect(|socket: Socket| -> Result<(), SendError> {
        socket.rooms().iter().try_for_each(|room| socket.to(room).emit("left", &socket.id().to_string()))
    });
    app
}

fn main() -> Result<(), Box<dyn Error>> {
    app().serve("127.0.0.1:3000")?.join()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use socketio::engineio::testing::Shard;

    #[test]
    fn what_is_said_reaches_the_others_in_the_room() {
        let (server, _) = super::app().test().unwrap();
        let mut shard = Shard::new(server);
        let [ada, ben, cay] = [shard.open(), shard.open(), shard.open()];
        for (client, room) in [(ada, "tea"), (ben, "tea"), (cay, "coffee")] {
            shard.text(client, "0");
            shard.text(client, &format!(r#"20["join",["{room}"]]"#));
            assert_eq!(shard.sent(client)[1], format!(r#"430[["{room}"]]"#));
        }
        shard.text(ada, r#"2["say","tea",{"any":"value"}]"#);
        assert_eq!(shard.sent(ben), [r#"42["said","tea",{"any":"value"}]"#]);
        assert!(shard.sent(ada).is_empty() && shard.sent(cay).is_empty());

        shard.text(ben, "1");
        assert!(shard.sent(ada)[0].starts_with(r#"42["left","#));
    }
}
