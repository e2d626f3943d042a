//! HTTP beside the socket, of the real binary: what load balancers and proxies ask.

mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use support::{PATIENCE, Server, run, token};

/// A connection that has been accepted by the kernel.
fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends bytes, and reads as long as `until` has not come. Empty if the connection ends first.
fn ask(stream: &mut TcpStream, request: &str, until: &str) -> String {
    let mut answer = Vec::new();
    let mut buffer = [0; 1024];
    stream.write_all(request.as_bytes()).unwrap();
    loop {
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => answer.extend_from_slice(&buffer[..count]),
            Ok(0) | Err(_) => return String::new(),
        }
        let text = String::from_utf8_lossy(&answer);
        if text.contains(until) {
            return text.into_owned();
        }
    }
}

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn a_load_balancer_may_check_with_options_and_head() {
    let server = Server::start(&[]);
    for path in ["/", "/healthz", "/readyz"] {
        // HAProxy's default check has no Host.
        let answer = ask(&mut connect(&server), &format!("OPTIONS {path} HTTP/1.0\r\n\r\n"), "\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.0 204 "), "{path}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("\r\nallow: get, head, options\r\n"), "{path}: {answer}");
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n{HEALTH}");
        // The answer to HEAD has no body: the next answer begins where it would be.
        let answer = ask(&mut connect(&server), &request, "ok\n");
        assert_eq!(answer.matches("HTTP/1.1 200 ").count(), 2, "{path}: {answer}");
        assert!(answer.contains("\r\n\r\nHTTP/1.1 200 "), "{path}: {answer}");
    }
}

