//! Standard error that nobody reads, of the real binary.

mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::Command,
};

use support::{PATIENCE, Server, run};

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
