//! One non-blocking connection, with the bytes that are not written yet and the bytes that are not complete yet.

use std::io::{ErrorKind, Read, Write};

use mio::net::TcpStream;

use crate::error::Error;

#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) stream: TcpStream,
    /// The start of something that is not complete yet.
    pub(super) tail: Vec<u8>,
    /// Bytes that the socket has not accepted yet.
    pub(super) out: Vec<u8>,
}

impl Pipe {
    pub(super) fn new(stream: TcpStream, tail: Vec<u8>) -> Self {
        Self { stream, tail, out: Vec::new() }
    }

    /// Writes what the socket accepts; the rest waits until it is writable.
    pub(super) fn write(&mut self, member: usize) -> Result<(), Error> {
        let mut written = 0;
        while written < self.out.len() {
            match self.stream.write(&self.out[written..]) {
                Ok(count) => written += count,
                // A connection that is still being made reports `NotConnected`.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Error::Disconnected { member }),
            }
        }
        self.out.drain(..written);
        Ok(())
    }

    /// Reads until the socket is empty, and passes the bytes to `take`, which returns how many of them were complete,
    /// and may write an answer to `out`. A read that does not fill the buffer has emptied the socket. Later bytes are
    /// reported as a new event (`man 7 epoll`, question 9), so no further read is needed to find that out.
    pub(super) fn read(
        &mut self,
        member: usize,
        scratch: &mut [u8],
        mut take: impl FnMut(&[u8], &mut Vec<u8>) -> Result<usize, Error>,
    ) -> Result<(), Error> {
        loop {
            let kept = self.tail.len();
            if kept >= scratch.len() {
                return Err(Error::TooLong { member });
            }
            scratch[..kept].copy_from_slice(&self.tail);
            let read = match self.stream.read(&mut scratch[kept..]) {
                Ok(0) => return Err(Error::Disconnected { member }),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
                Err(_) => return Err(Error::Disconnected { member }),
            };
            let filled = kept + read;
            let taken = take(&scratch[..filled], &mut self.out)?;
            self.tail.clear();
            self.tail.extend_from_slice(&scratch[taken..filled]);
            if filled < scratch.len() {
                return Ok(());
            }
        }
    }
}
