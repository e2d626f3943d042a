//! Socket.IO for clients of other versions and with other parsers: echoes, acknowledgements in both directions, ids, and
//! refusals. `PARSER=msgpack` makes packets MessagePack.

use std::{collections::HashMap, net::TcpListener, time::Duration};

use engineio::{ConnKey, Handshake, net};
use socketio::{
    AckError, AckId, Args, Config, ConnectError, ConnectRequest, Decision, DisconnectReason, Event, Handler, Io,
    Server, SocketKey, json, parser::Parser,
};

#[derive(Default)]
struct Clients {
    /// The queries of the handshakes, by the session's index.
    queries: HashMap<u32, String>,
    /// Which socket wants to know the answer to an event that another one was sent.
    asked: HashMap<AckId, (SocketKey, AckId)>,
}

impl Handler for Clients {
    /// What the client sent with its CONNECT.
    type Admission = String;

    fn on_open(&mut self, _: &mut Io<'_>, conn: ConnKey, handshake: &Handshake<'_>) {
        self.queries.insert(conn.index(), handshake.uri.query().unwrap_or_default().to_owned());
    }

    fn on_close(&mut self, _: &mut Io<'_>, conn: ConnKey) {
        self.queries.remove(&conn.index());
    }

    /// `refuse=text` in the query of the handshake or in the payload refuses with that text; `refuse=data` with data too.
    fn authorize(&mut self, _: &mut Io<'_>, request: &ConnectRequest<'_>) -> Decision<String> {
        let auth = request.auth.unwrap_or("null");
        let query = self.queries.get(&request.conn.index()).map(String::as_bytes).unwrap_or_default();
        let of_query =
            form_urlencoded::parse(query).find(|(name, _)| name == "refuse").map(|(_, value)| value.into_owned());
        let of_auth = json::members(auth).find(|(name, _)| *name == "\"refuse\"");
        let of_auth = of_auth.and_then(|(_, value)| json::unquote(value).ok()).map(String::from);
        match of_query.or(of_auth) {
            Some(message) => {
                let data = (message == "data").then(|| r#"{"code":7,"list":[1.5,null,"é"]}"#.to_owned());
                Decision::Refuse(ConnectError { message, data })
            }
            None => Decision::Admit(auth.to_owned()),
        }
    }

    fn on_connect(&mut self, io: &mut Io<'_>, socket: SocketKey, auth: String) {
        let _ = io.emit(socket, "auth", &auth, &[]);
    }

    fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
        let (args, attachments) = (event.args.raw(), event.args.attachments());
        let nsp = io.nsp(socket).unwrap_or("/").to_owned();
        let _ = match (&*event.name, ack) {
            ("all", _) => io.of(&nsp).emit("all", args, attachments).map(|_| ()),
            // To the socket whose id is the first argument.
            ("to", _) => {
                let id = event.args.get(0).and_then(|id| json::unquote(id).ok()).unwrap_or_default();
                io.of(&nsp).to(&id).emit("to", event.args.get(1).unwrap_or("null"), attachments).map(|_| ())
            }
            ("id", Some(ack)) => {
                let id = io.id(socket).map(|id| id.to_string()).unwrap_or_default();
                io.ack(socket, ack, &format!("\"{id}\""), &[])
            }
            // The client is asked the same, and gets its own answer.
            ("ask", Some(ack)) => {
                let asked = io.emit_with_ack(socket, "asked", args, attachments, Duration::from_secs(5));
                asked.map(|id| _ = self.asked.insert(id, (socket, ack)))
            }
            ("bye", _) => {
                io.disconnect(socket, false);
                Ok(())
            }
            (_, Some(ack)) => io.ack(socket, ack, args, attachments),
            (name, None) => io.emit(socket, name, args, attachments),
        };
    }

    fn on_ack(&mut self, io: &mut Io<'_>, _: SocketKey, id: AckId, answer: Result<&Args<'_>, AckError>) {
        if let (Some((socket, ack)), Ok(args)) = (self.asked.remove(&id), answer) {
            let _ = io.ack(socket, ack, args.raw(), args.attachments());
        }
    }

    fn on_disconnect(&mut self, _: &mut Io<'_>, _: SocketKey, _: DisconnectReason) {}
}

/// Serves until the process is ended.
pub(crate) fn serve(
    listener: TcpListener,
    mut engine: engineio::Config,
    shards: u16,
    parser: Parser,
) -> anyhow::Result<()> {
    engine.path = "/socket.io/".to_owned();
    let mut config = Config::default();
    config.namespaces = vec!["/".to_owned(), "/custom".to_owned()];
    config.parser = parser;
    let factory = move || Server::new(config.clone(), Clients::default());
    net::Server::new(engine).shards(shards).serve(listener, factory)?.join()?;
    Ok(())
}
