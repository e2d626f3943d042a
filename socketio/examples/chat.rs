//! A chat: who has a name may join rooms, write to them, and see who is typing.
//!
//! `cargo run --release -p socketio --example chat`, then with `socket.io-client`:
//!
//! ```js
//! const socket = io('http://127.0.0.1:3000', { auth: { name: 'ada' } });
//! socket.on('message', console.log);
//! socket.emit('join', 'tea', (others) => console.log(others));
//! socket.emit('message', { room: 'tea', text: 'hello' });
//! ```

use std::error::Error;

use serde::{Deserialize, Serialize};
use socketio::router::{Ack, Auth, Data, Extension, Router, SendError, Socket};

#[derive(Deserialize)]
struct SignIn {
    name: String,
}

/// Who a socket belongs to.
struct User(String);

#[derive(Deserialize)]
struct NewMessage {
    room: String,
    text: String,
}

#[derive(Serialize)]
struct Message<'a> {
    from: &'a str,
    room: &'a str,
    text: &'a str,
}

fn app() -> Router {
    let mut app = Router::new();
    let chat = app.of("/");

    chat.authorize(|Auth(sign_in): Auth<SignIn>| match sign_in.name.trim() {
        "" => Err("a name, please"),
        name => Ok(User(name.to_owned())),
    });

    chat.on("join", |socket: Socket, Data(room): Data<String>, user: Extension<User>, ack: Ack| {
        socket.join(&room)?;
        socket.to(&room).emit("joined", &user.0)?;
        ack.send(&room)
    });

    chat.on("message", |socket: Socket, Data(new): Data<NewMessage>, user: Extension<User>, ack: Ack| {
        if !socket.rooms().contains(&new.room) {
            return ack.send("join the room first");
        }
        let message = Message { from: &user.0, room: &new.room, text: &new.text };
        socket.io().of("/").to(&new.room).emit("message", &message)?;
        ack.send("sent")
    });

    chat.on("typing", |socket: Socket, Data(room): Data<String>, user: Extension<User>| {
        socket.to(&room).volatile().emit("typing", &user.0)
    });

    chat.on_disconnect(|socket: Socket, user: Extension<User>| -> Result<(), SendError> {
        socket.rooms().iter().try_for_each(|room| socket.to(room).emit("left", &user.0))
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
    fn who_has_a_name_chats() {
        let (server, _) = super::app().test().unwrap();
        let mut shard = Shard::new(server);
        let [ada, ben] = [shard.open(), shard.open()];
        shard.text(ada, r#"0{"name":" "}"#);
        assert_eq!(shard.sent(ada), [r#"44{"message":"a name, please"}"#]);
        for (client, name) in [(ada, "ada"), (ben, "ben")] {
            shard.text(client, &format!(r#"0{{"name":"{name}"}}"#));
            shard.text(client, r#"20["join","tea"]"#);
            assert_eq!(shard.sent(client)[1], r#"430["tea"]"#);
        }
        assert_eq!(shard.sent(ada), [r#"42["joined","ben"]"#]);

        shard.text(ada, r#"21["message",{"room":"tea","text":"hello"}]"#);
        let message = r#"42["message",{"from":"ada","room":"tea","text":"hello"}]"#;
        assert_eq!(shard.sent(ben), [message]);
        let mut sent = shard.sent(ada);
        sent.sort();
        assert_eq!(sent, [message, r#"431["sent"]"#]);

        shard.text(ben, r#"2["typing","tea"]"#);
        assert_eq!(shard.sent(ada), [r#"42["typing","ben"]"#]);
        shard.text(ben, "1");
        assert_eq!(shard.sent(ada), [r#"42["left","ben"]"#]);
    }
}
