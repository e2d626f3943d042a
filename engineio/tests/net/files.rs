//! Files below the engine's path.

use engineio::{Config, http::Cors};

use super::support::{Http, TestServer};

fn with_file(config: &mut Config) {
    config.files.add("client.js", "application/javascript; charset=utf-8", "x".repeat(3000));
    config.cors = Some(Cors::default());
}

async fn ask(http: &mut Http, head: &str) {
    let (method, path) = head.split_once(' ').unwrap();
    let (path, fields) = path.split_once('\n').unwrap_or((path, ""));
    http.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").as_bytes()).await;
}

#[tokio::test]
async fn files_are_served_below_the_engine_s_path_and_nothing_else_is_changed() {
    let server = TestServer::start(with_file);
    let mut http = server.connect().await;
    ask(&mut http, "GET /engine.io/client.js").await;
    let file = http.response().await;
    assert_eq!((file.status, file.body.len()), (200, 3000));
    for field in [
        "content-type: application/javascript; charset=utf-8",
        "cache-control: public, max-age=0",
        "access-control-allow-origin: *",
        "vary: accept-encoding",
    ] {
        assert!(file.head.contains(&format!("{field}\r\n")), "{field} {}", file.head);
    }
    // On the same connection, with and without a query.
    ask(&mut http, "GET /engine.io/client.js?v=1\nAccept-Encoding: gzip, br\r\n").await;
    let packed = http.response().await;
    assert!(packed.head.contains("content-encoding: gzip\r\n") && packed.bytes.starts_with(&[0x1f, 0x8b]));
    let etag = file.head.split("etag: ").nth(1).unwrap().split("\r\n").next().unwrap();
    ask(&mut http, &format!("GET /engine.io/client.js\nIf-None-Match: W/{etag}\r\n")).await;
    assert_eq!(http.response().await.status, 304);
    for other in ["GET /engine.io/other.js", "GET /engine.io/%2e%2e/client.js", "GET /engine.io/../client.js"] {
        ask(&mut http, other).await;
        assert_eq!(http.response().await.body, r#"{"code":0,"message":"Transport unknown"}"#, "{other}");
    }
    ask(&mut http, "GET /client.js").await;
    assert_eq!(http.response().await.status, 404);
    ask(&mut http, "OPTIONS /engine.io/client.js\nOrigin: http://a\r\n").await;
    assert_eq!(http.response().await.status, 204);
    assert_eq!(http.get("EIO=4&transport=polling").await.status, 200);
}

#[tokio::test]
async fn a_head_request_gets_the_length_and_no_body() {
    let server = TestServer::start(with_file);
    let mut http = server.connect().await;
    ask(&mut http, "HEAD /engine.io/client.js\nConnection: close\r\n").await;
    let mut answer = Vec::new();
    super::support::soon(tokio::io::AsyncReadExt::read_to_end(&mut http.stream, &mut answer)).await.unwrap();
    let answer = String::from_utf8(answer).unwrap().to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 200 ") && answer.contains("content-length: 3000\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}
