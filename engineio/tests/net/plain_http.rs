//! Plain requests of long-polling are served without hyper; with an additional field that has no effect, hyper serves
//! them. Each request is sent in both ways, complete and in pieces, and the answers must be the same.

use engineio::{
    CloseReason,
    http::{Cookie, Cors, CorsOrigins, Network, Origins},
};

use super::support::{Event, Http, Response, TestServer, post_request, request, sid_of};

/// hyper ignores an unknown expectation, but a head with one is not plain.
const UNUSUAL: &str = "Expect: nothing\r\n";

/// How a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Without hyper, in one segment.
    Plain,
    /// Without hyper, cut after this percentage of its length.
    Cut(usize),
    /// By hyper.
    Hyper,
    /// By hyper, cut in the middle.
    HyperCut,
}

const WAYS: [Way; 7] = [Way::Plain, Way::Cut(1), Way::Cut(30), Way::Cut(70), Way::Cut(99), Way::Hyper, Way::HyperCut];

/// A request to a session that has "hello" queued; `SID` in it is replaced by the session's sid.
struct Row {
    name: &'static str,
    text: String,
    status: u16,
    /// Whether to leave out the check that the connection serves another request. It ends if a body was not read and
    /// has not come yet, and after HTTP/1.0.
    alone: bool,
}

fn row(name: &'static str, text: String, status: u16) -> Row {
    Row { name, text, status, alone: false }
}

fn alone(name: &'static str, text: String, status: u16) -> Row {
    Row { alone: true, ..row(name, text, status) }
}

/// The answer, without what differs every time.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
    /// The status of another request on the same connection; `None` when it has ended.
    next: Option<u16>,
    /// What a poll on another connection gets after that.
    after: String,
}

fn hide(text: &str) -> String {
    if text.contains("\"sid\"") { text.replace(&sid_of(text), "SID") } else { text.to_owned() }
}

async fn send(server: &TestServer, way: Way, text: &str) -> Http {
    let text = match way {
        Way::Hyper | Way::HyperCut => text.replacen("Host:", &format!("{UNUSUAL}Host:"), 1),
        _ => text.to_owned(),
    };
    let at = match way {
        Way::Plain | Way::Hyper => 0,
        Way::Cut(part) => (text.len() * part / 100).max(1),
        Way::HyperCut => text.len() / 2,
    };
    let (first, rest) = text.as_bytes().split_at(at);
    let mut http = server.connect().await;
    if !first.is_empty() {
        http.send(first).await;
        // The first part reaches the server before this connection does, so it is read before this one is answered.
        server.connect().await.stay_here().await;
    }
    // The first part alone may get the connection refused and closed.
    let _ = tokio::io::AsyncWriteExt::write_all(&mut http.stream, rest).await;
    http
}

async fn ask(server: &TestServer, way: Way, row: &Row) -> Answer {
    let sid = sid_of(&server.get("EIO=4&transport=polling&greet").await.body);
    let mut http = send(server, way, &row.text.replace("SID", &sid)).await;
    let Response { status, head, bytes, .. } = http.response().await;
    assert!(head.contains("date: "), "{}", row.name);
    let unasked = |line: &str| line.starts_with("date: ") || (row.alone && line == "connection: close");
    let head: Vec<_> = head.split("\r\n").filter(|line| !unasked(line)).collect();
    let next = if head.contains(&"connection: close") {
        assert!(http.ended().await, "{} {way:?}", row.name);
        None
    } else if row.alone {
        None
    } else {
        Some(http.get("EIO=4&transport=polling").await.status)
    };
    // If the session lives, this poll is answered; if a poll waits already, this one ends the session.
    let query = format!("EIO=4&transport=polling&sid={sid}");
    assert!([200, 400].contains(&server.post(&query, "4after").await.status));
    let after = server.get(&query).await.body;
    let hidden = |text: &str| text.replace(&sid, "SID");
    let body = String::from_utf8(bytes.clone()).map_or(bytes, |text| hide(&text).into_bytes());
    let cookie = |line: &str| if line.starts_with("set-cookie: io=") { "set-cookie" } else { line }.to_owned();
    let head = hidden(&head.into_iter().map(cookie).collect::<Vec<_>>().join("\r\n"));
    Answer { status, head, body, next, after }
}

