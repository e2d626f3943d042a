//! HTTP/1.1 as far as Engine.IO's clients use it: handshakes of both transports, and the requests of long-polling.

use std::io::Write;
use std::mem::MaybeUninit;

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine};

use crate::conn::{Broken, Frames, Use};
use crate::polling::Polling;
use crate::server::Server;
use crate::ws;

const PATH: &str = "/socket.io/";
const HEADERS: usize = 48;
const MAX_HEAD: usize = 16 * 1024;
/// Between the packets of a payload.
const SEPARATOR: u8 = 0x1e;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok";
const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";

/// Engine.IO's reasons to refuse a request, with their codes.
const UNKNOWN_TRANSPORT: &str = r#"{"code":0,"message":"Transport unknown"}"#;
const UNKNOWN_SID: &str = r#"{"code":1,"message":"Session ID unknown"}"#;
const BAD_METHOD: &str = r#"{"code":2,"message":"Bad handshake method"}"#;
const BAD_REQUEST: &str = r#"{"code":3,"message":"Bad request"}"#;
const BAD_VERSION: &str = r#"{"code":5,"message":"Unsupported protocol version"}"#;

/// A request's head.
#[derive(Debug)]
struct Head {
    asks: Result<Ask, &'static str>,
    /// Whether the path is ours.
    ours: bool,
    /// Bytes of head and body.
    len: usize,
    body: usize,
}

#[derive(Debug)]
enum Ask {
    Open,
    /// With the digest for `Sec-WebSocket-Accept`.
    Upgrade([u8; 20]),
    Poll(usize),
    Post(usize),
}

/// Appends a packet to a payload.
pub(crate) fn push_packet(payload: &mut Vec<u8>, packet: &[u8]) {
    if !payload.is_empty() {
        payload.push(SEPARATOR);
    }
    payload.extend_from_slice(packet);
}

/// Appends a response with a payload.
pub(crate) fn push_response(out: &mut Vec<u8>, payload: &[u8]) {
    push_head(out, "200 OK", "text/plain; charset=UTF-8", payload.len());
    out.extend_from_slice(payload);
}

fn push_head(out: &mut Vec<u8>, status: &str, kind: &str, len: usize) {
    // Writing to a vector does not fail.
    let _ = write!(out, "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\n\r\n");
}

impl Server {
    /// Handles every whole request of `input`; returns where the rest begins.
    pub(crate) fn on_http(&mut self, conn: usize, input: &mut [u8]) -> Result<usize, Broken> {
        let mut start = 0;
        while let Some(bytes) = input.get(start..).filter(|bytes| !bytes.is_empty()) {
            let Some(head) = self.parse(bytes)? else { break };
            if head.len - head.body > ws::MAX_PAYLOAD {
                return Err(Broken);
            }
            let Some(body) = bytes.get(head.body..head.len) else { break };
            start += head.len;
            match head.asks {
                _ if !head.ours => self.answer(conn, NOT_FOUND)?,
                Err(reason) => self.refuse(conn, reason)?,
                Ok(Ask::Open) => self.open_polling(conn)?,
                Ok(Ask::Post(session)) => self.on_post(conn, session, body)?,
                Ok(Ask::Poll(session)) => {
                    self.on_poll(conn, session)?;
                    // A client sends no other request before the answer.
                    let used = self.conns.get(conn).map(|conn| conn.used);
                    if matches!(used, Some(Use::Poll(_))) && start < input.len() {
                        return Err(Broken);
                    }
                }
                Ok(Ask::Upgrade(accept)) => {
                    let session = self.upgrade(conn, accept)?;
                    return self.on_frames(session, input, start);
                }
            }
        }
        Ok(start)
    }

