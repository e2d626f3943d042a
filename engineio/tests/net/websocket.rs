//! WebSocket sessions: messages in every form, and what a broken or silent peer gets.

use std::time::Duration;

use engineio::{CloseReason, session::Transport};
use futures_util::SinkExt;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

use super::support::{Event, TestServer, frame, next_text, request, soon, upgrade_request, upgrade_request_with};

#[tokio::test]
async fn a_client_that_offers_subprotocols_is_answered_with_the_first() {
    let server = TestServer::start(|_| {});
    for offer in
        ["Sec-WebSocket-Protocol: v2.chat, chat", "Sec-WebSocket-Protocol: v2.chat\r\nSec-WebSocket-Protocol: chat"]
    {
        let mut http = server.connect().await;
        http.send(upgrade_request_with("EIO=4&transport=websocket", offer).as_bytes()).await;
        let response = http.response().await;
        assert_eq!(response.status, 101);
        assert!(response.head.contains("\r\nsec-websocket-protocol: v2.chat\r\n"), "{}", response.head);
    }
}

#[tokio::test]
async fn messages_make_the_round_trip_text_and_binary() {
    use futures_util::StreamExt;
    let server = TestServer::start(|_| {});
    let mut ws = server.websocket().await;
    ws.send(Message::text("4hello €")).await.unwrap();
    assert_eq!(next_text(&mut ws).await, "4hello €");
    for sent in [vec![], vec![1, 2, 3], vec![7; 70_000]] {
        ws.send(Message::binary(sent.clone())).await.unwrap();
        assert_eq!(soon(ws.next()).await.unwrap().unwrap(), Message::binary(sent));
    }
    ws.send(Message::text("bAQID")).await.unwrap();
    assert_eq!(soon(ws.next()).await.unwrap().unwrap(), Message::binary(vec![1, 2, 3]));
    ws.send(Message::Ping(vec![9].into())).await.unwrap();
    assert_eq!(soon(ws.next()).await.unwrap().unwrap(), Message::Pong(vec![9].into()));
}

#[tokio::test]
async fn frames_in_the_segment_of_the_handshake_are_not_lost() {
    let server = TestServer::start(|_| {});
    let mut http = server.connect().await;
    let mut bytes = upgrade_request("EIO=4&transport=websocket").into_bytes();
    bytes.extend(frame(0x81, b"4early"));
    bytes.extend(&frame(0x81, b"4cut")[..5]);
    http.send(&bytes).await;
    assert_eq!(http.response().await.status, 101);
    assert_eq!(http.frame().await.1.first(), Some(&b'0'));
    assert_eq!(http.frame().await, (1, b"4early".to_vec()));
    http.send(&frame(0x81, b"4cut")[5..]).await;
    assert_eq!(http.frame().await, (1, b"4cut".to_vec()));
}

#[tokio::test]
async fn a_connection_that_served_polls_may_become_a_websocket() {
    let server = TestServer::start(|_| {});
    let mut http = server.connect().await;
    let sid = super::support::sid_of(&http.get("EIO=4&transport=polling").await.body);
    let query = format!("EIO=4&transport=polling&sid={sid}");
    assert_eq!(http.post(&query, "4a").await.body, "ok");
    assert_eq!(http.get(&query).await.body, "4a");
    let upgrade = upgrade_request(&format!("EIO=4&transport=websocket&sid={sid}"));
    http.send(&[upgrade.as_bytes(), &frame(0x81, b"2probe"), &frame(0x81, b"5"), &frame(0x81, b"4b")].concat()).await;
    assert_eq!(http.response().await.status, 101);
    assert_eq!(http.frame().await.1, b"3probe");
    assert_eq!(http.frame().await.1, b"4b");
}

#[tokio::test]
async fn a_fragmented_message_with_a_ping_between_is_one_message() {
    let server = TestServer::start(|_| {});
    let mut http = server.raw_websocket().await;
    for part in [frame(0x01, b"4a"), frame(0x89, b"!"), frame(0x00, b""), frame(0x80, b"b")] {
        http.send(&part).await;
    }
    assert_eq!(http.frame().await, (10, b"!".to_vec()));
    assert_eq!(http.frame().await, (1, b"4ab".to_vec()));
}

