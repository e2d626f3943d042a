//! Connection state recovery over real sockets: clients come back on whatever shard accepts them.

use std::time::Duration;

use bytes::Bytes;
use engineio::net::Running;
use futures_util::{SinkExt, StreamExt};
use socketio::{
    AckId, Config, ConnectRequest, Decision, DisconnectReason, Event, Handle, Handler, Io, Server, SocketKey,
    recovery::{Options, Recovery},
};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// Everybody is in `tea`.
struct Tea;

impl Handler for Tea {
    type Admission = ();

    fn authorize(&mut self, _: &mut Io<'_>, _: &ConnectRequest<'_>) -> Decision<()> {
        Decision::Admit(())
    }

    fn readmit(&mut self, _: &mut Io<'_>, _: &ConnectRequest<'_>, data: Option<&str>) -> Option<()> {
        assert_eq!(data, Some("{}"));
        Some(())
    }

    fn on_connect(&mut self, io: &mut Io<'_>, socket: SocketKey, (): ()) {
        assert_eq!(io.join(socket, "tea"), !io.is_recovered(socket));
    }

    fn socket_data(&self, _: &Io<'_>, _: SocketKey) -> Option<String> {
        Some("{}".to_owned())
    }

    fn on_event(&mut self, _: &mut Io<'_>, _: SocketKey, _: &Event<'_>, _: Option<AckId>) {}

    fn on_disconnect(&mut self, _: &mut Io<'_>, _: SocketKey, _: DisconnectReason) {}
}

struct Client {
    ws: WebSocketStream<TcpStream>,
}

impl Client {
    async fn connect(running: &Running, auth: &str) -> Self {
        let stream = TcpStream::connect(running.local_addr()).await.unwrap();
        let url = "ws://localhost/socket.io/?EIO=4&transport=websocket";
        let mut client = Self { ws: client_async(url, stream).await.unwrap().0 };
        assert!(client.next().await.starts_with("0{"));
        client.ws.send(Message::text(format!("40{auth}"))).await.unwrap();
        client
    }

    async fn next(&mut self) -> String {
        let next = tokio::time::timeout(Duration::from_secs(10), self.ws.next());
        match next.await.expect("a frame").unwrap().unwrap() {
            Message::Text(text) => text.to_string(),
            Message::Binary(bytes) => format!("{bytes:?}"),
            other => panic!("{other:?}"),
        }
    }

    /// The number of the next event, and its offset.
    async fn event(&mut self) -> (u32, String) {
        let event = self.next().await;
        let (number, offset): (u32, String) = {
            let args: (String, u32, String) = serde_json::from_str(event.strip_prefix("42").unwrap()).unwrap();
            (args.1, args.2)
        };
        (number, offset)
    }
}

fn start(shards: u16) -> (Running, Handle) {
    let mut engine = engineio::Config::default();
    engine.path = "/socket.io/".to_owned();
    let mut config = Config::default();
    config.recovery = Some(Recovery::new(Options::default()));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let of_shards = config.clone();
    let server = engineio::net::Server::new(engine).shards(shards);
    let running = server.serve(listener, move || Server::new(of_shards.clone(), Tea)).unwrap();
    let handle = Handle::new(running.handle(), &config);
    (running, handle)
}

#[tokio::test]
async fn clients_come_back_again_and_again_and_miss_nothing() {
    for shards in [1, 3] {
        let (running, io) = start(shards);
        let mut client = Client::connect(&running, "").await;
        let answer = client.next().await;
        let pid = answer.split('"').nth(7).unwrap().to_owned();
        let (mut sent, mut seen, mut offset) = (0, 0, None);
        // The connections that it leaves behind: of every other one the server is not told.
        let mut left = Vec::new();
        for round in 0..20 {
            for _ in 0..3 {
                sent += 1;
                io.of("/").to("tea").emit("event", &sent.to_string(), &[]).await.unwrap();
            }
            // It reads one of them.
            let (number, last) = client.event().await;
            seen += 1;
            assert_eq!(number, seen);
            offset = Some(last).or(offset);
            if round % 2 == 0 {
                drop(client)
            } else {
                left.push(client)
            }
            let auth = format!(r#"{{"pid":"{pid}","offset":"{}"}}"#, offset.as_deref().unwrap());
            client = Client::connect(&running, &auth).await;
            // What it missed may come before the answer or, from another shard, after it.
            let mut answered = false;
            while seen < sent || !answered {
                let frame = client.next().await;
                if let Some(again) = frame.strip_prefix("40") {
                    assert_eq!(again, answer.strip_prefix("40").unwrap(), "the same sid and pid");
                    answered = true;
                    continue;
                }
                let args: (String, u32, String) = serde_json::from_str(frame.strip_prefix("42").unwrap()).unwrap();
                seen += 1;
                assert_eq!(args.1, seen);
                offset = Some(args.2);
            }
        }
        io.of("/")
            .to("tea")
            .emit("binary", r#"{"_placeholder":true,"num":0}"#, &[Bytes::from_static(b"x")])
            .await
            .unwrap();
        assert!(client.next().await.starts_with(r#"451-["binary",{"_placeholder":true,"num":0},""#));
        assert_eq!(client.next().await, r#"b"x""#);
        io.engine().shutdown(Duration::ZERO);
        tokio::task::spawn_blocking(|| running.join()).await.unwrap().unwrap();
    }
}
