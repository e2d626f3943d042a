//! The chat as closures.

use std::{error::Error, net::SocketAddr, sync::Arc};

use serde::Deserialize;
use serde_json::{json, value::RawValue};
use socketio::{
    engineio,
    router::{Ack, Auth, Data, Extension, PayloadError, Router, SendError, Socket},
};

use crate::{
    message::{LOBBY, Outgoing, Stamped, check, room, stamp},
    token::{User, Verifier},
};

#[derive(Deserialize)]
struct SignIn {
    token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Join {
    room_id: String,
}

#[derive(Deserialize)]
struct Message {
    message: String,
    context: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    room_id: Option<String>,
}

pub(crate) fn serve(listen: SocketAddr, engine: engineio::Config, verifier: Verifier) -> Result<(), Box<dyn Error>> {
    let mut app = Router::new();
    *app.engine() = engine;
    let verifier = Arc::new(verifier);
    let chat = app.of("/");
    chat.authorize(move |auth: Result<Auth<SignIn>, PayloadError>| {
        auth.ok().and_then(|Auth(auth)| auth.token).and_then(|token| verifier.verify(&token)).ok_or("unauthorized")
    });
    chat.on_connect(|socket: Socket| socket.join(&format!("room:{LOBBY}")));
    chat.on("join", |socket: Socket, join: Result<Data<Join>, PayloadError>, ack: Ack| {
        let joined = join.map_err(|_| "room_invalid").and_then(|Data(Join { room_id })| Ok((room(&room_id)?, room_id)));
        match joined {
            Ok((room, room_id)) => {
                socket.join(&room)?;
                ack.send(&json!({ "ok": true, "roomId": room_id }))
            }
            Err(code) => ack.send(&refusal(code)),
        }
    });
    chat.on("message", on_message);
    let running = app.serve(listen)?;
    println!("listening on http://{}", running.local_addr());
    Ok(running.join()?)
}

fn on_message(
    socket: Socket,
    user: Extension<User>,
    message: Result<Data<Message>, PayloadError>,
    ack: Ack,
) -> Result<(), SendError> {
    let Ok(Data(Message { message, context })) = message else { return ack.send(&refusal("invalid_payload")) };
    match deliver(&socket, &user, &message, context.as_deref()) {
        Ok((id, timestamp)) => ack.send(&Stamped { ok: true, id: &id, timestamp: &timestamp }),
        Err(code) => ack.send(&refusal(code)),
    }
}

fn deliver(
    socket: &Socket,
    user: &User,
    message: &str,
    context: Option<&RawValue>,
) -> Result<(String, String), &'static str> {
    check(message)?;
    let room_id = match context {
        Some(context) => serde_json::from_str::<Context>(context.get()).map_err(|_| "invalid_payload")?.room_id,
        None => None,
    };
    let room = room(room_id.as_deref().unwrap_or(LOBBY))?;
    if !socket.is_in(&room) {
        socket.join(&room).map_err(|_| "internal")?;
    }
    let (id, timestamp) = stamp();
    let (user_id, username) = (&*user.id, user.name());
    let event = Outgoing { id: &id, message, timestamp: &timestamp, context, user_id, username };
    socket.io().of("/").to(&room).emit("message", &event).map_err(|_| "internal")?;
    Ok((id, timestamp))
}

fn refusal(code: &str) -> serde_json::Value {
    json!({ "ok": false, "error": { "code": code, "message": code } })
}