#[tokio::test]
async fn a_broken_protocol_is_closed_with_its_code_and_the_stream_ends() {
    let over = frame(0x82, &[0; 101]);
    let table: &[(&str, Vec<u8>, &[u8], CloseReason)] = &[
        ("not masked", vec![0x81, 1, b'6'], &1002u16.to_be_bytes(), CloseReason::TransportError),
        ("reserved bit", vec![0xc1], &1002u16.to_be_bytes(), CloseReason::TransportError),
        ("reserved opcode", vec![0x83], &1002u16.to_be_bytes(), CloseReason::TransportError),
        ("half a close code", frame(0x88, &[3]), &1002u16.to_be_bytes(), CloseReason::TransportError),
        ("not UTF-8", frame(0x81, b"4\xff"), &1007u16.to_be_bytes(), CloseReason::TransportError),
        ("too big", over[..6].to_vec(), &1009u16.to_be_bytes(), CloseReason::TransportError),
        (
            "2^62 declared",
            vec![0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0],
            &1009u16.to_be_bytes(),
            CloseReason::TransportError,
        ),
        (
            "too big in fragments",
            [frame(0x02, &[0; 60]), frame(0x80, &[0; 41])].concat(),
            &1009u16.to_be_bytes(),
            CloseReason::TransportError,
        ),
        ("no packet", frame(0x81, b"9"), b"", CloseReason::ParseError),
        ("an empty packet", frame(0x81, b""), b"", CloseReason::ParseError),
        ("a client's ping packet", frame(0x81, b"2"), b"", CloseReason::TransportError),
        ("a close packet", frame(0x81, b"1"), b"", CloseReason::TransportClose),
        ("a close frame", frame(0x88, &1000u16.to_be_bytes()), &1000u16.to_be_bytes(), CloseReason::TransportClose),
    ];
    let mut server = TestServer::start(|config| config.max_payload = 100);
    for (name, bytes, payload, reason) in table {
        let mut http = server.raw_websocket().await;
        http.send(bytes).await;
        assert_eq!(server.closed().await, *reason, "{name}");
        assert_eq!(http.frame().await, (8, payload.to_vec()), "{name}");
        assert!(http.ended().await, "{name}");
    }
    let mut http = server.raw_websocket().await;
    http.send(&frame(0x82, &[0; 100])).await;
    assert_eq!(http.frame().await, (2, vec![0; 100]), "exactly the limit");
}

#[tokio::test]
async fn a_body_before_the_first_frame_is_a_protocol_error_and_the_server_lives() {
    let server = TestServer::start(|_| {});
    let mut http = server.connect().await;
    let upgrade = upgrade_request("EIO=4&transport=websocket");
    http.send(upgrade.replace("\r\n\r\n", "\r\nContent-Length: 4\r\n\r\ntest").as_bytes()).await;
    let response = http.response().await;
    if response.status == 101 {
        assert_eq!(http.frame().await.1.first(), Some(&b'0'));
        assert_eq!(http.frame().await, (8, 1002u16.to_be_bytes().to_vec()));
    } else {
        assert_eq!(response.status, 400);
    }
    server.open().await;
}

#[tokio::test]
async fn upgrade_headers_on_a_polling_request_change_nothing() {
    let server = TestServer::start(|_| {});
    let mut http = server.connect().await;
    http.send(upgrade_request("EIO=4&transport=polling").as_bytes()).await;
    assert_eq!(http.response().await.status, 200);
}

#[tokio::test]
async fn http_1_0_cannot_become_a_websocket() {
    let server = TestServer::start(|_| {});
    let mut http = server.connect().await;
    http.send(upgrade_request("EIO=4&transport=websocket").replace("HTTP/1.1", "HTTP/1.0").as_bytes()).await;
    assert_eq!(http.response().await.status, 400);
    assert!(http.ended().await);
}

#[tokio::test]
async fn a_peer_that_keeps_its_side_open_after_the_close_frame_is_dropped() {
    let mut server = TestServer::start(|config| config.close_timeout = Duration::from_millis(100));
    let mut http = server.raw_websocket().await;
    http.send(&frame(0x81, b"4close")).await;
    assert_eq!(http.frame().await, (8, vec![]));
    assert!(http.ended().await, "the server's side");
    // Its receiving side ends after close_timeout; then a write breaks the connection.
    soon(async { while http.stream.write_all(&frame(0x81, b"6")).await.is_ok() {} }).await;
    assert_eq!(server.closed().await, CloseReason::ForcedClose);
}

