//! A server, and clients of it.

use std::{sync::Arc, time::Duration};

use engineio::net::Running;
use futures_util::{SinkExt, StreamExt};
use socketio::{
    AckId, Config, ConnectRequest, Decision, DisconnectReason, Event, Handle, Handler, Io, RequestId, Server,
    SocketKey,
    adapter::{Adapter, EventData, OwnedArgs, Reply, ServerReply},
    json,
};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// `join ROOM` joins, and is acknowledged. `shout` goes to everyone, `count` asks for everyone and tells everyone how many
/// there are and how many answered. Another server's `ask` is answered with its arguments, its `tell` is sent on to the
/// sockets.
pub(crate) struct Rooms;

impl Handler for Rooms {
    type Admission = ();

    fn authorize(&mut self, _: &mut Io<'_>, _: &ConnectRequest<'_>) -> Decision<()> {
        Decision::Admit(())
    }

    fn on_connect(&mut self, _: &mut Io<'_>, _: SocketKey, (): ()) {}

    fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
        match &*event.name {
            "shout" => {
                io.of("/").emit("shout", "", &[]).unwrap();
                return;
            }
            "count" => {
                io.of("/").to("tea").fetch_sockets(Duration::from_secs(10)).unwrap();
                io.of("/").to("tea").emit_with_ack("ask", "", &[], Duration::from_secs(10)).unwrap();
                io.of("/").server_side_emit_with_ack("ask", "", &[], Duration::from_secs(10)).unwrap();
                return;
            }
            _ => {}
        }
        let room = event.args.get(0).map(json::unquote).unwrap().unwrap();
        io.join(socket, &room);
        io.ack(socket, ack.unwrap(), "", &[]).unwrap();
    }

    fn on_reply(&mut self, io: &mut Io<'_>, _: RequestId, reply: Reply) {
        let (name, count) = match reply {
            Reply::Sockets(sockets) => ("sockets", sockets.sockets.len()),
            Reply::Answers(answers) => ("answers", answers.answers.len()),
            Reply::Servers(servers) => ("servers", servers.answers.len()),
        };
        io.of("/").emit(name, &count.to_string(), &[]).unwrap();
    }

    fn socket_data(&self, io: &Io<'_>, _: SocketKey) -> Option<String> {
        Some(format!(r#"{{"shard":{}}}"#, io.shard()))
    }

    fn on_server_event(&mut self, io: &mut Io<'_>, nsp: &str, event: &EventData, reply: Option<ServerReply>) {
        match &*event.name {
            "ask" => reply.unwrap().send(OwnedArgs { args: vec![event.args.clone()], ..OwnedArgs::default() }),
            "tell" => drop(io.of(nsp).this_server().emit("told", &event.args, &event.attachments).unwrap()),
            // No answer.
            _ => drop(reply),
        }
    }

    fn on_disconnect(&mut self, _: &mut Io<'_>, _: SocketKey, _: DisconnectReason) {}
}

/// A client, connected to a namespace.
pub(crate) struct Client {
    ws: WebSocketStream<TcpStream>,
    pub(crate) id: String,
}

impl Client {
    pub(crate) async fn connect(running: &Running, nsp: &str) -> Self {
        let stream = TcpStream::connect(running.local_addr()).await.unwrap();
        let url = "ws://localhost/socket.io/?EIO=4&transport=websocket";
        let mut client = Self { ws: client_async(url, stream).await.unwrap().0, id: String::new() };
        assert!(client.next().await.starts_with("0{"));
        client.send(&format!("40{nsp}")).await;
        let connected = client.next().await;
        client.id = connected.split('"').nth(3).unwrap().to_owned();
        client
    }

    pub(crate) async fn join(mut self, room: &str) -> Self {
        self.send(&format!(r#"420["join","{room}"]"#)).await;
        assert_eq!(self.next().await, "430[]");
        self
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.ws.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn next(&mut self) -> String {
        let next = tokio::time::timeout(Duration::from_secs(10), self.ws.next());
        match next.await.expect("a frame").unwrap().unwrap() {
            Message::Text(text) => text.to_string(),
            Message::Binary(bytes) => format!("{bytes:?}"),
            other => panic!("{other:?}"),
        }
    }

    /// Answers the event that comes next, and returns it without the id.
    pub(crate) async fn answer(&mut self, args: &str) -> String {
        let event = self.next().await;
        let id: String = event.chars().skip(2).take_while(char::is_ascii_digit).collect();
        self.send(&format!("43{id}[{args}]")).await;
        event.replacen(&id, "", 1)
    }

    /// The names of the events up to `end`.
    pub(crate) async fn events(&mut self) -> Vec<String> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await.split('"').nth(1).unwrap().to_owned();
            if event == "end" {
                return events;
            }
            events.push(event);
        }
    }
}

pub(crate) fn start(shards: u16) -> (Running, Handle) {
    start_with(shards, None)
}

pub(crate) fn start_with(shards: u16, adapter: Option<Arc<dyn Adapter>>) -> (Running, Handle) {
    let mut engine = engineio::Config::default();
    engine.path = "/socket.io/".to_owned();
    let mut config = Config::default();
    config.namespaces.push("/custom".to_owned());
    config.adapter = adapter;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = engineio::net::Server::new(engine).shards(shards);
    let of_shards = config.clone();
    let running = server.serve(listener, move || Server::new(of_shards.clone(), Rooms)).unwrap();
    let handle = Handle::new(running.handle(), &config);
    (running, handle)
}
