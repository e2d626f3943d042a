//! A shard that cannot keep up: shards that send it messages read no sockets meanwhile, and nothing is lost.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use engineio::{
    CloseReason, Config, ConnKey, Handler, Handshake, Message, Outbox, ShardMessage,
    net::{Running, Server},
};
use futures_util::SinkExt;
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message as Frame};

use super::support::{Http, frame_of, next_text, post_request, request, sid_of, soon};

const TICK: Duration = Duration::from_millis(10);

/// Sends `NUMBER TEXT` to shard 1, which sends it to its connections. At number 0 shard 1 stalls until the test lets it
/// go on. Every 10 ms it tells its connections how many texts it has received.
struct Busy {
    conns: Vec<ConnKey>,
    received: usize,
    next: Instant,
    weight: usize,
    go: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Handler for Busy {
    fn on_open(&mut self, _: &mut dyn Outbox, conn: ConnKey, _: &Handshake<'_>) {
        self.conns.push(conn);
    }

    fn on_message(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, message: Message<'_>) {
        let Message::Text(text) = message else { return };
        if text == "hello" {
            let _ = outbox.send(conn, &frame_of("hello"));
        } else {
            self.received += 1;
            outbox.send_to_shard(1, ShardMessage::new(text.into_owned()).with_weight(self.weight));
        }
    }

    fn on_shard_message(&mut self, outbox: &mut dyn Outbox, message: ShardMessage) {
        let text = message.downcast::<String>().unwrap();
        if text.starts_with("0 ") {
            self.go.lock().unwrap().recv().unwrap();
        }
        for conn in &self.conns {
            let _ = outbox.send(*conn, &frame_of(&text));
        }
    }

    fn on_close(&mut self, _: &mut dyn Outbox, conn: ConnKey, _: CloseReason) {
        self.conns.retain(|other| *other != conn);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Some(self.next)
    }

    fn on_timeout(&mut self, outbox: &mut dyn Outbox) {
        self.next = outbox.now() + TICK;
        if outbox.shard() == 0 {
            for conn in &self.conns {
                let _ = outbox.send(*conn, &frame_of(&format!("received {}", self.received)));
            }
        }
    }
}

type Ws = WebSocketStream<TcpStream>;

struct Rig {
    running: Running,
    go: mpsc::Sender<()>,
}

impl Rig {
    fn start(weight: usize, heartbeat: Duration) -> Self {
        let (go, gate) = mpsc::channel();
        let gate = Arc::new(Mutex::new(gate));
        let mut config = Config::default();
        // Everything that shard 1 sends goes to one peer at once.
        config.outbound_hard = 1 << 30;
        config.ping_interval = heartbeat;
        config.ping_timeout = heartbeat;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let factory =
            move || Busy { conns: Vec::new(), received: 0, next: Instant::now(), weight, go: Arc::clone(&gate) };
        Self { running: Server::new(config).shards(2).serve(listener, factory).unwrap(), go }
    }

