//! A herd: thousands of clients that come back by themselves, as the source document's client does, whenever their
//! server ends. One thread with one readiness loop; the clients speak WebSocket from the beginning.

mod back_off;
mod client;
mod session;

pub use session::{Place, numbered};

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use mio::{Events, Poll, Token, Waker};
use serde::Serialize;

use crate::canary::client::token as token_for;
use crate::error::Error;
use crate::handshake::{token, upgrade_request};
use back_off::{ATTEMPTS, Dice};
use client::{Client, End, Step};
use session::Received;

/// How long one attempt may take: the official client's `timeout`.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How fast the clients come at first, a second. A herd that comes back has its own pace.
const FIRST_RATE: u32 = 4000;
/// The token of the waker; clients have the numbers from 0.
const WAKER: Token = Token(usize::MAX);

/// Whom the clients say that they are, as a proxy on loopback would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Origin {
    /// Nobody: loopback is trusted, and so has no limit
    Loopback,
    /// An address of its own each
    Own,
    /// One address for all of them
    One,
}

impl Origin {
    fn address(self, member: usize) -> Option<Ipv4Addr> {
        match self {
            Self::Loopback => None,
            Self::Own => Some(Ipv4Addr::from_bits(0x0a00_0001 + u32::try_from(member).unwrap_or(u32::MAX))),
            Self::One => Some(Ipv4Addr::new(203, 0, 113, 7)),
        }
    }
}

/// What the clients of a herd do.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// Whom they say that they are.
    pub origin: Origin,
    /// Whether they ask for their sockets when they come back, as official clients do.
    pub recover: bool,
    /// So many rooms beside the lobby get numbered messages, and each client is in one of them by its token. 0: the clients are in
    /// the lobby only, and do not look at messages.
    pub rooms: usize,
}

/// When clients that were cut come back.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// As official clients do.
    BackOff,
    /// So many a second.
    Rate(u32),
}

/// How a herd stands.
#[derive(Debug, Default, Serialize)]
pub struct Count {
    /// How many clients it has.
    pub clients: usize,
    /// How many have come back since the time that was asked about.
    pub back: usize,
    /// How many of these have got their sockets back.
    pub recovered: usize,
    /// How many have given up.
    pub gave_up: usize,
    /// Handshakes that were answered with another status than 101, since the last count.
    pub refused: usize,
    /// Attempts to connect since the last count.
    pub attempts: usize,
    /// When the last one, and 99 of 100, came back, in milliseconds since that time.
    pub last: f64,
    /// See `last`.
    pub p99: f64,
}

/// See the module.
#[derive(Debug)]
pub struct Herd {
    poll: Poll,
    events: Events,
    address: SocketAddr,
    clients: Vec<Client>,
    /// What is due when, by client and its number of attempts: an attempt, or its end.
    due: BinaryHeap<Reverse<(Instant, usize, u32)>>,
    dice: Dice,
    scratch: Vec<u8>,
    refused: usize,
    attempts: usize,
}

impl Herd {
    /// A herd of so many clients, whose tokens are signed with `secret`. They begin to connect with the first [`Herd::pump`].
    ///
    /// # Errors
    /// The system has no poller, or a token cannot be signed.
    pub fn new(address: SocketAddr, secret: &str, clients: usize, habits: Habits) -> Result<Self, Error> {
        let client = |member| {
            let mut upgrade = upgrade_request(address);
            if let Some(from) = habits.origin.address(member) {
                // In front of the empty line that ends the head.
                upgrade.truncate(upgrade.len() - 2);
                upgrade.extend_from_slice(format!("X-Forwarded-For: {from}\r\n\r\n").as_bytes());
            }
            let room = member.checked_rem(habits.rooms);
            let token = match room {
                Some(room) => token_for(secret, &format!("user-{member:06}"), &[Place::Room(room).id()]),
                None => token(secret, member)?,
            };
            Ok(Client::new(upgrade, token, habits.recover, room.map(Received::new)))
        };
        let now = Instant::now();
        let first = |member| Reverse((now + Duration::from_secs(1) * member as u32 / FIRST_RATE, member, 0));
        Ok(Self {
            poll: Poll::new().map_err(Error::io("create a poller"))?,
            events: Events::with_capacity(1024),
            address,
            clients: (0..clients).map(client).collect::<Result<_, Error>>()?,
            due: (0..clients).map(first).collect(),
            dice: Dice::new(),
            scratch: vec![0; 65_536],
            refused: 0,
            attempts: 0,
        })
    }

