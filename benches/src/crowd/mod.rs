//! A crowd: many connected clients on one readiness loop and one thread, each on a WebSocket or on HTTP long-polling.
//!
//! Everything a client receives is read into one shared buffer and passed on from there; only incomplete parts are
//! copied to their client. Heartbeats are answered here, so a crowd stays connected while it is pumped.

mod discard;
mod pipe;
mod polling;
mod websocket;

use std::io::{ErrorKind, Read};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::error::Error;
use crate::frames;
use crate::handshake::{self, Opened};
use discard::Discarding;
use pipe::Pipe;

/// Size of the read buffer in bytes: any frame that [`frames::scan`] accepts fits, with space to spare.
const SCRATCH: usize = frames::MAX_PAYLOAD as usize + 64 * 1024;
/// The most readiness events taken at once.
const EVENTS: usize = 1024;
/// The most connections of a client. A token is the client's number times this, plus one for a polling client's POSTs.
const SIDES: usize = 2;

/// One Engine.IO packet; a text begins with the packet type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A text: a complete WebSocket message, or one packet of a poll's body.
    Text(&'a [u8]),
    /// An attachment.
    Binary(&'a [u8]),
}

/// What a crowd counts in addition to passing packets on.
#[derive(Debug, Default)]
struct Tally {
    heartbeats: u64,
}

#[derive(Debug)]
enum Client {
    WebSocket(websocket::Client),
    Polling(Box<polling::Client>),
}

/// Connected clients, numbered from 0 in the order they were added.
#[derive(Debug)]
pub struct Crowd {
    poll: Poll,
    events: Events,
    pace: Duration,
    clients: Vec<Client>,
    scratch: Vec<u8>,
    /// Clients with bytes to write.
    unwritten: Vec<usize>,
    /// Clients whose handshake read more bytes than it needed.
    unread: Vec<usize>,
    tally: Tally,
    /// These have no number among the clients.
    discarding: Discarding,
}

impl Crowd {
    /// An empty crowd. With a `pace` it looks for readiness at that interval, instead of sleeping until there is some.
    /// On loopback a server that writes to a sleeping reader pays for waking it, which a remote reader would not cost
    /// it (measured with the Node peer: 15 % of a delivery). With zero it sleeps, which suits idle crowds.
    ///
    /// # Errors
    /// [`Error::Io`] if the system has no poller.
    pub fn new(pace: Duration) -> Result<Self, Error> {
        Ok(Self {
            poll: Poll::new().map_err(Error::io("create a poller"))?,
            events: Events::with_capacity(EVENTS),
            pace,
            clients: Vec::new(),
            scratch: vec![0; SCRATCH],
            unwritten: Vec::new(),
            unread: Vec::new(),
            tally: Tally::default(),
            discarding: Discarding::new(),
        })
    }

    /// The number of clients in it.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Engine.IO pings answered so far.
    pub fn heartbeats(&self) -> u64 {
        self.tally.heartbeats
    }

    /// Adds a client whose handshake is done.
    ///
    /// # Errors
    /// [`Error::Io`] if the stream cannot be registered.
    pub fn add(&mut self, opened: Opened) -> Result<(), Error> {
        let (stream, tail) = opened.into_parts();
        stream.set_nonblocking(true).map_err(Error::io("make a stream non-blocking"))?;
        let mut stream = TcpStream::from_std(stream);
        register(&self.poll, &mut stream, self.clients.len() * SIDES)?;
        if !tail.is_empty() {
            self.unread.push(self.clients.len());
        }
        self.clients.push(Client::WebSocket(websocket::Client { pipe: Pipe::new(stream, tail), paused: false }));
        Ok(())
    }

    /// Adds a polling client whose handshake is done. From the next [`Self::pump`] on it always has a GET waiting.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub fn add_polling(&mut self, opened: handshake::polling::Opened) -> Result<(), Error> {
        let mut client = polling::Client::new(opened)?;
        register(&self.poll, &mut client.polls.stream, self.clients.len() * SIDES)?;
        self.unwritten.push(self.clients.len());
        self.clients.push(Client::Polling(Box::new(client)));
        Ok(())
    }

    /// Adds a client that discards what it receives. It has no number among the other clients.
    ///
    /// # Errors
    /// [`Error::Io`] if the stream cannot be made non-blocking.
    pub fn add_discarding(&mut self, opened: Opened) -> Result<(), Error> {
        self.discarding.add(opened)
    }

    /// Discards what waits for the discarding clients. Returns the number of bytes that each has received so far.
    ///
    /// # Errors
    /// [`Error::Disconnected`] if one lost its connection, with its number among them.
    pub fn discarded(&mut self) -> Result<impl Iterator<Item = u64>, Error> {
        self.discarding.sweep(&mut self.scratch)?;
        Ok(self.discarding.bytes())
    }

    /// Queues an Engine.IO packet for `member` to send; [`Self::pump`] writes it.
    pub fn send(&mut self, member: usize, packet: Packet<'_>) {
        self.unwritten.push(member);
        match &mut self.clients[member] {
            Client::WebSocket(client) => client.send(packet),
            Client::Polling(client) => client.send(packet),
        }
    }

    /// From now on `member`, a WebSocket client, reads nothing and answers no heartbeat.
    pub fn pause(&mut self, member: usize) {
        if let Client::WebSocket(client) = &mut self.clients[member] {
            client.paused = true;
        }
    }

    /// Discards what waits for the paused `member`. Returns whether the server has ended its connection.
    pub fn is_cut_off(&mut self, member: usize) -> bool {
        let Client::WebSocket(client) = &mut self.clients[member] else { return false };
        loop {
            match client.pipe.stream.read(&mut self.scratch) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() != ErrorKind::WouldBlock,
            }
        }
    }

    /// Writes what is queued, waits up to `timeout` for something to read, and passes every received packet to
    /// `on_packet` with its client's number.
    ///
    /// # Errors
    /// [`Error::Disconnected`] if a client lost its connection, [`Error::Frame`] if it received something other than
    /// frames, [`Error::Http`] if it received something other than the answer to a poll.
    pub fn pump(&mut self, timeout: Duration, mut on_packet: impl FnMut(usize, Packet<'_>)) -> Result<(), Error> {
        let Self { poll, events, pace, clients, scratch, unwritten, unread, tally, discarding } = self;
        discarding.sweep_if_due(scratch)?;
        for member in unwritten.drain(..) {
            write(poll, &mut clients[member], member)?;
        }
        for member in unread.drain(..) {
            if let Client::WebSocket(client) = &mut clients[member] {
                client.read(member, scratch, tally, &mut on_packet)?;
            }
        }
        wait(poll, events, timeout, *pace)?;
        for event in events.iter() {
            let Token(token) = event.token();
            let (member, side) = (token / SIDES, token % SIDES);
            match &mut clients[member] {
                Client::WebSocket(client) if client.paused => {}
                Client::WebSocket(client) => {
                    if event.is_writable() && !client.pipe.out.is_empty() {
                        client.pipe.write(member)?;
                    }
                    if event.is_readable() {
                        client.read(member, scratch, tally, &mut on_packet)?;
                    }
                }
                Client::Polling(client) => {
                    if event.is_readable() && side == 0 {
                        client.read_polls(member, scratch, tally, &mut on_packet)?;
                    } else if event.is_readable() {
                        client.read_posts(member, scratch)?;
                    }
                    write(poll, &mut clients[member], member)?;
                }
            }
        }
        Ok(())
    }

    /// Answers heartbeats for `duration`, and ignores everything else.
    ///
    /// # Errors
    /// As [`Self::pump`].
    pub fn idle(&mut self, duration: Duration) -> Result<(), Error> {
        let start = Instant::now();
        while let Some(left) = duration.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
            self.pump(left, |_, _| {})?;
        }
        Ok(())
    }
}

