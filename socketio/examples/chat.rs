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

fn main() -> Result<(), Box<dyn Error>> {
    let mut app = Router::new();
    let chat = app.of("/");

    chat.authorize(|Auth(sign_in): Auth<SignIn>| match sign_in.name.trim() {
        "" => Err("a name, please"),
        name => Ok(User(name.to_owned())),
    });

    chat.on("join", |socket: Socket, Data(room): Data<String>, user: Extension<User>, ack: Ack| {
        socket.join(&room);
        socket.to(&room).emit("joined", &user.0.0)?;
        ack.send(&room)
    });

    chat.on("message", |socket: Socket, Data(new): Data<NewMessage>, user: Extension<User>, ack: Ack| {
        if !socket.rooms().contains(&new.room) {
            return ack.send("join the room first");
        }
        let message = Message { from: &user.0.0, room: &new.room, text: &new.text };
        socket.io().of("/").to(&new.room).emit("message", &message)?;
        ack.send("sent")
    });

    chat.on("typing", |socket: Socket, Data(room): Data<String>, user: Extension<User>| {
        socket.to(&room).volatile().emit("typing", &user.0.0)
    });

    chat.on_disconnect(|socket: Socket, user: Extension<User>| -> Result<(), SendError> {
        socket.rooms().iter().try_for_each(|room| socket.to(room).emit("left", &user.0.0))
    });

    app.serve("127.0.0.1:3000")?.join()?;
    Ok(())
}
