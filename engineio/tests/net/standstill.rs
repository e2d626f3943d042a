//! A process that stood still (stopped, or its machine asleep) longer than its peers have time: what they sent in time is
//! heard, although it is read late.

use std::time::Duration;

use bytes::Bytes;
use engineio::Config;
use http::{Response, StatusCode};
use tokio::sync::mpsc;

use super::support::{TestServer, request};

const LIMIT: Duration = Duration::from_millis(300);
const OPEN: &str = "EIO=4&transport=polling";
const STAND_STILL: &[u8] = b"GET /still HTTP/1.1\r\nHost: l\r\n\r\n";

/// A server whose only shard stands still for twice [`LIMIT`] when it gets [`STAND_STILL`]; told when that begins.
fn server(configure: impl FnOnce(&mut Config)) -> (TestServer, mpsc::UnboundedReceiver<()>) {
    let (begins, begun) = mpsc::unbounded_channel();
    let stand_still = move || {
        let _ = begins.send(());
        std::thread::sleep(2 * LIMIT);
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = StatusCode::NOT_FOUND;
        response
    };
    (TestServer::start_server(1, configure, |server| server.fallback(move |_, _| stand_still())), begun)
}

#[tokio::test]
async fn a_request_that_came_in_time_is_served() {
    let (server, mut begun) = server(|config| config.head_timeout = LIMIT);
    let whole = request("GET", OPEN, "", "");
    for sent_before in [0, 20] {
        let (early, late) = whole.split_at(sent_before);
        let (mut http, mut other) = (server.connect().await, server.connect().await);
        assert_eq!(http.get(OPEN).await.status, 200);
        http.send(early.as_bytes()).await;
        other.send(STAND_STILL).await;
        begun.recv().await.unwrap();
        http.send(late.as_bytes()).await;
        assert_eq!(http.response().await.status, 200, "{sent_before}");
    }
}

#[tokio::test]
async fn a_pong_that_came_in_time_is_heard() {
    let (server, mut begun) = server(|config| {
        config.ping_interval = Duration::from_millis(50);
        config.ping_timeout = LIMIT;
    });
    let query = format!("{OPEN}&sid={}", server.open().await);
    let mut other = server.connect().await;
    assert_eq!(server.get(&query).await.body, "2");
    other.send(STAND_STILL).await;
    begun.recv().await.unwrap();
    // On a connection that is accepted only after deadlines were looked at.
    assert_eq!(server.post(&query, "3").await.status, 200);
}
