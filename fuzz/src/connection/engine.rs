//! The engine's part of a connection: what `engineio::net` does with sockets.

use std::{cell::RefCell, collections::HashMap, rc::Rc, time::Instant};

use engineio::{CloseReason, ConnKey, Outbox, SendError, SharedFrame, Wire, session::Session, slab::Slab, ws::Decoder};

use super::{HARD, SOFT, app::Book};

/// One client's side of the engine.
pub(super) struct Link {
    pub(super) decoder: Decoder,
    pub(super) session: Session,
    /// The revision, base64, compression.
    pub(super) wire: Wire,
    /// Until a close, after which nothing comes and nothing goes.
    pub(super) open: bool,
    pub(super) queued: usize,
    /// All that was ever sent.
    pub(super) sent: Vec<u8>,
}

/// The engine's part: what `engineio::net` does with sockets.
pub(super) struct Engine {
    pub(super) now: Instant,
    pub(super) random: u8,
    pub(super) links: Slab<Link>,
    /// Closed, and the server above is still to be told.
    pub(super) closing: Vec<(ConnKey, CloseReason)>,
    pub(super) keys: HashMap<ConnKey, engineio::slab::Key>,
    pub(super) book: Rc<RefCell<Book>>,
}

impl Engine {
    pub(super) fn link(&mut self, conn: ConnKey) -> Option<&mut Link> {
        let key = self.keys.get(&conn)?;
        self.links.get_mut(*key).filter(|link| link.open)
    }

    pub(super) fn end(&mut self, conn: ConnKey, reason: CloseReason, goodbye: Option<&SharedFrame>) {
        let Some(link) = self.link(conn) else { return };
        link.sent.extend_from_slice(goodbye.map_or(&[], SharedFrame::websocket));
        link.open = false;
        self.closing.push((conn, reason));
        self.book.borrow_mut().closed.insert(conn);
    }
}

impl Outbox for Engine {
    fn now(&self) -> Instant {
        self.now
    }

    fn shard(&self) -> u16 {
        7
    }

    fn shards(&self) -> u16 {
        1
    }

    fn send_to_shard(&mut self, shard: u16, _: engineio::ShardMessage) {
        unreachable!("there is no shard {shard}");
    }

    fn start_job(&mut self, _: engineio::Job) -> Result<engineio::JobId, engineio::job::TooManyJobs> {
        Err(engineio::job::TooManyJobs)
    }

    fn fill_random(&mut self, bytes: &mut [u8]) {
        self.random = self.random.wrapping_add(1);
        bytes.fill(self.random);
    }

    fn send(&mut self, conn: ConnKey, frame: &SharedFrame) -> Result<(), SendError> {
        let link = self.link(conn).ok_or(SendError::Closed)?;
        if link.queued > HARD {
            self.end(conn, CloseReason::SlowConsumer, None);
            return Err(SendError::Full);
        }
        let frame = frame.adapt(link.wire);
        link.queued += frame.websocket().len();
        link.sent.extend_from_slice(frame.websocket());
        Ok(())
    }

    fn is_writable(&self, conn: ConnKey) -> bool {
        let link = self.keys.get(&conn).and_then(|key| self.links.get(*key));
        link.is_some_and(|link| link.open && link.queued <= SOFT)
    }

    fn close(&mut self, conn: ConnKey, reason: CloseReason) {
        self.end(conn, reason, Some(&SharedFrame::close(None)));
    }
}
