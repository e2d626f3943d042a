//! A handshake that comes in one segment is answered without hyper, one that comes in two segments by hyper. The
//! answers must be the same.

use std::time::{Duration, Instant};

use engineio::{
    Message, OpenPacket,
    http::{Cors, CorsOrigins, Origins},
    ws::deflate::PerMessageDeflate,
};

use super::support::{Event, Http, Response, TestServer, frame, sid_of, upgrade_request};

const GOOD: &str = "EIO=4&transport=websocket";

/// A handshake in which one text is replaced by another.
fn with(from: &str, to: &str) -> String {
    let good = upgrade_request(GOOD);
    assert!(good.contains(from), "{from}");
    good.replace(from, to)
}

fn with_line(line: &str) -> String {
    with("Host:", &format!("{line}\r\nHost:"))
}

/// The answer, without what differs every time: the date and the sid.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    head: String,
    body: String,
    frame: Option<(u8, String)>,
}

async fn answer(http: &mut Http) -> Answer {
    let Response { status, head, body, .. } = http.response().await;
    let head: Vec<_> = head.split("\r\n").filter(|line| !line.starts_with("date: ")).collect();
    let head = head.join("\r\n");
    let hide = |text: String| if text.contains("\"sid\"") { text.replace(&sid_of(&text), "SID") } else { text };
    let mut frame = None;
    if status == 101 {
        let (opcode, payload) = http.frame().await;
        frame = Some((opcode, hide(String::from_utf8(payload).unwrap())));
    } else if head.contains("connection: close") {
        assert!(http.ended().await);
    }
    let body = hide(body);
    Answer { head, body, frame }
}

/// The answers to a request in one segment and in two.
async fn whole_and_split(server: &TestServer, request: &[u8]) -> (Answer, Answer) {
    let mut whole = server.connect().await;
    whole.send(request).await;
    let whole = answer(&mut whole).await;
    let mut split = server.connect().await;
    let (first, rest) = request.split_at(1);
    split.send(first).await;
    // The first byte reaches the server before this connection does, so it is read before this one is answered.
    server.connect().await.stay_here().await;
    split.send(rest).await;
    (whole, answer(&mut split).await)
}

