//! The end of a server: every client is told, and the thread ends in time.

use std::time::{Duration, Instant};

use engineio::CloseReason;

use super::support::{Event, Http, TestServer, frame, request, upgrade_request};

/// Opens a polling session on the first connection, and sends a WebSocket handshake for it on the second. Returns the
/// query for polls.
async fn probe(poller: &mut Http, probing: &mut Http) -> String {
    let sid = super::support::sid_of(&poller.get("EIO=4&transport=polling").await.body);
    probing.send(upgrade_request(&format!("EIO=4&transport=websocket&sid={sid}")).as_bytes()).await;
    assert_eq!(probing.response().await.status, 101);
    format!("EIO=4&transport=polling&sid={sid}")
}

/// Sends the probe, which is answered.
async fn be_probed(probing: &mut Http) {
    probing.send(&frame(0x81, b"2probe")).await;
    assert_eq!(probing.frame().await, (1, b"3probe".to_vec()));
}

/// Waits until a shutdown has begun, which this WebSocket is told of.
async fn told(mut ws: Http) {
    assert_eq!(ws.frame().await, (8, 1001u16.to_be_bytes().to_vec()));
}

#[tokio::test]
async fn a_shutdown_tells_every_transport_and_ends_when_all_are_gone() {
    let mut server = TestServer::start(|_| {});
    let mut ws = server.raw_websocket().await;
    assert_eq!(server.event().await, Event::Opened);
    let sid = server.open().await;
    assert_eq!(server.event().await, Event::Opened);
    let query = format!("EIO=4&transport=polling&sid={sid}");
    let mut poll = server.connect().await;
    let mut idle = server.connect().await;
    assert_eq!(idle.get("EIO=4&transport=polling").await.status, 200);
    poll.send(request("GET", &query, "", "").as_bytes()).await;
    // The POST's answer comes after the poll was received, because both wait in the same server's queue in that order.
    assert_eq!(server.post(&query, "4a").await.body, "ok");
    assert_eq!(poll.response().await.body, "4a");
    poll.send(request("GET", &query, "", "").as_bytes()).await;
    assert_eq!(server.post(&query, "6").await.body, "ok");
    let clients = tokio::spawn(async move {
        assert_eq!(ws.frame().await, (8, 1001u16.to_be_bytes().to_vec()));
        assert!(ws.ended().await);
        drop(ws);
        assert_eq!(poll.response().await.body, "1");
        assert!(idle.ended().await);
    });
    let (server, took) = tokio::task::spawn_blocking(move || {
        let took = server.shutdown(Duration::from_secs(8));
        (server, took)
    })
    .await
    .unwrap();
    let mut server = server;
    // The session of the idle connection never polls: the server waits for it as long as for any closed session (5 s).
    assert!(took < Duration::from_secs(7), "{took:?}");
    clients.await.unwrap();
    assert_eq!(server.closed().await, CloseReason::ServerShuttingDown);
}

#[tokio::test]
async fn a_shutdown_ends_as_soon_as_the_last_client_is_gone() {
    let mut server = TestServer::start(|_| {});
    let mut ws = server.raw_websocket().await;
    let client = tokio::spawn(async move {
        assert_eq!(ws.frame().await, (8, 1001u16.to_be_bytes().to_vec()));
    });
    let took = tokio::task::spawn_blocking(move || server.shutdown(Duration::from_secs(60))).await.unwrap();
    assert!(took < Duration::from_secs(3), "{took:?}");
    client.await.unwrap();
}

#[tokio::test]
async fn a_shutdown_does_not_wait_longer_than_it_was_told() {
    let mut server = TestServer::start(|_| {});
    let ws = server.raw_websocket().await;
    let took = tokio::task::spawn_blocking(move || server.shutdown(Duration::from_millis(200))).await.unwrap();
    assert!(took < Duration::from_secs(3), "{took:?}");
    drop(ws);
}

#[tokio::test]
async fn a_client_between_two_polls_learns_of_the_shutdown_on_its_open_connection() {
    let mut server = TestServer::start(|_| {});
    let mut ws = server.raw_websocket().await;
    let mut poller = server.connect().await;
    let open = poller.get("EIO=4&transport=polling").await.body;
    let query = format!("EIO=4&transport=polling&sid={}", super::support::sid_of(&open));
    let client = tokio::spawn(async move {
        // The shutdown has begun, and no poll is waiting.
        assert_eq!(ws.frame().await, (8, 1001u16.to_be_bytes().to_vec()));
        drop(ws);
        assert_eq!(poller.get(&query).await.body, "1");
        assert!(poller.ended().await);
    });
    let took = tokio::task::spawn_blocking(move || server.shutdown(Duration::from_secs(60))).await.unwrap();
    assert!(took < Duration::from_secs(4), "{took:?}");
    client.await.unwrap();
}