fn register(poll: &Poll, stream: &mut TcpStream, token: usize) -> Result<(), Error> {
    // Edge-triggered: writability is reported again only after a write found the socket full.
    poll.registry()
        .register(stream, Token(token), Interest::READABLE | Interest::WRITABLE)
        .map_err(Error::io("register a stream"))
}

fn write(poll: &Poll, client: &mut Client, member: usize) -> Result<(), Error> {
    match client {
        Client::WebSocket(client) => client.pipe.write(member),
        Client::Polling(client) => match client.write(member)? {
            Some(stream) => register(poll, stream, member * SIDES + 1),
            None => Ok(()),
        },
    }
}

/// Fills `events` with what is ready, after `timeout` at the latest.
fn wait(poll: &mut Poll, events: &mut Events, timeout: Duration, pace: Duration) -> Result<(), Error> {
    let start = Instant::now();
    loop {
        let block = if pace.is_zero() { timeout } else { Duration::ZERO };
        match poll.poll(events, Some(block)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => result.map_err(Error::io("poll"))?,
        }
        let left = timeout.saturating_sub(start.elapsed());
        if pace.is_zero() || !events.is_empty() || left.is_zero() {
            return Ok(());
        }
        thread::sleep(pace.min(left));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{SocketAddr, TcpListener};

    use super::*;

    /// A crowd of one client whose handshake left `leftover`, and the server's end of its connection.
    fn crowd_of_one(leftover: &[u8], pace: Duration) -> (Crowd, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut crowd = Crowd::new(pace).unwrap();
        crowd.add(Opened::from_parts(stream, leftover.to_vec())).unwrap();
        (crowd, server)
    }

    /// Pumps until `count` packets came, for at most 5 s.
    fn receive(crowd: &mut Crowd, count: usize) -> Vec<String> {
        let (start, mut packets) = (Instant::now(), Vec::new());
        while packets.len() < count && start.elapsed() < Duration::from_secs(5) {
            let keep = |_: usize, packet: Packet<'_>| match packet {
                Packet::Text(text) => packets.push(String::from_utf8_lossy(text).into_owned()),
                Packet::Binary(bytes) => packets.push(format!("{bytes:?}")),
            };
            crowd.pump(Duration::from_millis(20), keep).unwrap();
        }
        packets
    }

    #[test]
    fn joins_frames_split_anywhere_and_reads_what_the_handshake_left() {
        let wire = [&[0x81, 3][..], b"4ab", &[0x81, 126, 0, 2][..], b"4c", &[0x81, 2][..], b"4d"].concat();
        for pace in [Duration::ZERO, Duration::from_micros(100)] {
            for left in 0..=wire.len() {
                let (mut crowd, mut server) = crowd_of_one(&wire[..left], pace);
                for byte in &wire[left..] {
                    server.write_all(&[*byte]).unwrap();
                    server.flush().unwrap();
                }
                assert_eq!(receive(&mut crowd, 3), ["4ab", "4c", "4d"], "{left} bytes left");
            }
        }
    }

    #[test]
    fn answers_both_kinds_of_ping_and_sends_masked() {
        let (mut crowd, mut server) = crowd_of_one(b"", Duration::ZERO);
        server.write_all(&[&[0x81, 1, b'2', 0x89, 2, b'h', b'i', 0x81, 1][..], b"6"].concat()).unwrap();
        assert_eq!(receive(&mut crowd, 1), ["6"]);
        crowd.send(0, Packet::Text(b"4x"));
        crowd.pump(Duration::ZERO, |_, _| {}).unwrap();
        let mut expected = Vec::new();
        frames::encode_text(b"3", &mut expected);
        frames::encode_pong(b"hi", &mut expected);
        frames::encode_text(b"4x", &mut expected);
        let mut sent = vec![0; expected.len()];
        server.read_exact(&mut sent).unwrap();
        assert_eq!(sent, expected);
    }

    #[test]
    fn a_lost_connection_ends_the_measurement() {
        for last in [&[][..], &[0x88, 0]] {
            let (mut crowd, mut server) = crowd_of_one(b"", Duration::ZERO);
            server.write_all(last).unwrap();
            drop(server);
            let mut result = Ok(());
            for _ in 0..50 {
                result = result.and_then(|()| crowd.pump(Duration::from_millis(20), |_, _| {}));
            }
            assert!(matches!(result, Err(Error::Disconnected { member: 0 })), "{result:?}");
        }
    }

    #[test]
    fn a_paused_client_reads_nothing_and_learns_of_its_end() {
        let (mut crowd, mut server) = crowd_of_one(b"", Duration::ZERO);
        crowd.pause(0);
        server.write_all(&[0x81, 1, b'2']).unwrap();
        crowd.idle(Duration::from_millis(20)).unwrap();
        assert_eq!(crowd.heartbeats(), 0);
        assert!(!crowd.is_cut_off(0));
        drop(server);
        let start = Instant::now();
        while !crowd.is_cut_off(0) {
            assert!(start.elapsed() < Duration::from_secs(5));
        }
    }

    #[test]
    fn a_discarding_client_counts_its_bytes_and_learns_of_its_end() {
        let (mut crowd, _numbered) = crowd_of_one(b"", Duration::ZERO);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        crowd.add_discarding(Opened::from_parts(stream, b"four".to_vec())).unwrap();
        // More than the sockets' buffers hold.
        let sent = thread::spawn(move || server.write_all(&vec![0x88; 20 * SCRATCH]).map(|()| server));
        let start = Instant::now();
        while crowd.discarded().unwrap().ne([4 + 20 * SCRATCH as u64]) {
            assert!(start.elapsed() < Duration::from_secs(5));
        }
        assert_eq!(crowd.len(), 1);
        drop(sent.join().unwrap().unwrap());
        while crowd.discarded().is_ok() {
            assert!(start.elapsed() < Duration::from_secs(5));
        }
    }

    fn read_until(stream: &mut std::net::TcpStream, end: &str) -> String {
        let (mut read, mut byte) = (String::new(), [0]);
        while !read.ends_with(end) {
            stream.read_exact(&mut byte).unwrap();
            read.push(char::from(byte[0]));
        }
        read
    }

    /// A polling client, and the server's end of the connection on which it polls.
    fn polling_crowd(listener: &TcpListener) -> (Crowd, std::net::TcpStream) {
        let address: SocketAddr = listener.local_addr().unwrap();
        let stream = std::net::TcpStream::connect(address).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut crowd = Crowd::new(Duration::ZERO).unwrap();
        crowd.add_polling(handshake::polling::Opened { stream, address, path: "/p".into() }).unwrap();
        (crowd, server)
    }

    #[test]
    fn polls_again_after_each_answer_split_anywhere() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut crowd, mut server) = polling_crowd(&listener);
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n4a\x1e6\x1ebAQI=";
        for cut in 0..answer.len() {
            crowd.pump(Duration::ZERO, |_, _| {}).unwrap();
            assert!(read_until(&mut server, "\r\n\r\n").starts_with("GET /p HTTP/1.1\r\n"), "{cut}");
            server.write_all(&answer[..cut]).unwrap();
            crowd.idle(Duration::from_millis(1)).unwrap();
            server.write_all(&answer[cut..]).unwrap();
            assert_eq!(receive(&mut crowd, 3), ["4a", "6", "[1, 2]"], "{cut}");
        }
    }

    #[test]
    fn posts_one_at_a_time_on_its_own_connection() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (mut crowd, mut server) = polling_crowd(&listener);
        server.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n2").unwrap();
        while crowd.heartbeats() == 0 {
            crowd.pump(Duration::from_millis(20), |_, _| {}).unwrap();
        }
        let (mut posts, _) = listener.accept().unwrap();
        posts.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        crowd.idle(Duration::from_millis(20)).unwrap();
        assert!(read_until(&mut posts, "\r\n\r\n3").contains("Content-Length: 1\r\n"));
        crowd.send(0, Packet::Text(b"4x"));
        crowd.send(0, Packet::Binary(&[1, 2]));
        crowd.idle(Duration::from_millis(20)).unwrap();
        posts.set_nonblocking(true).unwrap();
        assert_eq!(posts.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock);
        posts.set_nonblocking(false).unwrap();
        posts.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        crowd.idle(Duration::from_millis(20)).unwrap();
        assert!(read_until(&mut posts, "4x\x1ebAQI=").contains("Content-Length: 8\r\n"));
    }
}
