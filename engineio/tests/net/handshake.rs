//! Handshakes, and the order of their refusals (Engine.IO server errors 0 to 5).

use engineio::http::{Cors, CorsOrigins, Origins};

use super::support::{TestServer, request, upgrade_request};

#[tokio::test]
async fn a_polling_handshake_names_sid_upgrades_and_limits() {
    let server = TestServer::start(|_| {});
    let response = server.get("EIO=4&transport=polling").await;
    assert_eq!(response.status, 200);
    assert!(response.head.contains("content-type: text/plain; charset=utf-8\r\n"), "{}", response.head);
    assert!(response.head.contains("cache-control: no-store\r\n"));
    let (start, end) = response.body.split_once(r#"","#).unwrap();
    assert!(start.starts_with(r#"0{"sid":""#));
    assert_eq!(end, r#""upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#);
}

#[tokio::test]
async fn refusals_carry_their_code_and_come_in_order() {
    let server = TestServer::start(|_| {});
    let sid = server.open().await;
    let table = [
        ("GET", "EIO=4".to_owned(), 400, r#"{"code":0,"message":"Transport unknown"}"#),
        ("GET", "EIO=9&transport=__proto__&sid=x".to_owned(), 400, r#"{"code":0,"message":"Transport unknown"}"#),
        ("PUT", "EIO=9&transport=polling&sid=zzz".to_owned(), 400, r#"{"code":1,"message":"Session ID unknown"}"#),
        ("GET", format!("EIO=4&transport=websocket&sid={sid}"), 400, r#"{"code":3,"message":"Bad request"}"#),
        ("POST", "EIO=9&transport=polling&deny".to_owned(), 400, r#"{"code":2,"message":"Bad handshake method"}"#),
        ("OPTIONS", "EIO=4&transport=polling".to_owned(), 400, r#"{"code":2,"message":"Bad handshake method"}"#),
        ("GET", "EIO=9&transport=websocket&deny".to_owned(), 400, r#"{"code":3,"message":"Bad request"}"#),
        ("GET", "EIO=9&transport=polling&deny".to_owned(), 403, r#"{"code":4,"message":"Forbidden"}"#),
        ("GET", "transport=polling".to_owned(), 400, r#"{"code":5,"message":"Unsupported protocol version"}"#),
        ("PUT", format!("EIO=4&transport=polling&sid={sid}"), 400, ""),
    ];
    for (method, query, status, body) in table {
        let mut http = server.connect().await;
        http.send(request(method, &query, "Content-Length: 0\r\n", "").as_bytes()).await;
        let response = http.response().await;
        assert_eq!((response.status, response.body.as_str()), (status, body), "{method} {query}");
    }
    assert_eq!(server.post(&format!("EIO=4&transport=polling&sid={sid}"), "4a").await.body, "ok");
}

#[tokio::test]
async fn a_websocket_handshake_is_refused_before_the_101_and_the_connection_closed() {
    let server = TestServer::start(|_| {});
    for (query, status, body) in [
        ("EIO=3&transport=websocket", 400, "Unsupported protocol version"),
        ("EIO=4&transport=websocket&deny", 400, "Forbidden"),
        ("EIO=4&transport=websocket&sid=zzz", 400, "Session ID unknown"),
    ] {
        let mut http = server.connect().await;
        http.send(upgrade_request(query).as_bytes()).await;
        let response = http.response().await;
        assert_eq!((response.status, response.body.as_str()), (status, body), "{query}");
        assert!(response.head.contains("content-type: text/html\r\n"), "{}", response.head);
        assert!(http.ended().await);
    }
}

#[tokio::test]
async fn a_wrong_websocket_version_gets_426_with_the_supported_version() {
    let server = TestServer::start(|_| {});
    let mut http = server.connect().await;
    let wrong = upgrade_request("EIO=4&transport=websocket").replace("Version: 13", "Version: 8");
    http.send(wrong.as_bytes()).await;
    let response = http.response().await;
    assert_eq!(response.status, 426);
    assert!(response.head.contains("sec-websocket-version: 13\r\n"));
}

#[tokio::test]
async fn a_server_that_is_full_says_when_to_come_back() {
    let server = TestServer::start(|config| config.max_sessions = 2);
    server.open().await;
    let _second = server.websocket().await;
    for upgrade in [false, true] {
        let mut http = server.connect().await;
        let request = match upgrade {
            true => upgrade_request("EIO=4&transport=websocket"),
            false => request("GET", "EIO=4&transport=polling", "", ""),
        };
        http.send(request.as_bytes()).await;
        let response = http.response().await;
        assert_eq!(response.status, 503);
        assert!(response.head.contains("retry-after: 1\r\n"), "{}", response.head);
    }
}

#[tokio::test]
async fn another_path_is_not_found_and_keeps_the_connection() {
    let server = TestServer::start(|_| {});
    let mut http = server.connect().await;
    for path in ["/", "/engine.io?EIO=4&transport=polling", "/other"] {
        http.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await;
        assert_eq!(http.response().await.status, 404);
    }
}

#[tokio::test]
async fn every_answer_has_cors_headers_and_a_preflight_repeats_what_was_asked() {
    let server = TestServer::start(|config| config.cors = Some(Cors::default()));
    for (method, query, status) in [
        ("GET", "EIO=4&transport=polling", 200),
        ("GET", "EIO=4&transport=none", 400),
        ("OPTIONS", "EIO=4&transport=polling", 204),
    ] {
        let mut http = server.connect().await;
        http.send(request(method, query, "Access-Control-Request-Headers: x-a, x-b\r\n", "").as_bytes()).await;
        let response = http.response().await;
        assert_eq!(response.status, status);
        assert!(response.head.contains("access-control-allow-origin: *\r\n"), "{}", response.head);
        if status == 204 {
            assert!(response.head.contains("access-control-allow-methods: get,head,put,patch,post,delete\r\n"));
            assert!(response.head.contains("access-control-allow-headers: x-a, x-b\r\n"));
        }
    }
}

#[tokio::test]
async fn a_foreign_origin_is_refused_on_every_request_and_upgrade() {
    let server = TestServer::start(|config| {
        config.cors = Some(Cors::with_origins(CorsOrigins::Reflect));
        config.origins =
            Origins::Listed { origins: vec!["https://good.example".to_owned()], own: false, loopback: false };
    });
    for (origin, allowed) in [("https://good.example", true), ("https://good.example.evil", false), ("null", false)] {
        for upgrade in [false, true] {
            let mut http = server.connect().await;
            let request = match upgrade {
                true => upgrade_request("EIO=4&transport=websocket"),
                false => request("GET", "EIO=4&transport=polling", "", ""),
            };
            http.send(request.replace("Host", &format!("Origin: {origin}\r\nHost")).as_bytes()).await;
            let response = http.response().await;
            assert_eq!(
                response.status,
                if !allowed {
                    403
                } else if upgrade {
                    101
                } else {
                    200
                },
                "{origin}"
            );
            assert_eq!(response.head.contains(&format!("access-control-allow-origin: {origin}\r\n")), allowed);
        }
    }
}

#[tokio::test]
async fn a_head_that_is_too_long_or_not_http_is_refused() {
    let server = TestServer::start(|_| {});
    let long = format!("GET /engine.io/?EIO=4 HTTP/1.1\r\nHost: l\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let many = format!("GET /engine.io/?EIO=4 HTTP/1.1\r\nHost: l\r\n{}\r\n", "X: y\r\n".repeat(101));
    for (head, status) in [
        (long.as_str(), 431),
        (&many, 431),
        ("\x16\x03\x01\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ] {
        let mut http = server.connect().await;
        http.send(head.as_bytes()).await;
        assert_eq!(http.response().await.status, status);
        assert!(http.ended().await);
    }
}

#[tokio::test]
async fn a_head_that_two_parsers_may_read_differently_is_refused_and_nothing_after_it_is_answered() {
    let server = TestServer::start(|_| {});
    let start = "/engine.io/?EIO=4&transport=polling HTTP/1.1\r\n";
    for (head, status) in [
        (format!("GET {start}\r\n"), 400),
        (format!("GET {start}Host: a\r\nHost: b\r\n\r\n"), 400),
        (format!("GET {start}Host: a b\r\n\r\n"), 400),
        (format!("GET {start}Host: a/b\r\n\r\n"), 400),
        (format!("GET {start}Host: user@a\r\n\r\n"), 400),
        (format!("GET {start}Host: a:port\r\n\r\n"), 400),
        (
            format!("POST {start}Host: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (format!("POST {start}Host: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("POST {start}Host: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("POST {start}Host: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("POST {start}Host: a\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcd"), 400),
        (format!("GET /engine.io/?{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(9000)), 414),
    ] {
        let mut http = server.connect().await;
        http.send(format!("{head}GET /canary HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await;
        assert_eq!(http.response().await.status, status, "{head}");
        assert!(http.ended().await, "{head}");
    }
}
