//! A server whose handler takes a few text commands, an HTTP client that sends exactly the bytes it is given, and raw
//! WebSocket frames.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use engineio::{
    CloseReason, Config, ConnKey, Handler, Handshake, Message, Outbox, Refusal, ShardMessage, SharedFrame,
    net::{Handle, Running, Server, ShardStats},
    packet::Outbound,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tokio_tungstenite::{WebSocketStream, client_async};

/// A call of the handler.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Only for a handshake with `count` in its query.
    Asked,
    Opened,
    Message(String),
    Closed(CloseReason),
}

/// Echoes every message, except a few texts that are commands.
struct Commands {
    events: UnboundedSender<Event>,
    conns: Vec<ConnKey>,
    /// Its WebSockets are plain: it echoes and takes no commands.
    plain: bool,
}

pub(crate) fn frame_of(text: &str) -> SharedFrame {
    SharedFrame::message(&[text.as_bytes()], &[])
}

impl Commands {
    fn run(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, text: &str) {
        let mut words = text.split(' ');
        match words.next() {
            Some("panic") => panic!("asked to panic"),
            Some("close") => outbox.close(conn, CloseReason::ForcedClose),
            Some("bye") => {
                let _ = outbox.send(conn, &frame_of("bye"));
                outbox.close(conn, CloseReason::ForcedClose);
            }
            // `post SHARD TEXT`: that shard's handler echoes the text to all its connections.
            Some("post") => {
                let shard = words.next().and_then(|word| word.parse().ok()).expect("a number");
                outbox.send_to_shard(shard, ShardMessage::new(words.collect::<Vec<_>>().join(" ")));
            }
            // `burst COUNT SIZE`: sends COUNT messages of SIZE bytes to every connection.
            Some("burst") => {
                let mut number = || words.next().and_then(|word| word.parse::<usize>().ok()).expect("a number");
                let (count, size) = (number(), number());
                let frame = frame_of(&"x".repeat(size));
                for _ in 0..count {
                    for conn in &self.conns {
                        let _ = outbox.send(*conn, &frame);
                    }
                }
            }
            _ => {
                let _ = outbox.send(conn, &frame_of(text));
            }
        }
    }
}

impl Handler for Commands {
    fn on_handshake(&mut self, _: &mut dyn Outbox, handshake: &Handshake<'_>) -> Result<(), Refusal> {
        if handshake.uri.query().is_some_and(|query| query.contains("count")) {
            let _ = self.events.send(Event::Asked);
        }
        match handshake.uri.query() {
            Some(query) if query.contains("deny") => Err(Refusal::Forbidden),
            Some(query) if query.contains("panic") => panic!("asked to panic"),
            _ => Ok(()),
        }
    }

    fn on_open(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, handshake: &Handshake<'_>) {
        self.conns.push(conn);
        let _ = self.events.send(Event::Opened);
        if handshake.uri.query().is_some_and(|query| query.contains("greet")) {
            let _ = outbox.send(conn, &frame_of("hello"));
        }
    }

    fn on_message(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, message: Message<'_>) {
        match message {
            message if self.plain => {
                let _ = outbox.send(conn, &SharedFrame::websocket_message(&message));
            }
            Message::Text(text) => {
                let _ = self.events.send(Event::Message(text.clone().into_owned()));
                self.run(outbox, conn, &text);
            }
            Message::Binary(_) => {
                let _ = outbox.send(conn, &SharedFrame::packet(&Outbound::Message(message)));
            }
        }
    }

    fn on_shard_message(&mut self, outbox: &mut dyn Outbox, message: ShardMessage) {
        let text = message.downcast::<String>().expect("a text");
        assert_ne!(text, "panic", "asked to panic");
        for conn in &self.conns {
            let _ = outbox.send(*conn, &frame_of(&text));
        }
    }

    fn on_close(&mut self, _: &mut dyn Outbox, conn: ConnKey, reason: CloseReason) {
        self.conns.retain(|other| *other != conn);
        let _ = self.events.send(Event::Closed(reason));
    }
}

/// A handler that sends nothing.
pub(crate) struct Silent;

