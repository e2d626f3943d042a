//! What a shard says of itself when it is asked (`Handle::stats`).

use engineio::{CloseReason, http::RefusalReason, net::ShardStats};
use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message;

use super::support::{TestServer, next_text, soon, upgrade_request};

/// Asks until what needs a look at all sessions is as it should be: that is looked up ten times a second at most.
async fn until(server: &TestServer, is_so: impl Fn(&ShardStats) -> bool) -> ShardStats {
    soon(async {
        loop {
            let stats = server.stats().await;
            if is_so(&stats) {
                return stats;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn sessions_are_counted_by_transport_and_by_the_reason_of_their_end() {
    let mut server = TestServer::start_shards(3, |_| {});
    let polling = server.open().await;
    let (mut first, second) = (server.websocket().await, server.websocket().await);
    let stats = until(&server, |stats| stats.polling + stats.websocket == 3).await;
    assert_eq!((stats.polling, stats.websocket, stats.queued_bytes, stats.behind), (1, 2, 0, 0));
    assert!(stats.closed().all(|(_, count)| count == 0), "{stats:?}");
    drop(second);
    assert_eq!(server.closed().await, CloseReason::TransportClose);
    first.send(Message::text("4close")).await.unwrap();
    assert_eq!(server.closed().await, CloseReason::ForcedClose);
    let stats = until(&server, |stats| stats.websocket == 0).await;
    for (reason, count) in stats.closed() {
        let expected = matches!(reason, CloseReason::TransportClose | CloseReason::ForcedClose);
        assert_eq!(count, u64::from(expected), "{reason}");
    }
    assert_eq!((stats.polling, stats.packets_received), (1, 1));
    let _ = polling;
}

#[tokio::test]
async fn what_waits_for_a_peer_is_counted_until_it_is_gone() {
    let mut server = TestServer::start(|_| {});
    let sid = server.open().await;
    let mut ws = server.websocket().await;
    // Nobody polls, so this waits for the polling session: more than `outbound_soft`.
    ws.send(Message::text("4burst 4 20000")).await.unwrap();
    for _ in 0..4 {
        next_text(&mut ws).await;
    }
    let stats = until(&server, |stats| stats.queued_bytes > 0).await;
    assert!((80_000..81_000).contains(&stats.queued_bytes) && stats.behind == 1, "{stats:?}");
    let polled = server.get(&format!("EIO=4&transport=polling&sid={sid}")).await;
    assert_eq!(polled.body.len(), 4 * 20_001 + 3);
    let stats = until(&server, |stats| stats.queued_bytes == 0).await;
    assert_eq!(stats.behind, 0);
    // Both got it, and there is little beside it.
    assert!((160_000..170_000).contains(&stats.bytes_written), "{stats:?}");
    assert!((200..5000).contains(&stats.bytes_read), "{stats:?}");
    ws.send(Message::text("4burst 70 20000")).await.unwrap();
    assert_eq!(server.closed().await, CloseReason::SlowConsumer);
    let stats = until(&server, |stats| stats.polling == 0).await;
    assert!(stats.closed().any(|closed| closed == (CloseReason::SlowConsumer, 1)));
}

#[tokio::test]
async fn refusals_are_counted_by_reason_however_the_request_came() {
    let server = TestServer::start(|config| config.max_sessions = 1);
    let _ws = server.websocket().await;
    // Without hyper, and with it.
    assert_eq!(server.get("EIO=4&transport=polling&sid=zzz").await.status, 400);
    assert_eq!(server.get("EIO=4&transport=carrier-pigeon").await.status, 400);
    assert_eq!(server.get("EIO=4&transport=polling").await.status, 503);
    let mut websocket = server.connect().await;
    websocket.send(upgrade_request("EIO=4&transport=websocket").as_bytes()).await;
    assert_eq!(websocket.response().await.status, 503);
    let stats = server.stats().await;
    for (reason, count) in stats.refused() {
        let expected = match reason {
            RefusalReason::Unavailable => 2,
            RefusalReason::SessionUnknown | RefusalReason::Transport => 1,
            _ => 0,
        };
        assert_eq!(count, expected, "{reason:?}");
    }
    assert_eq!(stats.full, 2);
}