fn requests() -> Vec<(&'static str, String, u16)> {
    let many = |count| with_line(&vec!["X: y"; count].join("\r\n"));
    let post = with("GET", "POST");
    vec![
        ("good", upgrade_request(GOOD), 101),
        ("keep-alive, Upgrade", with("Connection: Upgrade", "Connection: keep-alive, Upgrade"), 101),
        ("close, Upgrade", with("Connection: Upgrade", "Connection: close, Upgrade"), 101),
        ("two Connection", with_line("Connection: close"), 101),
        ("no Connection", with("Connection: Upgrade\r\n", ""), 400),
        ("no Upgrade", with("Upgrade: websocket\r\n", ""), 400),
        ("h2c, websocket", with("Upgrade: websocket", "Upgrade: h2c, websocket"), 101),
        ("bad version", with("Version: 13", "Version: 8"), 426),
        ("no version", with("Sec-WebSocket-Version: 13\r\n", ""), 426),
        ("bad key", with("ZQ==", "Z==="), 400),
        ("two keys", with_line("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400),
        ("bad protocol", with_line("Sec-WebSocket-Protocol: a,,b"), 400),
        ("protocol", with_line("Sec-WebSocket-Protocol: chat"), 101),
        ("extension", with_line("Sec-WebSocket-Extensions: permessage-deflate"), 101),
        ("good origin", with_line("Origin: https://good.example"), 101),
        ("bad origin", with_line("Origin: https://evil.example"), 403),
        ("two origins", with_line("Origin: https://good.example\r\nOrigin: https://good.example"), 403),
        ("unknown transport", with("transport=websocket", "transport=smoke"), 400),
        ("no transport", with("&transport=websocket", ""), 400),
        ("polling", with("transport=websocket", "transport=polling"), 200),
        ("EIO=3", with("EIO=4", "EIO=3"), 400),
        ("no EIO", with("EIO=4&", ""), 400),
        ("escaped", with("EIO=4", "%45IO=%34"), 101),
        ("denied", with("EIO=4", "EIO=4&deny"), 400),
        ("denied and EIO=3", with("EIO=4", "EIO=3&deny"), 400),
        ("a panic", with("EIO=4", "EIO=4&panic"), 503),
        ("unknown sid", with("EIO=4", "EIO=4&sid=zzz"), 400),
        ("unknown sid of another shard", with("EIO=4", "EIO=4&sid=AAEAAAAAr0JcijVcbBqQroWYYB1d"), 400),
        ("empty sid", with("EIO=4", "EIO=4&sid="), 101),
        ("two Host", with_line("Host: other"), 400),
        ("a Host that is none", with("Host: localhost", "Host: local host"), 400),
        ("no Host", with("Host: localhost\r\n", ""), 400),
        ("HTTP/1.0", with("HTTP/1.1", "HTTP/1.0"), 400),
        ("HTTP/1.2", with("HTTP/1.1", "HTTP/1.2"), 400),
        ("Content-Length: 0", with_line("Content-Length: 0"), 101),
        ("a body", with_line("Content-Length: 4") + "test", 400),
        ("bad Content-Length", with_line("Content-Length: x"), 400),
        ("chunked", with_line("Transfer-Encoding: chunked") + "0\r\n\r\n", 400),
        ("identity", with_line("Transfer-Encoding: identity"), 400),
        ("Expect", with_line("Expect: 100-continue"), 101),
        ("absolute-form", with("/engine.io/", "http://localhost/engine.io/"), 101),
        ("asterisk-form", with("/engine.io/?EIO=4&transport=websocket", "*"), 404),
        ("another path", with("/engine.io/", "/other/"), 404),
        ("no slash", with("/engine.io/", "/engine.io"), 404),
        ("fragment", with(GOOD, "EIO=4&transport=websocket#x"), 101),
        ("odd bytes in the target", with(GOOD, "EIO=4&transport=websocket&x={}|^"), 101),
        ("odder bytes in the target", with(GOOD, "EIO=4&transport=websocket&x=\""), 400),
        ("lower-case method", with("GET", "get"), 400),
        ("POST", post.clone(), 400),
        ("POST with a body", post.replace("Host:", "Content-Length: 2\r\nHost:") + "ab", 400),
        ("OPTIONS", with("GET", "OPTIONS"), 204),
        ("obs-fold", with("Upgrade: websocket", "Upgrade:\r\n websocket"), 400),
        ("space before a colon", with("Upgrade: ", "Upgrade : "), 400),
        ("tab and obs-text in a value", with_line("X: a\tb\u{e9}"), 101),
        ("a control character in a value", with_line("X: a\x01b"), 400),
        ("an empty name", with_line(": x"), 400),
        ("bare line feeds", with("\r\n", "\n"), 101),
        ("leading line end", format!("\r\n{}", upgrade_request(GOOD)), 101),
        ("95 more headers", many(95), 101),
        ("96 more headers", many(96), 431),
        ("a long target", with(GOOD, &format!("{GOOD}&{}", "a".repeat(9000))), 414),
        ("15 KiB of header", with_line(&format!("X: {}", "x".repeat(15_000))), 101),
        ("17 KiB of header", with_line(&format!("X: {}", "x".repeat(17_000))), 431),
        ("TLS", "\x16\x03\x01\r\n\r\n".to_owned(), 400),
    ]
}

#[tokio::test]
async fn a_handshake_gets_the_same_answer_whole_and_in_two_segments() {
    for cors in [true, false] {
        let server = TestServer::start(|config| {
            config.cors = cors.then(|| Cors::with_origins(CorsOrigins::Reflect));
            config.open_packet = if cors { OpenPacket::Apart } else { OpenPacket::WithAnswer };
            config.origins =
                Origins::Listed { origins: vec!["https://good.example".to_owned()], own: true, loopback: false };
        });
        for (name, request, status) in requests() {
            let (whole, split) = whole_and_split(&server, request.as_bytes()).await;
            assert_eq!(whole, split, "{name}");
            let expected = if name == "OPTIONS" && !cors { 400 } else { status };
            assert_eq!(whole.head.get(9..12), Some(&*expected.to_string()), "{name}: {}", whole.head);
            assert_eq!(whole.frame.is_some(), expected == 101, "{name}");
        }
    }
}

#[tokio::test]
async fn a_full_server_and_a_server_for_every_origin_answer_alike_too() {
    let server = TestServer::start(|config| {
        config.cors = Some(Cors::default());
        config.max_sessions = 2;
    });
    let (whole, split) = whole_and_split(&server, with_line("Origin: https://any.example").as_bytes()).await;
    assert_eq!(whole, split);
    assert!(whole.head.contains("access-control-allow-origin: *\r\n"), "{}", whole.head);
    server.open().await;
    server.open().await;
    let (whole, split) = whole_and_split(&server, upgrade_request(GOOD).as_bytes()).await;
    assert_eq!(whole, split);
    assert!(whole.head.contains("retry-after: 1\r\n"), "{}", whole.head);
}

#[tokio::test]
async fn the_result_of_a_handshake_is_the_same_in_one_segment_or_two() {
    let server = TestServer::start(|config| {
        config.allow_eio3 = true;
        config.open_packet = OpenPacket::WithAnswer;
        config.per_message_deflate = Some(PerMessageDeflate::default());
        config.initial_packet = Some(Message::Binary(vec![1, 2, 3].into()));
    });
    let deflate = with_line("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=10");
    for request in [with("EIO=4", "EIO=3"), with("EIO=4&", ""), with("EIO=4", "EIO=4&b64=1"), deflate] {
        let (whole, split) = whole_and_split(&server, request.as_bytes()).await;
        assert_eq!(whole, split);
        let agreed = whole.head.contains("\r\nsec-websocket-extensions: permessage-deflate; ");
        assert_eq!(agreed, request.contains("permessage"), "{}", whole.head);
    }
}

#[tokio::test]
async fn with_the_option_a_session_opens_in_one_read() {
    let server = TestServer::start(|config| config.open_packet = OpenPacket::WithAnswer);
    // A frame that comes with the handshake is handled after it.
    let request = [upgrade_request(GOOD).as_bytes(), &frame(0x81, b"4early")].concat();
    for (request, early) in [(&request[..request.len() - 12], false), (&request, true)] {
        let mut http = server.connect().await;
        http.send(request).await;
        let read = http.read_once().await;
        assert!(read.starts_with(b"HTTP/1.1 101 ") && read.windows(6).any(|bytes| bytes == b"0{\"sid"), "{read:?}");
        assert_eq!(http.response().await.status, 101);
        assert!(http.frame().await.1.starts_with(b"0{\"sid"));
        if early {
            assert_eq!(http.frame().await.1, b"4early");
        }
    }
}

#[tokio::test]
async fn a_session_may_open_later_than_its_websocket() {
    let delay = Duration::from_millis(500);
    let server = TestServer::start(|config| config.open_packet = OpenPacket::Delayed(delay));
    let slow = with("Connection: Upgrade", "Connection: close, Upgrade");
    for request in [upgrade_request(GOOD), slow] {
        let (mut http, start) = (server.connect().await, Instant::now());
        http.send(request.as_bytes()).await;
        assert!(http.read_once().await.ends_with(b"\r\n\r\n"));
        assert_eq!(http.response().await.status, 101);
        assert!(http.frame().await.1.starts_with(b"0{\"sid"));
        assert!(start.elapsed() >= delay);
    }
}

#[tokio::test]
async fn the_application_is_asked_once_whatever_it_says() {
    let mut server = TestServer::start(|_| {});
    let mut held = Vec::new();
    for (query, status) in [(GOOD, 101), ("EIO=4&transport=websocket&deny", 400), ("EIO=3&transport=websocket", 400)] {
        let mut http = server.connect().await;
        http.send(upgrade_request(&format!("{query}&count")).as_bytes()).await;
        assert_eq!(http.response().await.status, status);
        assert_eq!(server.event().await, Event::Asked, "{query}");
        if status == 101 {
            assert_eq!(server.event().await, Event::Opened);
        }
        held.push(http);
    }
    // The handler was not called otherwise.
    server.open().await;
    assert_eq!(server.event().await, Event::Opened);
}

#[tokio::test]
async fn the_probe_of_an_upgrade_may_come_in_the_segment_of_its_handshake() {
    let server = TestServer::start(|_| {});
    for split in [false, true] {
        let sid = server.open().await;
        let mut http = server.connect().await;
        let request = upgrade_request(&format!("{GOOD}&sid={sid}")).into_bytes();
        let bytes = [request, frame(0x81, b"2probe"), frame(0x81, b"5"), frame(0x81, b"4a")].concat();
        let (first, rest) = bytes.split_at(if split { 1 } else { 0 });
        http.send(first).await;
        server.connect().await.stay_here().await;
        http.send(rest).await;
        assert_eq!(http.response().await.status, 101);
        assert_eq!(http.frame().await.1, b"3probe");
        assert_eq!(http.frame().await.1, b"4a");
    }
}
