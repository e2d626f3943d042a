//! What comes without a token, in any number, against the real binary: it keeps out nobody who has one.

mod support;

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use support::{PATIENCE, Server, run, token};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// How often a page of the source document tries before it gives up for ever.
const TRIES: usize = 5;

/// One connection for requests one after the other, of a client that a trusted proxy names.
struct Http {
    stream: TcpStream,
    client: String,
}

impl Http {
    fn connect(server: &Server) -> Self {
        Self::connect_from(server, "192.0.2.1")
    }

    /// The server may not trust this machine; then the name counts for nothing.
    fn connect_from(server: &Server, client: &str) -> Self {
        let stream = TcpStream::connect(&server.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, client: client.to_owned() }
    }

    /// Sends a request, and returns its answer: status line, head and body.
    fn ask(&mut self, method: &str, path: &str, body: &str) -> std::io::Result<String> {
        let length = body.len();
        let client = &self.client;
        write!(
            self.stream,
            "{method} {path} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = Vec::new();
        let mut part = [0; 4096];
        loop {
            let count = self.stream.read(&mut part)?;
            if count == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            answer.extend_from_slice(&part[..count]);
            let text = String::from_utf8_lossy(&answer);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    return Ok(text.into_owned());
                }
            }
        }
    }
}

/// Connects as an official client does that polls: a handshake, CONNECT, and a poll for the answer. Returns whether it is
/// connected. Its requests come one after the other on one connection.
fn connect_by_polling(server: &Server, token: &str) -> std::io::Result<bool> {
    let mut http = Http::connect(server);
    let open = http.ask("GET", POLLING, "")?;
    let Some((sid, _)) = open.split_once(r#""sid":""#).and_then(|(_, rest)| rest.split_once('"')) else {
        return Ok(false);
    };
    let path = format!("{POLLING}&sid={sid}");
    let posted = http.ask("POST", &path, &format!(r#"40{{"token":"{token}"}}"#))?;
    Ok(posted.starts_with("HTTP/1.1 200") && http.ask("GET", &path, "")?.contains(r#"40{"sid":"#))
}

/// Opens a session over WebSocket that never says who it is.
fn open_websocket(server: &Server, client: &str) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(&server.address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\
        Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )?;
    match stream.read(&mut [0; 64])? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(stream),
    }
}

/// Handshakes without a token until it is stopped: over polling on one connection, over WebSocket on one each.
fn flood(server: &Server, websocket: bool, goes_on: &AtomicBool, count: &AtomicUsize) {
    let mut http = Http::connect(server);
    while goes_on.load(Ordering::Relaxed) {
        let answered =
            if websocket { open_websocket(server, "192.0.2.1").is_ok() } else { http.ask("GET", POLLING, "").is_ok() };
        if !answered {
            http = Http::connect(server);
        }
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// A flood, which ends with the test, whatever becomes of that.
struct Flood {
    goes_on: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Flood {
    fn start(server: &Arc<Server>) -> Self {
        let (goes_on, count) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let threads = [false, false, true].map(|websocket| {
            let (server, goes_on, count) = (Arc::clone(server), Arc::clone(&goes_on), Arc::clone(&count));
            thread::spawn(move || flood(&server, websocket, &goes_on, &count))
        });
        Self { goes_on, count, threads: threads.into() }
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.goes_on.store(false, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// While one address sends handshakes without a token, its users connect, and a bystander's messages arrive.
fn users_connect_through_a_flood(workers: &str) {
    let server = Arc::new(Server::start(&["http.trusted_proxies=[]", "limits.question_rate=0", workers]));
    run(async {
        let mut bystander = server.connect("bystander").await;
        let flood = Flood::start(&server);
        // Far beyond the address's rate and its places.
        let begun = Instant::now();
        while flood.count.load(Ordering::Relaxed) < 5000 {
            assert!(begun.elapsed() < PATIENCE);
            bystander.send(r#"420["presence"]"#).await;
            bystander.until("430[").await;
        }
        for n in 0..20 {
            let token = token(&format!("user-{n}"));
            let connected = (0..TRIES).any(|_| connect_by_polling(&server, &token).unwrap_or(false));
            assert!(connected, "user {n} is kept out");
            let _over_websocket = server.connect(&format!("user-{n}")).await;
            bystander.send(r#"420["message",{"message":"x"}]"#).await;
            bystander.until(r#"430[{"ok":true"#).await;
        }
    });
}

#[test]
fn users_connect_through_a_flood_of_handshakes_without_a_token_from_their_address() {
    users_connect_through_a_flood("workers=1");
}

#[test]
fn on_several_shards_too() {
    users_connect_through_a_flood("workers=3");
}

/// Sessions without a token from eight addresses, on both transports; then a user of a ninth connects at once, and a member stays.
fn sessions_of_many_addresses_leave_places(server: &Server) {
    run(async {
        let mut member = server.connect("member").await;
        let mut silent = Vec::new();
        for n in 0..320 {
            let address = format!("198.51.100.{}", n % 8);
            if n % 16 < 8 {
                silent.push(open_websocket(server, &address).unwrap());
            } else {
                let answer = Http::connect_from(server, &address).ask("GET", POLLING, "").unwrap();
                assert!(answer.starts_with("HTTP/1.1 200"), "handshake {n}: {answer}");
            }
            if n % 32 == 31 {
                assert!(connect_by_polling(server, &token(&format!("user-{n}"))).unwrap(), "after {n}");
            }
        }
        member.send(r#"420["message",{"message":"x"}]"#).await;
        member.until(r#"430[{"ok":true"#).await;
    });
}

#[test]
fn sessions_without_a_token_of_many_addresses_do_not_use_up_the_limit_of_connections() {
    for workers in ["workers=1", "workers=3"] {
        sessions_of_many_addresses_leave_places(&Server::start(&["limits.connections=40", workers]));
    }
}

#[test]
fn nor_the_descriptors_of_the_process() {
    sessions_of_many_addresses_leave_places(&Server::start_with_descriptors(128, &["workers=1"]));
}

/// An official client counts a handshake that fails, and gives up after five. One whose session was opened begins to count anew.
#[test]
fn a_connection_that_gets_no_place_has_had_its_session_opened() {
    run(async {
        let server = Server::start(&["limits.connections=4", "limits.connect_timeout=0s", "workers=1"]);
        // Two of the four places are for those without a token.
        let mut streams = Vec::new();
        for n in 1..=3 {
            let mut stream = open_websocket(&server, &format!("198.51.100.{n}")).unwrap();
            let mut opened = Vec::new();
            while !opened.ends_with(b"}") {
                let mut byte = [0];
                assert_eq!(stream.read(&mut byte).unwrap(), 1, "closed before its session was opened");
                opened.push(byte[0]);
            }
            streams.push(stream);
        }
        // Which one goes depends on how long the first has been there.
        let mut metrics = Http::connect(&server);
        let displaced = metrics.ask("GET", "/metrics", "").unwrap();
        assert!(displaced.contains("chat_sessions_displaced_total 1\n"), "{displaced}");
    });
}

#[test]
fn the_oldest_connection_without_a_token_makes_room_and_one_with_a_token_stays() {
    run(async {
        for workers in ["workers=1", "workers=3"] {
            let server = Server::start(&[
                "http.trusted_proxies=[]",
                "limits.unproven_per_ip=2",
                "limits.connect_timeout=0s",
                workers,
            ]);
            let late = format!(r#"40{{"token":"{}"}}"#, token("late"));
            let mut member = server.connect("member").await;
            let (mut oldest, mut second) = (server.open().await, server.open().await);
            let _third = server.open().await;
            oldest.until_closed().await;
            second.send(&late).await;
            second.until("40").await;
            let _fourth = server.open().await;
            member.send(r#"420["message",{"message":"x"}]"#).await;
            member.until(r#"430[{"ok":true"#).await;
            second.until(r#"42["message","#).await;
        }
    });
}
