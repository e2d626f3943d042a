//! The attacks of connected users. Those of clients without a user are in [`super::floods`].

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::client::{Client, refused, token};
use super::{Attack, Field, floods};
use crate::frames;
use crate::handshake::polling;
use crate::subject::SECRET;

/// All attacks.
pub const ATTACKS: [Attack; 9] = [
    Attack { name: "history", what: "one user, ten sockets asking for 256 KiB pages of history", run: history },
    Attack { name: "gzip", what: "one polling session that asks for such pages, compressed", run: gzip },
    Attack { name: "presence", what: "asking who is in a room of 300 users with long names", run: presence },
    Attack { name: "rejoin", what: "disconnect and CONNECT with 100 rooms in the token, in a loop", run: rejoin },
    Attack { name: "silent", what: "1,300 TCP connections that say nothing", run: floods::silent },
    Attack { name: "handshakes", what: "handshakes without a token, one after the other", run: floods::handshakes },
    Attack { name: "lobby", what: "19 messages of 256 KiB a second into the lobby", run: lobby },
    Attack { name: "tokens", what: "wrong tokens, as many as a connection takes", run: floods::tokens },
    Attack { name: "fragments", what: "WebSocket messages of 1-byte fragments that never end", run: floods::fragments },
];

/// Where the attackers come from.
pub(super) const FROM: &str = "203.0.113.7";
/// The largest page that is answered.
const HISTORY: &str = r#"["history",{"roomId":"big","limit":200}]"#;
const JOIN_BIG: &str = r#"["join",{"roomId":"big"}]"#;
/// How long to wait after a refusal.
const REST: Duration = Duration::from_millis(50);

pub(super) fn rest() {
    thread::sleep(REST);
}

/// Fills the room `big` with more than a page holds. Several users write, because each has its rates.
fn fill(address: SocketAddr) -> io::Result<()> {
    for user in 0..5 {
        let mut client = Client::connect(address, "192.0.2.1", &token(SECRET, &format!("writer-{user}"), &[]))?;
        client.ask(1, JOIN_BIG)?;
        for id in 2..12 {
            let (text, note) = (prose(user * 100 + id, 4000), prose(user * 100 + id + 50, 3900));
            let event = format!(r#"["message",{{"message":"{text}","context":{{"roomId":"big","note":"{note}"}}}}]"#);
            if !client.ask(id, &event)? {
                return Err(refused("the room cannot be filled"));
            }
        }
    }
    Ok(())
}

/// Words that compress as those of people do.
fn prose(seed: u32, len: usize) -> String {
    let mut state = seed;
    let mut text = String::new();
    while text.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        text.push_str(&format!("w{:x} ", state >> 21));
    }
    text.truncate(len);
    text
}

fn history(field: &Field) -> io::Result<()> {
    fill(field.address)?;
    let token = token(SECRET, "reader", &[]);
    let clients: io::Result<Vec<Client>> = (0..10).map(|_| Client::connect(field.address, FROM, &token)).collect();
    let clients = clients?;
    field.begin();
    thread::scope(|scope| {
        for mut client in clients {
            scope.spawn(move || {
                let _ = client.ask(1, JOIN_BIG);
                for id in 2.. {
                    match client.ask(id, HISTORY) {
                        _ if !field.goes_on() => break,
                        Ok(true) => field.count(),
                        Ok(false) => rest(),
                        Err(_) => break,
                    }
                }
            });
        }
    });
    Ok(())
}

fn gzip(field: &Field) -> io::Result<()> {
    fill(field.address)?;
    let mut client =
        polling::Opened::connect(field.address, &token(SECRET, "poller", &[])).map_err(io::Error::other)?;
    client.join("big").map_err(io::Error::other)?;
    let ask = polling::post(&client.path, client.address, format!("420{HISTORY}").as_bytes());
    let poll =
        format!("GET {} HTTP/1.1\r\nHost: {}\r\nAccept-Encoding: gzip, deflate\r\n\r\n", client.path, client.address);
    field.begin();
    while field.goes_on() {
        // Four answers at once, as long as the rate of questions allows it.
        for _ in 0..4 {
            exchange(&mut client.stream, &ask)?;
        }
        if exchange(&mut client.stream, poll.as_bytes())? < 20_000 {
            rest();
        } else {
            field.count();
        }
    }
    Ok(())
}

