//! From polling to WebSocket: under traffic, failed, too slow, attempted twice.

use std::{sync::Arc, time::Duration};

use engineio::CloseReason;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use super::support::{TestServer, frame, next_text, request, soon, upgrade_request};

fn polling(sid: &str) -> String {
    format!("EIO=4&transport=polling&sid={sid}")
}

fn websocket(sid: &str) -> String {
    format!("EIO=4&transport=websocket&sid={sid}")
}

#[tokio::test]
async fn a_waiting_poll_gets_a_noop_and_the_session_moves_to_the_websocket() {
    let server = TestServer::start(|_| {});
    let sid = server.open().await;
    let mut poll = server.connect().await;
    poll.send(request("GET", &polling(&sid), "", "").as_bytes()).await;
    let mut ws = server.websocket_at(&websocket(&sid)).await;
    ws.send(Message::text("2probe")).await.unwrap();
    assert_eq!(next_text(&mut ws).await, "3probe");
    assert_eq!(poll.response().await.body, "6");
    // POSTs stay legal during the probe; their answers wait for the WebSocket.
    assert_eq!(server.post(&polling(&sid), "4a\x1e4b").await.body, "ok");
    ws.send(Message::text("5")).await.unwrap();
    assert_eq!((next_text(&mut ws).await, next_text(&mut ws).await), ("4a".to_owned(), "4b".to_owned()));
    assert_eq!(server.get(&polling(&sid)).await.body, r#"{"code":3,"message":"Bad request"}"#);
    assert_eq!(server.post(&polling(&sid), "4c").await.status, 400);
    ws.send(Message::text("4d")).await.unwrap();
    assert_eq!(next_text(&mut ws).await, "4d");
}

/// A client like the official one: posts and polls while it probes, pauses polling, then sends packet `5`.
async fn upgrade_under_traffic(server: Arc<TestServer>) {
    const COUNT: usize = 200;
    let sid = server.open().await;
    let mut ws = server.websocket_at(&websocket(&sid)).await;
    let (mut get, mut post) = (server.connect().await, server.connect().await);
    let (mut sent, mut echoes) = (0, Vec::new());
    let mut batch = |count: usize| {
        let packets: Vec<_> = (sent..(sent + count).min(COUNT)).map(|n| format!("4{n}")).collect();
        sent += packets.len();
        packets
    };
    ws.send(Message::text("2probe")).await.unwrap();
    let mut probed = false;
    while !probed {
        let body = batch(7).join("\x1e");
        let polled = async {
            let polled = get.get(&polling(&sid)).await.body;
            echoes.extend(polled.split('\x1e').filter(|packet| *packet != "6").map(str::to_owned));
        };
        let posted = async {
            assert_eq!(post.post(&polling(&sid), &body).await.body, "ok");
        };
        tokio::join!(polled, posted);
        probed = tokio::time::timeout(Duration::ZERO, ws.next()).await.is_ok();
    }
    // Echoes of messages that are posted now come on the WebSocket.
    assert_eq!(post.post(&polling(&sid), &batch(20).join("\x1e")).await.body, "ok");
    ws.feed(Message::text("5")).await.unwrap();
    for packet in batch(COUNT) {
        ws.feed(Message::text(packet)).await.unwrap();
    }
    soon(ws.flush()).await.unwrap();
    while echoes.len() < COUNT {
        echoes.push(next_text(&mut ws).await);
    }
    assert_eq!(echoes, (0..COUNT).map(|n| format!("4{n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn nothing_is_lost_or_reordered_by_an_upgrade_under_traffic() {
    let server = Arc::new(TestServer::start(|_| {}));
    for _ in 0..125 {
        let clients: Vec<_> = (0..8).map(|_| tokio::spawn(upgrade_under_traffic(Arc::clone(&server)))).collect();
        for client in clients {
            client.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_failed_probe_leaves_polling_alive_and_another_may_follow() {
    let server = TestServer::start(|_| {});
    let sid = server.open().await;
    for wrong in [&b"4hello"[..], b"5", b"3probe", b"2", b"9"] {
        let mut http = server.connect().await;
        http.send(upgrade_request(&websocket(&sid)).as_bytes()).await;
        assert_eq!(http.response().await.status, 101);
        http.send(&frame(0x81, wrong)).await;
        assert_eq!(http.frame().await.0, 8, "{wrong:?}");
        assert!(http.ended().await);
        assert_eq!(server.post(&polling(&sid), "4a").await.body, "ok");
        assert_eq!(server.get(&polling(&sid)).await.body, "4a");
    }
    let mut http = server.connect().await;
    http.send(upgrade_request(&websocket(&sid)).as_bytes()).await;
    assert_eq!(http.response().await.status, 101);
    drop(http);
    // Until the server has seen the end of the first WebSocket, the next one is refused.
    let mut ws = loop {
        let mut ws = server.websocket_at(&websocket(&sid)).await;
        ws.send(Message::text("2probe")).await.unwrap();
        match soon(ws.next()).await {
            Some(Ok(Message::Text(text))) => break (assert_eq!(text, "3probe"), ws).1,
            _ => continue,
        }
    };
    ws.send(Message::text("5")).await.unwrap();
    ws.send(Message::text("4b")).await.unwrap();
    assert_eq!(next_text(&mut ws).await, "4b");
}

#[tokio::test]
async fn a_websocket_that_breaks_the_protocol_during_its_probe_gets_the_code() {
    let server = TestServer::start(|config| config.max_payload = 1000);
    let sid = server.open().await;
    for (wrong, code) in [
        (frame(0xc1, b"2probe"), Some(1002)),
        (frame(0x83, b""), Some(1002)),
        (frame(0x81, b"\xff"), Some(1007)),
        (frame(0x81, &[b'4'; 1001]), Some(1009)),
        (frame(0x88, &1000_u16.to_be_bytes()), Some(1000)),
        (frame(0x88, b""), None),
    ] {
        let mut http = server.connect().await;
        http.send(upgrade_request(&websocket(&sid)).as_bytes()).await;
        assert_eq!(http.response().await.status, 101);
        http.send(&wrong).await;
        let expected = code.map_or(vec![], |code: u16| code.to_be_bytes().to_vec());
        assert_eq!(http.frame().await, (8, expected));
        assert!(http.ended().await);
        assert_eq!(server.post(&polling(&sid), "4a").await.body, "ok");
        assert_eq!(server.get(&polling(&sid)).await.body, "4a");
    }
}

#[tokio::test]
async fn a_probing_websocket_gets_its_pongs_and_an_answer_to_each_probe() {
    let server = TestServer::start(|_| {});
    let sid = server.open().await;
    let mut http = server.connect().await;
    http.send(upgrade_request(&websocket(&sid)).as_bytes()).await;
    assert_eq!(http.response().await.status, 101);
    http.send(&[frame(0x89, b"a"), frame(0x81, b"2probe"), frame(0x89, b""), frame(0x81, b"2probe")].concat()).await;
    for expected in [(10, &b"a"[..]), (1, b"3probe"), (10, b""), (1, b"3probe")] {
        assert_eq!(http.frame().await, (expected.0, expected.1.to_vec()));
    }
    http.send(&[frame(0x81, b"5"), frame(0x81, b"4a")].concat()).await;
    assert_eq!(http.frame().await, (1, b"4a".to_vec()));
}

#[tokio::test]
async fn a_second_websocket_gets_101_and_a_close_frame_and_the_first_is_not_disturbed() {
    let server = TestServer::start(|_| {});
    let sid = server.open().await;
    let mut first = server.websocket_at(&websocket(&sid)).await;
    for step in ["2probe", "5", "4a"] {
        first.send(Message::text(step)).await.unwrap();
        let mut second = server.connect().await;
        second.send(upgrade_request(&websocket(&sid)).as_bytes()).await;
        assert_eq!(second.response().await.status, 101);
        assert_eq!(second.frame().await, (8, vec![]));
        assert!(second.ended().await);
        if step != "5" {
            assert_eq!(next_text(&mut first).await, if step == "4a" { "4a" } else { "3probe" });
        }
    }
}

#[tokio::test]
async fn an_upgrade_that_takes_too_long_is_dropped_and_polling_lives() {
    let server = TestServer::start(|config| config.upgrade_timeout = Duration::from_millis(100));
    let sid = server.open().await;
    for probe in [false, true] {
        let mut http = server.connect().await;
        http.send(upgrade_request(&websocket(&sid)).as_bytes()).await;
        assert_eq!(http.response().await.status, 101);
        if probe {
            http.send(&frame(0x81, b"2probe")).await;
            assert_eq!(http.frame().await.1, b"3probe");
        }
        assert_eq!(http.frame().await, (8, vec![]));
        assert!(http.ended().await);
        assert_eq!(server.post(&polling(&sid), "4a").await.body, "ok");
        assert_eq!(server.get(&polling(&sid)).await.body, "4a");
    }
}

#[tokio::test]
async fn a_pong_during_the_probe_does_not_stop_the_heartbeat() {
    let mut server = TestServer::start(|config| {
        config.ping_interval = Duration::from_millis(300);
        config.ping_timeout = Duration::from_millis(200);
        config.upgrade_timeout = Duration::from_millis(200);
    });
    let sid = server.open().await;
    assert_eq!(server.get(&polling(&sid)).await.body, "2");
    // The deadline of the upgrade comes before that of the next ping.
    let mut ws = server.websocket_at(&websocket(&sid)).await;
    assert_eq!(server.post(&polling(&sid), "3").await.body, "ok");
    ws.send(Message::text("2probe")).await.unwrap();
    assert_eq!(next_text(&mut ws).await, "3probe");
    ws.send(Message::text("5")).await.unwrap();
    assert_eq!(next_text(&mut ws).await, "2");
    assert_eq!(server.closed().await, CloseReason::PingTimeout);
}

#[tokio::test]
async fn a_poll_dropped_while_its_session_upgrades_does_not_end_it() {
    let server = TestServer::start(|_| {});
    for _ in 0..100 {
        let sid = server.open().await;
        let mut poll = server.connect().await;
        let mut ws = server.websocket_at(&websocket(&sid)).await;
        ws.send(Message::text("2probe")).await.unwrap();
        assert_eq!(next_text(&mut ws).await, "3probe");
        poll.send(request("GET", &polling(&sid), "", "").as_bytes()).await;
        assert_eq!(server.post(&polling(&sid), "6").await.body, "ok");
        ws.send(Message::text("5")).await.unwrap();
        if super::SHARDS > 1 {
            // Shards see events of different connections, or of a connection that is being passed between them, in no
            // fixed order. So the switch must be complete before the poll is dropped: a poll dropped earlier rightly
            // ends the session.
            ws.send(Message::text("4switched")).await.unwrap();
            assert_eq!(next_text(&mut ws).await, "4switched");
        }
        // The poll waited when packet `5` came, and is answered; but the client has gone.
        drop(poll);
        ws.send(Message::text("4a")).await.unwrap();
        assert_eq!(next_text(&mut ws).await, "4a");
        ws.send(Message::text("4b")).await.unwrap();
        assert_eq!(next_text(&mut ws).await, "4b");
    }
}