    /// Opens a WebSocket on this shard.
    async fn websocket(&self, shard: u16) -> Ws {
        loop {
            let addr = self.running.local_addr();
            let stream = TcpStream::connect(addr).await.unwrap();
            let url = format!("ws://{addr}/engine.io/?EIO=4&transport=websocket");
            let mut ws = soon(client_async(url, stream)).await.unwrap().0;
            let sid = sid_of(&next_text(&mut ws).await);
            if engineio::Sid::parse(&sid).unwrap().shard() == shard {
                return ws;
            }
        }
    }
}

/// The next text; pings are answered.
async fn next(ws: &mut Ws) -> String {
    loop {
        let text = next_text(ws).await;
        if text != "2" {
            return text;
        }
        ws.send(Frame::text("3")).await.unwrap();
    }
}

/// How many texts shard 0 says it has received.
async fn received(ws: &mut Ws) -> usize {
    let text = next(ws).await;
    text.strip_prefix("4received ").unwrap_or_else(|| panic!("{text}")).parse().unwrap()
}

async fn wait_for_stall(ws: &mut Ws) -> usize {
    let (mut last, mut same) = (0, 0);
    while same < 20 {
        let now = received(ws).await;
        same = if now == last && now > 0 { same + 1 } else { 0 };
        last = now;
    }
    last
}

#[tokio::test]
async fn a_stalled_shard_holds_up_its_senders_and_nothing_is_lost() {
    // Limited by number, and by weight.
    for (weight, size, count) in [(0, 10, 30_000), (100_000, 1000, 20_000)] {
        let rig = Rig::start(weight, Duration::from_secs(25));
        let mut target = rig.websocket(1).await;
        let mut quiet = rig.websocket(0).await;
        let mut flood = rig.websocket(0).await;
        let flooding = tokio::spawn(async move {
            for n in 0..count {
                // The buffers between client and server hold a few MB at most.
                flood.feed(Frame::text(format!("4{n} {}", "x".repeat(size)))).await.unwrap();
            }
            flood.send(Frame::text("4hello")).await.unwrap();
            while next(&mut flood).await != "4hello" {}
        });
        let stopped = wait_for_stall(&mut quiet).await;
        // A full mailbox, plus what one turn may add.
        assert!(stopped < if weight == 0 { 6000 } else { 3000 }, "{stopped}");
        quiet.send(Frame::text("4hello")).await.unwrap();
        for _ in 0..40 {
            assert_eq!(received(&mut quiet).await, stopped, "its timers go on, its sockets stay unread");
        }
        assert!(!flooding.is_finished());
        rig.go.send(()).unwrap();
        for n in 0..count {
            let text = next(&mut target).await;
            assert!(text.starts_with(&format!("4{n} ")), "{n}: {text}");
        }
        while next(&mut quiet).await != "4hello" {}
        soon(flooding).await.unwrap();
        rig.running.shutdown(Duration::ZERO);
        rig.running.join().unwrap();
    }
}

#[tokio::test]
async fn bodies_of_posts_and_new_connections_wait_too() {
    let rig = Rig::start(5 << 20, Duration::from_secs(25));
    let mut target = rig.websocket(1).await;
    let mut quiet = rig.websocket(0).await;
    let (mut http, sid) = loop {
        let mut http = Http::of(TcpStream::connect(rig.running.local_addr()).await.unwrap());
        let sid = sid_of(&http.get("EIO=4&transport=polling").await.body);
        if engineio::Sid::parse(&sid).unwrap().shard() == 0 {
            break (http, sid);
        }
    };
    let packets: Vec<_> = (0..200).map(|n| format!("4{n} posted")).collect();
    let query = format!("EIO=4&transport=polling&sid={sid}");
    http.send(post_request(&query, &packets.join("\x1e")).as_bytes()).await;
    assert_eq!(wait_for_stall(&mut quiet).await, 64, "what is taken in within one turn");
    // Enough connections for some to come to shard 0.
    let mut fresh = Vec::new();
    for _ in 0..6 {
        let mut http = Http::of(TcpStream::connect(rig.running.local_addr()).await.unwrap());
        http.send(request("GET", "EIO=4&transport=none", "", "").as_bytes()).await;
        fresh.push(http);
    }
    for _ in 0..20 {
        assert_eq!(received(&mut quiet).await, 64);
    }
    for http in &fresh {
        let unanswered = http.stream.try_read(&mut [0]).unwrap_err();
        assert_eq!(unanswered.kind(), std::io::ErrorKind::WouldBlock);
    }
    rig.go.send(()).unwrap();
    for packet in &packets {
        assert_eq!(next(&mut target).await, *packet);
    }
    assert_eq!(http.response().await.body, "ok");
    for http in &mut fresh {
        assert_eq!(http.response().await.status, 400);
    }
    rig.running.shutdown(Duration::ZERO);
    rig.running.join().unwrap();
}

#[tokio::test]
async fn a_pong_that_is_unread_meanwhile_does_not_end_its_session() {
    let rig = Rig::start(5 << 20, Duration::from_millis(100));
    let mut quiet = rig.websocket(0).await;
    quiet.send(Frame::text("40 stall")).await.unwrap();
    // Pings come and are answered.
    assert_eq!(wait_for_stall(&mut quiet).await, 1);
    for _ in 0..60 {
        assert_eq!(received(&mut quiet).await, 1);
    }
    quiet.send(Frame::text("4hello")).await.unwrap();
    rig.go.send(()).unwrap();
    while next(&mut quiet).await != "4hello" {}
    rig.running.shutdown(Duration::ZERO);
    rig.running.join().unwrap();
}
