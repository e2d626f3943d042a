//! Peers that do not read, or read late: memory stays bounded, and other peers are not disturbed.

use std::time::Duration;

use engineio::CloseReason;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use super::support::{TestServer, frame, next_text, request, soon};

#[tokio::test]
async fn a_peer_that_does_not_read_is_reset_and_the_others_get_everything() {
    let mut server = TestServer::start(|_| {});
    let mut slow = server.raw_websocket().await;
    let mut good = server.websocket().await;
    for _ in 0..20 {
        good.send(Message::text("4burst 50 20000")).await.unwrap();
        for _ in 0..50 {
            assert_eq!(next_text(&mut good).await.len(), 20_001);
        }
    }
    assert_eq!(server.closed().await, CloseReason::SlowConsumer);
    // It is a reset: no close frame comes, and what was queued never arrives.
    while !slow.ended().await {
        slow.discard();
    }
    good.send(Message::text("4still here")).await.unwrap();
    assert_eq!(next_text(&mut good).await, "4still here");
}

#[tokio::test]
async fn a_peer_that_resets_while_its_writes_are_blocked_is_closed_once_and_the_server_goes_on() {
    let mut server = TestServer::start(|config| config.outbound_hard = 1 << 30);
    for _ in 0..20 {
        let mut slow = server.raw_websocket().await;
        slow.send(&frame(0x81, b"4burst 1000 20000")).await;
        assert_eq!(slow.frame().await.1.len(), 20_001);
        // When another connection has been served, the turn with the blocked write is over.
        let mut good = server.websocket().await;
        // Unread bytes in its receive buffer make this close a reset.
        drop(slow);
        assert_eq!(server.closed().await, CloseReason::TransportError);
        good.send(Message::text("4still here")).await.unwrap();
        assert_eq!(next_text(&mut good).await, "4still here");
        drop(good);
        assert_ne!(server.closed().await, CloseReason::SlowConsumer);
    }
}

#[tokio::test]
async fn a_peer_that_reads_no_byte_for_ping_timeout_is_closed() {
    let mut server = TestServer::start(|config| {
        config.ping_timeout = Duration::from_millis(200);
        config.outbound_hard = 1 << 30;
    });
    let mut slow = server.raw_websocket().await;
    slow.send(&frame(0x81, b"4burst 1000 20000")).await;
    assert_eq!(server.closed().await, CloseReason::SlowConsumer);
}

#[tokio::test]
async fn a_poller_that_does_not_poll_is_closed_at_the_hard_limit() {
    let mut server = TestServer::start(|config| config.outbound_hard = 100_000);
    let sid = server.open().await;
    let mut other = server.websocket().await;
    other.send(Message::text("4burst 8 20000")).await.unwrap();
    assert_eq!(server.closed().await, CloseReason::SlowConsumer);
    let gone = server.get(&format!("EIO=4&transport=polling&sid={sid}")).await;
    assert_eq!(gone.body, r#"{"code":1,"message":"Session ID unknown"}"#);
}

#[tokio::test]
async fn reading_resumes_once_the_peer_has_read_what_was_queued() {
    let server = TestServer::start(|config| config.outbound_soft = 1000);
    let mut ws = server.websocket().await;
    // Each command queues more than the soft limit, so the server stops reading after each.
    for _ in 0..100 {
        ws.feed(Message::text("4burst 1 5000")).await.unwrap();
    }
    ws.send(Message::text("4last")).await.unwrap();
    for _ in 0..100 {
        assert_eq!(next_text(&mut ws).await.len(), 5001);
    }
    assert_eq!(next_text(&mut ws).await, "4last");
}

#[tokio::test]
async fn a_peer_that_reads_late_gets_everything_it_asked_for_in_order() {
    let server = TestServer::start(|_| {});
    let (mut sink, mut stream) = server.websocket().await.split();
    // Far more than all buffers between server and client hold: the server stops reading, and this writer waits.
    let writer = tokio::spawn(async move {
        for n in 0..2000 {
            sink.send(Message::text(format!("4{n} {}", "x".repeat(10_000)))).await.unwrap();
        }
        sink
    });
    for n in 0..2000 {
        let text = soon(stream.next()).await.unwrap().unwrap().into_text().unwrap();
        assert!(text.starts_with(&format!("4{n} ")), "{n}");
    }
    drop(writer.await.unwrap());
}

#[tokio::test]
async fn a_flood_of_pings_from_a_peer_that_does_not_read_costs_little() {
    let mut server = TestServer::start(|config| config.ping_timeout = Duration::from_millis(300));
    let mut flood = server.raw_websocket().await;
    let pings = frame(0x89, b"").repeat(10_000);
    // The server stops reading, so at some point this write blocks; then the server closes the peer.
    let writer = async {
        use tokio::io::AsyncWriteExt;
        while flood.stream.write_all(&pings).await.is_ok() {}
    };
    soon(writer).await;
    assert_eq!(server.closed().await, CloseReason::SlowConsumer);
}

#[tokio::test]
async fn a_poll_answer_that_nobody_reads_does_not_hold_its_connection() {
    let mut server = TestServer::start(|config| {
        config.ping_timeout = Duration::from_millis(200);
        config.close_timeout = Duration::from_millis(200);
        config.max_payload = 64 << 20;
        config.outbound_hard = 64 << 20;
    });
    let sid = server.open().await;
    let mut poll = server.connect().await;
    poll.send(request("GET", &format!("EIO=4&transport=polling&sid={sid}"), "", "").as_bytes()).await;
    assert_eq!(server.post(&format!("EIO=4&transport=polling&sid={sid}"), "4burst 1000 20000").await.status, 200);
    // A shutdown waits for responses being sent: this one is given up after ping_timeout, long before the limit.
    let took = server.shutdown(Duration::from_secs(8));
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test]
async fn the_last_response_of_a_connection_reaches_a_peer_that_reads_late_completely() {
    let server = TestServer::start(|config| {
        config.max_payload = 64 << 20;
        config.outbound_hard = 64 << 20;
    });
    let query = format!("EIO=4&transport=polling&sid={}", server.open().await);
    assert_eq!(server.post(&query, "4burst 1000 20000").await.status, 200);
    let mut poll = server.connect().await;
    poll.send(request("GET", &query, "Connection: close\r\n", "").as_bytes()).await;
    // This request is served after it, on another connection: so the answer has been written as far as the buffers
    // accept it.
    assert_eq!(server.post(&query, "6").await.body, "ok");
    assert_eq!(poll.response().await.body.len(), 1000 * 20_002 - 1);
    assert!(poll.ended().await);
}

#[tokio::test]
async fn a_peer_that_sends_a_lot_to_a_closed_connection_still_reads_what_was_queued() {
    const COUNT: usize = 1000;
    let mut server = TestServer::start(|config| {
        (config.outbound_soft, config.outbound_hard) = (1 << 30, 1 << 30);
        config.close_timeout = Duration::from_secs(60);
    });
    let mut late = server.raw_websocket().await;
    late.send(&[frame(0x81, format!("4burst {COUNT} 20000").as_bytes()), frame(0x81, b"4close")].concat()).await;
    assert_eq!(server.closed().await, CloseReason::ForcedClose);
    // The server stops reading, and does not reset the connection.
    late.send(&vec![0; (2 << 20) + (256 << 10)]).await;
    for _ in 0..COUNT {
        assert_eq!(late.frame().await.1.len(), 20_001);
    }
    assert_eq!(late.frame().await, (8, vec![]));
    assert!(late.ended().await);
}
