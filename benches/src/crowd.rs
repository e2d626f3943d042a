//! Many connected clients on one readiness loop and one thread.
//!
//! Everything a client receives is read into one shared buffer and handed on where it lies; only an unfinished frame
//! is copied to its client. Heartbeats are answered here, so a crowd stays connected while it is pumped.

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::error::Error;
use crate::frames::{self, Opcode};
use crate::handshake::Opened;

/// Read buffer, in bytes: any frame [`frames::scan`] accepts fits with room to spare.
const SCRATCH: usize = frames::MAX_PAYLOAD as usize + 64 * 1024;
/// Readiness events taken at once.
const EVENTS: usize = 1024;

#[derive(Debug)]
struct Client {
    stream: TcpStream,
    /// The start of a frame that is not whole yet.
    tail: Vec<u8>,
    /// What the socket has not taken yet.
    out: Vec<u8>,
}

/// Connected clients, numbered from 0 in the order they were added.
#[derive(Debug)]
pub struct Crowd {
    poll: Poll,
    events: Events,
    pace: Duration,
    clients: Vec<Client>,
    scratch: Vec<u8>,
    /// Clients with something to write.
    unwritten: Vec<usize>,
    /// Clients whose handshake received more than it needed.
    unread: Vec<usize>,
}

impl Crowd {
    /// An empty crowd. With a `pace` it looks for readiness that often instead of sleeping until the first: on loopback
    /// every write of a server that wakes a sleeping reader pays for the wake-up, which no remote reader would cost it
    /// (measured with the Node peer: 15 % of a delivery). Zero sleeps, which suits idle crowds.
    ///
    /// # Errors
    /// [`Error::Io`] if the system gives no poller.
    pub fn new(pace: Duration) -> Result<Self, Error> {
        Ok(Self {
            poll: Poll::new().map_err(Error::io("create a poller"))?,
            events: Events::with_capacity(EVENTS),
            pace,
            clients: Vec::new(),
            scratch: vec![0; SCRATCH],
            unwritten: Vec::new(),
            unread: Vec::new(),
        })
    }

    /// Clients in it.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Takes over a client whose handshake is done.
    ///
    /// # Errors
    /// [`Error::Io`] if the stream cannot be registered.
    pub fn add(&mut self, opened: Opened) -> Result<(), Error> {
        let (stream, tail) = opened.into_parts();
        stream.set_nonblocking(true).map_err(Error::io("make a stream non-blocking"))?;
        let mut stream = TcpStream::from_std(stream);
        // Edge-triggered: writability is reported again only after a write found the socket full.
        self.poll
            .registry()
            .register(&mut stream, Token(self.clients.len()), Interest::READABLE | Interest::WRITABLE)
            .map_err(Error::io("register a stream"))?;
        if !tail.is_empty() {
            self.unread.push(self.clients.len());
        }
        self.clients.push(Client { stream, tail, out: Vec::new() });
        Ok(())
    }

    /// Queues an Engine.IO packet for `member` to send; [`Self::pump`] writes it.
    pub fn send(&mut self, member: usize, packet: &[u8]) {
        let client = &mut self.clients[member];
        if client.out.is_empty() {
            self.unwritten.push(member);
        }
        frames::encode_text(packet, &mut client.out);
    }

    /// Writes what is queued, waits up to `timeout` for something to read, and gives every packet received to
    /// `on_packet` with its client's number.
    ///
    /// # Errors
    /// [`Error::Disconnected`] if a client lost its connection, [`Error::Frame`] if it received no frames.
    pub fn pump(&mut self, timeout: Duration, mut on_packet: impl FnMut(usize, &[u8])) -> Result<(), Error> {
        let Self { poll, events, pace, clients, scratch, unwritten, unread } = self;
        for member in unwritten.drain(..) {
            clients[member].write(member)?;
        }
        for member in unread.drain(..) {
            clients[member].read(member, scratch, &mut on_packet)?;
        }
        wait(poll, events, timeout, *pace)?;
        for event in events.iter() {
            let Token(member) = event.token();
            let client = &mut clients[member];
            if event.is_writable() && !client.out.is_empty() {
                client.write(member)?;
            }
            if event.is_readable() {
                client.read(member, scratch, &mut on_packet)?;
            }
        }
        Ok(())
    }
}

/// Fills `events` with what is ready, at the latest after `timeout`.
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

impl Client {
    fn write(&mut self, member: usize) -> Result<(), Error> {
        let mut written = 0;
        while written < self.out.len() {
            match self.stream.write(&self.out[written..]) {
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Error::Disconnected { member }),
            }
        }
        self.out.drain(..written);
        Ok(())
    }

    /// Reads until the socket is empty. A read that does not fill the buffer has emptied it: what arrives later is
    /// reported anew (`man 7 epoll`, question 9), so the read that would only say so is saved.
    fn read(
        &mut self,
        member: usize,
        scratch: &mut [u8],
        on_packet: &mut impl FnMut(usize, &[u8]),
    ) -> Result<(), Error> {
        loop {
            let kept = self.tail.len();
            scratch[..kept].copy_from_slice(&self.tail);
            let read = match self.stream.read(&mut scratch[kept..]) {
                Ok(0) => return Err(Error::Disconnected { member }),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(_) => return Err(Error::Disconnected { member }),
            };
            self.tail.clear();
            let rest = self.take_frames(member, &scratch[..kept + read], on_packet)?;
            self.tail.extend_from_slice(rest);
            if kept + read < scratch.len() {
                return Ok(());
            }
        }
    }

    /// Hands on every whole frame of `bytes`; the rest is returned.
    fn take_frames<'a>(
        &mut self,
        member: usize,
        mut bytes: &'a [u8],
        on_packet: &mut impl FnMut(usize, &[u8]),
    ) -> Result<&'a [u8], Error> {
        let owed = self.out.len();
        while let Some(frame) = frames::scan(bytes).map_err(|source| Error::Frame { member, source })? {
            bytes = &bytes[frame.len..];
            match frame.opcode {
                // Engine.IO's ping (packet 2) is owed a pong (packet 3), whatever the transport.
                Opcode::Text if frame.payload == b"2" => frames::encode_text(b"3", &mut self.out),
                Opcode::Text | Opcode::Binary => on_packet(member, frame.payload),
                Opcode::Ping => frames::encode_pong(frame.payload, &mut self.out),
                Opcode::Pong => {}
                Opcode::Close => return Err(Error::Disconnected { member }),
            }
        }
        if self.out.len() > owed {
            self.write(member)?;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A crowd of one whose handshake left `leftover`, and the server's end of its connection.
    fn crowd_of_one(leftover: &[u8], pace: Duration) -> (Crowd, std::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut crowd = Crowd::new(pace).unwrap();
        crowd.add(Opened::from_parts(stream, leftover.to_vec())).unwrap();
        (crowd, server)
    }

    /// Pumps until `count` packets came, 5 s at most.
    fn receive(crowd: &mut Crowd, count: usize) -> Vec<String> {
        let (start, mut packets) = (Instant::now(), Vec::new());
        while packets.len() < count && start.elapsed() < Duration::from_secs(5) {
            let keep = |_: usize, packet: &[u8]| packets.push(String::from_utf8_lossy(packet).into_owned());
            crowd.pump(Duration::from_millis(20), keep).unwrap();
        }
        packets
    }

    #[test]
    fn joins_frames_split_anywhere_and_takes_what_the_handshake_left() {
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
        crowd.send(0, b"4x");
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
}