impl Handler for Silent {
    fn on_open(&mut self, _: &mut dyn Outbox, _: ConnKey, _: &Handshake<'_>) {}
    fn on_message(&mut self, _: &mut dyn Outbox, _: ConnKey, _: Message<'_>) {}
    fn on_close(&mut self, _: &mut dyn Outbox, _: ConnKey, _: CloseReason) {}
}

/// A running server; dropping it stops the server.
pub(crate) struct TestServer {
    running: Option<Running>,
    pub(crate) addr: SocketAddr,
    events: UnboundedReceiver<Event>,
}

impl TestServer {
    pub(crate) fn start(adjust: impl FnOnce(&mut Config)) -> Self {
        Self::start_shards(super::SHARDS, adjust)
    }

    pub(crate) fn start_shards(shards: u16, adjust: impl FnOnce(&mut Config)) -> Self {
        Self::start_server(shards, adjust, |server| server)
    }

    pub(crate) fn start_server(
        shards: u16,
        adjust: impl FnOnce(&mut Config),
        build: impl FnOnce(Server) -> Server,
    ) -> Self {
        let mut config = Config::default();
        adjust(&mut config);
        let (sender, events) = unbounded_channel();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let plain = config.plain_websockets;
        let handler = move || Commands { events: sender.clone(), conns: Vec::new(), plain };
        let running = build(Server::new(config)).shards(shards).serve(listener, handler).unwrap();
        Self { addr: running.local_addr(), running: Some(running), events }
    }

    /// The next call of the handler; panics if there is none for long.
    pub(crate) async fn event(&mut self) -> Event {
        soon(self.events.recv()).await.expect("the server runs")
    }

    /// Skips to the close of a session and returns its reason.
    pub(crate) async fn closed(&mut self) -> CloseReason {
        loop {
            if let Event::Closed(reason) = self.event().await {
                return reason;
            }
        }
    }

    async fn stream(&self) -> TcpStream {
        let stream = soon(TcpStream::connect(self.addr)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    pub(crate) async fn connect(&self) -> Http {
        let mut http = Http::of(self.stream().await);
        if super::STAYS {
            http.stay_here().await;
        }
        http
    }

    /// Sends one request on its own connection.
    pub(crate) async fn get(&self, query: &str) -> Response {
        self.connect().await.get(query).await
    }

    pub(crate) async fn post(&self, query: &str, body: &str) -> Response {
        self.connect().await.post(query, body).await
    }

    /// Opens a polling session and returns its sid.
    pub(crate) async fn open(&self) -> String {
        sid_of(&self.get("EIO=4&transport=polling").await.body)
    }

    /// Opens a WebSocket session with an ordinary client and reads its OPEN packet.
    pub(crate) async fn websocket(&self) -> WebSocketStream<TcpStream> {
        let mut ws = self.websocket_at("EIO=4&transport=websocket").await;
        assert!(next_text(&mut ws).await.starts_with("0{"));
        ws
    }

    pub(crate) async fn websocket_at(&self, query: &str) -> WebSocketStream<TcpStream> {
        let stream = self.connect().await.stream;
        soon(client_async(format!("ws://{}/engine.io/?{query}", self.addr), stream)).await.unwrap().0
    }

    /// Opens a WebSocket session by hand and reads its OPEN packet.
    pub(crate) async fn raw_websocket(&self) -> Http {
        let mut http = self.connect().await;
        http.send(upgrade_request("EIO=4&transport=websocket").as_bytes()).await;
        assert_eq!(http.response().await.status, 101);
        let (opcode, payload) = http.frame().await;
        assert_eq!((opcode, payload.first()), (1, Some(&b'0')));
        http
    }

    pub(crate) fn handle(&self) -> Handle {
        self.running.as_ref().unwrap().handle()
    }

    /// What all shards together have counted.
    pub(crate) async fn stats(&self) -> ShardStats {
        let (handle, mut sum) = (self.running.as_ref().unwrap().handle(), ShardStats::default());
        for shard in 0..handle.shards() {
            sum.merge(&soon(handle.stats(shard)).await.unwrap());
        }
        sum
    }

    pub(crate) fn drain(&self, over: Duration) {
        self.running.as_ref().unwrap().drain(over);
    }

    /// Waits until the server has stopped.
    pub(crate) async fn join(&mut self) {
        let running = self.running.take().unwrap();
        soon(tokio::task::spawn_blocking(|| running.join())).await.unwrap().unwrap();
    }

    pub(crate) fn shutdown(&mut self, within: Duration) -> Duration {
        let running = self.running.take().unwrap();
        let start = Instant::now();
        running.shutdown(within);
        running.join().unwrap();
        start.elapsed()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.shutdown(Duration::ZERO);
        }
    }
}

/// Waits for the future, but not forever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("in time")
}

pub(crate) fn sid_of(open: &str) -> String {
    open.split_once(r#""sid":""#).and_then(|(_, rest)| rest.split_once('"')).expect("a sid").0.to_owned()
}

pub(crate) async fn next_text(ws: &mut WebSocketStream<TcpStream>) -> String {
    use futures_util::StreamExt;
    soon(ws.next()).await.expect("a frame").unwrap().into_text().unwrap().to_string()
}

pub(crate) fn request(method: &str, query: &str, extra: &str, body: &str) -> String {
    format!("{method} /engine.io/?{query} HTTP/1.1\r\nHost: localhost\r\n{extra}\r\n{body}")
}

pub(crate) fn post_request(query: &str, body: &str) -> String {
    request("POST", query, &format!("Content-Length: {}\r\n", body.len()), body)
}

pub(crate) fn upgrade_request(query: &str) -> String {
    let headers = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    request("GET", query, headers, "")
}

/// A handshake with additional headers.
pub(crate) fn upgrade_request_with(query: &str, extra: &str) -> String {
    upgrade_request(query).replace("Host:", &format!("{extra}\r\nHost:"))
}

/// A masked frame from a client; `first` is the byte with FIN and opcode.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [7, 1, 200, 33];
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..=125 => frame.push(0x80 | len as u8),
        len @ 126..=65_535 => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) head: String,
    /// The body; empty if it is not text.
    pub(crate) body: String,
    pub(crate) bytes: Vec<u8>,
}

/// A TCP connection: sends bytes, reads responses or frames.
pub(crate) struct Http {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Http {
    pub(crate) const fn of(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        soon(self.stream.write_all(bytes)).await.unwrap();
    }

