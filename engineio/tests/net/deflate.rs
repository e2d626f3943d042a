//! permessage-deflate over real sockets: negotiated, used in both directions, and within the limits.

use engineio::ws::deflate::PerMessageDeflate;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::support::{Http, TestServer, frame, sid_of, upgrade_request_with};

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits";

/// FIN, RSV1, text and binary.
const TEXT: u8 = 0xc1;
const BINARY: u8 = 0xc2;

fn start() -> TestServer {
    TestServer::start(|config| {
        config.max_payload = 10_000;
        config.per_message_deflate = Some(PerMessageDeflate::default());
    })
}

fn deflate(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    let mut compress = Compress::new(Compression::best(), false);
    compress.compress_vec(message, &mut out, FlushCompress::Sync).unwrap();
    out.strip_suffix(&[0, 0, 0xff, 0xff]).unwrap().to_vec()
}

fn inflate(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(100_000);
    let whole = [payload, &[0, 0, 0xff, 0xff]].concat();
    Decompress::new(false).decompress_vec(&whole, &mut out, FlushDecompress::Sync).unwrap();
    out
}

/// Opens a WebSocket on which deflate is agreed.
async fn connect(server: &TestServer, query: &str) -> Http {
    let mut http = server.connect().await;
    http.send(upgrade_request_with(query, OFFER).as_bytes()).await;
    let answer = http.response().await;
    assert_eq!(answer.status, 101);
    let agreed =
        "sec-websocket-extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";
    assert!(answer.head.contains(agreed), "{}", answer.head);
    http
}

async fn open(server: &TestServer) -> Http {
    let mut http = connect(server, "EIO=4&transport=websocket").await;
    let (first, open) = http.whole_frame().await;
    assert_eq!((first, open.first()), (0x81, Some(&b'0')), "below the threshold");
    http
}

#[tokio::test]
async fn messages_are_compressed_both_ways_text_binary_and_fragmented() {
    let server = start();
    let mut http = open(&server).await;
    let text = format!("4{}", "abc ".repeat(2000));
    let compressed = deflate(text.as_bytes());
    // Twice, to show that no window is kept.
    for _ in 0..2 {
        http.send(&frame(TEXT, &compressed)).await;
        let (first, payload) = http.whole_frame().await;
        assert_eq!((first, inflate(&payload)), (TEXT, text.clone().into_bytes()));
        assert!(payload.len() < 200);
    }
    let (one, two) = compressed.split_at(compressed.len() / 2);
    http.send(&[frame(0x41, one), frame(0x80, two)].concat()).await;
    assert_eq!(inflate(&http.whole_frame().await.1), text.as_bytes());
    http.send(&frame(BINARY, &deflate(&[7; 5000]))).await;
    let (first, payload) = http.whole_frame().await;
    assert_eq!((first, inflate(&payload)), (BINARY, vec![7; 5000]));
    http.send(&frame(0x81, b"4plain")).await;
    assert_eq!(http.whole_frame().await, (0x81, b"4plain".to_vec()));
    http.send(&frame(TEXT, &deflate(b"4small"))).await;
    assert_eq!(http.whole_frame().await, (0x81, b"4small".to_vec()), "below the threshold");
}

#[tokio::test]
async fn a_bomb_ends_with_1009_and_garbage_with_1007() {
    let server = start();
    let bomb = deflate(&[b'4'; 10_001]);
    assert!(bomb.len() < 100);
    for (payload, code) in [(bomb, 1009_u16), (vec![0xff; 20], 1007)] {
        let mut http = open(&server).await;
        http.send(&frame(TEXT, &payload)).await;
        assert_eq!(http.frame().await, (8, code.to_be_bytes().to_vec()));
        assert!(http.ended().await);
    }
}

#[tokio::test]
async fn compressed_frames_without_agreement_end_with_1002() {
    let server = TestServer::start(|_| {});
    let mut http = server.connect().await;
    http.send(upgrade_request_with("EIO=4&transport=websocket", OFFER).as_bytes()).await;
    assert!(!http.response().await.head.contains("sec-websocket-extensions"));
    http.frame().await;
    http.send(&frame(TEXT, &deflate(b"4a"))).await;
    assert_eq!(http.frame().await, (8, 1002_u16.to_be_bytes().to_vec()));
}

#[tokio::test]
async fn an_upgrade_negotiates_too_and_queued_messages_are_compressed() {
    let server = start();
    let opened = server.get("EIO=4&transport=polling").await.body;
    let sid = sid_of(&opened);
    let mut http = connect(&server, &format!("EIO=4&transport=websocket&sid={sid}")).await;
    http.send(&frame(TEXT, &deflate(b"2probe"))).await;
    assert_eq!(http.whole_frame().await, (0x81, b"3probe".to_vec()));
    let text = format!("4{}", "abc ".repeat(1000));
    assert_eq!(server.post(&format!("EIO=4&transport=polling&sid={sid}"), &text).await.body, "ok");
    http.send(&[frame(0x81, b"5"), frame(TEXT, &deflate(text.as_bytes()))].concat()).await;
    for _ in 0..2 {
        let (first, payload) = http.whole_frame().await;
        assert_eq!((first, inflate(&payload)), (TEXT, text.clone().into_bytes()));
    }
}
