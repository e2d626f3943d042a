//! Clients that do not behave, against the real binary.

mod support;

use support::{Server, run};

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
fn an_unknown_client_may_send_64_kib_and_a_known_one_a_whole_payload() {
    run(async {
        // Without the time-out nothing else closes them.
        let server = Server::start(&["limits.connect_timeout=0s"]);
        let long = format!(r#"420["message",{{"message":"{}"}}]"#, "x".repeat(100_000));
        let mut unknown = server.open().await;
        unknown.send(&long).await;
        unknown.until_closed().await;
        // The header alone says how long the message will be.
        let mut unknown = server.open().await;
        unknown.send_raw(&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0x11, 0x70, 7, 7, 7, 7]).await;
        unknown.until_closed().await;
        let mut known = server.connect("alice").await;
        known.send(&long).await;
        known.until("430[").await;
        known.send(r#"421["message",{"message":"x"}]"#).await;
        known.until(r#"431[{"ok":true"#).await;
    });
}

#[test]
fn an_unknown_client_may_post_64_kib() {
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
    let open = ask(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    let sid = open.split_once(r#""sid":""#).and_then(|(_, rest)| rest.split_once('"')).unwrap().0;
    let post = |framing: &str, body: &str| {
        ask(format!("POST {path}&sid={sid} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{framing}\r\n\r\n{body}"))
    };
    let size = 70_000;
    let declared = post(&format!("Content-Length: {size}"), &"x".repeat(size));
    assert!(declared.starts_with("HTTP/1.1 413"), "{declared}");
    let chunked = post("Transfer-Encoding: chunked", &format!("{size:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(size)));
    assert!(chunked.starts_with("HTTP/1.1 413"), "{chunked}");
}
