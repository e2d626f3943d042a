//! Webhooks of the real binary: a receiver that fails and comes back is told everything, once, in order, and signed.

mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, channel},
};

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use support::{Client, PATIENCE, Server, run};

const SECRET: &str = "a secret of webhooks, of thirty-two bytes";
const NEW: &str = "another secret of webhooks, just as long";

/// A request that was received.
#[derive(Debug)]
struct Delivery {
    id: String,
    /// The secrets that have signed it.
    signed_by: Vec<&'static str>,
    body: String,
    /// The number of the connection that it came by.
    connection: usize,
}

/// An answer without a body.
fn without_body(status: u16) -> String {
    format!("HTTP/1.1 {status} x\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n")
}

/// An address of an application's, which answers requests like this, and then with 204.
fn receive(answers: impl IntoIterator<Item = String>) -> (String, Receiver<Delivery>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("webhooks.url=http://{}/hook", listener.local_addr().unwrap());
    let (deliveries, received) = channel();
    let mut answers =
        answers.into_iter().collect::<Vec<_>>().into_iter().chain(std::iter::repeat_with(|| without_body(204)));
    std::thread::spawn(move || {
        for (connection, stream) in listener.incoming().enumerate() {
            let stream = stream.unwrap();
            while let Some(delivery) = read(&stream, connection) {
                let answer = answers.next().unwrap();
                // Noted before the server hears of it.
                if deliveries.send(delivery).is_err() {
                    return;
                }
                (&stream).write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    (url, received)
}

/// Reads a request and checks its signature; `None` when the connection has ended.
fn read(stream: &TcpStream, connection: usize) -> Option<Delivery> {
    let (mut reader, mut headers) = (BufReader::new(stream), Vec::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        headers.push(line);
    }
    assert_eq!(headers[0], "POST /hook HTTP/1.1");
    let header = |name: &str| {
        let fields = headers.iter().filter_map(|line| line.split_once(": "));
        let value = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).next();
        value.unwrap_or_else(|| panic!("no {name}: {headers:?}")).to_owned()
    };
    let mut body = vec![0; header("content-length").parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let signed = [format!("{id}.{timestamp}.").as_bytes(), &body].concat();
    let signer = |value: &str| {
        let signature = STANDARD.decode(value.strip_prefix("v1,").unwrap()).unwrap();
        let has_signed = |secret: &&str| {
            hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), &signed, &signature).is_ok()
        };
        [SECRET, NEW].into_iter().find(has_signed).expect("somebody else has signed it")
    };
    let signed_by = header("webhook-signature").split(' ').map(signer).collect();
    Some(Delivery { id, signed_by, body: String::from_utf8(body).unwrap(), connection })
}

/// The events of a delivery, each without its time.
fn events(delivery: &Delivery) -> Vec<String> {
    let body = delivery.body.strip_prefix(r#"{"events":["#).and_then(|body| body.strip_suffix("]}")).unwrap();
    let events = body.split(r#"{"type":""#).skip(1);
    events.map(|event| event.replace(|c: char| c.is_ascii_digit(), "").trim_end_matches(',').to_owned()).collect()
}

fn metrics(server: &Server) -> String {
    let mut stream = TcpStream::connect(&server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_receiver_that_fails_is_told_again_and_misses_nothing() {
    for keys in [["store.kind=memory", "workers=1"], ["store.kind=sqlite", "workers=3"]] {
        run(async {
            let (url, received) = receive([500, 302].map(without_body));
            let secret = format!("webhooks.secret={SECRET}");
            let server = Server::start(&[keys[0], keys[1], &url, &secret, "presence.grace=50ms"]);
            let mut alice = server.connect("alice").await;
            let next = || received.recv_timeout(PATIENCE).unwrap();
            let attempts = [next(), next(), next()];
            assert!(attempts.iter().all(|attempt| attempt.signed_by == [SECRET]));
            assert!(attempts.iter().all(|attempt| attempt.id == attempts[0].id && attempt.body == attempts[0].body));
            let time = r#""timestamp":"--T::.Z""#;
            let user = |kind: &str| format!(r#"{kind}",{time},"data":{{"userId":"alice","username":"alice"}}}}"#);
            assert_eq!(events(&attempts[0]), [user("user.connected")]);
            // A second socket is no second user.
            let second = server.connect("alice").await;
            alice.send(r#"420["message",{"message":"x","context":{"roomId":"r"}}]"#).await;
            alice.until(r#"430[{"ok":true"#).await;
            let stored = next();
            assert_ne!(stored.id, attempts[0].id);
            let [event] = &events(&stored)[..] else { panic!("{stored:?}") };
            assert!(event.starts_with(&format!(r#"message.stored",{time},"data":{{"roomId":"r","message":{{"id":""#)));
            assert!(event.ends_with(r#""message":"x","timestamp":"--T::.Z","context":{"roomId":"r"},"userId":"alice","username":"alice"}}}"#), "{event}");
            drop((alice, second));
            assert_eq!(events(&next()), [user("user.disconnected")]);
            let metrics = metrics(&server);
            for line in ["chat_webhooks_failures_total 2", "chat_webhooks_dropped_total 0"] {
                assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
            }
        });
    }
}

#[test]
fn an_answer_with_a_body_leaves_the_connection_for_the_next_request() {
    run(async {
        let with_length = "HTTP/1.1 200 x\r\nContent-Length: 11\r\n\r\n{\"ok\":true}".to_owned();
        let chunked = "HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n{\"ok\":true}\r\n0\r\n\r\n".to_owned();
        let failure = with_length.replace("200", "500");
        let long = format!("HTTP/1.1 200 x\r\nContent-Length: 20000\r\n\r\n{}", "x".repeat(20_000));
        let (url, received) = receive([with_length, chunked, failure, long]);
        let secret = format!("webhooks.secret={SECRET}");
        let server = Server::start(&[&url, &secret, "webhooks.events=message.stored"]);
        let mut alice = server.connect("alice").await;
        let mut connections = Vec::new();
        // The third is sent twice.
        for deliveries in [1, 1, 2, 1] {
            alice.send(r#"420["message",{"message":"x"}]"#).await;
            alice.until(r#"430[{"ok":true"#).await;
            connections.extend((0..deliveries).map(|_| received.recv_timeout(PATIENCE).unwrap().connection));
        }
        // Of a body that is too long the rest is not waited for.
        assert_eq!(connections, [0, 0, 0, 0, 1]);
    });
}

#[test]
fn the_chat_does_not_wait_for_a_receiver_and_what_is_too_much_is_counted() {
    run(async {
        // It accepts connections, and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("webhooks.url=http://{}", silent.local_addr().unwrap());
        let secret = format!("webhooks.secret={SECRET}");
        let keys = ["webhooks.queue=10", "webhooks.events=message.stored", "limits.message_rate=0"];
        let server = Server::start(&[&url, &secret, keys[0], keys[1], keys[2]]);
        let mut alice = server.connect("alice").await;
        for _ in 0..50 {
            alice.send(r#"420["message",{"message":"x"}]"#).await;
            alice.until(r#"430[{"ok":true"#).await;
        }
        let metrics = metrics(&server);
        for line in ["chat_webhooks_waiting 10", "chat_webhooks_dropped_total 40", "chat_webhooks_sent_total 0"] {
            assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
        }
    });
}

#[test]
fn what_happened_just_before_the_end_is_told() {
    run(async {
        let (url, received) = receive([]);
        let secret = format!("webhooks.secret={SECRET}");
        let mut server = Server::start(&[&url, &secret, "webhooks.events=message.stored"]);
        let mut alice = server.connect("alice").await;
        for n in 0..300 {
            alice.send(&format!(r#"42["message",{{"message":"{n}"}}]"#)).await;
        }
        alice.until(r#"42["message""#).await;
        let mut delivered = 1;
        let pid = server.process.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        while let Some(packet) = alice.next_text().await {
            delivered += usize::from(packet.starts_with(r#"42["message""#));
        }
        assert!(server.process.wait().unwrap().success());
        let told: usize = received.try_iter().map(|delivery| events(&delivery).len()).sum();
        assert!(told >= delivered, "{told} of {delivered}");
    });
}

#[test]
fn the_secret_is_replaced_without_a_restart_and_both_sign_meanwhile() {
    run(async {
        let (url, received) = receive([]);
        let url = url.strip_prefix("webhooks.url=").unwrap();
        let (directory, other) = (tempfile::tempdir().unwrap(), "http://127.0.0.1:1/");
        let path = directory.path().join("chat.toml");
        let write = |url: &str, secrets: &str| {
            let auth = format!("[auth]\njwt_secret = \"{}\"\n", support::SECRET);
            let text = format!("{auth}[webhooks]\nurl = \"{url}\"\nevents = [\"message.stored\"]\n{secrets}");
            std::fs::write(&path, text).unwrap();
        };
        write(url, &format!("secret = \"{SECRET}\"\n"));
        let mut server = Server::start_with_file(&path);
        let mut log = BufReader::new(server.process.stderr.take().unwrap()).lines();
        let mut reload = || {
            let pid = server.process.id().to_string();
            assert!(std::process::Command::new("kill").args(["-s", "HUP", &pid]).status().unwrap().success());
            let lines = log.by_ref().map(Result::unwrap);
            let mut seen = Vec::new();
            for line in lines {
                seen.push(line);
                if seen.last().unwrap().contains("reloaded") {
                    break;
                }
            }
            seen.join("\n")
        };
        let mut alice: Client = server.connect("alice").await;
        let mut signers = async || {
            alice.send(r#"420["message",{"message":"x"}]"#).await;
            alice.until(r#"430[{"ok":true"#).await;
            received.recv_timeout(PATIENCE).unwrap().signed_by
        };
        assert_eq!(signers().await, [SECRET]);
        write(url, &format!("secret = \"{NEW}\"\nprevious_secret = \"{SECRET}\"\n"));
        let said = reload();
        assert!(said.contains("webhooks.secret: changed") && said.contains("webhooks.previous_secret: set"), "{said}");
        assert_eq!(signers().await, [NEW, SECRET]);
        write(url, &format!("secret = \"{NEW}\"\n"));
        assert!(reload().contains("webhooks.previous_secret: no longer set"));
        assert_eq!(signers().await, [NEW]);
        // The secret of another receiver is not for this one.
        write(other, &format!("secret = \"{SECRET}\"\n"));
        let said = reload();
        assert!(said.contains("webhooks.url: needs a restart") && said.contains("webhooks.secret: needs a restart"));
        assert_eq!(signers().await, [NEW]);
    });
}
