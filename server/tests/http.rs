//! HTTP beside the socket, of the real binary: what load balancers and proxies ask.

mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use support::{PATIENCE, Server, run};

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

#[test]
fn the_metrics_are_those_of_all_shards() {
    run(async {
        let keys = ["workers=3", "limits.sockets_per_user=1", "limits.message_rate=0.001", "limits.message_burst=1"];
        let server = Server::start(&keys);
        let mut replaced = server.connect("alice").await;
        let mut alice = server.connect("alice").await;
        replaced.until(r#"42["error",{"message":"the user has too many sockets"#).await;
        replaced.until_closed().await;
        let mut refused = server.open().await;
        refused.send("40").await;
        refused.until("44").await;
        alice.send(r#"420["message",{"message":"x"}]"#).await;
        alice.until(r#"430[{"ok":true"#).await;
        alice.send(r#"421["message",{"message":"x"}]"#).await;
        alice.until(r#"431[{"ok":false"#).await;
        let metrics = "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n";
        let answer = ask(&mut connect(&server), metrics, "# EOF\n");
        assert!(answer.contains("application/openmetrics-text"), "{answer}");
        for line in [
            "chat_sockets 1",
            "chat_sockets_replaced_total 1",
            "chat_connects_refused_total 1",
            "chat_messages_received_total 2",
            r#"chat_rate_limited_total{event="message"} 1"#,
            r#"chat_rate_limited_total{event="join"} 0"#,
            r#"chat_sessions_opened_total{transport="websocket"} 3"#,
            r#"chat_handshakes_refused_total{limit="connect_rate"} 0"#,
        ] {
            assert!(answer.lines().any(|found| found == line), "{line}: {answer}");
        }
    });
}
