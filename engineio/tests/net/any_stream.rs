//! A WebSocket over a stream that is not a TCP socket: upgraded by another server, with a buffer of a few bytes.

use std::time::Duration;

use engineio::{
    CloseReason, Config, ConnKey, Handler, Handshake, Message, Outbox, SharedFrame,
    net::{EngineService, Running, Server},
    packet::Outbound,
};
use futures_util::{SinkExt, StreamExt};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite};
use tower_service::Service;

use super::support::request;

struct Echo;

impl Handler for Echo {
    fn on_open(&mut self, _: &mut dyn Outbox, _: ConnKey, _: &Handshake<'_>) {}
    fn on_message(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, message: Message<'_>) {
        let _ = outbox.send(conn, &SharedFrame::packet(&Outbound::Message(message)));
    }
    fn on_close(&mut self, _: &mut dyn Outbox, _: ConnKey, _: CloseReason) {}
}

/// Serves one end of an in-memory stream, as an application's own server does, and returns the other end.
fn connect(service: &EngineService, buffer: usize) -> DuplexStream {
    let (ours, theirs) = tokio::io::duplex(buffer);
    let service = service.clone();
    let service = service_fn(move |request| service.clone().call(request));
    let serving =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(theirs), service).with_upgrades();
    tokio::spawn(serving);
    ours
}

async fn websocket(service: &EngineService, buffer: usize, query: &str) -> WebSocketStream<DuplexStream> {
    let url = format!("ws://localhost/engine.io/?EIO=4&transport=websocket{query}");
    client_async(url, connect(service, buffer)).await.unwrap().0
}

/// Opens a polling session and returns its sid.
async fn open_polling(service: &EngineService) -> String {
    let mut http = connect(service, 64);
    http.write_all(request("GET", "EIO=4&transport=polling", "", "").as_bytes()).await.unwrap();
    let mut response = Vec::new();
    while !response.ends_with(b"}") {
        assert_ne!(http.read_buf(&mut response).await.unwrap(), 0);
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
    Server::new(config).shards(shards).attach(|| Echo).unwrap()
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