    /// Ends a wait of [`Herd::pump`] from another thread.
    ///
    /// # Errors
    /// The system has none.
    pub fn waker(&self) -> Result<Waker, Error> {
        Waker::new(self.poll.registry(), WAKER).map_err(Error::io("create a waker"))
    }

    /// Does what is due, and waits for more, at most for `timeout`.
    ///
    /// # Errors
    /// The system's poller fails.
    pub fn pump(&mut self, timeout: Duration) -> Result<(), Error> {
        let now = Instant::now();
        while let Some(Reverse((at, member, opening))) = self.due.peek().copied()
            && at <= now
        {
            self.due.pop();
            self.run_due(member, opening);
        }
        let next = self.due.peek().map_or(timeout, |Reverse((at, ..))| at.saturating_duration_since(now));
        match self.poll.poll(&mut self.events, Some(next.min(timeout))) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result.map_err(Error::io("poll"))?,
        }
        let mut ends = Vec::new();
        for event in &self.events {
            let Token(member) = event.token();
            let Some(client) = self.clients.get_mut(member) else { continue };
            let done = if event.is_writable() { client.on_writable() } else { Ok(()) };
            let done =
                done.and_then(|()| if event.is_readable() { client.on_readable(&mut self.scratch) } else { Ok(()) });
            if let Err(end) = done {
                ends.push((member, end));
            }
        }
        for (member, end) in ends {
            self.end(member, end);
        }
        Ok(())
    }

    /// An attempt is due, or takes too long.
    fn run_due(&mut self, member: usize, opening: u32) {
        let Some(client) = self.clients.get_mut(member).filter(|client| client.opening == opening) else { return };
        match client.step {
            Step::Waiting => {
                self.attempts += 1;
                let opened = client.open(self.address, self.poll.registry(), Token(member));
                self.due.push(Reverse((Instant::now() + TIMEOUT, member, client.opening)));
                if let Err(end) = opened {
                    self.end(member, end);
                }
            }
            Step::Connected | Step::GaveUp => {}
            _ => self.end(member, End::Lost),
        }
    }

    /// A connection, or an attempt, is over.
    fn end(&mut self, member: usize, end: End) {
        let Some(client) = self.clients.get_mut(member) else { return };
        client.close();
        self.refused += usize::from(end == End::Refused);
        let wait = if end == End::Unauthorized { None } else { client.back_off.next(&mut self.dice) };
        client.step = if wait.is_some() { Step::Waiting } else { Step::GaveUp };
        if let Some(wait) = wait {
            self.due.push(Reverse((Instant::now() + wait, member, client.opening)));
        }
    }

    /// The server has another address now.
    pub fn go_to(&mut self, address: SocketAddr) {
        self.address = address;
    }

    /// Cuts the connections of the first `clients` clients, which stay away until [`Herd::come_back`].
    pub fn cut(&mut self, clients: usize) {
        for client in self.clients.iter_mut().take(clients) {
            client.cut();
            // What is due has nothing to do any more.
            client.opening += 1;
            client.step = Step::Waiting;
        }
    }

    /// The clients that were cut come back, with their sessions or as new clients.
    pub fn come_back(&mut self, pace: Pace, with_sessions: bool) {
        let now = Instant::now();
        let mut number = 0;
        for (member, client) in self.clients.iter_mut().enumerate() {
            if client.step != Step::Waiting {
                continue;
            }
            if !with_sessions {
                client.begin_anew();
            }
            client.back_off.reset();
            let wait = match pace {
                Pace::BackOff => client.back_off.next(&mut self.dice).unwrap_or_default(),
                Pace::Rate(rate) => Duration::from_secs(1) * number / rate.max(1),
            };
            number += 1;
            self.due.push(Reverse((now + wait, member, client.opening)));
        }
    }

    /// How many clients have got all numbered messages, each once and in order, when so many were sent to the lobby and to each room.
    pub fn complete(&self, lobby: u32, room: u32) -> usize {
        let heard = self.clients.iter().filter_map(|client| client.heard.as_ref());
        heard.filter(|heard| heard.is_all(lobby, room)).count()
    }

    /// How long the CONNECTs took of those who came back since `time`, each up to its answer, sorted.
    pub fn answer_times(&self, time: SystemTime) -> Vec<Duration> {
        let back = self.clients.iter().filter(|client| client.is_back_since(time));
        let mut times: Vec<_> = back.map(|client| client.answered_after).collect();
        times.sort_unstable();
        times
    }

    /// Whether every client is connected, or has given up.
    pub fn is_back(&self) -> bool {
        self.clients.iter().all(|client| matches!(client.step, Step::Connected | Step::GaveUp))
    }

    /// Whether every client has come back since `time`, or has given up.
    pub fn is_settled(&self, time: SystemTime) -> bool {
        self.clients.iter().all(|client| client.step == Step::GaveUp || client.is_back_since(time))
    }

    /// How the herd stands. Attempts and refusals are counted anew from here.
    pub fn count(&mut self, time: SystemTime) -> Count {
        let is_back = |client: &&Client| client.is_back_since(time);
        let elapsed = |client: &Client| client.connected_at.and_then(|at| at.duration_since(time).ok());
        let mut times: Vec<Duration> = self.clients.iter().filter(is_back).filter_map(elapsed).collect();
        times.sort_unstable();
        let millis = |at: usize| times.get(at).map_or(0.0, |time| (time.as_secs_f64() * 1000.0).round());
        Count {
            clients: self.clients.len(),
            back: times.len(),
            recovered: self.clients.iter().filter(is_back).filter(|client| client.is_recovered()).count(),
            gave_up: self.clients.iter().filter(|client| client.step == Step::GaveUp).count(),
            refused: std::mem::take(&mut self.refused),
            attempts: std::mem::take(&mut self.attempts),
            last: millis(times.len().saturating_sub(1)),
            p99: millis(times.len() * 99 / 100),
        }
    }

    /// For a message to whoever looks at a herd that does not come back: how many clients are at which step.
    pub fn describe(&self) -> String {
        let mut steps = std::collections::BTreeMap::new();
        for client in &self.clients {
            *steps
                .entry(format!("{:?} after {} of {ATTEMPTS}", client.step, client.back_off.attempts()))
                .or_insert(0) += 1;
        }
        format!("{steps:?}")
    }
}

