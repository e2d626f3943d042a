//! A WebSocket over a stream that is not a TCP socket: upgraded by another server, with a buffer of a few bytes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use engineio::{
    CloseReason, Config, ConnKey, Handler, Handshake, Message, Outbox, ShardMessage, SharedFrame,
    net::{EngineService, Running, Server},
    packet::Outbound,
};
use futures_util::{SinkExt, StreamExt};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite};
use tower_service::Service;

use super::support::request;

#[derive(Default)]
struct Echo {
    /// Makes the next flush panic.
    breaks: bool,
}

impl Handler for Echo {
    fn on_shard_message(&mut self, _: &mut dyn Outbox, _: ShardMessage) {
        self.breaks = true;
    }
    fn wants_flush(&self) -> bool {
        self.breaks
    }
    fn on_flush(&mut self, _: &mut dyn Outbox) {
        panic!("asked to panic");
    }
    fn on_open(&mut self, _: &mut dyn Outbox, _: ConnKey, _: &Handshake<'_>) {}
    fn on_message(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, message: Message<'_>) {
        let last = matches!(&message, Message::Text(text) if text.starts_with("last"));
        let _ = outbox.send(conn, &SharedFrame::packet(&Outbound::Message(message)));
        if last {
            outbox.close(conn, CloseReason::ForcedClose);
        }
    }
    fn on_close(&mut self, _: &mut dyn Outbox, _: ConnKey, _: CloseReason) {}
}

/// A stream that accepts all bytes, and sends nothing until it is flushed.
struct Buffered {
    stream: DuplexStream,
    unsent: Vec<u8>,
}

impl AsyncRead for Buffered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Buffered {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.unsent.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, unsent } = self.get_mut();
        while !unsent.is_empty() {
            let count = ready!(Pin::new(&mut *stream).poll_write(cx, unsent))?;
            unsent.drain(..count);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Serves one end of an in-memory stream, as an application's own server does, and returns the other end.
fn connect(service: &EngineService, buffer: usize) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(buffer);
    serve(service, theirs);
    ours
}

/// As [`connect`], but the server's end is [`Buffered`].
fn connect_buffered(service: &EngineService, buffer: usize) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(buffer);
    serve(service, Buffered { stream: theirs, unsent: Vec::new() });
    ours
}

fn serve(service: &EngineService, theirs: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
    let service = service.clone();
    let service = service_fn(move |request| service.clone().call(request));
    let serving =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(theirs), service).with_upgrades();
    tokio::spawn(serving);
}

async fn websocket(service: &EngineService, buffer: usize, query: &str) -> WebSocketStream<DuplexStream> {
    handshake(connect(service, buffer), query).await
}

async fn handshake(stream: DuplexStream, query: &str) -> WebSocketStream<DuplexStream> {
    let url = format!("ws://localhost/engine.io/?EIO=4&transport=websocket{query}");
    client_async(url, stream).await.unwrap().0
}

/// The next message. It comes at once or never, because there is no heartbeat meanwhile.
async fn next(ws: &mut WebSocketStream<DuplexStream>) -> Option<tungstenite::Message> {
    let next = tokio::time::timeout(Duration::from_secs(10), ws.next()).await;
    next.expect("the server sends what it has").and_then(Result::ok)
}

/// Opens a polling session and returns its sid.
async fn open_polling(service: &EngineService) -> String {
    let mut http = connect(service, 64);
    http.write_all(request("GET", "EIO=4&transport=polling", "", "").as_bytes()).await.unwrap();
    let mut response = Vec::new();
    while !response.ends_with(b"}") {
        assert_ne!(http.read_buf(&mut response).await.unwrap(), 0);
        assert!(!response.starts_with(b"HTTP/1.1 503"));
    }
    let response = String::from_utf8(response).unwrap();
    response.split_once("\"sid\":\"").unwrap().1.split('"').next().unwrap().to_owned()
}

fn text(text: impl Into<String>) -> tungstenite::Message {
    tungstenite::Message::text(text.into())
}

fn attach(shards: u16, configure: impl FnOnce(&mut Config)) -> (Running, EngineService) {
    let mut config = Config::default();
    configure(&mut config);
    Server::new(config).shards(shards).attach(Echo::default).unwrap()
}

