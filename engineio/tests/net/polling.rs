//! GET and POST of long-polling: clients that wait, overlap, disconnect or send too much.

use std::time::Duration;

use engineio::CloseReason;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::support::{Event, TestServer, post_request, request, sid_of, soon};

fn polling(sid: &str) -> String {
    format!("EIO=4&transport=polling&sid={sid}")
}

const UNKNOWN: &str = r#"{"code":1,"message":"Session ID unknown"}"#;

#[tokio::test]
async fn messages_make_the_round_trip_in_order_text_and_binary() {
    let server = TestServer::start(|_| {});
    let query = polling(&server.open().await);
    let posted = server.post(&query, "4a\x1ebAQID\x1e4€").await;
    assert_eq!((posted.status, posted.body.as_str()), (200, "ok"));
    assert!(posted.head.contains("content-type: text/html\r\n"));
    assert_eq!(server.get(&query).await.body, "4a\x1ebAQID\x1e4€");
}

#[tokio::test]
async fn a_message_sent_when_a_session_opens_waits_for_the_first_poll() {
    let server = TestServer::start(|_| {});
    let open = server.get("EIO=4&transport=polling&greet").await.body;
    assert!(open.ends_with('}'), "{open}");
    assert_eq!(server.get(&polling(&sid_of(&open))).await.body, "4hello");
}

#[tokio::test]
async fn more_packets_than_a_turn_s_budget_are_all_handled() {
    let server = TestServer::start(|_| {});
    let query = polling(&server.open().await);
    let body = (0..20_000).map(|n| format!("4{n}")).collect::<Vec<_>>().join("\x1e");
    assert_eq!(server.post(&query, &body).await.status, 200);
    assert_eq!(server.get(&query).await.body, body);
}

