//! A client of the crowd on HTTP long-polling (Engine.IO v4). It has one keep-alive connection on which a GET always
//! waits, and one for POSTs, which is made when it is first needed.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mio::net::TcpStream;

use super::pipe::Pipe;
use super::{Packet, Tally};
use crate::error::Error;
use crate::handshake::polling::{Opened, SEPARATOR, get, post, response};

#[derive(Debug)]
pub(super) struct Client {
    address: SocketAddr,
    path: String,
    /// The GET that polls; always the same.
    get: Vec<u8>,
    pub(super) polls: Pipe,
    pub(super) posts: Option<Pipe>,
    /// Whether a POST has no answer yet: the protocol allows one at a time.
    posting: bool,
    /// Packets for the next POST.
    queued: Vec<u8>,
}

impl Client {
    /// Adds a client whose handshake is done; its first GET is still to be written.
    pub(super) fn new(opened: Opened) -> Result<Self, Error> {
        let Opened { stream, address, path } = opened;
        stream.set_nonblocking(true).map_err(Error::io("make a stream non-blocking"))?;
        let get = get(&path, address);
        let mut polls = Pipe::new(TcpStream::from_std(stream), Vec::new());
        polls.out.extend_from_slice(&get);
        Ok(Self { address, path, get, polls, posts: None, posting: false, queued: Vec::new() })
    }

    pub(super) fn send(&mut self, packet: Packet<'_>) {
        if !self.queued.is_empty() {
            self.queued.push(SEPARATOR);
        }
        match packet {
            Packet::Text(text) => self.queued.extend_from_slice(text),
            Packet::Binary(bytes) => {
                self.queued.push(b'b');
                self.queued.extend_from_slice(STANDARD.encode(bytes).as_bytes());
            }
        }
    }

    /// Writes what is queued for both connections. If it made the connection for POSTs, returns it, so that it can be
    /// registered.
    pub(super) fn write(&mut self, member: usize) -> Result<Option<&mut TcpStream>, Error> {
        self.polls.write(member)?;
        let mut made = false;
        if !self.queued.is_empty() && !self.posting {
            let pipe = match &mut self.posts {
                Some(pipe) => pipe,
                none => {
                    made = true;
                    let stream = TcpStream::connect(self.address).map_err(Error::io("connect for a POST"))?;
                    none.insert(Pipe::new(stream, Vec::new()))
                }
            };
            pipe.out.extend_from_slice(&post(&self.path, self.address, &self.queued));
            self.queued.clear();
            self.posting = true;
        }
        let Some(pipe) = &mut self.posts else { return Ok(None) };
        pipe.write(member)?;
        Ok(made.then_some(&mut pipe.stream))
    }

    /// Reads the answer to a GET, passes on its packets, and sends the next GET.
    pub(super) fn read_polls(
        &mut self,
        member: usize,
        scratch: &mut [u8],
        tally: &mut Tally,
        on_packet: &mut impl FnMut(usize, Packet<'_>),
    ) -> Result<(), Error> {
        let Self { polls, get, queued, .. } = self;
        polls.read(member, scratch, |bytes, out| {
            let Some((body, len)) = response(bytes)? else { return Ok(0) };
            for packet in body.split(|byte| *byte == SEPARATOR) {
                match packet {
                    b"2" => {
                        tally.heartbeats += 1;
                        if !queued.is_empty() {
                            queued.push(SEPARATOR);
                        }
                        queued.push(b'3');
                    }
                    b"1" => return Err(Error::Disconnected { member }),
                    [b'b', encoded @ ..] => {
                        let bytes = STANDARD.decode(encoded).map_err(|_| Error::Http { got: "bad base64".into() })?;
                        on_packet(member, Packet::Binary(&bytes));
                    }
                    _ => on_packet(member, Packet::Text(packet)),
                }
            }
            out.extend_from_slice(get);
            Ok(len)
        })
    }

    /// Reads the answer to a POST.
    pub(super) fn read_posts(&mut self, member: usize, scratch: &mut [u8]) -> Result<(), Error> {
        let Self { posts, posting, .. } = self;
        let Some(pipe) = posts else { return Ok(()) };
        pipe.read(member, scratch, |bytes, _| {
            let Some((_, len)) = response(bytes)? else { return Ok(0) };
            *posting = false;
            Ok(len)
        })
    }
}