#[tokio::test]
async fn a_server_that_drains_refuses_new_sessions_and_serves_the_old_ones() {
    let mut server = TestServer::start(|_| {});
    let mut ws = server.raw_websocket().await;
    let sid = server.open().await;
    server.drain(Duration::from_secs(3600));
    // The command may not have reached every shard, but the refusal is for all at once.
    let refused = server.get("EIO=4&transport=polling").await;
    assert_eq!(refused.status, 503);
    assert!(refused.head.contains("retry-after: 1\r\n"), "{}", refused.head);
    let query = format!("EIO=4&transport=polling&sid={sid}");
    assert_eq!(server.post(&query, "4hi").await.body, "ok");
    assert_eq!(server.get(&query).await.body, "4hi");
    ws.send(&frame(0x81, b"4there")).await;
    assert_eq!(ws.frame().await, (1, b"4there".to_vec()));
    server.shutdown(Duration::ZERO);
}

#[tokio::test]
async fn sessions_end_while_a_server_drains_and_then_it_stops() {
    let mut server = TestServer::start(|_| {});
    let (mut websockets, start) = (Vec::new(), Instant::now());
    for _ in 0..4 {
        websockets.push(server.raw_websocket().await);
    }
    server.drain(Duration::from_millis(300));
    for mut ws in websockets {
        assert_eq!(ws.frame().await, (8, 1001_u16.to_be_bytes().to_vec()));
    }
    assert!(start.elapsed() >= Duration::from_millis(300));
    for _ in 0..4 {
        assert_eq!(server.closed().await, CloseReason::ServerShuttingDown);
    }
    server.join().await;
}

#[tokio::test]
async fn a_draining_server_without_sessions_stops_at_once() {
    let mut server = TestServer::start(|_| {});
    server.drain(Duration::from_secs(3600));
    server.join().await;

    let mut server = TestServer::start(|_| {});
    let ws = server.raw_websocket().await;
    server.drain(Duration::from_secs(3600));
    // The client leaves by itself.
    drop(ws);
    server.join().await;
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_client_that_was_about_to_finish_its_upgrade() {
    for stays in [true, false] {
        let mut server = TestServer::start(|config| config.close_timeout = Duration::from_secs(60));
        let witness = server.raw_websocket().await;
        let (mut poller, mut probing) = (server.connect().await, server.connect().await);
        let query = probe(&mut poller, &mut probing).await;
        be_probed(&mut probing).await;
        // Its echo waits in the queue, and comes on the WebSocket.
        assert_eq!(poller.post(&query, "4a").await.body, "ok");
        let client = tokio::spawn(async move {
            told(witness).await;
            probing.send(&frame(0x81, b"5")).await;
            if stays {
                assert_eq!(probing.frame().await, (1, b"4a".to_vec()));
                assert_eq!(probing.frame().await, (8, 1001u16.to_be_bytes().to_vec()));
                assert!(probing.ended().await);
            }
        });
        let took = tokio::task::spawn_blocking(move || server.shutdown(Duration::from_secs(60))).await.unwrap();
        assert!(took < Duration::from_secs(30), "{took:?}");
        client.await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_probes_during_the_shutdown_and_polls_on_gets_its_close_packet() {
    let mut server = TestServer::start(|config| config.close_timeout = Duration::from_secs(60));
    let witness = server.raw_websocket().await;
    let (mut poller, mut probing) = (server.connect().await, server.connect().await);
    let query = probe(&mut poller, &mut probing).await;
    be_probed(&mut probing).await;
    let client = tokio::spawn(async move {
        told(witness).await;
        assert_eq!(poller.get(&query).await.body, "1");
        assert_eq!(probing.frame().await, (8, vec![]));
        assert!(probing.ended().await);
    });
    let took = tokio::task::spawn_blocking(move || server.shutdown(Duration::from_secs(60))).await.unwrap();
    assert!(took < Duration::from_secs(30), "{took:?}");
    client.await.unwrap();
}

#[tokio::test]
async fn a_websocket_whose_probe_was_not_answered_is_closed_by_the_shutdown_and_the_client_polls_on() {
    let mut server = TestServer::start(|config| config.close_timeout = Duration::from_secs(60));
    let (mut poller, mut probing) = (server.connect().await, server.connect().await);
    let query = probe(&mut poller, &mut probing).await;
    let client = tokio::spawn(async move {
        assert_eq!(probing.frame().await, (8, vec![]));
        assert!(probing.ended().await);
        assert_eq!(poller.get(&query).await.body, "1");
    });
    let took = tokio::task::spawn_blocking(move || server.shutdown(Duration::from_secs(60))).await.unwrap();
    assert!(took < Duration::from_secs(30), "{took:?}");
    client.await.unwrap();
}
