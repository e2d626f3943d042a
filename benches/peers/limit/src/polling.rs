//! The sending side of long-polling: packets wait for a GET, or a GET for packets.

use slab::Slab;

use crate::conn::{Broken, Conn, Frames, MAX_BACKLOG, Use};
use crate::http;

/// What a session has that polls.
#[derive(Debug)]
pub(crate) struct Polling {
    pub(crate) sid: [u8; 24],
    /// The connection whose GET waits.
    pub(crate) waiting: Option<usize>,
    /// The payload of the next response.
    queue: Vec<u8>,
}

impl Polling {
    pub(crate) fn new(sid: [u8; 24]) -> Self {
        Self { sid, waiting: None, queue: Vec::new() }
    }

    /// Queues a packet.
    pub(crate) fn push(&mut self, packet: &[u8]) -> Result<(), Broken> {
        http::push_packet(&mut self.queue, packet);
        if self.queue.len() > MAX_BACKLOG { Err(Broken) } else { Ok(()) }
    }

    /// Delivers `payload`, of which `response` is made: as it is to a GET that waits for nothing else.
    pub(crate) fn deliver(
        &mut self,
        payload: &[u8],
        response: &mut Frames<'_>,
        conns: &mut Slab<Conn>,
    ) -> Result<(), Broken> {
        if self.queue.is_empty()
            && let Some(conn) = self.waiting.take().and_then(|conn| conns.get_mut(conn))
        {
            conn.used = Use::Http;
            return conn.send(response);
        }
        self.push(payload)
    }

    /// Answers the waiting GET with what is queued, if there is both.
    pub(crate) fn respond(&mut self, buffer: &mut Vec<u8>, conns: &mut Slab<Conn>) -> Result<(), Broken> {
        if self.queue.is_empty() {
            return Ok(());
        }
        let Some(conn) = self.waiting.take().and_then(|conn| conns.get_mut(conn)) else { return Ok(()) };
        buffer.clear();
        http::push_response(buffer, &self.queue);
        self.queue.clear();
        conn.used = Use::Http;
        conn.send(&mut Frames::new(buffer))
    }
}
