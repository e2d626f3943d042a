//! One client of a herd: its connection, and where it stands.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, SockRef, Socket, Type};

use super::back_off::BackOff;
use super::session::{Received, Session};
use crate::frames::{self, Opcode};
use crate::handshake::accepted_head;

/// The next thing a client does or waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It has no connection, and opens one when its time comes.
    Waiting,
    /// The TCP connection is being made.
    Connecting,
    /// The upgrade was asked for.
    Upgrading,
    /// The WebSocket is there, the session is not.
    AwaitingOpen,
    /// CONNECT was sent.
    Entering,
    /// It is in the chat.
    Connected,
    /// It does not try again.
    GaveUp,
}

/// What an attempt or a connection came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The server answered with another status than 101.
    Refused,
    /// The connection broke, or was never there.
    Lost,
    /// The server refused the token. Official clients do not try again then.
    Unauthorized,
}

/// How many addresses of loopback the clients come from. From one address, the system has to search long for a free port when
/// half of all are taken: measured, 0.2 ms each.
const SOURCES: usize = 16;

/// How an event `message` begins.
const MESSAGE: &[u8] = b"42[\"message\",";

/// Begins a connection of client number `member`.
fn connect(address: SocketAddr, member: usize) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if address.ip().is_loopback() && address.is_ipv4() {
        let last = u8::try_from(member % SOURCES).unwrap_or_default() + 1;
        socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into())?;
    }
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(nix::errno::Errno::EINPROGRESS as i32) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) step: Step,
    pub(super) back_off: BackOff,
    /// Counts attempts, so that an old deadline finds out that it is one.
    pub(super) opening: u32,
    /// When it last entered the chat.
    pub(super) connected_at: Option<SystemTime>,
    /// How long the last answer to CONNECT took.
    pub(super) answered_after: Duration,
    /// What it keeps to get its socket back. `None`: it comes back as a new client.
    pub(super) session: Option<Session>,
    /// The numbered messages that it has got, if there are any.
    pub(super) heard: Option<Received>,
    asked_at: Instant,
    stream: Option<TcpStream>,
    received: Vec<u8>,
    /// The request for a WebSocket.
    upgrade: Vec<u8>,
    token: String,
}

impl Client {
    pub(super) fn new(upgrade: Vec<u8>, token: String, recovers: bool, heard: Option<Received>) -> Self {
        Self {
            step: Step::Waiting,
            back_off: BackOff::default(),
            opening: 0,
            connected_at: None,
            answered_after: Duration::ZERO,
            session: recovers.then(Session::default),
            heard,
            asked_at: Instant::now(),
            stream: None,
            received: Vec::new(),
            upgrade,
            token,
        }
    }

