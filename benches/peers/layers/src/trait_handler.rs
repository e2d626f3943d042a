//! The chat as an implementation of the handler trait, as short as it can be.

use std::{error::Error, net::SocketAddr, net::TcpListener, sync::Arc};

use serde::Deserialize;
use serde_json::value::RawValue;
use socketio::{
    AckId, Config, ConnectError, ConnectRequest, Decision, DisconnectReason, Event, Handler, Io, Server, SocketKey,
    engineio,
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
struct Room {
    room_id: Option<String>,
}

#[derive(Deserialize)]
struct Message<'a> {
    message: String,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
}

struct Chat {
    verifier: Arc<Verifier>,
    /// By the socket's index.
    users: Vec<Option<User>>,
}

impl Handler for Chat {
    type Admission = User;

    fn authorize(&mut self, _: &mut Io<'_>, request: &ConnectRequest<'_>) -> Decision<User> {
        let auth = request.auth.and_then(|auth| serde_json::from_str::<SignIn>(auth).ok());
        let user = auth.and_then(|auth| auth.token).and_then(|token| self.verifier.verify(&token));
        user.ok_or_else(|| ConnectError::new("unauthorized")).into()
    }

    fn on_connect(&mut self, io: &mut Io<'_>, socket: SocketKey, user: User) {
        io.join(socket, &format!("room:{LOBBY}"));
        let index = socket.index() as usize;
        if self.users.len() <= index {
            self.users.resize_with(index + 1, || None);
        }
        self.users[index] = Some(user);
    }

    fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
        let answer = match &*event.name {
            "message" => self.on_message(io, socket, event),
            "join" => on_join(io, socket, event),
            _ => return,
        };
        let answer =
            answer.unwrap_or_else(|code| format!(r#"{{"ok":false,"error":{{"code":"{code}","message":"{code}"}}}}"#));
        if let Some(ack) = ack {
            // It fails for a socket that is gone.
            let _ = io.ack(socket, ack, &answer, &[]);
        }
    }

    fn on_disconnect(&mut self, _: &mut Io<'_>, socket: SocketKey, _: DisconnectReason) {
        if let Some(user) = self.users.get_mut(socket.index() as usize) {
            *user = None;
        }
    }
}

fn on_join(io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>) -> Result<String, &'static str> {
    let payload = event.args.get(0).unwrap_or("null");
    let room_id = serde_json::from_str::<Room>(payload).ok().and_then(|room| room.room_id).ok_or("room_invalid")?;
    io.join(socket, &room(&room_id)?);
    Ok(serde_json::json!({ "ok": true, "roomId": room_id }).to_string())
}

impl Chat {
    fn on_message(&self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>) -> Result<String, &'static str> {
        let (payload, attachments) = (event.args.get(0).unwrap_or("null"), event.args.attachments());
        let Message { message, context } = serde_json::from_str(payload).map_err(|_| "invalid_payload")?;
        check(&message)?;
        let room_id = match context {
            Some(context) => serde_json::from_str::<Room>(context.get()).map_err(|_| "invalid_payload")?.room_id,
            None => None,
        };
        let room = room(room_id.as_deref().unwrap_or(LOBBY))?;
        if !io.rooms(socket).any(|joined| joined == room) {
            io.join(socket, &room);
        }
        let user = self.users.get(socket.index() as usize).and_then(Option::as_ref).ok_or("internal")?;
        let (id, timestamp) = stamp();
        let (user_id, username) = (&*user.id, user.name());
        let event = Outgoing { id: &id, message: &message, timestamp: &timestamp, context, user_id, username };
        let args = serde_json::to_string(&event).map_err(|_| "internal")?;
        // The name is not reserved, and the namespace exists.
        let _ = io.of("/").to(&room).emit("message", &args, attachments);
        serde_json::to_string(&Stamped { ok: true, id: &id, timestamp: &timestamp }).map_err(|_| "internal")
    }
}

pub(crate) fn serve(listen: SocketAddr, engine: engineio::Config, verifier: Verifier) -> Result<(), Box<dyn Error>> {
    let (listener, verifier) = (TcpListener::bind(listen)?, Arc::new(verifier));
    let chat = move || Server::new(Config::default(), Chat { verifier: Arc::clone(&verifier), users: Vec::new() });
    let running = engineio::net::Server::new(engine).serve(listener, chat)?;
    println!("listening on http://{}", running.local_addr());
    Ok(running.join()?)
}
