//! A client of the crowd on a WebSocket.

use super::pipe::Pipe;
use super::{Packet, Tally};
use crate::error::Error;
use crate::frames::{self, Opcode};

#[derive(Debug)]
pub(super) struct Client {
    pub(super) pipe: Pipe,
    /// The client reads nothing more, whatever arrives.
    pub(super) paused: bool,
}

impl Client {
    pub(super) fn send(&mut self, packet: Packet<'_>) {
        match packet {
            Packet::Text(text) => frames::encode_text(text, &mut self.pipe.out),
            Packet::Binary(bytes) => frames::encode_binary(bytes, &mut self.pipe.out),
        }
    }

    pub(super) fn read(
        &mut self,
        member: usize,
        scratch: &mut [u8],
        tally: &mut Tally,
        on_packet: &mut impl FnMut(usize, Packet<'_>),
    ) -> Result<(), Error> {
        self.pipe.read(member, scratch, |bytes, out| take_frames(member, bytes, out, tally, on_packet))?;
        if self.pipe.out.is_empty() { Ok(()) } else { self.pipe.write(member) }
    }
}

/// Passes on every complete frame of `bytes`, and returns their length.
fn take_frames(
    member: usize,
    bytes: &[u8],
    out: &mut Vec<u8>,
    tally: &mut Tally,
    on_packet: &mut impl FnMut(usize, Packet<'_>),
) -> Result<usize, Error> {
    let mut taken = 0;
    while let Some(frame) = frames::scan(&bytes[taken..]).map_err(|source| Error::Frame { member, source })? {
        taken += frame.len;
        match frame.opcode {
            // An Engine.IO ping (packet 2) must be answered with a pong (packet 3), on any transport.
            Opcode::Text if frame.payload == b"2" => {
                tally.heartbeats += 1;
                frames::encode_text(b"3", out);
            }
            Opcode::Text => on_packet(member, Packet::Text(frame.payload)),
            Opcode::Binary => on_packet(member, Packet::Binary(frame.payload)),
            Opcode::Ping => frames::encode_pong(frame.payload, out),
            Opcode::Pong => {}
            Opcode::Close => return Err(Error::Disconnected { member }),
        }
    }
    Ok(taken)
}
