//! Connection state recovery over real sockets: clients come back on whatever shard accepts them.

#[path = "client/mod.rs"]
mod client;

use std::time::Duration;

use self::client::Client;
use bytes::Bytes;
use engineio::net::Running;
use socketio::{
    AckId, Config, ConnectRequest, Decision, DisconnectReason, Event, Handle, Handler, Io, Server, SocketKey,
    recovery::{Options, Recovery},
};

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

/// The number of the next event, and its offset.
async fn next_event(client: &mut Client) -> (u32, String) {
    let event = client.next().await;
    let args: (String, u32, String) = serde_json::from_str(event.strip_prefix("42").unwrap()).unwrap();
    (args.1, args.2)
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
        let mut client = Client::ask_to_connect(running.local_addr(), "").await;
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
            let (number, last) = next_event(&mut client).await;
            seen += 1;
            assert_eq!(number, seen);
            offset = Some(last).or(offset);
            if round % 2 == 0 {
                drop(client)
            } else {
                left.push(client)
            }
            let auth = format!(r#"{{"pid":"{pid}","offset":"{}"}}"#, offset.as_deref().unwrap());
            client = Client::ask_to_connect(running.local_addr(), &auth).await;
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
