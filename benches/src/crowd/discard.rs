//! Clients that discard what they receive and only count its bytes. They cost the load generator almost nothing, so a
//! server with two cores can use the generator's as well.
//!
//! The kernel discards the bytes (`MSG_TRUNC`, `man 7 tcp`), a few dozen messages at a time, and the clients are not
//! registered for readiness. They answer no heartbeat, so use them for less than `ping_interval`.

use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use crate::error::Error;
use crate::handshake::Opened;

/// The time between two reads of all clients.
const SWEEP: Duration = Duration::from_millis(20);

#[derive(Debug)]
struct Client {
    stream: TcpStream,
    bytes: u64,
}

#[derive(Debug)]
pub(super) struct Discarding {
    clients: Vec<Client>,
    swept: Instant,
}

impl Discarding {
    pub(super) fn new() -> Self {
        Self { clients: Vec::new(), swept: Instant::now() }
    }

    pub(super) fn add(&mut self, opened: Opened) -> Result<(), Error> {
        let (stream, tail) = opened.into_parts();
        stream.set_nonblocking(true).map_err(Error::io("make a stream non-blocking"))?;
        self.clients.push(Client { stream, bytes: tail.len() as u64 });
        Ok(())
    }

    /// The number of bytes that each has received.
    pub(super) fn bytes(&self) -> impl Iterator<Item = u64> {
        self.clients.iter().map(|client| client.bytes)
    }

    /// Discards what waits for the clients, if it is time. `scratch` only says how much at once.
    pub(super) fn sweep_if_due(&mut self, scratch: &mut [u8]) -> Result<(), Error> {
        if self.clients.is_empty() || self.swept.elapsed() < SWEEP { Ok(()) } else { self.sweep(scratch) }
    }

    pub(super) fn sweep(&mut self, scratch: &mut [u8]) -> Result<(), Error> {
        self.swept = Instant::now();
        for (member, client) in self.clients.iter_mut().enumerate() {
            loop {
                match recv(client.stream.as_raw_fd(), scratch, MsgFlags::MSG_TRUNC) {
                    Ok(0) => return Err(Error::Disconnected { member }),
                    Ok(count) => {
                        client.bytes += count as u64;
                        if count < scratch.len() {
                            break;
                        }
                    }
                    Err(Errno::EINTR) => {}
                    Err(Errno::EAGAIN) => break,
                    Err(_) => return Err(Error::Disconnected { member }),
                }
            }
        }
        Ok(())
    }
}
