//! Opens a client on HTTP long-polling, from TCP connect to a joined room, blocking. Also builds its requests and reads
//! responses.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{connect_packet, is_joined, join_packet, open_stream, unexpected};
use crate::error::Error;

/// The byte between two packets of one body (Engine.IO v4).
pub const SEPARATOR: u8 = 0x1e;
/// The longest response, in bytes; a longer one is not an answer to an opening.
const MAX_RESPONSE: usize = 64 * 1024;

/// A GET that waits for packets.
pub fn get(path: &str, address: SocketAddr) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAccept: */*\r\n\r\n").into_bytes()
}

/// A POST of packets.
pub fn post(path: &str, address: SocketAddr, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: text/plain;charset=UTF-8\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// The body of the response at the start of `bytes`, and the response's length; `None` while it is not complete.
///
/// # Errors
/// [`Error::Http`] if it is not a 200 with a `Content-Length`: no measured server answers a poll in chunks.
pub fn response(bytes: &[u8]) -> Result<Option<(&[u8], usize)>, Error> {
    let shown = || Error::Http { got: String::from_utf8_lossy(bytes).chars().take(300).collect() };
    let mut fields = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(start) = head.parse(bytes).map_err(|_| shown())? else { return Ok(None) };
    if head.code != Some(200) {
        return Err(shown());
    }
    let length = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|field| std::str::from_utf8(field.value).ok()?.parse::<usize>().ok());
    let end = length.and_then(|length| start.checked_add(length)).ok_or_else(shown)?;
    Ok(bytes.get(start..end).map(|body| (body, end)))
}

/// A polling client whose opening is done.
#[derive(Debug)]
pub struct Opened {
    /// The connection it was opened on, on which no request is waiting.
    pub stream: TcpStream,
    /// The server's address.
    pub address: SocketAddr,
    /// Path and query of its requests, with its sid.
    pub path: String,
}

impl Opened {
    /// Opens a polling session at `address` and connects to the main namespace with `token`.
    ///
    /// # Errors
    /// As [`super::Opened::connect`]'s.
    pub fn connect(address: SocketAddr, token: &str) -> Result<Self, Error> {
        let path = "/socket.io/?EIO=4&transport=polling".to_owned();
        let mut client = Self { stream: open_stream(address)?, address, path };
        let request = get(&client.path, address);
        let body = client.ask(&request)?;
        let open = body.strip_prefix('0').and_then(|json| serde_json::from_str::<serde_json::Value>(json).ok());
        let sid = open.as_ref().and_then(|open| open["sid"].as_str());
        let sid = sid.ok_or_else(|| unexpected("the open packet", body.as_bytes()))?;
        client.path = format!("{}&sid={sid}", client.path);
        client.post(&connect_packet(token))?;
        client.await_packet("a CONNECT answer", |text| text.starts_with("40{"))?;
        Ok(client)
    }

    /// Joins `room` and waits for the acknowledgement.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn join(&mut self, room: &str) -> Result<(), Error> {
        self.post(&join_packet(room))?;
        self.await_packet("an ack of join with ok", is_joined)
    }

    fn post(&mut self, packet: &str) -> Result<(), Error> {
        let request = post(&self.path, self.address, packet.as_bytes());
        self.ask(&request).map(drop)
    }

    /// Polls until a packet is the expected answer; events and pings may come first.
    fn await_packet(&mut self, expected: &'static str, is_answer: impl Fn(&str) -> bool) -> Result<(), Error> {
        loop {
            let request = get(&self.path, self.address);
            let body = self.ask(&request)?;
            let (mut answered, mut pinged) = (false, false);
            for packet in body.split(char::from(SEPARATOR)) {
                answered |= is_answer(packet);
                pinged |= packet == "2";
                if !is_answer(packet) && packet != "2" && packet != "6" && !packet.starts_with("42[") {
                    return Err(unexpected(expected, packet.as_bytes()));
                }
            }
            if pinged {
                self.post("3")?;
            }
            if answered {
                return Ok(());
            }
        }
    }

    /// Sends a request and waits for its body.
    fn ask(&mut self, request: &[u8]) -> Result<String, Error> {
        self.stream.write_all(request).map_err(Error::io("send a request"))?;
        let mut received = Vec::new();
        loop {
            if let Some((body, len)) = response(&received)? {
                // There must be nothing after it, since nothing else was requested.
                if len != received.len() {
                    return Err(unexpected("one response", &received[len..]));
                }
                return String::from_utf8(body.to_vec()).map_err(|_| unexpected("text", body));
            }
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk).map_err(Error::io("read a response"))? {
                0 => return Err(unexpected("a response", b"end of stream")),
                read if received.len() + read > MAX_RESPONSE => return Err(unexpected("a response", &received)),
                read => received.extend_from_slice(&chunk[..read]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_read_when_it_is_complete() {
        let wire = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nX: y\r\n\r\n4ab";
        for cut in 0..wire.len() {
            assert!(matches!(response(&wire[..cut]), Ok(None)), "{cut} bytes");
        }
        let more = [&wire[..], b"HTTP"].concat();
        assert_eq!(response(&more).unwrap(), Some((&b"4ab"[..], wire.len())));
    }

    #[test]
    fn anything_but_200_with_a_length_is_an_error() {
        let cases = [
            "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
            "\x01\x02 nonsense",
        ];
        for case in cases {
            assert!(matches!(response(case.as_bytes()), Err(Error::Http { .. })), "{case}");
        }
    }
}
