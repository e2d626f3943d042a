//! How long a request head may take, how long a connection is kept open between requests, and what does not count as
//! waiting for a head.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::support::{Http, TestServer, request, sid_of};

const LIMIT: Duration = Duration::from_millis(300);
const OPEN: &str = "EIO=4&transport=polling";

fn server() -> TestServer {
    TestServer::start(|config| (config.head_timeout, config.keep_alive) = (LIMIT, LIMIT))
}

/// Returns after [`LIMIT`] has passed on the server, counted from now.
async fn limit_has_passed(server: &TestServer) {
    let mut idle = server.connect().await;
    assert_eq!(idle.get(OPEN).await.status, 200);
    assert!(idle.ended().await);
}

/// A connection with a waiting poll of its own session, and the query of that session.
async fn polling(server: &TestServer) -> (Http, String) {
    let mut http = server.connect().await;
    let sid = sid_of(&http.get(OPEN).await.body);
    let query = format!("{OPEN}&sid={sid}");
    http.send(request("GET", &query, "", "").as_bytes()).await;
    (http, query)
}

#[tokio::test]
async fn a_head_that_has_begun_gets_408_and_an_idle_connection_is_closed_without_an_answer() {
    let server = server();
    for begun in ["", "\r\n", "G", "GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: l"] {
        let mut http = server.connect().await;
        http.send(begun.as_bytes()).await;
        let mut kept = server.connect().await;
        assert_eq!(kept.get(OPEN).await.status, 200);
        kept.send(begun.as_bytes()).await;
        for connection in [&mut http, &mut kept] {
            if !begun.trim().is_empty() {
                let response = connection.response().await;
                assert_eq!(response.status, 408, "{begun}");
                assert!(response.head.contains("date: ") && response.head.contains("connection: close"), "{begun}");
            }
            assert!(connection.ended().await, "{begun}");
        }
    }
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_has_no_more_time() {
    let server = server();
    let mut http = server.connect().await;
    assert_eq!(http.get(OPEN).await.status, 200);
    // Until another connection with the same limit is closed. The server answers other requests between any two bytes.
    let mut other = server.connect().await;
    let mut limit = std::pin::pin!(limit_has_passed(&server));
    while !tokio::select! {
        () = &mut limit => true,
        () = other.stay_here() => false,
    } {
        // It may be closed before the other one.
        let _ = http.stream.write_all(b"G").await;
    }
    assert_eq!(http.response().await.status, 408);
}

#[tokio::test]
async fn a_poll_and_a_body_may_take_longer_than_a_head() {
    let server = server();
    let (mut poll, query) = polling(&server).await;
    let mut post = server.connect().await;
    post.send(request("POST", &query, "Content-Length: 4\r\n", "4a").as_bytes()).await;
    limit_has_passed(&server).await;
    limit_has_passed(&server).await;
    post.send(b"bc").await;
    assert_eq!(post.response().await.status, 200);
    assert_eq!(poll.response().await.body, "4abc");
}

#[tokio::test]
async fn a_head_begun_during_a_poll_is_due_when_the_poll_is_answered() {
    let server = server();
    let (mut poll, query) = polling(&server).await;
    poll.send(b"GET /x HT").await;
    limit_has_passed(&server).await;
    limit_has_passed(&server).await;
    assert_eq!(server.post(&query, "4a").await.status, 200);
    assert_eq!(poll.response().await.body, "4a");
    assert_eq!(poll.response().await.status, 408);
    assert!(poll.ended().await);
}

#[tokio::test]
async fn a_response_that_is_read_slowly_is_sent_completely_and_the_connection_serves_on() {
    let server = TestServer::start(|config| {
        (config.head_timeout, config.keep_alive) = (LIMIT, LIMIT);
        (config.max_payload, config.outbound_hard) = (64 << 20, 64 << 20);
    });
    let query = format!("{OPEN}&sid={}", server.open().await);
    assert_eq!(server.post(&query, "4burst 1000 20000").await.status, 200);
    let mut poll = server.connect().await;
    poll.send(request("GET", &query, "", "").as_bytes()).await;
    for _ in 0..3 {
        limit_has_passed(&server).await;
    }
    // Sent before the response is read: the time that takes is not the subject of this test.
    poll.send(request("GET", OPEN, "", "").as_bytes()).await;
    assert_eq!(poll.response().await.body.len(), 1000 * 20_002 - 1);
    assert_eq!(poll.response().await.status, 200);
}

struct NoHooks;

impl engineio::hooks::Hooks for NoHooks {}

/// Servers that keep idle connections for much longer than a head may take: without hyper, and with hyper only.
fn keeping() -> [TestServer; 2] {
    let configure = |config: &mut engineio::Config| (config.head_timeout, config.keep_alive) = (LIMIT, 100 * LIMIT);
    [
        TestServer::start(configure),
        TestServer::start_server(super::SHARDS, configure, |server| server.hooks(|| NoHooks)),
    ]
}

/// Returns after a connection that has sent nothing was closed, [`LIMIT`] from now.
async fn silent_connection_is_closed(server: &TestServer) {
    assert!(server.connect().await.ended().await);
}

#[tokio::test]
async fn an_idle_connection_is_kept_for_longer_than_a_head_may_take() {
    for server in keeping() {
        let mut http = server.connect().await;
        for _ in 0..3 {
            assert_eq!(http.get(OPEN).await.status, 200);
            silent_connection_is_closed(&server).await;
        }
        // Empty lines begin no head.
        http.send(b"\r\n").await;
        assert_eq!(http.get(OPEN).await.status, 200);
    }
}

#[tokio::test]
async fn a_head_on_a_kept_connection_is_due_from_its_first_byte() {
    for server in keeping() {
        let mut http = server.connect().await;
        assert_eq!(http.get(OPEN).await.status, 200);
        silent_connection_is_closed(&server).await;
        // It has all of its time although the connection has been idle for longer than that.
        let whole = request("GET", OPEN, "", "");
        let (first, rest) = whole.split_at(20);
        http.send(first.as_bytes()).await;
        server.connect().await.stay_here().await;
        http.send(rest.as_bytes()).await;
        assert_eq!(http.response().await.status, 200);
        http.send(first.as_bytes()).await;
        assert_eq!(http.response().await.status, 408);
        assert!(http.ended().await);
    }
}

#[tokio::test]
async fn a_head_that_has_begun_behind_a_request_is_due_when_that_is_answered() {
    for server in keeping() {
        let mut http = server.connect().await;
        let query = format!("{OPEN}&sid={}", sid_of(&http.get(OPEN).await.body));
        http.send(request("GET", &query, "", "").as_bytes()).await;
        // The poll waits, and this is read while it does.
        server.connect().await.stay_here().await;
        http.send(b"GET /x HT").await;
        server.connect().await.stay_here().await;
        assert_eq!(server.post(&query, "4a").await.status, 200);
        assert_eq!(http.response().await.body, "4a");
        assert_eq!(http.response().await.status, 408);
    }
}