#[tokio::test]
async fn a_peer_that_floods_a_connection_after_a_fault_is_reset() {
    let server = TestServer::start(|config| config.close_timeout = Duration::from_secs(60));
    let mut http = server.raw_websocket().await;
    http.send(&[0x81, 1, b'6']).await;
    assert_eq!(http.frame().await, (8, 1002u16.to_be_bytes().to_vec()));
    let flood = vec![0; 1 << 20];
    soon(async { while http.stream.write_all(&flood).await.is_ok() {} }).await;
}

#[tokio::test]
async fn a_peer_that_sends_all_of_a_message_that_is_too_big_reads_the_close_frame_then() {
    let server = TestServer::start(|config| config.max_payload = 1000);
    let mut http = server.raw_websocket().await;
    http.send(&frame(0x82, &vec![0; 3 << 20])).await;
    assert_eq!(http.frame().await, (8, 1009u16.to_be_bytes().to_vec()));
    assert!(http.ended().await);
    // The server still takes what comes, so this end is no reset.
    http.send(&[0; 1000]).await;
}

#[tokio::test]
async fn a_missing_pong_closes_and_a_pong_keeps_alive() {
    let mut server = TestServer::start(|config| {
        config.ping_interval = Duration::from_millis(50);
        config.ping_timeout = Duration::from_millis(100);
    });
    let mut http = server.raw_websocket().await;
    for _ in 0..3 {
        assert_eq!(http.frame().await, (1, b"2".to_vec()));
        http.send(&frame(0x81, b"3")).await;
    }
    assert_eq!(http.frame().await, (1, b"2".to_vec()));
    assert_eq!(http.frame().await, (8, vec![]));
    assert_eq!(server.closed().await, CloseReason::PingTimeout);
}

#[tokio::test]
async fn a_panic_in_the_handler_ends_only_that_connection() {
    let mut server = TestServer::start(|_| {});
    let mut other = server.websocket().await;
    assert_eq!(server.event().await, Event::Opened);
    let mut http = server.raw_websocket().await;
    http.send(&frame(0x81, b"4panic")).await;
    assert_eq!(server.closed().await, CloseReason::Internal);
    assert!(http.ended().await);
    other.send(Message::text("4still here")).await.unwrap();
    assert_eq!(next_text(&mut other).await, "4still here");
}

#[tokio::test]
async fn a_panic_in_a_handshake_refuses_it_and_the_server_lives() {
    let server = TestServer::start(|_| {});
    let mut http = server.connect().await;
    http.send(request("GET", "EIO=4&transport=polling&panic", "", "").as_bytes()).await;
    assert_eq!(http.response().await.status, 503);
    server.open().await;
}

#[tokio::test]
async fn many_frames_in_one_segment_are_handled_in_order() {
    let server = TestServer::start(|_| {});
    let mut http = server.raw_websocket().await;
    let bytes: Vec<u8> = (0..3000).flat_map(|n| frame(0x81, format!("4{n}").as_bytes())).collect();
    http.send(&bytes).await;
    for n in 0..3000 {
        assert_eq!(http.frame().await.1, format!("4{n}").into_bytes());
    }
}

#[tokio::test]
async fn a_plain_websocket_has_no_packets_and_no_heartbeat() {
    let server = TestServer::start(|config| {
        config.plain_websockets = true;
        config.transports = vec![Transport::WebSocket];
        // If there were a heartbeat, it would end the session at once.
        config.ping_interval = Duration::ZERO;
        config.ping_timeout = Duration::ZERO;
    });
    let mut http = server.connect().await;
    http.send(upgrade_request("EIO=4&transport=websocket").as_bytes()).await;
    assert_eq!(http.response().await.status, 101);
    // As packets, `1` would close the session, and `x` would be invalid.
    for (first, payload) in [(0x81, &b"1"[..]), (0x81, b"x"), (0x81, b""), (0x82, b"\x00\xff")] {
        http.send(&frame(first, payload)).await;
        assert_eq!(http.frame().await, (first & 0x0f, payload.to_vec()));
    }
    http.send(&frame(0x89, b"!")).await;
    assert_eq!(http.frame().await, (10, b"!".to_vec()));
}
