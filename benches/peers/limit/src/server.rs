//! The loop: waits for readiness, reads, writes what the turn gathered, keeps time.

use std::collections::{HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::mem;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use smallvec::SmallVec;
use socket2::{Domain, Protocol, Socket, Type};

use crate::chat::Binary;
use crate::conn::{Broken, Conn, Use};
use crate::polling::Polling;
use crate::rooms::{LOBBY, Room};
use crate::stamp::Stamper;
use crate::token::Verifier;
use crate::ws::{self, Scan};

const LISTENER: Token = Token(usize::MAX);
/// Read buffer of all connections, in bytes: the longest message or request body fits with its head.
const SCRATCH: usize = ws::MAX_PAYLOAD + 64 * 1024;
/// Readiness events of a turn.
const EVENTS: usize = 1024;
/// Deadlines are rounded up to this many milliseconds, so that a turn serves several.
const TICK: u64 = 8;

/// When broadcasts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// At once: a write per recipient and message.
    Write,
    /// At the end of the turn: a write per recipient, room and turn, with what else there is for the recipient.
    Batch,
}

/// What can be set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Config {
    pub(crate) mode: Mode,
    pub(crate) ping_interval_ms: u64,
    pub(crate) ping_timeout_ms: u64,
}

/// An Engine.IO session and its one socket, of the namespace `/`.
#[derive(Debug)]
pub(crate) struct Session {
    /// The connection of a WebSocket; of no meaning with long-polling.
    pub(crate) conn: usize,
    /// Tells this session from one that had its place before.
    pub(crate) serial: u32,
    /// Until when the newest ping must be answered; `None` if it is.
    pong_due: Option<u32>,
    /// To be closed at the end of the turn.
    pub(crate) dead: bool,
    /// The end of its events, see [`Verifier::verify`]; empty before CONNECT.
    pub(crate) user: Box<str>,
    pub(crate) rooms: SmallVec<[u32; 4]>,
    pub(crate) polling: Option<Box<Polling>>,
    /// An event whose attachments are not here yet.
    pub(crate) binary: Option<Box<Binary>>,
}

/// A session's turn to be pinged or to have answered. All wait equally long, so a queue is in order of time.
#[derive(Debug)]
struct Deadline {
    tick: u32,
    session: u32,
    serial: u32,
}

/// The server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) config: Config,
    poll: Poll,
    listener: TcpListener,
    pub(crate) conns: Slab<Conn>,
    pub(crate) sessions: Slab<Session>,
    pub(crate) rooms: Slab<Room>,
    pub(crate) room_ids: HashMap<Box<str>, usize>,
    pub(crate) verifier: Verifier,
    pub(crate) stamper: Stamper,
    /// Random bytes for session ids, drawn many at a time.
    random: Vec<u8>,
    /// A response being put together.
    pub(crate) response: Vec<u8>,
    /// A packet being put together.
    pub(crate) packet: Vec<u8>,
    /// Rooms with broadcasts to write at the end of the turn.
    pub(crate) dirty_rooms: Vec<usize>,
    /// Sessions with packets of their own to write then.
    pub(crate) dirty: Vec<usize>,
    /// Sessions to close then.
    pub(crate) dead: Vec<usize>,
    /// Empty buffers for [`Conn::pending`].
    pub(crate) spare: Vec<Vec<u8>>,
    serials: u32,
    start: Instant,
    now: u32,
    pings: VecDeque<Deadline>,
    pongs: VecDeque<Deadline>,
}

