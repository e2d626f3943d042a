//! Events that another thread emits to the sockets of a server of several shards.

use std::time::Duration;

use bytes::Bytes;
use engineio::net::{Running, ShardGone};
use futures_util::{SinkExt, StreamExt};
use socketio::{
    AckId, Config, ConnectRequest, Decision, DisconnectReason, EmitterError, Event, Handle, Handler, Io, Server,
    SocketKey, json,
};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// `join ROOM` joins, and is acknowledged.
struct Rooms;

impl Handler for Rooms {
    type Admission = ();

    fn authorize(&mut self, _: &mut Io<'_>, _: &ConnectRequest<'_>) -> Decision<()> {
        Decision::Admit(())
    }

    fn on_connect(&mut self, _: &mut Io<'_>, _: SocketKey, (): ()) {}

    fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
        let room = event.args.get(0).map(json::unquote).unwrap().unwrap();
        io.join(socket, &room);
        io.ack(socket, ack.unwrap(), "", &[]).unwrap();
    }

    fn on_disconnect(&mut self, _: &mut Io<'_>, _: SocketKey, _: DisconnectReason) {}
}

/// A client, connected to a namespace.
struct Client {
    ws: WebSocketStream<TcpStream>,
    id: String,
}

impl Client {
    async fn connect(running: &Running, nsp: &str) -> Self {
        let stream = TcpStream::connect(running.local_addr()).await.unwrap();
        let url = "ws://localhost/socket.io/?EIO=4&transport=websocket";
        let mut client = Self { ws: client_async(url, stream).await.unwrap().0, id: String::new() };
        assert!(client.next().await.starts_with("0{"));
        client.send(&format!("40{nsp}")).await;
        let connected = client.next().await;
        client.id = connected.split('"').nth(3).unwrap().to_owned();
        client
    }

    async fn join(mut self, room: &str) -> Self {
        self.send(&format!(r#"420["join","{room}"]"#)).await;
        assert_eq!(self.next().await, "430[]");
        self
    }

    async fn send(&mut self, text: &str) {
        self.ws.send(Message::text(text)).await.unwrap();
    }

    async fn next(&mut self) -> String {
        let next = tokio::time::timeout(Duration::from_secs(10), self.ws.next());
        match next.await.expect("a frame").unwrap().unwrap() {
            Message::Text(text) => text.to_string(),
            Message::Binary(bytes) => format!("{bytes:?}"),
            other => panic!("{other:?}"),
        }
    }

    /// The names of the events up to `end`.
    async fn events(&mut self) -> Vec<String> {
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

fn start(shards: u16) -> (Running, Handle) {
    let mut engine = engineio::Config::default();
    engine.path = "/socket.io/".to_owned();
    let mut config = Config::default();
    config.namespaces.push("/custom".to_owned());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = engineio::net::Server::new(engine).shards(shards);
    let of_shards = config.clone();
    let running = server.serve(listener, move || Server::new(of_shards.clone(), Rooms)).unwrap();
    let handle = Handle::new(running.handle(), &config);
    (running, handle)
}

#[tokio::test]
async fn an_event_reaches_its_targets_on_every_shard_once_and_in_order() {
    for shards in [1, 3] {
        let (running, io) = start(shards);
        let mut in_tea = Vec::new();
        for room in ["tea", "tea", "tea", "coffee"] {
            in_tea.push(Client::connect(&running, "").await.join(room).await);
        }
        let mut coffee = in_tea.pop().unwrap();
        let in_both = in_tea.remove(0).join("coffee").await;
        in_tea.insert(0, in_both);
        let mut custom = Client::connect(&running, "/custom,").await;
        let (first, third) = (in_tea[0].id.clone(), in_tea[2].id.clone());

        io.of("/").to("tea").emit("tea", "1,[2]", &[]).await.unwrap();
        io.of("/").to("tea").to("coffee").emit("both", "", &[]).await.unwrap();
        io.of("/").to("tea").except(&third).emit("but third", "", &[]).await.unwrap();
        io.of("/").to(&first).emit("first", "", &[]).await.unwrap();
        io.of("/").to("nobody").emit("nobody", "", &[]).await.unwrap();
        io.of("/custom").volatile().emit("custom", "", &[]).await.unwrap();
        let blocking = io.clone();
        let emit = move || {
            blocking.of("/").emit_blocking("binary", r#"{"_placeholder":true,"num":0}"#, &[Bytes::from_static(b"x")])
        };
        tokio::task::spawn_blocking(emit).await.unwrap().unwrap();
        for nsp in ["/", "/custom"] {
            io.of(nsp).emit("end", "", &[]).await.unwrap();
        }

        assert_eq!(in_tea[1].next().await, r#"42["tea",1,[2]]"#);
        assert_eq!(in_tea[1].next().await, r#"42["both"]"#);
        assert_eq!(in_tea[1].next().await, r#"42["but third"]"#);
        assert_eq!(in_tea[1].next().await, r#"451-["binary",{"_placeholder":true,"num":0}]"#);
        assert_eq!(in_tea[1].next().await, r#"b"x""#);
        assert_eq!(in_tea[1].next().await, r#"42["end"]"#);
        let without_bytes = |events: Vec<String>| events.into_iter().filter(|event| event != "x").collect::<Vec<_>>();
        assert_eq!(without_bytes(in_tea[0].events().await), ["tea", "both", "but third", "first", "binary"]);
        assert_eq!(without_bytes(in_tea[2].events().await), ["tea", "both", "binary"]);
        assert_eq!(without_bytes(coffee.events().await), ["both", "binary"]);
        assert_eq!(custom.events().await, ["custom"]);

        assert_eq!(io.of("/").emit("connect", "", &[]).await, Err(EmitterError::ReservedName));
        assert_eq!(io.of("/typo").emit("event", "", &[]).await, Err(EmitterError::UnknownNamespace));
        io.engine().shutdown(Duration::ZERO);
        tokio::task::spawn_blocking(|| running.join()).await.unwrap().unwrap();
        let gone = Err(EmitterError::ShardGone(ShardGone(0)));
        assert_eq!(io.of("/").emit("event", "", &[]).await, gone);
        assert_eq!(io.of("/").emit_blocking("event", "", &[]), gone);
    }
}
