//! A blocking WebSocket client that may come from any address, and whose user may be anybody.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header};

use crate::frames::{self, Opcode};
use crate::handshake::{accepted_head, connect_packet};

/// How long one read or write may take. A server that is slower than that counts as one that does not answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// The token's end, in seconds since 1970: in the year 2100.
const END: u64 = 4_102_444_800;

pub(crate) fn token(secret: &str, sub: &str, rooms: &[String]) -> String {
    let mut claims = serde_json::json!({ "sub": sub, "name": sub, "exp": END });
    if !rooms.is_empty() {
        claims["rooms"] = rooms.into();
    }
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap_or_default()
}

pub(crate) fn refused(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}

/// A TCP connection with the bytes that are not used yet.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    received: Vec<u8>,
    used: usize,
}

impl Client {
    pub(crate) fn tcp(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, received: Vec::new(), used: 0 })
    }

    /// A WebSocket session without a CONNECT. The server takes loopback for a proxy, which names `from` as the client.
    pub(crate) fn websocket(address: SocketAddr, from: &str) -> io::Result<Self> {
        let mut client = Self::tcp(address)?;
        let request = format!(
            "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             X-Forwarded-For: {from}\r\n\r\n"
        );
        client.stream.write_all(request.as_bytes())?;
        loop {
            match accepted_head(&client.received).map_err(io::Error::other)? {
                Some(end) => client.used = end,
                None => {
                    client.fill()?;
                    continue;
                }
            }
            return Ok(client);
        }
    }

    /// A connected socket of the user whose token it is.
    pub(crate) fn connect(address: SocketAddr, from: &str, token: &str) -> io::Result<Self> {
        let mut client = Self::websocket(address, from)?;
        client.send(&connect_packet(token))?;
        client.until("40{")?;
        Ok(client)
    }

    pub(crate) fn send(&mut self, packet: &str) -> io::Result<()> {
        let mut frame = Vec::with_capacity(packet.len() + 14);
        frames::encode_text(packet.as_bytes(), &mut frame);
        self.stream.write_all(&frame)
    }

    /// Asks by an event, and waits for its acknowledgement; whether it is `ok`.
    pub(crate) fn ask(&mut self, id: u32, event: &str) -> io::Result<bool> {
        self.send(&format!("42{id}{event}"))?;
        Ok(self.until(&format!("43{id}["))?.contains("\"ok\":true"))
    }

    /// Reads up to the first packet that begins like this; the beginning of it.
    pub(crate) fn until(&mut self, start: &str) -> io::Result<String> {
        self.find(|packet| packet.starts_with(start.as_bytes()))
    }

    /// Reads up to the first packet that `wanted` is true for; the beginning of it. Pings are answered.
    pub(crate) fn find(&mut self, wanted: impl Fn(&[u8]) -> bool) -> io::Result<String> {
        loop {
            let unread = self.received.get(self.used..).unwrap_or_default();
            let Some(frame) = frames::scan(unread).map_err(io::Error::other)? else {
                self.fill()?;
                continue;
            };
            self.used += frame.len;
            if frame.opcode == Opcode::Close || frame.payload.starts_with(b"44") {
                return Err(refused("closed"));
            }
            if wanted(frame.payload) {
                let shown = frame.payload.get(..200).unwrap_or(frame.payload);
                return Ok(String::from_utf8_lossy(shown).into_owned());
            }
            if frame.payload == b"2" {
                self.send("3")?;
            }
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.received.drain(..self.used);
        self.used = 0;
        let mut chunk = [0; 65_536];
        match self.stream.read(&mut chunk)? {
            0 => Err(refused("end of stream")),
            read => {
                self.received.extend_from_slice(chunk.get(..read).unwrap_or_default());
                Ok(())
            }
        }
    }
}