    fn parse(&self, bytes: &[u8]) -> Result<Option<Head>, Broken> {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS];
        let mut request = httparse::Request::new(&mut []);
        let body = match request.parse_with_uninit_headers(bytes, &mut headers) {
            Ok(httparse::Status::Complete(len)) if len <= MAX_HEAD => len,
            Ok(httparse::Status::Partial) if bytes.len() <= MAX_HEAD => return Ok(None),
            _ => return Err(Broken),
        };
        let (mut length, mut key, mut upgrade) = (0, None, false);
        for header in request.headers.iter() {
            if header.name.eq_ignore_ascii_case("content-length") {
                length = str::from_utf8(header.value).ok().and_then(|text| text.parse().ok()).ok_or(Broken)?;
            } else if header.name.eq_ignore_ascii_case("sec-websocket-key") {
                key = Some(header.value);
            } else if header.name.eq_ignore_ascii_case("upgrade") {
                upgrade = header.value.eq_ignore_ascii_case(b"websocket");
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                return Err(Broken);
            }
        }
        let (path, query) = request.path.and_then(|path| path.split_once('?')).unwrap_or_default();
        let asks = self.ask(request.method.unwrap_or_default(), query, key.filter(|_| upgrade));
        let len = body.checked_add(length).ok_or(Broken)?;
        Ok(Some(Head { asks, ours: path == PATH, len, body }))
    }

    fn ask(&self, method: &str, query: &str, key: Option<&[u8]>) -> Result<Ask, &'static str> {
        let (mut version, mut transport, mut sid) = ("", "", None);
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "EIO" => version = value,
                "transport" => transport = value,
                "sid" => sid = Some(value),
                _ => {}
            }
        }
        if version != "4" {
            return Err(BAD_VERSION);
        }
        match (method, transport, sid, key) {
            ("GET", "polling", None, _) => Ok(Ask::Open),
            ("GET", "polling", Some(sid), _) => self.polling(sid).map(Ask::Poll).ok_or(UNKNOWN_SID),
            ("POST", "polling", Some(sid), _) => self.polling(sid).map(Ask::Post).ok_or(UNKNOWN_SID),
            ("GET", "websocket", None, Some(key)) => Ok(Ask::Upgrade(ws::accept(key))),
            // Upgrades of a session are not offered.
            ("GET", "websocket", ..) => Err(BAD_REQUEST),
            (_, "polling" | "websocket", ..) => Err(BAD_METHOD),
            _ => Err(UNKNOWN_TRANSPORT),
        }
    }

    /// The polling session `sid`: its place is in the id, the rest is as good as a password.
    fn polling(&self, sid: &str) -> Option<usize> {
        let mut bytes = [0; 18];
        BASE64_URL_SAFE_NO_PAD.decode_slice(sid, &mut bytes).ok()?;
        let place = u32::from_be_bytes(*bytes.first_chunk()?) as usize;
        let session = self.sessions.get(place).filter(|session| !session.dead)?;
        (session.polling.as_ref()?.sid == sid.as_bytes()).then_some(place)
    }

    fn new_sid(&mut self) -> Result<[u8; 24], Broken> {
        let mut bytes = [0; 18];
        let (place, random) = bytes.split_first_chunk_mut().ok_or(Broken)?;
        *place = (self.sessions.vacant_key() as u32).to_be_bytes();
        random.copy_from_slice(&self.random::<14>()?);
        let mut sid = [0; 24];
        BASE64_URL_SAFE_NO_PAD.encode_slice(bytes, &mut sid).map_err(|_| Broken)?;
        Ok(sid)
    }

    fn push_open(&mut self, sid: &[u8]) {
        self.packet.clear();
        self.packet.extend_from_slice(b"0{\"sid\":\"");
        self.packet.extend_from_slice(sid);
        let _ = write!(
            self.packet,
            "\",\"upgrades\":[],\"pingInterval\":{},\"pingTimeout\":{},\"maxPayload\":{}}}",
            self.config.ping_interval_ms,
            self.config.ping_timeout_ms,
            ws::MAX_PAYLOAD
        );
    }

    fn upgrade(&mut self, conn: usize, accept: [u8; 20]) -> Result<usize, Broken> {
        let sid = self.new_sid()?;
        self.push_open(&sid);
        let session = self.open(conn, None);
        let mut accepted = [0; 28];
        BASE64_STANDARD.encode_slice(accept, &mut accepted).map_err(|_| Broken)?;
        self.response.clear();
        self.response.extend_from_slice(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ",
        );
        self.response.extend_from_slice(&accepted);
        self.response.extend_from_slice(b"\r\n\r\n");
        ws::push_frame(&mut self.response, ws::TEXT, &self.packet);
        let upgraded = self.conns.get_mut(conn).ok_or(Broken)?;
        upgraded.used = Use::WebSocket(session);
        upgraded.send(&mut Frames::new(&self.response))?;
        Ok(session)
    }

    fn open_polling(&mut self, conn: usize) -> Result<(), Broken> {
        let sid = self.new_sid()?;
        self.push_open(&sid);
        self.open(conn, Some(Box::new(Polling::new(sid))));
        self.response.clear();
        push_response(&mut self.response, &self.packet);
        self.conns.get_mut(conn).ok_or(Broken)?.send(&mut Frames::new(&self.response))
    }

    fn on_poll(&mut self, conn: usize, session: usize) -> Result<(), Broken> {
        let polling = self.sessions.get_mut(session).and_then(|session| session.polling.as_mut()).ok_or(Broken)?;
        if polling.waiting.is_some() {
            self.kill(session);
            return self.refuse(conn, BAD_REQUEST);
        }
        polling.waiting = Some(conn);
        self.conns.get_mut(conn).ok_or(Broken)?.used = Use::Poll(session);
        polling.respond(&mut self.response, &mut self.conns)
    }

    fn on_post(&mut self, conn: usize, session: usize, body: &[u8]) -> Result<(), Broken> {
        let mut decoded = Vec::new();
        for packet in body.split(|&byte| byte == SEPARATOR) {
            let handled = match packet.strip_prefix(b"b") {
                Some(base64) => {
                    decoded.clear();
                    let valid = BASE64_STANDARD.decode_vec(base64, &mut decoded).map_err(|_| Broken);
                    valid.and_then(|()| self.on_attachment(session, &decoded))
                }
                None => self.on_packet(session, packet),
            };
            if handled.is_err() {
                self.kill(session);
                return self.refuse(conn, BAD_REQUEST);
            }
        }
        self.answer(conn, OK)
    }

    fn refuse(&mut self, conn: usize, reason: &str) -> Result<(), Broken> {
        self.response.clear();
        push_head(&mut self.response, "400 Bad Request", "application/json", reason.len());
        self.response.extend_from_slice(reason.as_bytes());
        self.conns.get_mut(conn).ok_or(Broken)?.send(&mut Frames::new(&self.response))
    }

    fn answer(&mut self, conn: usize, response: &[u8]) -> Result<(), Broken> {
        self.conns.get_mut(conn).ok_or(Broken)?.send(&mut Frames::new(response))
    }
}