impl Server {
    /// Listens on `address`.
    pub(crate) fn bind(address: SocketAddr, config: Config, secret: &str) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_reuse_address(true)?;
        // Accepted sockets inherit it, which saves a system call for each.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        let mut listener = TcpListener::from_std(socket.into());
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let mut seed = [0; 16];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let mut server = Self {
            config,
            poll,
            listener,
            conns: Slab::new(),
            sessions: Slab::new(),
            rooms: Slab::new(),
            room_ids: HashMap::new(),
            verifier: Verifier::new(secret),
            stamper: Stamper::new(seed),
            random: Vec::new(),
            response: Vec::new(),
            packet: Vec::new(),
            dirty_rooms: Vec::new(),
            dirty: Vec::new(),
            dead: Vec::new(),
            spare: Vec::new(),
            serials: 0,
            start: Instant::now(),
            now: 0,
            pings: VecDeque::new(),
            pongs: VecDeque::new(),
        };
        server.room(LOBBY);
        Ok(server)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the system fails it.
    pub(crate) fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut scratch = vec![0; SCRATCH];
        loop {
            match self.poll.poll(&mut events, self.timeout()) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result?,
            }
            self.now = self.tick(0);
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(conn) => {
                        if self.ready(conn, event, &mut scratch).is_err() {
                            self.close_conn(conn);
                        }
                    }
                }
            }
            self.heartbeats();
            self.flush_all();
            self.reap();
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => continue,
                Err(error) => return Err(error),
            };
            let entry = self.conns.vacant_entry();
            // Edge-triggered: writability is reported again only after a write found the socket full.
            self.poll.registry().register(&mut stream, Token(entry.key()), Interest::READABLE | Interest::WRITABLE)?;
            entry.insert(Conn::new(stream));
        }
    }

    /// An event may be of a connection closed earlier in the turn; its successor then finds nothing to do.
    fn ready(&mut self, conn: usize, event: &Event, scratch: &mut [u8]) -> Result<(), Broken> {
        if event.is_writable()
            && let Some(conn) = self.conns.get_mut(conn)
        {
            conn.flush()?;
        }
        if !event.is_readable() {
            return Ok(());
        }
        loop {
            let Some(reader) = self.conns.get_mut(conn) else { return Ok(()) };
            let Some((filled, more)) = reader.read(scratch)? else { return Ok(()) };
            let input = scratch.get_mut(..filled).ok_or(Broken)?;
            let rest = match reader.used {
                Use::Http => self.on_http(conn, input)?,
                Use::Poll(_) => return Err(Broken),
                Use::WebSocket(session) => self.on_frames(session, input, 0)?,
            };
            if let (Some(reader), Some(rest @ [_, ..])) = (self.conns.get_mut(conn), input.get(rest..)) {
                reader.keep(rest);
            }
            // A read that did not fill the buffer emptied the socket, and what arrives later is reported anew (epoll(7),
            // question 9). An end that is here already is not.
            if !more && !event.is_read_closed() {
                return Ok(());
            }
        }
    }

    /// Handles every whole frame from `start` on; returns where the rest begins.
    pub(crate) fn on_frames(&mut self, session: usize, input: &mut [u8], mut start: usize) -> Result<usize, Broken> {
        loop {
            match ws::scan(input, start) {
                Scan::Incomplete => return Ok(start),
                Scan::Invalid => return Err(Broken),
                Scan::Frame(first, range) => {
                    start = range.end;
                    let payload = input.get(range).ok_or(Broken)?;
                    match first {
                        ws::TEXT => self.on_packet(session, payload)?,
                        ws::BINARY => self.on_attachment(session, payload)?,
                        ws::PING => self.control(session, ws::PONG, payload),
                        ws::PONG => {}
                        _ => {
                            self.control(session, ws::CLOSE, payload.get(..2).unwrap_or_default());
                            self.flush(session);
                            return Err(Broken);
                        }
                    }
                }
            }
        }
    }

    /// A new session, to be pinged in time.
    pub(crate) fn open(&mut self, conn: usize, polling: Option<Box<Polling>>) -> usize {
        self.serials = self.serials.wrapping_add(1);
        let serial = self.serials;
        let session = self.sessions.insert(Session {
            conn,
            serial,
            pong_due: None,
            dead: false,
            user: Box::default(),
            rooms: SmallVec::new(),
            polling,
            binary: None,
        });
        self.pings.push_back(self.deadline(session, serial, self.config.ping_interval_ms));
        session
    }

    /// Marks `session` for closing: it may be in the middle of being delivered to.
    pub(crate) fn kill(&mut self, session: usize) {
        if let Some(found) = self.sessions.get_mut(session)
            && !mem::replace(&mut found.dead, true)
        {
            self.dead.push(session);
        }
    }

    fn reap(&mut self) {
        while let Some(session) = self.dead.pop() {
            if self.sessions.get(session).is_some_and(|session| session.dead) {
                self.close_session(session);
            }
        }
    }

    fn close_session(&mut self, session: usize) {
        let Some(closed) = self.sessions.try_remove(session) else { return };
        for &room in &closed.rooms {
            self.leave(session, room as usize, closed.polling.is_some());
        }
        let conn = closed.polling.map_or(Some(closed.conn), |polling| polling.waiting);
        // Dropping it closes the socket, which also takes it from the poller.
        conn.and_then(|conn| self.conns.try_remove(conn));
    }

    pub(crate) fn close_conn(&mut self, conn: usize) {
        match self.conns.try_remove(conn).map(|conn| conn.used) {
            // A poll that is broken off ends its session, as with Node.
            Some(Use::Poll(session) | Use::WebSocket(session)) => self.close_session(session),
            Some(Use::Http) | None => {}
        }
    }

    pub(crate) fn random<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        if self.random.len() < N {
            self.random.resize(4096, 0);
            getrandom::fill(&mut self.random).map_err(|_| Broken)?;
        }
        let drawn = *self.random.last_chunk().ok_or(Broken)?;
        self.random.truncate(self.random.len() - N);
        Ok(drawn)
    }

    /// The tick `millis` from now.
    fn tick(&self, millis: u64) -> u32 {
        let passed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        // A tick of now has begun; one to come is rounded up.
        u32::try_from((passed + millis + if millis > 0 { TICK - 1 } else { 0 }) / TICK).unwrap_or(u32::MAX)
    }

    fn deadline(&self, session: usize, serial: u32, millis: u64) -> Deadline {
        Deadline { tick: self.tick(millis), session: session as u32, serial }
    }

    fn timeout(&self) -> Option<Duration> {
        let next = self.pings.front().into_iter().chain(self.pongs.front()).map(|deadline| deadline.tick).min()?;
        Some((self.start + Duration::from_millis(u64::from(next) * TICK)).saturating_duration_since(Instant::now()))
    }

    fn heartbeats(&mut self) {
        while let Some(next) = self.pongs.pop_front_if(|next| next.tick <= self.now) {
            let (session, due) = (next.session as usize, Some(next.tick));
            if self.sessions.get(session).is_some_and(|found| found.serial == next.serial && found.pong_due == due) {
                self.kill(session);
            }
        }
        while let Some(Deadline { session, serial, .. }) = self.pings.pop_front_if(|next| next.tick <= self.now) {
            let session = session as usize;
            let pong = self.deadline(session, serial, self.config.ping_timeout_ms);
            if let Some(found) = self.sessions.get_mut(session).filter(|found| found.serial == serial) {
                found.pong_due = Some(pong.tick);
                self.pongs.push_back(pong);
                self.send(session, b"2");
            }
        }
    }

    /// The next ping follows an interval after the pong.
    pub(crate) fn on_pong(&mut self, session: usize) {
        let Some(found) = self.sessions.get_mut(session) else { return };
        if found.pong_due.take().is_some() {
            let serial = found.serial;
            self.pings.push_back(self.deadline(session, serial, self.config.ping_interval_ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn accepted_sockets_do_not_delay() {
        let config = Config { mode: Mode::Write, ping_interval_ms: 25_000, ping_timeout_ms: 20_000 };
        let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0)), config, "secret").unwrap();
        let _client = TcpStream::connect(server.address().unwrap()).unwrap();
        // The connection is established, so it can be accepted.
        assert!(server.listener.accept().unwrap().0.nodelay().unwrap());
    }
}
