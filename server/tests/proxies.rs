//! Behind proxies: whose address counts, whose page may connect, for which host the server answers. The tests are the
//! proxy themselves; conformance/proxies.test.mjs has real ones.

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};

use support::{DEVELOPMENT, PATIENCE, Server};

/// The status of a polling handshake with these header lines.
fn handshake(server: &Server, headers: &str) -> u16 {
    handshake_behind(server, b"", headers)
}

/// The same, with bytes in front of it; 0 if the connection is closed without an answer.
fn handshake_behind(server: &Server, front: &[u8], headers: &str) -> u16 {
    status(&ask(server, front, "GET", "", headers, ""))
}

/// Opens a session that shows a token, in one connection for each of its two requests. Returns the status of its handshake.
fn enter(server: &Server, headers: &str) -> u16 {
    enter_behind(server, b"", headers)
}

fn enter_behind(server: &Server, front: &[u8], headers: &str) -> u16 {
    let open = ask(server, front, "GET", "", headers, "");
    if let Some((sid, _)) = open.split_once(r#""sid":""#).and_then(|(_, rest)| rest.split_once('"')) {
        let connect = format!(r#"40{{"token":"{}"}}"#, support::token("alice"));
        assert_eq!(status(&ask(server, front, "POST", &format!("&sid={sid}"), headers, &connect)), 200);
    }
    status(&open)
}

fn ask(server: &Server, front: &[u8], method: &str, query: &str, headers: &str, body: &str) -> String {
    let mut stream = std::net::TcpStream::connect(&server.address).unwrap();
    stream.write_all(front).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let headers = headers.lines().map(|line| format!("{}\r\n", line.trim())).collect::<String>();
    let path = format!("/socket.io/?EIO=4&transport=polling{query}");
    let length = body.len();
    let request =
        format!("{method} {path} HTTP/1.1\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    let mut answer = String::new();
    // Nothing was answered if the connection breaks. What stands in front may break it before the request is written.
    let asked = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
    asked.map(|_| answer).unwrap_or_default()
}

fn status(answer: &str) -> u16 {
    if answer.is_empty() {
        return 0;
    }
    answer.get(9..12).and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn limits_count_the_client_that_a_trusted_proxy_names_and_never_the_proxy() {
    let from = |server: &Server, clients: &str| enter(server, &format!("Host: a\nX-Forwarded-For: {clients}"));
    let server = Server::start(&["limits.sockets_per_ip=1"]);
    assert_eq!(from(&server, "192.0.2.1"), 200);
    assert_eq!(from(&server, "192.0.2.2"), 200);
    assert_eq!(from(&server, "192.0.2.1"), 503, "its second session");
    assert_eq!(from(&server, "203.0.113.9, 192.0.2.1"), 503, "it may not choose its address");
    assert_eq!(enter(&server, "Host: a\nForwarded: for=192.0.2.2"), 503);
    for _ in 0..5 {
        assert_eq!(enter(&server, "Host: a"), 200, "a proxy that names nobody");
    }
    let alone = Server::start(&["limits.sockets_per_ip=1", "http.trusted_proxies=[]"]);
    assert_eq!(from(&alone, "192.0.2.1"), 200);
    assert_eq!(from(&alone, "192.0.2.2"), 503, "the peer is no trusted proxy, so it counts itself");
}

#[test]
fn the_proxy_protocol_names_the_client_of_a_trusted_proxy() {
    let keys = ["limits.sockets_per_ip=1", "http.proxy_protocol=true"];
    let first: &[u8] = b"PROXY TCP4 192.0.2.1 127.0.0.1 4711 80\r\n";
    let second: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x02\x7f\0\0\x01\x12\x67\0\x50";
    for header in [first, second] {
        let server = Server::start(&keys);
        assert_eq!(enter_behind(&server, header, "Host: a"), 200, "{}", header.escape_ascii());
        assert_eq!(handshake_behind(&server, header, "Host: a"), 503, "its second session");
        assert_eq!(handshake_behind(&server, header, "Host: a\nX-Forwarded-For: 192.0.2.9"), 503, "it is no proxy");
    }
    // The proxy's own health check.
    let server = Server::start(&keys);
    assert_eq!(handshake_behind(&server, b"PROXY UNKNOWN\r\n", "Host: a"), 200);
    assert_eq!(handshake(&server, "Host: a"), 0, "no header");
    // Without trust, or without the key, such a header is no HTTP.
    for keys in [&["http.trusted_proxies=[]", "http.proxy_protocol=true"][..], &[]] {
        assert_eq!(handshake_behind(&Server::start(keys), first, "Host: a"), 400, "{keys:?}");
    }
}

#[test]
fn the_own_page_connects_whatever_a_proxy_does_to_the_host() {
    let server = Server::start(&[]);
    let alone = Server::start(&["http.trusted_proxies=[]"]);
    for (headers, trusted, without) in [
        // nginx: proxy_set_header Host $host, on a port of its own.
        ("Host: chat.example\nOrigin: http://chat.example:8080", 200, 200),
        // nginx: proxy_set_header Host $http_host; or HAProxy, which changes nothing.
        ("Host: chat.example:8080\nOrigin: http://chat.example:8080", 200, 200),
        ("Host: chat.example:443\nOrigin: https://chat.example", 200, 200),
        // Apache without ProxyPreserveHost.
        ("Host: 127.0.0.1:3000\nX-Forwarded-Host: chat.example:8080\nOrigin: http://chat.example:8080", 200, 403),
        ("Host: 127.0.0.1:3000\nSec-Fetch-Site: same-origin\nOrigin: https://chat.example", 200, 200),
        // Pages of others.
        ("Host: chat.example\nOrigin: http://evil.example", 403, 403),
        ("Host: 127.0.0.1:3000\nX-Forwarded-Host: chat.example\nOrigin: http://evil.example", 403, 403),
        ("Host: chat.example\nSec-Fetch-Site: cross-site\nOrigin: http://evil.example", 403, 403),
        ("Host: chat.example:8080\nOrigin: http://chat.example:9090", 403, 403),
    ] {
        assert_eq!(handshake(&server, headers), trusted, "{headers}");
        assert_eq!(handshake(&alone, headers), without, "{headers}");
    }
}

#[test]
fn a_name_that_was_made_to_point_here_is_refused() {
    let rebound = "Host: evil.example\nOrigin: http://evil.example\nSec-Fetch-Site: same-origin";
    let data = tempfile::tempdir().unwrap();
    let development = Server::start(&[DEVELOPMENT, &format!("data_dir={}", data.path().display())]);
    assert_eq!(handshake(&development, rebound), 403);
    for host in ["localhost:3000", "127.0.0.1", "[::1]:80"] {
        assert_eq!(handshake(&development, &format!("Host: {host}")), 200, "{host}");
    }
    let listed = Server::start(&["http.hosts=chat.example"]);
    assert_eq!(handshake(&listed, rebound), 403);
    assert_eq!(handshake(&listed, "Host: localhost"), 403);
    assert_eq!(handshake(&listed, "Host: chat.example:3000"), 200);
    assert_eq!(handshake(&listed, "Host: 10.0.0.1\nX-Forwarded-Host: chat.example"), 200);
    assert_eq!(handshake(&listed, "Host: chat.example\nX-Forwarded-Host: evil.example"), 403);
}

#[test]
fn a_refused_origin_is_logged_once_with_what_to_set() {
    let mut server = Server::start_logging(&["log.level=warn"]);
    for origin in ["http://a.example", "http://a.example", "http://b.example"] {
        assert_eq!(handshake(&server, &format!("Host: chat.example\nOrigin: {origin}")), 403);
    }
    let mut log = BufReader::new(server.process.stderr.take().unwrap()).lines();
    let mut next = || log.next().unwrap().unwrap();
    let lines = [next(), next()];
    for (line, origin) in lines.iter().zip(["http://a.example", "http://b.example"]) {
        assert!(line.contains("http.allow_origin") && line.contains(origin) && line.contains("chat.example"), "{line}");
    }
}

#[test]
fn a_refused_client_of_version_2_is_logged_with_what_to_set() {
    let mut server = Server::start_logging(&["log.level=warn"]);
    // The last `EIO` counts. Clients of version 2 always name theirs, so whoever does not is not worth a line.
    for query in ["&EIO=", "&EIO=3", "&EIO=3"] {
        assert_eq!(status(&ask(&server, b"", "GET", query, "Host: a", "")), 400, "{query}");
    }
    // This is said next.
    assert_eq!(handshake(&server, "Host: a\nOrigin: http://a.example"), 403);
    let mut log = BufReader::new(server.process.stderr.take().unwrap()).lines();
    let mut next = || log.next().unwrap().unwrap();
    let (version, origin) = (next(), next());
    assert!(version.contains("Engine.IO v3") && version.contains("engine.allow_eio3"), "{version}");
    assert!(origin.contains("http.allow_origin"), "{origin}");
}
