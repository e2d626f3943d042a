//! Standard error that nobody reads, of the real binary.

mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
};

use support::{PATIENCE, Server, run, token};

/// A connection whose refusal is a line of the log.
fn garbage(server: &Server) {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET\0/ HTTP/1.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400"));
}

#[test]
fn a_blocked_standard_error_stops_neither_the_chat_nor_its_end() {
    run(async {
        // Its standard error is a pipe that is not read while it runs.
        let mut server = Server::start_logging(&["log.level=trace"]);
        let mut alice = server.connect("alice").await;
        for _ in 0..1500 {
            garbage(&server);
        }
        alice.send(r#"420["message",{"message":"x"}]"#).await;
        alice.until(r#"430[{"ok":true"#).await;
        drop(alice);
        let sent = Command::new("kill").args(["-s", "TERM", &server.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
        assert_eq!(server.process.wait().unwrap().code(), Some(0));
        let mut log = Vec::new();
        server.process.stderr.take().unwrap().read_to_end(&mut log).unwrap();
        assert!(log.len() >= 60_000, "the pipe was never full: {} bytes", log.len());
    });
}

/// Ends a server in order, and returns the lines of its log.
fn end(mut server: Server) -> Vec<String> {
    let sent = Command::new("kill").args(["-s", "TERM", &server.process.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let mut log = String::new();
    server.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert_eq!(server.process.wait().unwrap().code(), Some(0));
    log.lines().map(str::to_owned).collect()
}

#[test]
fn each_event_of_a_client_is_a_json_line_with_connection_user_and_reason() {
    run(async {
        let server =
            // Of a trusted proxy itself, as loopback is by default, nobody knows whose client it is.
            Server::start_logging(&["log.level=debug", "log.format=json", "limits.sockets_per_user=1", "workers=1", "http.trusted_proxies=192.0.2.1"]);
        let mut refused = server.open().await;
        refused.send("40").await;
        refused.until("44").await;
        let evil = "eve\u{202e}ERROR forged\u{2028}ERROR";
        let mut eve = server.open().await;
        eve.send(&format!(r#"40{{"token":"{}"}}"#, token(evil))).await;
        eve.until("40").await;
        let mut newer = server.open().await;
        newer.send(&format!(r#"40{{"token":"{}"}}"#, token(evil))).await;
        newer.until("40").await;
        eve.until_closed().await;
        newer.send("41").await;
        newer.send(r#"40{"token":"x"}"#).await;
        newer.until("44").await;
        let lines: Vec<serde_json::Value> =
            end(server).iter().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect();
        let of = |message: &str| -> Vec<&serde_json::Value> {
            lines.iter().map(|line| &line["fields"]).filter(|fields| fields["message"] == message).collect()
        };
        let refused = of("a token is not valid");
        assert_eq!(refused[0]["code"], "token_missing");
        let codes: Vec<_> = of("CONNECT refused").iter().map(|fields| fields["code"].as_str().unwrap()).collect();
        assert_eq!(codes, ["token_missing", "token_invalid"]);
        let opened = of("session opened");
        assert_eq!(
            (opened.len(), &opened[0]["transport"], &opened[0]["client"]),
            (3, &"websocket".into(), &"127.0.0.1".into())
        );
        let connected = of("connected");
        assert_eq!((connected.len(), &connected[0]["user"]), (2, &evil.into()));
        let replaced = of("replaced: the user has a newer socket");
        assert_eq!((&replaced[0]["user"], &replaced[0]["conn"]), (&evil.into(), &connected[0]["conn"]));
        let disconnected = of("disconnected");
        let reasons: Vec<_> = disconnected.iter().map(|fields| fields["reason"].as_str().unwrap()).collect();
        assert_eq!(reasons, ["server namespace disconnect", "client namespace disconnect"]);
        assert_eq!(disconnected[1]["user"], connected[1]["user"]);
    });
}

#[test]
fn an_event_is_one_line_of_text_and_a_flood_is_counted() {
    run(async {
        let server = Server::start_logging(&[
            "log.level=info",
            "limits.sockets_per_user=1",
            "limits.connect_user_rate=0",
            "limits.connect_rate=0",
        ]);
        let evil = "eve\u{202e}ERROR forged\u{2028}ERROR";
        let connect = format!(r#"40{{"token":"{}"}}"#, token(evil));
        let mut last = server.open().await;
        last.send(&connect).await;
        last.until("40").await;
        // Each replaces the one before it.
        for _ in 0..40 {
            let mut next = server.open().await;
            next.send(&connect).await;
            next.until("40").await;
            last.until_closed().await;
            last = next;
        }
        let lines = end(server);
        let text = "replaced: the user has a newer socket";
        let replaced: Vec<_> = lines.iter().filter(|line| line.contains(text) && !line.contains("repeated")).collect();
        assert_eq!(replaced.len(), 10, "{lines:?}");
        assert!(replaced[0].contains(r"user=eve\u202eERROR forged\u2028ERROR"), "{}", replaced[0]);
        let count: Vec<_> = lines.iter().filter(|line| line.contains("repeated 30 times in ")).collect();
        assert!(count.len() == 1 && count[0].ends_with(text), "{lines:?}");
        assert!(lines.iter().all(|line| !line.starts_with("ERROR forged")));
    });
}