#[tokio::test]
async fn messages_larger_than_the_streams_buffer_go_both_ways_in_order() {
    let (running, service) = attach(2, |_| {});
    for _ in 0..2 {
        let (mut sink, mut stream) = websocket(&service, 100, "").await.split();
        assert!(stream.next().await.unwrap().unwrap().to_text().unwrap().starts_with("0{"));
        let sending = tokio::spawn(async move {
            for number in 0..200_usize {
                sink.send(text(format!("4{number} {}", "x".repeat(number * 37 % 3000)))).await.unwrap();
            }
            sink
        });
        for number in 0..200_usize {
            let expected = format!("4{number} {}", "x".repeat(number * 37 % 3000));
            assert_eq!(stream.next().await.unwrap().unwrap(), text(expected), "{number}");
        }
        drop(sending.await.unwrap());
    }
    running.shutdown(Duration::from_secs(5));
    tokio::task::spawn_blocking(|| running.join()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_session_upgrades_to_it_whichever_shard_has_it() {
    let (running, service) = attach(3, |_| {});
    for _ in 0..6 {
        let sid = open_polling(&service).await;
        let mut ws = websocket(&service, 64, &format!("&sid={sid}")).await;
        ws.send(text("2probe")).await.unwrap();
        assert_eq!(ws.next().await.unwrap().unwrap(), text("3probe"));
        ws.send(text("5")).await.unwrap();
        ws.send(text("4hello")).await.unwrap();
        assert_eq!(ws.next().await.unwrap().unwrap(), text("4hello"));
    }
    running.shutdown(Duration::from_secs(5));
    tokio::task::spawn_blocking(|| running.join()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_peer_that_reads_nothing_is_closed_and_one_that_resumes_gets_all() {
    let (running, service) = attach(1, |config| {
        config.outbound_soft = usize::MAX;
        config.outbound_hard = 100_000;
    });
    let (mut sink, mut stream) = websocket(&service, 4096, "").await.split();
    // More than the limit is queued for it: the server closes it by ending the stream.
    let flood = async { while sink.send(text(format!("4{}", "x".repeat(10_000)))).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), flood).await.expect("the server closes it");
    while let Some(Ok(_)) = stream.next().await {}
    running.shutdown(Duration::from_secs(5));
    tokio::task::spawn_blocking(|| running.join()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stream_that_keeps_bytes_until_it_is_flushed_is_flushed_to_the_end() {
    let (running, service) = attach(2, |config| config.close_timeout = Duration::from_secs(3600));
    for buffer in [16, 64, 4096] {
        let mut ws = handshake(connect_buffered(&service, buffer), "").await;
        assert!(next(&mut ws).await.unwrap().to_text().unwrap().starts_with("0{"), "{buffer}");
        for _ in 0..3 {
            ws.send(text(format!("4{}", "x".repeat(1000)))).await.unwrap();
            assert_eq!(next(&mut ws).await.unwrap().len(), 1001, "{buffer}");
        }
        // When it has blocked, the close frame and the end of the stream must still be sent.
        let last = format!("4last{}", "x".repeat(10_000));
        ws.send(text(last.clone())).await.unwrap();
        assert_eq!(next(&mut ws).await, Some(text(last)), "{buffer}");
        assert!(matches!(next(&mut ws).await, Some(tungstenite::Message::Close(_))), "{buffer}");
        assert_eq!(next(&mut ws).await, None, "{buffer}");
    }
    running.shutdown(Duration::from_secs(5));
    tokio::task::spawn_blocking(|| running.join()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_session_upgrades_to_a_stream_that_keeps_bytes_until_it_is_flushed() {
    let (running, service) = attach(2, |_| {});
    for buffer in [16, 4096] {
        let sid = open_polling(&service).await;
        let mut ws = handshake(connect_buffered(&service, buffer), &format!("&sid={sid}")).await;
        ws.send(tungstenite::Message::Ping("ping".into())).await.unwrap();
        assert_eq!(next(&mut ws).await, Some(tungstenite::Message::Pong("ping".into())), "{buffer}");
        ws.send(text("2probe")).await.unwrap();
        assert_eq!(next(&mut ws).await, Some(text("3probe")), "{buffer}");
        ws.send(text("5")).await.unwrap();
        ws.send(text("4hello")).await.unwrap();
        assert_eq!(next(&mut ws).await, Some(text("4hello")), "{buffer}");
    }
    running.shutdown(Duration::from_secs(5));
    tokio::task::spawn_blocking(|| running.join()).await.unwrap().unwrap();
}

#[tokio::test]
async fn new_sessions_go_to_the_shards_that_are_left() {
    let (running, service) = attach(3, |_| {});
    let handle = running.handle();
    handle.send(1, ShardMessage::new("break")).await.unwrap();
    tokio::task::spawn_blocking(|| running.join()).await.unwrap().unwrap_err();
    for _ in 0..6 {
        // The answer must have a sid.
        open_polling(&service).await;
    }
    handle.shutdown(Duration::ZERO);
}
