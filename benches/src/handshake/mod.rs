//! Opens one client, from TCP connect to a joined room: WebSocket upgrade (RFC 6455, section 4.1), Engine.IO `open`,
//! Socket.IO `CONNECT` with a token, the chat's `join`.
//!
//! It blocks, and opens one client after the other, because these benchmarks do not measure openings. The stream is
//! then given to [`crate::crowd`], with the bytes that came after the last expected answer. [`polling`] does the same
//! on HTTP long-polling. The connect storm (`crate::rows::connect`) opens many clients at once from the same parts.

pub mod polling;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;

use crate::error::Error;
use crate::frames::{self, Opcode};

/// Time limit of each blocking read and write of an opening.
const STEP_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest response head, in bytes; a longer one is not an answer to an upgrade.
pub const MAX_HEAD: usize = 8 * 1024;
/// RFC 6455's own example (section 1.3); all clients use the same key, since nothing between them and the server
/// caches.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// The accept value for [`KEY`].
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The length of the head of the 101; `None` while it is not complete.
///
/// # Errors
/// [`Error::Handshake`] if it does not accept the upgrade.
pub fn accepted_head(received: &[u8]) -> Result<Option<usize>, Error> {
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut fields);
    let Ok(status) = response.parse(received) else { return Err(unexpected("a response head", received)) };
    let httparse::Status::Complete(end) = status else { return Ok(None) };
    let accepted = response
        .headers
        .iter()
        .any(|field| field.name.eq_ignore_ascii_case("sec-websocket-accept") && field.value == ACCEPT.as_bytes());
    if response.code != Some(101) || !accepted {
        return Err(unexpected("101 with the right Sec-WebSocket-Accept", received));
    }
    Ok(Some(end))
}

/// The request for a WebSocket session.
pub fn upgrade_request(address: SocketAddr) -> Vec<u8> {
    let request = format!(
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    request.into_bytes()
}

/// The packet that connects to the main namespace with `token`.
pub fn connect_packet(token: &str) -> String {
    format!("40{{\"token\":\"{token}\"}}")
}

fn join_packet(room: &str) -> String {
    format!("420[\"join\",{{\"roomId\":\"{room}\"}}]")
}

fn is_joined(packet: &str) -> bool {
    packet.strip_prefix("430").is_some_and(|args| args.contains("\"ok\":true"))
}

fn open_stream(address: SocketAddr) -> Result<TcpStream, Error> {
    let stream = TcpStream::connect_timeout(&address, STEP_TIMEOUT).map_err(Error::io("connect"))?;
    stream.set_nodelay(true).map_err(Error::io("set TCP_NODELAY"))?;
    stream.set_read_timeout(Some(STEP_TIMEOUT)).map_err(Error::io("set a read timeout"))?;
    stream.set_write_timeout(Some(STEP_TIMEOUT)).map_err(Error::io("set a write timeout"))?;
    Ok(stream)
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    name: &'a str,
    exp: u64,
}

/// Signs a token for user number `member` with the HS256 `secret`, valid for a day.
///
/// # Errors
/// [`Error::Token`] if it cannot be signed.
pub fn token(secret: &str, member: usize) -> Result<String, Error> {
    // Ids of equal length keep every recipient's frame equally long.
    let (sub, name) = (format!("user-{member:06}"), format!("User {member:06}"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
    let claims = Claims { sub: &sub, name: &name, exp: now + 86_400 };
    Ok(jsonwebtoken::encode(&Header::default(), &claims, &EncodingKey::from_secret(secret.as_bytes()))?)
}

/// A client whose opening is under way or done.
#[derive(Debug)]
pub struct Opened {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Opened {
    /// Opens a WebSocket session at `address` and connects to the main namespace with `token`.
    ///
    /// # Errors
    /// [`Error::Handshake`] if the server refuses, [`Error::Io`] if it does not answer in time.
    pub fn connect(address: SocketAddr, token: &str) -> Result<Self, Error> {
        let mut client = Self { stream: open_stream(address)?, received: Vec::new() };
        client.upgrade(address)?;
        client.await_text("the open packet", |text| text.starts_with("0{"))?;
        client.send(&connect_packet(token))?;
        client.await_text("a CONNECT answer", |text| text.starts_with("40{"))?;
        Ok(client)
    }

    /// Joins `room` and waits for the acknowledgement.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn join(&mut self, room: &str) -> Result<(), Error> {
        self.send(&join_packet(room))?;
        self.await_text("an ack of join with ok", is_joined)
    }

    /// A client that was opened elsewhere, with the bytes received after that.
    pub fn from_parts(stream: TcpStream, received: Vec<u8>) -> Self {
        Self { stream, received }
    }

    /// Returns the stream, and the bytes received after the last expected answer.
    pub fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.received)
    }

    fn upgrade(&mut self, address: SocketAddr) -> Result<(), Error> {
        self.stream.write_all(&upgrade_request(address)).map_err(Error::io("send the upgrade"))?;
        let end = loop {
            match accepted_head(&self.received)? {
                Some(end) => break end,
                None if self.received.len() > MAX_HEAD => return Err(unexpected("a response head", &self.received)),
                None => self.fill("a response head")?,
            }
        };
        self.received.drain(..end);
        Ok(())
    }

    fn send(&mut self, text: &str) -> Result<(), Error> {
        let mut frame = Vec::with_capacity(text.len() + 8);
        frames::encode_text(text.as_bytes(), &mut frame);
        self.stream.write_all(&frame).map_err(Error::io("send a packet"))
    }

    /// Reads frames until one is the expected answer. Events (another user's status, a message of the room) may come
    /// first and are skipped; a refusal is an error.
    fn await_text(&mut self, expected: &'static str, is_answer: impl Fn(&str) -> bool) -> Result<(), Error> {
        loop {
            let Some(frame) = frames::scan(&self.received).map_err(|source| Error::Frame { member: 0, source })? else {
                self.fill(expected)?;
                continue;
            };
            let (text, len) = (String::from_utf8_lossy(frame.payload), frame.len);
            let (answer, ping) = (is_answer(&text), text == "2");
            // An event or a ping may precede the answer; anything else is a refusal.
            let skip = frame.opcode == Opcode::Text && (ping || text.starts_with("42["));
            if !answer && !skip {
                return Err(unexpected(expected, frame.payload));
            }
            self.received.drain(..len);
            if answer {
                return Ok(());
            }
            if ping {
                self.send("3")?;
            }
        }
    }

    fn fill(&mut self, expected: &'static str) -> Result<(), Error> {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk).map_err(Error::io(expected))? {
            0 => Err(unexpected(expected, b"end of stream")),
            read => {
                self.received.extend_from_slice(&chunk[..read]);
                Ok(())
            }
        }
    }
}

