//! The options of Node's server: cookie, CORS, compression, initial packet, transports, upgrades, path.

use std::io::Read as _;

use engineio::{
    Config, Message, ShardMessage,
    http::{Cookie, Cors, CorsOrigins, Origins, cors::OriginTest},
    net::Server,
    session::Transport,
};
use flate2::read::{GzDecoder, ZlibDecoder};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite;

use super::support::{Response, TestServer, next_text, request, sid_of, soon, upgrade_request, upgrade_request_with};

const OPEN: &str = "EIO=4&transport=polling";
const WEBSOCKET: &str = "EIO=4&transport=websocket";

async fn get(server: &TestServer, query: &str, headers: &str) -> Response {
    let mut http = server.connect().await;
    http.send(request("GET", query, headers, "").as_bytes()).await;
    http.response().await
}

#[tokio::test]
async fn only_a_polling_handshake_sets_the_cookie() {
    let server = TestServer::start(|config| config.cookie = Some(Cookie::default()));
    let answer = server.get(OPEN).await;
    let sid = sid_of(&answer.body);
    let cookie = format!("set-cookie: io={}; path=/; httponly; samesite=lax\r\n", sid.to_ascii_lowercase());
    assert!(answer.head.contains(&cookie), "{}", answer.head);
    let query = format!("{OPEN}&sid={sid}");
    let posted = server.post(&query, "4a").await;
    let polled = server.get(&query).await;
    let mut http = server.connect().await;
    http.send(upgrade_request(WEBSOCKET).as_bytes()).await;
    for answer in [posted, polled, http.response().await] {
        assert!(!answer.head.contains("set-cookie"), "{}", answer.head);
    }
}