/// Sends a request, and reads its answer; the length of the body.
pub(super) fn exchange(stream: &mut (impl Read + Write), request: &[u8]) -> io::Result<usize> {
    stream.write_all(request)?;
    let (mut received, mut chunk) = (Vec::new(), vec![0; 65_536]);
    loop {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Err(refused("end of stream"));
        }
        received.extend_from_slice(chunk.get(..read).unwrap_or_default());
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut head = httparse::Response::new(&mut fields);
        let Ok(httparse::Status::Complete(start)) = head.parse(&received) else { continue };
        let length = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
        let length = length.and_then(|field| std::str::from_utf8(field.value).ok()?.parse::<usize>().ok());
        if head.code != Some(200) {
            return Err(refused("not 200"));
        }
        if received.len() >= start + length.unwrap_or_default() {
            return Ok(length.unwrap_or_default());
        }
    }
}

fn presence(field: &Field) -> io::Result<()> {
    let mut users = Vec::new();
    for user in 0..300 {
        // 128 bytes, of which each but a few becomes two in JSON.
        let sub = format!("{user:04}{}", "\\".repeat(124));
        let mut client = Client::connect(field.address, &format!("192.0.2.{}", user % 200), &token(SECRET, &sub, &[]))?;
        client.ask(1, r#"["join",{"roomId":"crowd"}]"#)?;
        users.push(client);
    }
    let mut client = Client::connect(field.address, FROM, &token(SECRET, "asker", &[]))?;
    client.ask(1, r#"["join",{"roomId":"crowd"}]"#)?;
    field.begin();
    for id in 2.. {
        match client.ask(id, r#"["presence",{"roomId":"crowd"}]"#) {
            _ if !field.goes_on() => break,
            Ok(true) => field.count(),
            Ok(false) => rest(),
            Err(_) => break,
        }
    }
    Ok(())
}

fn rejoin(field: &Field) -> io::Result<()> {
    let rooms: Vec<String> = (0..100).map(|room| format!("room-{room}")).collect();
    let token = token(SECRET, "rejoiner", &rooms);
    field.begin();
    while field.goes_on() {
        let Ok(mut client) = Client::connect(field.address, FROM, &token) else {
            // Comes back far more often than the user's rate of CONNECTs allows.
            thread::sleep(Duration::from_millis(5));
            continue;
        };
        field.count();
        while field.goes_on() {
            let again = client.send("41").and_then(|()| client.send(&format!("40{{\"token\":\"{token}\"}}")));
            if again.and_then(|()| client.until("40{")).is_err() {
                break;
            }
            field.count();
        }
    }
    Ok(())
}

fn lobby(field: &Field) -> io::Result<()> {
    let mut client = Client::connect(field.address, FROM, &token(SECRET, "sender", &[]))?;
    client.stream.set_nonblocking(false)?;
    let mut message = Vec::new();
    let text = r#"451-0["message",{"message":"x","context":{"file":{"_placeholder":true,"num":0}}}]"#;
    frames::encode_text(text.as_bytes(), &mut message);
    frames::encode_binary(&vec![7; 256 * 1024], &mut message);
    let mut reader = client.stream.try_clone()?;
    field.begin();
    thread::scope(|scope| {
        // What comes back is thrown away.
        scope.spawn(move || {
            let mut chunk = vec![0; 65_536];
            while field.goes_on() && reader.read(&mut chunk).is_ok_and(|read| read > 0) {}
        });
        let mut next = Instant::now();
        while field.goes_on() && client.stream.write_all(&message).is_ok() {
            field.count();
            next += Duration::from_millis(1000 / 19);
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Scripted(Vec<&'static [u8]>);

    impl Read for Scripted {
        fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() { Ok(0) } else { self.0.remove(0).read(to) }
        }
    }

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_answer_is_read_to_its_end() {
        let head: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab";
        assert_eq!(exchange(&mut Scripted(vec![&head[..20], &head[20..], b"c", b"de"]), b"").unwrap(), 5);
        assert!(exchange(&mut Scripted(vec![head]), b"").is_err(), "the rest is missing");
        assert!(exchange(&mut Scripted(vec![b"HTTP/1.1 503 Service Unavailable\r\n\r\n"]), b"").is_err());
    }
}