#[test]
fn silent_connections_of_one_address_leave_room_for_others() {
    run(async {
        let server = Server::start(&["limits.pending_per_ip=8", "http.trusted_proxies=[]"]);
        let mut member = server.connect("member").await;
        let mut silent: Vec<_> = (0..50).map(|_| connect(&server)).collect();
        assert!(ask(&mut connect(&server), HEALTH, "ok\n").starts_with("HTTP/1.1 200"), "the newest is served");
        // All but the last few were closed, the oldest first.
        for stream in silent.iter_mut().take(40) {
            assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
        }
        assert!(ask(silent.last_mut().unwrap(), HEALTH, "ok\n").starts_with("HTTP/1.1 200"));
        // Others are not limited by them, and what has a session does not count.
        for n in 0..20 {
            let mut more = server.connect(&format!("user-{n}")).await;
            more.send(r#"420["message",{"message":"x"}]"#).await;
            more.until(r#"430[{"ok":true"#).await;
        }
        member.send(r#"420["message",{"message":"x"}]"#).await;
        member.until(r#"430[{"ok":true"#).await;
    });
}

#[test]
fn idle_connections_make_room_when_descriptors_run_short() {
    run(async {
        let server = Server::start_with_descriptors(64, &[]);
        let mut member = server.connect("member").await;
        let mut kept: Vec<_> = (0..10).map(|_| connect(&server)).collect();
        for stream in &mut kept {
            assert!(ask(stream, HEALTH, "ok\n").starts_with("HTTP/1.1 200"));
        }
        // More than the process has descriptors, and they say nothing.
        let silent: Vec<_> = (0..100).map(|_| connect(&server)).collect();
        assert!(ask(&mut connect(&server), HEALTH, "ok\n").starts_with("HTTP/1.1 200"));
        // Those that had been idle for the longest time are closed; a member of the chat is not idle.
        for stream in &mut kept {
            assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0);
        }
        member.send(r#"420["message",{"message":"x"}]"#).await;
        member.until(r#"430[{"ok":true"#).await;
        drop(silent);
    });
}

/// What `/metrics` says.
fn metrics(address: &str) -> String {
    let stream = &mut TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let answer = ask(stream, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", "# EOF\n");
    assert!(answer.contains("application/openmetrics-text"), "{answer}");
    answer
}

/// The value of a series.
fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series}: {metrics}")).parse().unwrap()
}

#[test]
fn the_metrics_are_those_of_all_shards() {
    run(async {
        let keys = ["workers=3", "limits.sockets_per_user=1", "limits.message_rate=0.001", "limits.message_burst=1"];
        let server = Server::start(&keys);
        let mut replaced = server.connect("alice").await;
        let mut alice = server.connect("alice").await;
        replaced.until(r#"42["error",{"message":"the user has too many sockets"#).await;
        replaced.until_closed().await;
        let _bob = server.connect("bob").await;
        let mut refused = server.open().await;
        refused.send("40").await;
        refused.until("44").await;
        alice.send(r#"420["message",{"message":"x"}]"#).await;
        alice.until(r#"430[{"ok":true"#).await;
        alice.send(r#"421["message",{"message":"x"}]"#).await;
        alice.until(r#"431[{"ok":false"#).await;
        let unknown = "GET /socket.io/?EIO=4&transport=polling&sid=x HTTP/1.1\r\nHost: a\r\n\r\n";
        assert!(ask(&mut connect(&server), unknown, "}").starts_with("HTTP/1.1 400"));
        let foreign =
            "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\nOrigin: https://b.example\r\n\r\n";
        assert!(ask(&mut connect(&server), foreign, "}").starts_with("HTTP/1.1 403"));
        let answer = metrics(&server.address);
        for (series, expected) in [
            ("chat_sockets", 2.0),
            ("chat_sockets_connected_total", 3.0),
            ("chat_sockets_replaced_total", 1.0),
            (r#"chat_connects_refused_total{code="token_missing"}"#, 1.0),
            (r#"chat_connects_refused_total{code="later"}"#, 0.0),
            ("chat_messages_received_total", 2.0),
            ("chat_messages_delivered_total", 2.0),
            (r#"chat_rate_limited_total{event="message"}"#, 1.0),
            (r#"chat_rate_limited_total{event="join"}"#, 0.0),
            (r#"chat_sessions{transport="websocket"}"#, 3.0),
            (r#"chat_sessions_opened_total{transport="websocket"}"#, 4.0),
            (r#"chat_sessions_closed_total{reason="slow_consumer"}"#, 0.0),
            (r#"chat_handshakes_refused_total{reason="connect_rate"}"#, 0.0),
            (r#"chat_handshakes_refused_total{reason="connections"}"#, 0.0),
            (r#"chat_handshakes_refused_total{reason="origin"}"#, 1.0),
            (r#"chat_requests_refused_total{reason="session_unknown"}"#, 1.0),
            ("chat_queued_bytes", 0.0),
            ("chat_store_up", 1.0),
            ("chat_store_messages_total", 1.0),
        ] {
            assert!((value(&answer, series) - expected).abs() < 0.1, "{series}: {answer}");
        }
        // A session that had just ended may still be counted above: the server looks at them ten times a second at most.
        assert!(value(&answer, "chat_store_commit_seconds_count") >= 1.0);
        assert!(
            value(&answer, "chat_received_bytes_total") > 1000.0 && value(&answer, "chat_sent_bytes_total") > 1000.0
        );
        assert!(value(&answer, "process_resident_memory_bytes") > 1e6);
        (0..3).for_each(|n| assert!(value(&answer, &format!(r#"chat_shard_busy_seconds_total{{shard="{n}"}}"#)) > 0.0));
        alice.send(r#"422["history",{"limit":1}]"#).await;
        alice.until(r#"432[{"ok":true"#).await;
        assert!(value(&metrics(&server.address), "chat_store_read_seconds_count") >= 1.0);
    });
}

/// A token that names a key which nobody knows yet.
fn token_of_unknown_key() -> String {
    let [header, claims] = [r#"{"alg":"RS256","kid":"new"}"#, "{}"].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{header}.{claims}.AAAA")
}

#[test]
fn every_refused_connect_is_counted_by_its_code() {
    run(async {
        // Nothing listens on port 1.
        let server = Server::start(&[
            "auth.jwks=http://127.0.0.1:1/jwks",
            "limits.sockets_per_user=1",
            "limits.sockets_per_user_policy=refuse",
            "http.api_key=0123456789abcdef0123456789abcdef",
        ]);
        let _alice = server.connect("alice").await;
        let ban = "PUT /api/users/eve/ban HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer 0123456789abcdef0123456789abcdef\r\n\r\n";
        assert!(ask(&mut connect(&server), ban, "}").starts_with("HTTP/1.1 200"));
        let connect = |token: &str| format!(r#"40{{"token":"{token}"}}"#);
        for packet in [
            "40".to_owned(),
            connect("x"),
            connect(&"x".repeat(70_000)),
            connect(&token("eve")),
            connect(&token("alice")),
        ] {
            let mut refused = server.open().await;
            refused.send(&packet).await;
            refused.until("44").await;
        }
        // Official clients would not come back after a CONNECT_ERROR, so there is none.
        let mut later = server.open().await;
        later.send(&connect(&token_of_unknown_key())).await;
        assert_eq!(later.next_text().await.map(|text| text.starts_with('0')), Some(true));
        later.until_closed().await;
        let answer = metrics(&server.address);
        for (code, expected) in [
            ("token_missing", 1.0),
            ("token_invalid", 2.0),
            ("token_expired", 0.0),
            ("token_not_yet_valid", 0.0),
            ("claims_invalid", 0.0),
            ("banned", 1.0),
            ("too_many_connections", 1.0),
            ("later", 1.0),
        ] {
            let series = format!(r#"chat_connects_refused_total{{code="{code}"}}"#);
            assert!((value(&answer, &series) - expected).abs() < 0.1, "{series}: {answer}");
        }
        assert!(value(&answer, "chat_jwks_failures_total") >= 1.0);
        // There is no set yet: it is as old as the wait for one.
        assert!(value(&answer, "chat_jwks_age_seconds") > 0.0);
    });
}

#[test]
fn the_admin_port_takes_its_paths_from_the_public_one() {
    run(async {
        let server = Server::start(&["http.admin_listen=127.0.0.1:0"]);
        let admin = server.admin.clone().unwrap();
        let status = |address: &str, path: &str| {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let answer = ask(&mut stream, &format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"), "\r\n\r\n");
            answer.split(' ').nth(1).unwrap_or_default().to_owned()
        };
        for (path, of_public, of_admin) in [
            ("/", "200", "404"),
            ("/healthz", "404", "200"),
            ("/readyz", "404", "200"),
            ("/metrics", "404", "200"),
            ("/socket.io/?EIO=4&transport=polling", "200", "404"),
            ("/engine.io/?EIO=4&transport=polling", "404", "404"),
        ] {
            assert_eq!((&*status(&server.address, path), &*status(&admin, path)), (of_public, of_admin), "{path}");
        }
        // A page whose name points here by DNS rebinding.
        let mut stream = TcpStream::connect(&admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let answer = ask(&mut stream, "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", "\n\r\n");
        let answer = answer + &ask(&mut stream, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", "ok\n");
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.contains("http.admin_hosts"), "{answer}");
        // What it tells is about the public port's clients.
        let _alice = server.connect("alice").await;
        assert!((value(&metrics(&admin), "chat_sockets") - 1.0).abs() < 0.1);
    });
}