fn rows() -> Vec<Row> {
    const SESSION: &str = "EIO=4&transport=polling&sid=SID";
    let get = |extra: &str| request("GET", SESSION, extra, "");
    let open = |query: &str, extra: &str| request("GET", query, extra, "");
    let post =
        |extra: &str, body: &str| request("POST", SESSION, &format!("{extra}Content-Length: {}\r\n", body.len()), body);
    let swap = |text: String, from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    };
    vec![
        row("poll", get(""), 200),
        row("poll that keeps alive", get("Connection: Keep-Alive\r\n"), 200),
        row("poll, old browser", get("User-Agent: Mozilla/4.0 (compatible;MSIE 8.0)\r\n"), 200),
        row("poll, new browser", get("User-Agent: Mozilla/5.0 Firefox/140.0\r\nCookie: a=b\r\n"), 200),
        row("poll, gzip", get("Accept-Encoding: gzip, deflate\r\n"), 200),
        row("poll, two codings", get("Accept-Encoding: deflate\r\nAccept-Encoding: gzip\r\n"), 200),
        row("poll, good origin", get("Origin: https://good.example\r\n"), 200),
        row("poll, own origin", get("Origin: http://localhost\r\n"), 200),
        row("poll, bad origin", get("Origin: https://evil.example\r\n"), 403),
        row("poll, two origins", get("Origin: https://good.example\r\nOrigin: https://good.example\r\n"), 403),
        row(
            "poll, all of it",
            get("Origin: https://good.example\r\nAccept-Encoding: gzip\r\nUser-Agent: a;MSIE\r\n"),
            200,
        ),
        row("poll, binary type", get("Content-Type: application/octet-stream\r\n"), 200),
        row("poll, timestamp", swap(get(""), "SID", "SID&t=PkQ1x.a"), 200),
        row("poll, escaped", swap(get(""), "transport=polling", "transport=%70olling"), 200),
        row("poll, odd bytes", swap(get(""), "EIO=4", "EIO=4&x={}|^"), 200),
        row("poll, odder bytes", swap(get(""), "EIO=4", "EIO=4&x=\""), 400),
        row("poll, fragment", swap(get(""), "SID", "SID#x"), 200),
        row("poll, JSONP of v3", swap(get(""), "EIO=4", "EIO=4&j=1"), 200),
        row("poll of another revision", swap(get(""), "EIO=4", "EIO=3"), 400),
        row("poll of an unknown session", swap(get(""), "SID", "zzz"), 400),
        row("poll on another transport", swap(get(""), "=polling", "=websocket"), 400),
        row("poll on an unknown one", swap(get(""), "=polling", "=smoke"), 400),
        row("poll with a length", get("Content-Length: 0\r\n"), 200),
        alone("poll with a body", swap(post("", "4a"), "POST", "GET"), 200),
        row("poll that closes", get("Connection: close\r\n"), 200),
        row("poll that wants h2c", get("Connection: Upgrade\r\nUpgrade: h2c\r\n"), 200),
        alone("poll of HTTP/1.0", swap(get(""), "HTTP/1.1", "HTTP/1.0"), 200),
        row("poll of HTTP/1.2", swap(get(""), "HTTP/1.1", "HTTP/1.2"), 400),
        row("poll, bare line feeds", get("").replace("\r\n", "\n"), 200),
        row("poll behind an empty line", format!("\r\n{}", get("")), 200),
        row("poll, absolute form", swap(get(""), "/engine.io/", "http://localhost/engine.io/"), 200),
        row("poll, tab and obs-text", get("X: a\tb\u{e9}\r\n"), 200),
        row("poll, a control character", get("X: a\x01b\r\n"), 400),
        row("poll, a folded line", get("X: a\r\n b\r\n"), 400),
        row("poll, a space before the colon", get("X : a\r\n"), 400),
        row("poll, no Host", swap(get(""), "Host: localhost\r\n", "Host:\r\n"), 200),
        row("poll, two Hosts", get("Host: localhost\r\n"), 400),
        row("poll, a Host that is none", swap(get(""), "localhost", "local host"), 400),
        row("poll, 98 fields more", get(&"X: y\r\n".repeat(98)), 200),
        row("poll, 15 KiB of head", get(&format!("X: {}\r\n", "x".repeat(15_000))), 200),
        row("poll, 17 KiB of head", get(&format!("X: {}\r\n", "x".repeat(17_000))), 431),
        row("poll, a long target", swap(get(""), "SID", &format!("SID&{}", "a".repeat(9000))), 414),
        row("post", post("", "4a"), 200),
        row("post, typed", post("Content-Type: text/plain;charset=UTF-8\r\n", "4a"), 200),
        row("post, gzip", post("Accept-Encoding: gzip\r\n", "4a"), 200),
        row("post, old browser", post("User-Agent: x Trident/7.0\r\n", "4a"), 200),
        row("post, good origin", post("Origin: https://good.example\r\n", "4a"), 200),
        alone("post, bad origin", post("Origin: https://evil.example\r\n", "4a"), 403),
        alone("post, binary type", post("Content-Type: application/octet-stream\r\n", "4a"), 400),
        row(
            "post, two types",
            post("Content-Type: text/plain\r\nContent-Type: application/octet-stream\r\n", "4a"),
            200,
        ),
        row("post of 62 packets", post("", &["4a"; 62].join("\x1e")), 200),
        row("post of 63 packets", post("", &["4a"; 63].join("\x1e")), 200),
        row("post of 64 packets", post("", &["4a"; 64].join("\x1e")), 200),
        row("post of 65 packets", post("", &["4a"; 65].join("\x1e")), 200),
        row("post of 200 packets", post("", &["4a"; 200].join("\x1e")), 200),
        row("post of an invalid packet", post("", "4a\x1e9"), 400),
        row("post of a close packet", post("", "4a\x1e1\x1e4b"), 200),
        row("post that is empty", post("", ""), 400),
        row("post without a length", swap(post("", ""), "Content-Length: 0\r\n", ""), 400),
        row("post, length with a zero in front", swap(post("", "4a"), ": 2", ": 02"), 200),
        row("post, length with a sign", swap(post("", "4a"), ": 2", ": +2"), 400),
        row("post, length twice", post("Content-Length: 2\r\n", "4a"), 200),
        row("post, two lengths", post("Content-Length: 3\r\n", "4a"), 400),
        row("post, chunked", request("POST", SESSION, "Transfer-Encoding: chunked\r\n", "2\r\n4a\r\n0\r\n\r\n"), 200),
        row("post, gzip, chunked", request("POST", SESSION, "Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 400),
        alone("post of an unknown session", swap(post("", "4a"), "SID", "zzz"), 400),
        alone("post of another revision", swap(post("", "4a"), "EIO=4", "EIO=3"), 400),
        alone("post without a session", swap(post("", "4a"), "&sid=SID", ""), 400),
        row("post that closes", post("Connection: close\r\n", "4a"), 200),
        row("post of all that is taken", post("", &format!("4{}", "x".repeat(2999))), 200),
        row("post of a byte more", post("", &format!("4{}", "x".repeat(3000))), 413),
        row("post, own origin", post("Origin: http://localhost:9\r\n", "4a"), 200),
        alone("post, forwarded host", post("X-Forwarded-Host: a.example\r\nOrigin: http://a.example\r\n", "4a"), 200),
        alone("post, other host", post("X-Forwarded-Host: b.example\r\nOrigin: http://a.example\r\n", "4a"), 403),
        alone("post, same origin", post("Sec-Fetch-Site: same-origin\r\nOrigin: http://a.example\r\n", "4a"), 200),
        row("open", open("EIO=4&transport=polling", ""), 200),
        row("open, good origin", open("EIO=4&transport=polling", "Origin: https://good.example\r\n"), 200),
        row("open of v3", open("EIO=3&transport=polling", ""), 400),
        row("open, denied", open("EIO=4&transport=polling&deny", ""), 403),
        row("open, a panic", open("EIO=4&transport=polling&panic", ""), 503),
        row("open, no transport", open("EIO=4", ""), 400),
        row("open, not upgraded", open("EIO=4&transport=websocket", ""), 400),
        row("another path", swap(get(""), "/engine.io/", "/other/"), 404),
        row("no slash", swap(get(""), "/engine.io/", "/engine.io"), 404),
        row("OPTIONS", swap(get(""), "GET", "OPTIONS"), 204),
        alone("PUT", swap(post("", "4a"), "POST", "PUT"), 400),
        row("lower case", swap(get(""), "GET", "get"), 400),
    ]
}

#[tokio::test]
async fn a_request_gets_the_same_answer_and_does_the_same_with_hyper_and_without_in_any_pieces() {
    for cors in [true, false] {
        let server = TestServer::start(|config| {
            config.cors = cors.then(|| Cors::with_origins(CorsOrigins::Reflect));
            config.cookie = cors.then(Cookie::default);
            config.max_payload = 3000;
            config.trusted_proxies = ["127.0.0.1".parse::<Network>().unwrap()].into_iter().collect();
            config.origins =
                Origins::Listed { origins: vec!["https://good.example".to_owned()], own: true, loopback: false };
        });
        for mut row in rows() {
            if row.name == "OPTIONS" && !cors {
                row.status = 400;
            }
            let expected = ask(&server, Way::Hyper, &row).await;
            assert_eq!(expected.status, row.status, "{}: {expected:?}", row.name);
            for way in WAYS {
                assert_eq!(ask(&server, way, &row).await, expected, "{} {way:?}", row.name);
            }
        }
    }
}

#[tokio::test]
async fn a_long_answer_is_compressed_with_hyper_and_without() {
    let server = TestServer::start(|config| config.cors = Some(Cors::default()));
    for (extra, coding) in
        [("Accept-Encoding: gzip\r\n", "gzip"), ("Accept-Encoding: br, deflate\r\n", "deflate"), ("", "")]
    {
        let mut answers = Vec::new();
        for way in [Way::Plain, Way::Hyper] {
            let query = format!("EIO=4&transport=polling&sid={}", server.open().await);
            assert_eq!(server.post(&query, "4burst 1 2000").await.status, 200);
            let mut http = send(&server, way, &request("GET", &query, extra, "")).await;
            let Response { head, bytes, .. } = http.response().await;
            assert_eq!(head.contains(&format!("content-encoding: {coding}\r\n")), !coding.is_empty(), "{head}");
            let head: Vec<_> = head.lines().filter(|line| !line.starts_with("date")).map(str::to_owned).collect();
            answers.push((head, bytes));
        }
        assert_eq!(answers[0], answers[1]);
    }
}

#[tokio::test]
async fn plain_and_other_requests_alternate_on_one_connection_and_within_one_segment() {
    let server = TestServer::start(|_| {});
    let query = format!("EIO=4&transport=polling&sid={}", server.open().await);
    let (get, other) = (request("GET", &query, "", ""), request("GET", &query, UNUSUAL, ""));
    let chunked = request("POST", &query, "Transfer-Encoding: chunked\r\n", "2\r\n4d\r\n0\r\n\r\n");
    let page = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned();
    let requests = [
        (post_request(&query, "4a"), "ok"),
        (get.clone(), "4a"),
        (page.clone(), ""),
        (post_request(&query, "4b"), "ok"),
        (other.clone(), "4b"),
        (post_request(&query, "4c"), "ok"),
        (get.clone(), "4c"),
        (chunked, "ok"),
        (get.clone(), "4d"),
        (page, ""),
        (post_request(&query, "4e"), "ok"),
        (get, "4e"),
    ];
    let bytes = requests.iter().map(|(request, _)| request.as_str()).collect::<String>();
    for at in [0, 1, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
        let (first, rest) = bytes.as_bytes().split_at(at);
        let mut http = server.connect().await;
        http.send(first).await;
        server.connect().await.stay_here().await;
        http.send(rest).await;
        for (request, body) in &requests {
            assert_eq!(http.response().await.body, *body, "{request}");
        }
    }
    let mut http = server.connect().await;
    for (request, body) in &requests {
        http.send(request.as_bytes()).await;
        assert_eq!(http.response().await.body, *body, "{request}");
    }
}

#[tokio::test]
async fn a_poll_whose_session_ends_abruptly_gets_400_with_hyper_and_without() {
    for way in [Way::Plain, Way::Hyper] {
        // On one shard the request that was sent first begins first.
        let mut server = TestServer::start_shards(1, |_| {});
        let query = format!("EIO=4&transport=polling&sid={}", server.open().await);
        let mut poll = send(&server, way, &request("GET", &query, "", "")).await;
        server.connect().await.stay_here().await;
        let _ = server.post(&query, "4panic").await;
        assert_eq!(server.closed().await, CloseReason::Internal);
        let answer = poll.response().await;
        assert_eq!((answer.status, answer.body.as_str()), (400, ""), "{way:?}");
        assert_eq!(poll.get("EIO=4&transport=polling").await.status, 200);
    }
}

#[tokio::test]
async fn a_peer_that_disconnects_during_its_poll_ends_its_session_with_hyper_and_without() {
    for way in [Way::Plain, Way::Cut(50), Way::Hyper] {
        for reset in [false, true] {
            let mut server = TestServer::start_shards(1, |_| {});
            let query = format!("EIO=4&transport=polling&sid={}", server.open().await);
            assert_eq!(server.event().await, Event::Opened);
            let poll = send(&server, way, &request("GET", &query, "", "")).await;
            // Answered after it, so the poll waits now.
            server.connect().await.stay_here().await;
            if reset {
                poll.stream.set_zero_linger().unwrap();
            }
            drop(poll);
            assert_eq!(server.event().await, Event::Closed(CloseReason::TransportError), "{way:?} {reset}");
        }
    }
}

#[tokio::test]
async fn sessions_share_a_connection() {
    let server = TestServer::start(|_| {});
    let mut http = server.connect().await;
    let mut queries = Vec::new();
    for _ in 0..3 {
        let open = http.get("EIO=4&transport=polling").await.body;
        queries.push(format!("EIO=4&transport=polling&sid={}", sid_of(&open)));
    }
    for round in 0..3 {
        for query in &queries {
            assert_eq!(http.post(query, &format!("4{round}")).await.body, "ok");
        }
        for query in &queries {
            assert_eq!(http.get(query).await.body, format!("4{round}"));
        }
    }
}