    /// Begins to connect.
    pub(super) fn open(&mut self, address: SocketAddr, registry: &Registry, token: Token) -> Result<(), End> {
        self.opening += 1;
        let mut stream = connect(address, token.0).map_err(|_| End::Lost)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut stream, token, interest).map_err(|_| End::Lost)?;
        (self.stream, self.step) = (Some(stream), Step::Connecting);
        Ok(())
    }

    /// Drops the connection.
    pub(super) fn close(&mut self) {
        self.stream = None;
        self.received = Vec::new();
    }

    /// Cuts the connection: the server gets a reset, and what it has sent since the last turn is lost.
    pub(super) fn cut(&mut self) {
        if let Some(stream) = &self.stream {
            // It fails only where the connection has ended.
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        self.close();
    }

    /// Comes back as a new client next time.
    pub(super) fn begin_anew(&mut self) {
        self.session = self.session.take().map(|_| Session::default());
        if let Some(heard) = &mut self.heard {
            heard.begin_anew();
        }
    }

    /// The TCP connection is there, or has failed.
    pub(super) fn on_writable(&mut self) -> Result<(), End> {
        if self.step != Step::Connecting {
            return Ok(());
        }
        let Some(stream) = &self.stream else { return Ok(()) };
        match stream.peer_addr() {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotConnected && matches!(stream.take_error(), Ok(None)) => {
                return Ok(());
            }
            Err(_) => return Err(End::Lost),
        }
        let upgrade = std::mem::take(&mut self.upgrade);
        let sent = self.send(&upgrade);
        self.upgrade = upgrade;
        self.step = Step::Upgrading;
        sent
    }

    /// Reads what came, with `scratch` to read into.
    pub(super) fn on_readable(&mut self, scratch: &mut [u8]) -> Result<(), End> {
        loop {
            let Some(stream) = &mut self.stream else { return Ok(()) };
            match stream.read(scratch) {
                Ok(0) => return Err(End::Lost),
                Ok(read) => {
                    self.received.extend_from_slice(scratch.get(..read).unwrap_or_default());
                    self.handle_received()?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(End::Lost),
            }
        }
    }

    fn handle_received(&mut self) -> Result<(), End> {
        if self.step == Step::Upgrading {
            let Some(end) = accepted_head(&self.received).map_err(|_| End::Refused)? else { return Ok(()) };
            self.received.drain(..end);
            self.step = Step::AwaitingOpen;
        }
        let mut received = std::mem::take(&mut self.received);
        let mut used = 0;
        while let Some(frame) = frames::scan(received.get(used..).unwrap_or_default()).map_err(|_| End::Lost)? {
            used += frame.len;
            self.handle_frame(frame.opcode, frame.payload)?;
        }
        received.drain(..used);
        if received.is_empty() {
            // Thousands of clients are idle most of the time.
            received = Vec::new();
        }
        self.received = received;
        Ok(())
    }

    fn handle_frame(&mut self, opcode: Opcode, payload: &[u8]) -> Result<(), End> {
        match (self.step, payload) {
            _ if opcode == Opcode::Close => Err(End::Lost),
            // Engine.IO's ping, and its end.
            (_, b"2") => {
                let mut pong = Vec::new();
                frames::encode_text(b"3", &mut pong);
                self.send(&pong)
            }
            (_, b"1") => Err(End::Lost),
            (Step::AwaitingOpen, [b'0', b'{', ..]) => {
                // Here an official client has reconnected, and counts attempts anew.
                self.back_off.reset();
                let none = Session::default();
                let packet = self.session.as_ref().unwrap_or(&none).connect_packet(&self.token);
                let mut connect = Vec::new();
                frames::encode_text(packet.as_bytes(), &mut connect);
                (self.step, self.asked_at) = (Step::Entering, Instant::now());
                self.send(&connect)
            }
            (Step::Entering, [b'4', b'0', ..]) => {
                (self.step, self.connected_at) = (Step::Connected, Some(SystemTime::now()));
                self.answered_after = self.asked_at.elapsed();
                if let Some(session) = &mut self.session {
                    session.connected(payload);
                }
                Ok(())
            }
            // Servers may send what it missed before the answer, too: early versions of this one did.
            (Step::Entering | Step::Connected, _) if payload.starts_with(MESSAGE) => {
                if let Some(session) = &mut self.session {
                    session.received(payload);
                }
                if let Some(heard) = &mut self.heard {
                    heard.add(payload);
                }
                Ok(())
            }
            (Step::Entering, [b'4', b'4', ..]) => Err(End::Unauthorized),
            // DISCONNECT: official clients do not come back after it, and the server does not send it when it restarts.
            (Step::Connected, b"41") => Err(End::Unauthorized),
            _ => Ok(()),
        }
    }

    /// What a client sends fits into any socket's buffer, so it is written at once, or the connection is broken.
    fn send(&mut self, bytes: &[u8]) -> Result<(), End> {
        let Some(stream) = &mut self.stream else { return Ok(()) };
        match stream.write(bytes) {
            Ok(written) if written == bytes.len() => Ok(()),
            _ => Err(End::Lost),
        }
    }
}