#[test]
fn a_cookie_that_is_invalid_in_a_header_is_an_error_at_the_start() {
    let mut config = Config::default();
    let mut cookie = Cookie::default();
    cookie.name = "a b".to_owned();
    config.cookie = Some(cookie);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = Server::new(config).serve(listener, || -> super::support::Silent { unreachable!() }).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn a_preflight_is_answered_without_a_body_and_a_simple_request_named() {
    let mut cors = Cors::with_origins(CorsOrigins::Listed(vec![http::HeaderValue::from_static("https://a.example")]));
    cors.credentials = true;
    let server = TestServer::start(|config| config.cors = Some(cors));
    for (origin, named) in [("https://a.example", true), ("https://b.example", false)] {
        let mut http = server.connect().await;
        let headers = format!("Origin: {origin}\r\nAccess-Control-Request-Method: POST\r\n");
        http.send(request("OPTIONS", OPEN, &headers, "").as_bytes()).await;
        let preflight = http.response().await;
        assert_eq!((preflight.status, preflight.body.as_str()), (204, ""));
        // RFC 9110, 8.6: a 204 has no length.
        assert!(!preflight.head.contains("content-length"), "{}", preflight.head);
        assert!(preflight.head.contains("access-control-allow-methods: get,head,put,patch,post,delete\r\n"));
        // The connection goes on: neither side waits for a body.
        http.send(request("GET", OPEN, &headers, "").as_bytes()).await;
        let simple = http.response().await;
        assert_eq!(simple.status, 200);
        for answer in [preflight, simple] {
            let allowed = answer.head.contains("access-control-allow-origin: https://a.example\r\n");
            assert_eq!(allowed, named, "{}", answer.head);
            assert!(answer.head.contains("access-control-allow-credentials: true\r\n"));
            assert!(
                answer.head.lines().any(|line| line.starts_with("vary: ") && line.contains("origin")),
                "{}",
                answer.head
            );
        }
    }
}

#[tokio::test]
async fn a_long_poll_body_is_compressed_for_a_client_that_accepts_it() {
    let server = TestServer::start(|_| {});
    let query = format!("{OPEN}&sid={}", server.open().await);
    let message = format!("4{}", "abc".repeat(1000));
    for (accepted, coding) in [("gzip, deflate", "gzip"), ("deflate", "deflate"), ("br", ""), ("gzip;q=0", "")] {
        assert_eq!(server.post(&query, &message).await.body, "ok");
        let answer = get(&server, &query, &format!("Accept-Encoding: {accepted}\r\n")).await;
        let mut read = String::new();
        match coding {
            "gzip" => GzDecoder::new(&*answer.bytes).read_to_string(&mut read).unwrap(),
            "deflate" => ZlibDecoder::new(&*answer.bytes).read_to_string(&mut read).unwrap(),
            _ => (&*answer.bytes).read_to_string(&mut read).unwrap(),
        };
        assert_eq!(read, message, "{accepted}");
        let header = format!("content-encoding: {coding}\r\n");
        assert_eq!(answer.head.contains(&header), !coding.is_empty(), "{}", answer.head);
        assert_eq!(answer.bytes.len() < 200, !coding.is_empty());
    }
    assert_eq!(server.post(&query, "4short").await.body, "ok");
    let answer = get(&server, &query, "Accept-Encoding: gzip\r\n").await;
    assert_eq!(answer.body, "4short");
}

#[tokio::test]
async fn a_body_that_would_keep_the_shard_busy_is_sent_as_it_is() {
    let server = TestServer::start(|_| {});
    let query = format!("{OPEN}&sid={}", server.open().await);
    for (headers, len, compressed) in [
        ("", 200_000, false),
        ("Accept-Encoding: gzip\r\n", 200_000, false),
        ("Accept-Encoding: gzip\r\nX-Other: read by hyper\r\nExpect: x\r\n", 200_000, false),
        ("Accept-Encoding: gzip\r\n", 20_000, true),
    ] {
        let message = format!("4{}", "x".repeat(len));
        assert_eq!(server.post(&query, &message).await.body, "ok");
        let answer = get(&server, &query, headers).await;
        assert_eq!(answer.head.contains("content-encoding: gzip\r\n"), compressed, "{headers}: {}", answer.head);
        assert!(compressed || answer.body == message);
    }
}

#[tokio::test]
async fn a_websocket_whose_client_accepts_no_binary_gets_base64() {
    let server = TestServer::start(|_| {});
    let mut ws = server.websocket_at(&format!("{WEBSOCKET}&b64=1")).await;
    assert!(next_text(&mut ws).await.starts_with("0{"));
    ws.send(tungstenite::Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(next_text(&mut ws).await, "bAQID");
    ws.send(tungstenite::Message::text("4a")).await.unwrap();
    assert_eq!(next_text(&mut ws).await, "4a");
}

#[tokio::test]
async fn the_initial_packet_follows_the_handshake_on_both_transports() {
    let server = TestServer::start(|config| config.initial_packet = Some(Message::Binary(vec![1, 2, 3].into())));
    let answer = server.get(OPEN).await;
    assert!(answer.body.starts_with("0{") && answer.body.ends_with("}\u{1e}bAQID"), "{}", answer.body);
    let mut ws = server.websocket_at(WEBSOCKET).await;
    assert!(next_text(&mut ws).await.starts_with("0{"));
    assert_eq!(soon(ws.next()).await.unwrap().unwrap(), tungstenite::Message::binary(vec![1, 2, 3]));
    let mut ws = server.websocket_at(&format!("{WEBSOCKET}&b64=1")).await;
    assert!(next_text(&mut ws).await.starts_with("0{"));
    assert_eq!(next_text(&mut ws).await, "bAQID");
}

#[tokio::test]
async fn a_transport_that_is_switched_off_is_unknown() {
    let server = TestServer::start(|config| config.transports = vec![Transport::Polling]);
    let answer = server.get(OPEN).await;
    assert!(answer.body.contains(r#""upgrades":[],"#), "{}", answer.body);
    let sid = sid_of(&answer.body);
    for query in [WEBSOCKET.to_owned(), format!("{WEBSOCKET}&sid={sid}")] {
        let mut http = server.connect().await;
        http.send(upgrade_request(&query).as_bytes()).await;
        let answer = http.response().await;
        assert_eq!((answer.status, answer.body.as_str()), (400, "Transport unknown"));
    }
    let server = TestServer::start(|config| config.transports = vec![Transport::WebSocket]);
    assert_eq!(server.get(OPEN).await.body, r#"{"code":0,"message":"Transport unknown"}"#);
    server.websocket().await;
}

#[tokio::test]
async fn without_allow_upgrades_no_upgrade_is_offered() {
    let server = TestServer::start(|config| config.allow_upgrades = false);
    assert!(server.get(OPEN).await.body.contains(r#""upgrades":[],"#));
}

#[tokio::test]
async fn the_slash_at_the_end_of_the_path_may_be_left_out_if_configured() {
    for (with_slash, status) in [(true, 404), (false, 200)] {
        let server = TestServer::start(|config| config.add_trailing_slash = with_slash);
        let mut http = server.connect().await;
        http.send(request("GET", OPEN, "", "").replace("/engine.io/?", "/engine.io?").as_bytes()).await;
        assert_eq!(http.response().await.status, status);
        let mut http = server.connect().await;
        http.send(upgrade_request(WEBSOCKET).replace("/engine.io/?", "/engine.io?").as_bytes()).await;
        assert_eq!(http.response().await.status, if with_slash { 404 } else { 101 });
        server.open().await;
    }
}

#[tokio::test]
async fn a_panic_in_the_test_of_an_origin_names_no_origin_and_breaks_nothing() {
    let server = TestServer::start_shards(2, |config| {
        let test = OriginTest::new(|_| panic!("the test of an origin panics"));
        config.cors = Some(Cors::with_origins(CorsOrigins::Test(test)));
    });
    let origin = "Origin: https://any.example\r\n";
    for _ in 0..2 {
        let mut http = server.connect().await;
        http.send(request("GET", "EIO=4&transport=polling", origin, "").as_bytes()).await;
        let opened = http.response().await;
        assert_eq!((opened.status, opened.head.contains("access-control-allow-origin")), (200, false));
        let query = format!("EIO=4&transport=polling&sid={}", sid_of(&opened.body));
        http.send(request("POST", &query, &format!("{origin}Content-Length: 1\r\n"), "3").as_bytes()).await;
        assert_eq!(http.response().await.status, 200);
        let mut http = server.connect().await;
        http.send(upgrade_request_with("EIO=4&transport=websocket", origin.trim_end()).as_bytes()).await;
        assert_eq!(http.response().await.status, 101);
    }
}

#[tokio::test]
async fn a_running_server_takes_over_what_it_can_and_ends_nothing() {
    let listed = |origin: &str| Origins::Listed { origins: vec![origin.to_owned()], own: false, loopback: false };
    let asks = |origin: &str| format!("Origin: {origin}\r\n");
    let (one, other) = ("https://a.example", "https://b.example");
    let server = TestServer::start_shards(2, |config| config.origins = listed(one));
    // One on each shard.
    let mut living = [server.websocket_at(WEBSOCKET).await, server.websocket_at(WEBSOCKET).await];
    for peer in &mut living {
        assert!(next_text(peer).await.starts_with('0'));
    }
    let (mut a, mut b) = (get(&server, OPEN, &asks(one)).await, get(&server, OPEN, &asks(other)).await);
    assert_eq!((a.status, b.status), (200, 403));
    let mut wrong = Config::default();
    wrong.max_payload = 0;
    assert!(server.handle().reconfigure(&wrong).is_err());
    let mut changed = Config::default();
    changed.origins = listed(other);
    changed.cors = Some(Cors::with_origins(CorsOrigins::Reflect));
    // What a running server cannot change stays.
    changed.path = "/elsewhere/".to_owned();
    server.handle().reconfigure(&changed).unwrap();
    // The shards have taken it over when they pass on what was sent after it. No connection has ended.
    let done = |_| ShardMessage::new("done".to_owned());
    server.handle().send_all(done).await.unwrap();
    for peer in &mut living {
        assert_eq!(next_text(peer).await, "4done");
    }
    (a, b) = (get(&server, OPEN, &asks(one)).await, get(&server, OPEN, &asks(other)).await);
    assert_eq!((a.status, b.status), (403, 200));
    assert!(b.head.contains("access-control-allow-origin: https://b.example"), "{}", b.head);
}