impl Client {
    fn is_recovered(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.is_recovered)
    }

    fn is_back_since(&self, time: SystemTime) -> bool {
        self.step == Step::Connected && self.connected_at.is_some_and(|at| at > time)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn habits(origin: Origin) -> Habits {
        Habits { origin, recover: true, rooms: 0 }
    }

    /// Reads the head of a request.
    fn head(stream: &mut TcpStream) -> String {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    fn accept(listener: &TcpListener) -> (TcpStream, String) {
        let (mut stream, _) = listener.accept().unwrap();
        let head = head(&mut stream);
        (stream, head)
    }

    fn let_in(stream: &mut TcpStream) {
        let accept = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        stream.write_all(accept.as_bytes()).unwrap();
        stream.write_all(b"\x81\x020{\x81\x0440{}").unwrap();
    }

    /// Pumps until all clients came back or gave up.
    fn settle(herd: &mut Herd, since: SystemTime) -> Count {
        let begun = Instant::now();
        while !herd.is_settled(since) {
            assert!(begun.elapsed() < Duration::from_secs(10), "{}", herd.describe());
            herd.pump(Duration::from_millis(20)).unwrap();
        }
        herd.count(since)
    }

    #[test]
    fn a_client_comes_back_after_a_refusal_and_after_a_loss() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut herd = Herd::new(listener.local_addr().unwrap(), "s", 1, habits(Origin::One)).unwrap();
        let server = std::thread::spawn(move || {
            let (mut refused, head) = accept(&listener);
            assert!(head.contains("\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n"), "{head}");
            refused.write_all(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap();
            let (mut lost, _) = accept(&listener);
            let_in(&mut lost);
            (lost, listener)
        });
        let begun = SystemTime::now();
        let count = settle(&mut herd, begun);
        assert_eq!((count.back, count.refused, count.attempts, count.gave_up), (1, 1, 2, 0));
        let (lost, listener) = server.join().unwrap();
        let ended = SystemTime::now();
        drop(lost);
        let server = std::thread::spawn(move || {
            let (mut stream, _) = accept(&listener);
            let_in(&mut stream);
            stream
        });
        let count = settle(&mut herd, ended);
        assert!((count.back, count.attempts) == (1, 1) && count.last >= 500.0, "{count:?}");
        drop(server.join().unwrap());
    }

    #[test]
    fn a_client_whose_token_is_refused_gives_up() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut herd = Herd::new(listener.local_addr().unwrap(), "s", 1, habits(Origin::Loopback)).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = accept(&listener);
            let accept =
                "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
            stream.write_all(accept.as_bytes()).unwrap();
            stream.write_all(b"\x81\x020{\x81\x0444{}").unwrap();
            stream
        });
        let count = settle(&mut herd, SystemTime::now());
        assert_eq!((count.back, count.gave_up), (0, 1));
        drop(server.join().unwrap());
    }
}
