//! Handshakes, and the refusals with their order (Engine.IO server errors 0 to 5).

use crate::support::{TestServer, request, upgrade_request};

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
        ("EIO=3&transport=websocket", 400, r#"{"code":5,"message":"Unsupported protocol version"}"#),
        ("EIO=4&transport=websocket&deny", 403, r#"{"code":4,"message":"Forbidden"}"#),
        ("EIO=4&transport=websocket&sid=zzz", 400, r#"{"code":1,"message":"Session ID unknown"}"#),
    ] {
        let mut http = server.connect().await;
        http.send(upgrade_request(query).as_bytes()).await;
        let response = http.response().await;
        assert_eq!((response.status, response.body.as_str()), (status, body), "{query}");
        assert!(http.ended().await);
    }
}

#[tokio::test]
async fn a_wrong_websocket_version_gets_426_with_the_version_spoken() {
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
