//! Clients that do not behave, against the real binary.

mod support;

use support::{Server, run};

/// What a client gets that sends more before CONNECT than a token may have.
const REFUSED: &str = r#"44{"message":"unauthorized","data":{"code":"token_invalid"}}"#;

#[test]
fn a_member_that_stops_reading_is_closed_and_the_room_goes_on() {
    run(async {
        let server = Server::start(&["limits.message_rate=0"]);
        let [mut alice, mut bob, mut asleep] =
            [server.connect("alice").await, server.connect("bob").await, server.connect("asleep").await];
        let pad = "x".repeat(4000);
        // More than the kernel's buffers and `limits.outbound_hard` hold together.
        for n in 0..4000 {
            alice.send(&format!(r#"42{n}["message",{{"message":"{n}","context":{{"pad":"{pad}"}}}}]"#)).await;
            alice.until(&format!("43{n}[")).await;
            let message = bob.until(r#"42["message","#).await;
            assert!(message.contains(&format!(r#""message":"{n}""#)), "{n}: lost, twice or out of order");
        }
        asleep.until_closed().await;
    });
}

#[test]
fn an_unknown_client_may_send_64_kib_and_is_told_if_it_sends_more_and_a_known_one_a_whole_payload() {
    run(async {
        // Without the time-out nothing else closes them.
        let server = Server::start(&["limits.connect_timeout=0s"]);
        let long = format!(r#"420["message",{{"message":"{}"}}]"#, "x".repeat(100_000));
        let mut unknown = server.open().await;
        unknown.send(&long).await;
        assert_eq!(unknown.until("44").await, REFUSED, "an official client stays away after it");
        assert_eq!(unknown.close_code().await, Some(1009));
        // The header alone says how long the message will be.
        let mut unknown = server.open().await;
        unknown.send_raw(&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0x11, 0x70, 7, 7, 7, 7]).await;
        assert_eq!(unknown.until("44").await, REFUSED);
        unknown.until_closed().await;
        let mut known = server.connect("alice").await;
        known.send(&long).await;
        known.until("430[").await;
        known.send(r#"421["message",{"message":"x"}]"#).await;
        known.until(r#"431[{"ok":true"#).await;
    });
}

#[test]
fn an_unknown_client_may_post_64_kib_and_is_told_if_it_posts_more() {
    use std::io::{Read as _, Write as _};
    let server = Server::start(&[]);
    let ask = |request: String| {
        let mut stream = std::net::TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
        // The server may answer before it has read everything.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    let path = "/socket.io/?EIO=4&transport=polling";
    let open = || {
        let open = ask(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        open.split_once(r#""sid":""#).and_then(|(_, rest)| rest.split_once('"')).unwrap().0.to_owned()
    };
    let post = |sid: &str, size: usize, chunked: bool| {
        let body = "x".repeat(size);
        let (framing, body) = if chunked {
            ("Transfer-Encoding: chunked".to_owned(), format!("{size:x}\r\n{body}\r\n0\r\n\r\n"))
        } else {
            (format!("Content-Length: {size}"), body)
        };
        ask(format!("POST {path}&sid={sid} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{framing}\r\n\r\n{body}"))
    };
    for (size, chunked) in [(70_000, false), (900_000, false), (70_000, true)] {
        let sid = open();
        let answer = post(&sid, size, chunked);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let poll = ask(format!("GET {path}&sid={sid} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        assert!(poll.ends_with(REFUSED), "{poll}");
    }
    // Nobody may post so much, and nothing more is read.
    for chunked in [false, true] {
        let answer = post(&open(), 1_000_001, chunked);
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    }
}