#[tokio::test]
async fn a_body_over_the_limit_gets_413_and_the_session_lives() {
    let server = TestServer::start(|config| config.max_payload = 100);
    let query = polling(&server.open().await);
    let (fits, over) = (format!("4{}", "x".repeat(99)), format!("4{}", "x".repeat(100)));
    assert_eq!(server.post(&query, &over).await.status, 413);
    let chunked = |body: &str| {
        let (one, two) = body.split_at(60);
        let chunks = format!("{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
        request("POST", &query, "Transfer-Encoding: chunked\r\n", &chunks)
    };
    let mut http = server.connect().await;
    http.send((chunked(&over) + &post_request(&query, "4canary")).as_bytes()).await;
    let response = http.response().await;
    assert_eq!(response.status, 413);
    assert!(response.head.contains("\r\nconnection: close"), "{}", response.head);
    assert!(http.ended().await);
    let mut http = server.connect().await;
    http.send(chunked(&fits).as_bytes()).await;
    assert_eq!(http.response().await.status, 200);
    assert_eq!(server.post(&query, &fits).await.status, 200);
    // The limit applies to what a client sends.
    assert_eq!(server.get(&query).await.body, format!("{fits}\x1e{fits}"));
}

#[tokio::test]
async fn a_peer_that_is_still_sending_gets_its_413() {
    let server = TestServer::start(|config| config.max_payload = 100);
    let query = polling(&server.open().await);
    let whole = post_request(&query, &"x".repeat(2_000_000));
    let (head, body) = whole.split_at(whole.len() - 2_000_000);
    let mut http = server.connect().await;
    http.send(head.as_bytes()).await;
    assert_eq!(http.response().await.status, 413);
    // After a reset this would fail, and so would reading an answer that was not read yet.
    http.send(body.as_bytes()).await;
    assert_eq!(soon(http.stream.read_u8()).await.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_second_poll_gets_400_and_the_first_the_close_packet() {
    let mut server = TestServer::start(|_| {});
    let query = polling(&server.open().await);
    let (mut first, mut second) = (server.connect().await, server.connect().await);
    first.send(request("GET", &query, "", "").as_bytes()).await;
    second.send(request("GET", &query, "", "").as_bytes()).await;
    let (first, second) = (first.response().await, second.response().await);
    // The test cannot know which of the two arrived first.
    let mut answers = [(first.status, first.body), (second.status, second.body)];
    answers.sort_unstable();
    assert_eq!(answers, [(200, "1".to_owned()), (400, String::new())]);
    assert_eq!(server.closed().await, CloseReason::TransportError);
    assert_eq!(server.get(&query).await.body, UNKNOWN);
}

#[tokio::test]
async fn overlapping_posts_end_the_session() {
    let mut server = TestServer::start(|_| {});
    let query = polling(&server.open().await);
    let mut first = server.connect().await;
    let begun = request("POST", &query, "Content-Length: 4\r\nExpect: 100-continue\r\n", "");
    first.send(begun.as_bytes()).await;
    // The server asks for the body, so the first POST has begun.
    assert_eq!(first.response().await.status, 100);
    assert_eq!(server.post(&query, "4b").await.status, 400);
    assert_eq!(server.closed().await, CloseReason::TransportError);
    // The packets of the first POST were not delivered, so it must not be answered `ok`.
    first.send(b"4abc").await;
    assert_eq!(first.response().await.status, 400);
}

#[tokio::test]
async fn a_poll_that_waits_while_a_post_is_aborted_gets_the_close_packet() {
    // On one shard the request that was sent first begins first.
    let mut server = TestServer::start_shards(1, |_| {});
    let query = polling(&server.open().await);
    let (mut poll, mut post) = (server.connect().await, server.connect().await);
    poll.send(request("GET", &query, "", "").as_bytes()).await;
    post.send(request("POST", &query, "Content-Length: 4\r\nExpect: 100-continue\r\n", "").as_bytes()).await;
    assert_eq!(post.response().await.status, 100);
    drop(post);
    assert_eq!(poll.response().await.body, "1");
    assert_eq!(server.closed().await, CloseReason::TransportError);
    assert_eq!(server.get(&query).await.body, UNKNOWN);
}

#[tokio::test]
async fn an_aborted_poll_ends_the_session() {
    let mut server = TestServer::start(|_| {});
    let query = polling(&server.open().await);
    assert_eq!(server.event().await, Event::Opened);
    let mut http = server.connect().await;
    http.send(request("GET", &query, "", "").as_bytes()).await;
    drop(http);
    assert_eq!(server.event().await, Event::Closed(CloseReason::TransportError));
    assert_eq!(server.get(&query).await.body, UNKNOWN);
}

#[tokio::test]
async fn a_complete_request_is_answered_although_its_peer_sends_no_more() {
    // One shard: a request for another shard takes longer than the server waits for a peer that may be gone.
    let server = TestServer::start_shards(1, |_| {});
    for _ in 0..20 {
        let query = polling(&server.open().await);
        for (request, body) in [(post_request(&query, "4a"), "ok"), (request("GET", &query, "", ""), "4a")] {
            let mut http = server.connect().await;
            http.send(request.as_bytes()).await;
            http.stream.shutdown().await.unwrap();
            assert_eq!(http.response().await.body, body);
            assert!(http.ended().await);
        }
    }
}

#[tokio::test]
async fn an_aborted_post_ends_the_session() {
    let mut server = TestServer::start(|_| {});
    let query = polling(&server.open().await);
    let mut http = server.connect().await;
    http.send(request("POST", &query, "Content-Length: 100\r\n", "4a").as_bytes()).await;
    drop(http);
    assert_eq!(server.event().await, Event::Opened);
    assert_eq!(server.event().await, Event::Closed(CloseReason::TransportError));
}

#[tokio::test]
async fn a_body_whose_framing_breaks_gets_400_and_the_end_of_the_connection() {
    let server = TestServer::start(|_| {});
    for broken in ["-1\r\n4\r\n0\r\n\r\n", "1\r\n4abc\r\n0\r\n\r\n", "10000000000000002\r\n4a\r\n"] {
        let query = polling(&server.open().await);
        let mut http = server.connect().await;
        let canary = request("GET", "canary", "", "");
        let post = request("POST", &query, "Transfer-Encoding: chunked\r\n", &format!("{broken}{canary}"));
        http.send(post.as_bytes()).await;
        let response = http.response().await;
        assert_eq!((response.status, response.body.as_str()), (400, ""), "{broken}");
        assert!(response.head.contains("\r\nconnection: close"), "{broken}");
        assert!(http.ended().await);
        assert_eq!(server.get(&query).await.body, UNKNOWN);
    }
}

#[tokio::test]
async fn a_close_packet_is_answered_by_one_noop_and_nothing_after_it_counts() {
    let mut server = TestServer::start(|_| {});
    let query = polling(&server.open().await);
    assert_eq!(server.post(&query, "4a\x1e1\x1e4b").await.status, 200);
    assert_eq!(server.event().await, Event::Opened);
    assert_eq!(server.event().await, Event::Message("a".to_owned()));
    assert_eq!(server.event().await, Event::Closed(CloseReason::TransportClose));
    assert_eq!(server.post(&query, "4c").await.body, UNKNOWN);
    assert_eq!(server.get(&query).await.body, "4a\x1e6");
    assert_eq!(server.get(&query).await.body, UNKNOWN);
}

#[tokio::test]
async fn a_close_by_the_application_is_answered_in_its_own_poll_after_earlier_messages() {
    let mut server = TestServer::start(|_| {});
    let query = polling(&server.open().await);
    assert_eq!(server.post(&query, "4bye").await.status, 200);
    assert_eq!(server.closed().await, CloseReason::ForcedClose);
    // In one body official clients would act on the close first, and never see the message.
    assert_eq!(server.get(&query).await.body, "4bye");
    assert_eq!(server.get(&query).await.body, "1");
    assert_eq!(server.get(&query).await.body, UNKNOWN);
}

#[tokio::test]
async fn an_invalid_body_gets_400_and_the_sid_is_unknown_at_once() {
    let mut server = TestServer::start(|_| {});
    for body in ["", "9", "4a\x1e", "b!!!!", "2", "\x1e", &["6"; 65].join("\x1e")] {
        let query = polling(&server.open().await);
        let status = server.post(&query, body).await.status;
        // A ping is a packet, but not one a client may send: Node accepts the body and ends the session.
        assert_eq!(status, if body == "2" { 200 } else { 400 }, "{body:?}");
        let reason = server.closed().await;
        assert_eq!(reason, if body == "2" { CloseReason::TransportError } else { CloseReason::ParseError }, "{body:?}");
        assert_eq!(server.get(&query).await.body, UNKNOWN, "{body:?}");
    }
}

#[tokio::test]
async fn a_binary_body_type_gets_400_and_ends_the_session() {
    let mut server = TestServer::start(|_| {});
    let query = polling(&server.open().await);
    let mut http = server.connect().await;
    let typed = request("POST", &query, "Content-Type: application/octet-stream\r\nContent-Length: 2\r\n", "4a");
    http.send(typed.as_bytes()).await;
    assert_eq!(http.response().await.status, 400);
    assert_eq!(server.closed().await, CloseReason::TransportError);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = TestServer::start(|_| {});
    let query = polling(&server.open().await);
    let mut http = server.connect().await;
    let get = request("GET", &query, "", "");
    let pipeline = [post_request(&query, "4a"), get.clone(), post_request(&query, "4b"), get].concat();
    http.send(pipeline.as_bytes()).await;
    for expected in ["ok", "4a", "ok", "4b"] {
        assert_eq!(http.response().await.body, expected);
    }
}

#[tokio::test]
async fn a_poll_gets_the_ping_and_a_missing_pong_ends_the_session_with_packet_1() {
    let mut server = TestServer::start(|config| {
        config.ping_interval = Duration::from_millis(50);
        config.ping_timeout = Duration::from_millis(100);
    });
    let query = polling(&server.open().await);
    assert_eq!(server.get(&query).await.body, "2");
    assert_eq!(server.post(&query, "3").await.status, 200);
    assert_eq!(server.get(&query).await.body, "2");
    assert_eq!(server.get(&query).await.body, "1");
    assert_eq!(server.closed().await, CloseReason::PingTimeout);
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_request_and_session() {
    let mut server = TestServer::start(|config| config.body_timeout = Duration::from_millis(100));
    let query = polling(&server.open().await);
    let mut http = server.connect().await;
    http.send(request("POST", &query, "Content-Length: 100\r\n", "4a").as_bytes()).await;
    assert_eq!(server.closed().await, CloseReason::TransportError);
    assert_eq!(http.response().await.status, 408);
    assert!(http.ended().await);
}