    /// Sends a request that concerns no session, so that the connection stays on its shard.
    pub(crate) async fn stay_here(&mut self) {
        self.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(self.response().await.status, 404);
    }

    pub(crate) async fn get(&mut self, query: &str) -> Response {
        self.send(request("GET", query, "", "").as_bytes()).await;
        self.response().await
    }

    pub(crate) async fn post(&mut self, query: &str, body: &str) -> Response {
        self.send(post_request(query, body).as_bytes()).await;
        self.response().await
    }

    /// Reads more; `false` at the end of the stream or after a reset.
    async fn fill(&mut self) -> bool {
        soon(self.stream.read_buf(&mut self.buffer)).await.is_ok_and(|count| count > 0)
    }

    /// Reads once, and returns everything that was read and not used yet.
    pub(crate) async fn read_once(&mut self) -> &[u8] {
        self.buffer.reserve(4096);
        assert!(self.fill().await, "the stream ended");
        &self.buffer
    }

    async fn take(&mut self, len: usize) -> Vec<u8> {
        while self.buffer.len() < len {
            assert!(self.fill().await, "the stream ended after {:?}", String::from_utf8_lossy(&self.buffer));
        }
        self.buffer.drain(..len).collect()
    }

    pub(crate) async fn response(&mut self) -> Response {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.fill().await, "the stream ended before the response");
        };
        let head = String::from_utf8(self.take(end).await).unwrap().to_ascii_lowercase();
        let len = head
            .split_once("content-length: ")
            .map_or(0, |(_, rest)| rest.split("\r\n").next().and_then(|digits| digits.parse().ok()).expect("a length"));
        let bytes = self.take(len).await;
        let body = String::from_utf8(bytes.clone()).unwrap_or_default();
        let status = head.get(9..12).and_then(|digits| digits.parse().ok()).expect("a status");
        Response { status, head, body, bytes }
    }

    /// One frame from the server: opcode and payload.
    pub(crate) async fn frame(&mut self) -> (u8, Vec<u8>) {
        let (first, payload) = self.whole_frame().await;
        (first & 0x0f, payload)
    }

    /// One frame from the server: the byte with FIN, RSV1 and opcode, and the payload.
    pub(crate) async fn whole_frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.take(2).await;
        let len = match head[1] {
            126 => u16::from_be_bytes(self.take(2).await.try_into().unwrap()).into(),
            127 => usize::try_from(u64::from_be_bytes(self.take(8).await.try_into().unwrap())).unwrap(),
            short => usize::from(short),
        };
        (head[0], self.take(len).await)
    }

    /// Discards what was read and not used yet.
    pub(crate) fn discard(&mut self) {
        self.buffer.clear();
    }

    /// Whether the server ends the stream without sending anything more.
    pub(crate) async fn ended(&mut self) -> bool {
        self.buffer.is_empty() && !self.fill().await
    }
}