fn unexpected(expected: &'static str, got: &[u8]) -> Error {
    Error::Handshake { expected, got: String::from_utf8_lossy(got).chars().take(300).collect() }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// A server that sends the given bytes in each step, whatever it receives.
    fn scripted(script: Vec<Vec<u8>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for answer in script {
                let mut request = [0; 4096];
                if stream.read(&mut request).unwrap_or(0) == 0 {
                    return;
                }
                stream.write_all(&answer).unwrap();
            }
        });
        address
    }

    fn text(payload: &str) -> Vec<u8> {
        [&[0x81, u8::try_from(payload.len()).unwrap()][..], payload.as_bytes()].concat()
    }

    fn accepted(open: &str) -> Vec<u8> {
        let head = format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n");
        [head.as_bytes(), &text(open)].concat()
    }

    #[test]
    fn opens_and_joins_past_events_and_keeps_what_follows() {
        let address = scripted(vec![
            accepted("0{\"sid\":\"a\"}"),
            text("40{\"sid\":\"b\"}"),
            [text("42[\"userStatus\",{}]"), text("430[{\"ok\":true}]"), text("2")].concat(),
        ]);
        let mut client = Opened::connect(address, "t").unwrap();
        client.join("bench").unwrap();
        assert_eq!(client.into_parts().1, text("2"));
    }

    #[test]
    fn a_refusal_names_the_step() {
        let cases = [
            (vec![b"HTTP/1.1 503 Service Unavailable\r\n\r\n".to_vec()], "101"),
            (vec![b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n\r\n".to_vec()], "101"),
            (vec![accepted("0{}"), text("44{\"message\":\"unauthorized\"}")], "CONNECT"),
            (vec![accepted("0{}"), text("40{\"sid\":\"b\"}"), text("430[{\"ok\":false}]")], "join"),
            (vec![accepted("0{}"), text("40{\"sid\":\"b\"}"), vec![]], "join"),
        ];
        for (script, step) in cases {
            let result = Opened::connect(scripted(script), "t").and_then(|mut client| client.join("bench"));
            let Err(Error::Handshake { expected, .. }) = result else { panic!("{step}: {result:?}") };
            assert!(expected.contains(step), "{expected} for {step}");
        }
    }
}
