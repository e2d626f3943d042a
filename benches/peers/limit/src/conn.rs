//! One TCP connection: what it has sent that is not whole yet, and what it has not taken yet.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::rc::Rc;

use mio::net::TcpStream;
use smallvec::SmallVec;

/// Bytes kept for a connection that takes nothing; with more it is closed, as by the chat server's `outbound_hard`.
pub(crate) const MAX_BACKLOG: usize = 1 << 20;
/// Pieces of a backlog written at once.
const PIECES: usize = 64;
/// A buffer that grew beyond this is given back once empty, so that idle connections hold nothing.
const KEPT: usize = 4096;

/// Bytes for many connections. Only the first that cannot take them all has them copied, for all that follow.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    bytes: &'a [u8],
    shared: Option<Rc<[u8]>>,
}

impl<'a> Frames<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, shared: None }
    }

    fn from(&mut self, start: usize) -> Piece {
        Piece { bytes: Rc::clone(self.shared.get_or_insert_with(|| self.bytes.into())), start }
    }
}

#[derive(Debug)]
struct Piece {
    bytes: Rc<[u8]>,
    start: usize,
}

impl Piece {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Backlog {
    pieces: VecDeque<Piece>,
    bytes: usize,
}

impl Backlog {
    fn push(&mut self, piece: Piece) {
        self.bytes += piece.rest().len();
        if !piece.rest().is_empty() {
            self.pieces.push_back(piece);
        }
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(piece) = self.pieces.front_mut() {
            let rest = piece.rest().len();
            if written < rest {
                piece.start += written;
                return;
            }
            written -= rest;
            self.pieces.pop_front();
        }
    }
}

/// The connection is lost, or too far behind.
#[derive(Debug)]
pub(crate) struct Broken;

/// What a connection is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// HTTP requests; none is unanswered.
    Http,
    /// A GET of this session waits for packets.
    Poll(usize),
    /// The WebSocket of this session.
    WebSocket(usize),
}

/// One TCP connection.
#[derive(Debug)]
pub(crate) struct Conn {
    stream: TcpStream,
    pub(crate) used: Use,
    /// The start of a frame or request that is not whole yet.
    tail: Vec<u8>,
    /// Frames for this connection alone, to be written with the turn's other frames.
    pub(crate) pending: Vec<u8>,
    /// What the socket did not take. Boxed: few have one.
    backlog: Option<Box<Backlog>>,
}

impl Conn {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, used: Use::Http, tail: Vec::new(), pending: Vec::new(), backlog: None }
    }

    /// Reads what there is to the start of `scratch`, behind the unfinished rest of earlier reads. Returns how much of
    /// `scratch` holds input now, and whether the socket may hold more; `None` if nothing came.
    pub(crate) fn read(&mut self, scratch: &mut [u8]) -> Result<Option<(usize, bool)>, Broken> {
        let kept = self.tail.len();
        let (head, free) = scratch.split_at_mut_checked(kept).ok_or(Broken)?;
        let read = loop {
            match self.stream.read(free) {
                Ok(0) => return Err(Broken),
                Ok(read) => break read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(_) => return Err(Broken),
            }
        };
        if kept > 0 {
            head.copy_from_slice(&self.tail);
            self.tail.clear();
            self.tail.shrink_to(KEPT);
        }
        Ok(Some((kept + read, read == free.len())))
    }

    /// Keeps the unfinished rest of what was read.
    pub(crate) fn keep(&mut self, rest: &[u8]) {
        self.tail.extend_from_slice(rest);
    }

    /// Writes what is pending and then `frames`, in one system call; what the socket does not take is kept.
    pub(crate) fn send(&mut self, frames: &mut Frames<'_>) -> Result<(), Broken> {
        let pending = self.pending.len();
        let written = match (&self.backlog, pending) {
            (Some(_), _) => 0,
            (None, 0) => write(|| self.stream.write(frames.bytes))?,
            (None, _) if frames.bytes.is_empty() => write(|| self.stream.write(&self.pending))?,
            (None, _) => {
                let slices = [IoSlice::new(&self.pending), IoSlice::new(frames.bytes)];
                write(|| self.stream.write_vectored(&slices))?
            }
        };
        if written == pending + frames.bytes.len() {
            return Ok(());
        }
        let backlog = self.backlog.get_or_insert_default();
        if let Some(rest) = self.pending.get(written..) {
            backlog.push(Piece { bytes: rest.into(), start: 0 });
        }
        backlog.push(frames.from(written.saturating_sub(pending)));
        if backlog.bytes > MAX_BACKLOG { Err(Broken) } else { Ok(()) }
    }

    /// Writes the backlog as far as the socket takes it.
    pub(crate) fn flush(&mut self) -> Result<(), Broken> {
        while let Some(backlog) = &mut self.backlog {
            let written = {
                let pieces = backlog.pieces.iter().take(PIECES);
                let slices: SmallVec<[IoSlice<'_>; PIECES]> = pieces.map(|piece| IoSlice::new(piece.rest())).collect();
                write(|| self.stream.write_vectored(&slices))?
            };
            if written == 0 {
                return Ok(());
            }
            backlog.advance(written);
            if backlog.pieces.is_empty() {
                self.backlog = None;
            }
        }
        Ok(())
    }
}

/// A full socket took nothing; it is reported writable again later.
fn write(mut write: impl FnMut() -> io::Result<usize>) -> Result<usize, Broken> {
    loop {
        match write() {
            Ok(written) => return Ok(written),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(_) => return Err(Broken),
        }
    }
}
