//! Protocol v3: payloads with lengths, binary with a type, the client's heartbeat, JSONP.

use std::time::{Duration, Instant};

use engineio::CloseReason;
use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

use super::support::{Event, Http, Response, TestServer, frame, next_text, request, sid_of, soon, upgrade_request};

const OCTETS: &str = "Content-Type: application/octet-stream\r\n";

fn start() -> TestServer {
    TestServer::start(|config| config.allow_eio3 = true)
}

/// Opens a polling session and returns the query of its requests.
async fn open(server: &TestServer, more: &str) -> String {
    let query = format!("EIO=3&transport=polling{more}");
    format!("{query}&sid={}", sid_of(&server.get(&query).await.body.replace('\\', "")))
}

async fn post(server: &TestServer, query: &str, headers: &str, body: &[u8]) -> Response {
    let head = request("POST", query, &format!("{headers}Content-Length: {}\r\n", body.len()), "");
    let mut http = server.connect().await;
    http.send(&[head.as_bytes(), body].concat()).await;
    http.response().await
}

#[tokio::test]
async fn a_polling_handshake_has_a_length_and_the_same_object() {
    let server = start();
    let answer = server.get("EIO=3&transport=polling").await;
    let (length, packet) = answer.body.split_once(':').unwrap();
    assert_eq!(length, packet.len().to_string());
    assert!(packet.starts_with(r#"0{"sid":""#), "{packet}");
    assert!(
        packet.ends_with(r#""upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#)
    );
    assert!(answer.head.contains("content-type: text/plain; charset=utf-8\r\n"), "{}", answer.head);
}

#[tokio::test]
async fn text_and_binary_make_the_round_trip_over_polling() {
    let server = start();
    let query = open(&server, "").await;
    assert_eq!(server.post(&query, "2:4a3:4€\u{1e}").await.body, "ok");
    let answer = server.get(&query).await;
    assert_eq!(answer.body, "2:4a3:4€\u{1e}");
    assert!(answer.head.contains("content-type: text/plain; charset=utf-8\r\n"), "{}", answer.head);
    let body = b"\x00\x02\xff4a\x01\x04\xff\x04\x01\xfe\x03";
    assert_eq!(post(&server, &query, OCTETS, body).await.body, "ok");
    let answer = server.get(&query).await;
    assert_eq!(answer.bytes, body);
    assert!(answer.head.contains("content-type: application/octet-stream\r\n"), "{}", answer.head);
}

#[tokio::test]
async fn a_client_that_accepts_no_binary_gets_base64() {
    let server = start();
    let query = open(&server, "&b64=1").await;
    assert_eq!(server.post(&query, "6:b4AQI=2:4a").await.body, "ok");
    assert_eq!(server.get(&query).await.body, "6:b4AQI=2:4a");
}

#[tokio::test]
async fn an_invalid_body_gets_400_and_ends_the_session_after_the_packets_before() {
    let mut server = start();
    for (headers, body) in
        [("", &b"2:4b5:4a"[..]), ("", b"2:4b1:9"), ("", b"2:4bx"), (OCTETS, b"\x00\x02\xff4b\x01\x01\xff\x02")]
    {
        let query = open(&server, "").await;
        assert_eq!(post(&server, &query, headers, body).await.status, 400, "{body:?}");
        assert_eq!(server.event().await, Event::Opened);
        assert_eq!(server.event().await, Event::Message("b".to_owned()), "{body:?}");
        assert_eq!(server.event().await, Event::Closed(CloseReason::ParseError));
    }
}

#[tokio::test]
async fn a_close_by_the_application_and_a_second_poll_get_packets_with_lengths() {
    let mut server = start();
    let query = open(&server, "").await;
    assert_eq!(server.post(&query, "4:4bye").await.body, "ok");
    assert_eq!(server.closed().await, CloseReason::ForcedClose);
    assert_eq!(server.get(&query).await.body, "4:4bye");
    assert_eq!(server.get(&query).await.body, "1:1");
    let query = open(&server, "").await;
    assert_eq!(server.post(&query, "1:1").await.body, "ok");
    assert_eq!(server.get(&query).await.body, "1:6");
}

#[tokio::test]
async fn the_client_pings_and_gets_its_data_back() {
    let server = start();
    let query = open(&server, "").await;
    assert_eq!(server.post(&query, "1:26:2probe").await.body, "ok");
    assert_eq!(server.get(&query).await.body, "1:36:3probe");
    let mut ws = server.websocket_at("EIO=3&transport=websocket").await;
    assert!(next_text(&mut ws).await.starts_with("0{"));
    ws.send(Message::text("2")).await.unwrap();
    assert_eq!(next_text(&mut ws).await, "3");
}

#[tokio::test]
async fn a_client_that_does_not_ping_is_closed_and_never_pinged() {
    let mut server = TestServer::start(|config| {
        config.allow_eio3 = true;
        config.ping_interval = Duration::from_millis(150);
        config.ping_timeout = Duration::from_millis(100);
    });
    let begun = Instant::now();
    let mut ws = server.websocket_at("EIO=3&transport=websocket").await;
    assert!(next_text(&mut ws).await.starts_with("0{"));
    // Each ping moves the deadline.
    for _ in 0..3 {
        ws.send(Message::text("2")).await.unwrap();
        assert_eq!(next_text(&mut ws).await, "3");
        let early = tokio::time::timeout(Duration::from_millis(120), ws.next()).await;
        assert!(early.is_err(), "{early:?}");
    }
    assert!(matches!(soon(ws.next()).await, Some(Ok(Message::Close(None)))));
    assert!(begun.elapsed() >= Duration::from_millis(2 * 120 + 250), "{:?}", begun.elapsed());
    assert_eq!(server.closed().await, CloseReason::PingTimeout);
    let query = open(&server, "").await;
    assert_eq!(server.get(&query).await.body, "1:1", "a waiting poll is told of the end too");
    assert_eq!(server.closed().await, CloseReason::PingTimeout);
}

#[tokio::test]
async fn binary_over_websocket_carries_its_type() {
    let mut server = start();
    let mut ws = server.websocket_at("EIO=3&transport=websocket").await;
    assert!(next_text(&mut ws).await.starts_with("0{"));
    for message in [Message::binary(vec![4, 0, 255]), Message::binary(vec![4]), Message::text("4€")] {
        ws.send(message.clone()).await.unwrap();
        assert_eq!(soon(ws.next()).await.unwrap().unwrap(), message);
    }
    ws.send(Message::text("b4AQI=")).await.unwrap();
    assert_eq!(soon(ws.next()).await.unwrap().unwrap(), Message::binary(vec![4, 1, 2]));
    ws.send(Message::binary(vec![2, 1])).await.unwrap();
    assert_eq!(soon(ws.next()).await.unwrap().unwrap(), Message::Close(None));
    assert_eq!(server.closed().await, CloseReason::ParseError);
}

#[tokio::test]
async fn messages_queued_for_a_poll_go_over_the_websocket_in_its_form() {
    let server = start();
    for (more, expected) in [("", Message::binary(vec![4, 1, 2])), ("&b64=1", Message::text("b4AQI="))] {
        let query = open(&server, "").await;
        let sid = query.split_once("sid=").unwrap().1;
        let mut poll = server.connect().await;
        poll.send(request("GET", &query, "", "").as_bytes()).await;
        let mut ws = server.websocket_at(&format!("EIO=3&transport=websocket{more}&sid={sid}")).await;
        ws.send(Message::text("2probe")).await.unwrap();
        assert_eq!(next_text(&mut ws).await, "3probe");
        assert_eq!(poll.response().await.body, "1:6");
        assert_eq!(server.post(&query, "6:b4AQI=2:4a").await.body, "ok");
        ws.send(Message::text("5")).await.unwrap();
        assert_eq!(soon(ws.next()).await.unwrap().unwrap(), expected);
        assert_eq!(next_text(&mut ws).await, "4a");
        // Also later messages.
        ws.send(Message::binary(vec![4, 1, 2])).await.unwrap();
        assert_eq!(soon(ws.next()).await.unwrap().unwrap(), expected);
    }
}

#[tokio::test]
async fn jsonp_answers_are_scripts_and_bodies_are_forms() {
    let mut server = start();
    let answer = server.get("EIO=3&transport=polling&j=0").await;
    assert!(answer.body.starts_with(r#"___eio[0]("#) && answer.body.ends_with(r#"}");"#), "{}", answer.body);
    let query = open(&server, "&j=0").await;
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    assert_eq!(post(&server, &query, form, b"d=2%3A4%E2%82%AC%0A6%3Ab4AQI%3D").await.status, 400, "a length that lies");
    assert_eq!(server.closed().await, CloseReason::ParseError);
    let query = open(&server, "&j=0").await;
    assert_eq!(post(&server, &query, form, b"d=3%3A4%22%5C%5Cn6%3Ab4AQI%3D").await.status, 400, "cut");
    assert_eq!(server.closed().await, CloseReason::ParseError);
    let query = open(&server, "&j=0").await;
    assert_eq!(post(&server, &query, form, b"d=3%3A4%22%E2%82%AC6%3Ab4AQI%3D").await.body, "ok");
    assert_eq!(server.get(&query.replace("j=0", "j=12")).await.body, r#"___eio[12]("3:4\"€6:b4AQI=");"#);
    assert_eq!(post(&server, &query, form, b"e=1%3A4").await.status, 400);
    assert_eq!(server.closed().await, CloseReason::ParseError);
}

#[tokio::test]
async fn a_sid_serves_its_own_revision_only_and_the_session_lives() {
    let server = start();
    let refused = r#"{"code":3,"message":"Bad request"}"#;
    let (v3, v4) = (open(&server, "").await, server.open().await);
    let v4 = format!("EIO=4&transport=polling&sid={v4}");
    for (query, other) in [(&v3, v3.replace("EIO=3", "EIO=4")), (&v4, v4.replace("EIO=4", "EIO=3"))] {
        assert_eq!(server.get(&other).await.body, refused);
        assert_eq!(server.post(&other, "4a").await.body, refused);
        assert_eq!(server.post(query, if *query == v3 { "2:4a" } else { "4a" }).await.body, "ok");
        let mut http = server.connect().await;
        http.send(upgrade_request(&other.replace("polling", "websocket")).as_bytes()).await;
        let answer = http.response().await;
        assert_eq!((answer.status, answer.body.as_str()), (400, "Bad request"));
    }
    assert_eq!(server.get(&v4.replace("EIO=4&", "")).await.body, refused, "none is v3");
}

/// Opens a WebSocket and reads its OPEN packet, but nothing after it.
async fn raw_websocket(server: &TestServer) -> Http {
    let mut http = server.connect().await;
    http.send(upgrade_request("EIO=3&transport=websocket").as_bytes()).await;
    assert_eq!(http.response().await.status, 101);
    assert_eq!(http.frame().await.1.first(), Some(&b'0'));
    http
}

/// Pings without end and reads no pong, until the server gives up. Returns how many bytes the server accepted.
async fn flood(http: &mut Http, ping: &[u8]) -> usize {
    let pings = frame(0x81, ping).repeat(1_000);
    let mut taken = 0;
    while taken < 256 << 20 && soon(http.stream.write_all(&pings)).await.is_ok() {
        taken += pings.len();
    }
    taken
}

#[tokio::test]
async fn a_flood_of_pings_from_a_peer_that_does_not_read_is_no_longer_read() {
    let mut server = TestServer::start(|config| {
        config.allow_eio3 = true;
        config.ping_timeout = Duration::from_millis(300);
        // Far away, so that the soft limit is the one that applies.
        config.outbound_hard = 1 << 30;
    });
    let mut http = raw_websocket(&server).await;
    // The sockets' buffers hold some pings and pongs. The pings are long, so that the buffers are soon full.
    let taken = flood(&mut http, &[b'2'; 500]).await;
    assert!(taken < 64 << 20, "{taken} bytes of pings");
    assert_eq!(server.closed().await, CloseReason::SlowConsumer);
}

#[tokio::test]
async fn the_pongs_for_a_flood_of_pings_stop_at_the_hard_limit() {
    let mut server = TestServer::start(|config| {
        config.allow_eio3 = true;
        // Without the soft limit the server keeps reading.
        config.outbound_soft = usize::MAX;
        config.outbound_hard = 100_000;
    });
    let mut http = raw_websocket(&server).await;
    flood(&mut http, b"2").await;
    // It comes at once: `ping_timeout` is longer than any wait here.
    assert_eq!(server.closed().await, CloseReason::SlowConsumer);
}

#[tokio::test]
async fn a_body_may_hold_64_pings_and_their_pongs_wait_within_the_hard_limit() {
    let mut server = TestServer::start(|config| {
        config.allow_eio3 = true;
        config.outbound_hard = 100_000;
    });
    let query = open(&server, "").await;
    assert_eq!(server.post(&query, &"1:2".repeat(65)).await.status, 400);
    assert_eq!(server.closed().await, CloseReason::ParseError);
    // The same in the binary form.
    let query = open(&server, "").await;
    assert_eq!(post(&server, &query, OCTETS, &b"\x00\x01\xff2".repeat(65)).await.status, 400);
    assert_eq!(server.closed().await, CloseReason::ParseError);
    // A client that polls gets every pong, however many.
    let query = open(&server, "").await;
    let mut http = server.connect().await;
    for _ in 0..100 {
        assert_eq!(http.post(&query, &"1:2".repeat(64)).await.body, "ok");
        assert_eq!(http.get(&query).await.body, "1:3".repeat(64));
    }
    // A client that does not poll is closed at the limit: each pong counts 3 bytes and the cost of a frame.
    let mut posts = 0;
    while http.post(&query, &"1:2".repeat(64)).await.status == 200 {
        posts += 1;
    }
    assert_eq!(posts, 100_000 / (64 * (3 + 32)) + 1, "the last of them closes the session");
    assert_eq!(server.closed().await, CloseReason::SlowConsumer);
    assert_eq!(http.get(&query).await.body, r#"{"code":1,"message":"Session ID unknown"}"#);
}
