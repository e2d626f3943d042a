//! Writes what a turn queued, as far as the peers accept it.

use super::{
    super::peer::send_queue::{PollBody, PollForm},
    conn::{Conn, End, Phase},
    io::ShardIo,
    timers::Deadline,
    transport::{ActiveTransport, PollingTransport},
};
use crate::{CloseReason, ConnKey};

impl ShardIo {
    /// Writes the queue of every dirty connection, as far as its peer accepts it.
    pub(super) fn flush_dirty(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for key in dirty.drain(..) {
            if let Some(conn) = self.conn(key) {
                conn.dirty = false;
                self.flush_conn(key);
            }
        }
        // Keep the allocation, unless the flush itself queued more.
        if self.dirty.is_empty() {
            self.dirty = dirty;
        }
    }

    /// Writes the queue of one connection, as far as its peer accepts it.
    pub(in crate::net) fn flush_conn(&mut self, key: ConnKey) {
        let max_body = self.max_poll_body();
        let Some(conn) = self.conns.get_mut(key.0) else { return };
        match &mut conn.transport {
            ActiveTransport::Polling(PollingTransport { waiting, last, takes_binary }) => {
                if waiting.is_none() || (conn.out.is_empty() && last.is_none()) {
                    return;
                }
                let Some(waiting) = waiting.take() else { return };
                conn.session.end_poll();
                let form = PollForm { protocol: conn.session.protocol(), takes_binary: *takes_binary };
                let body = match last.take_if(|_| conn.out.is_empty()) {
                    Some(last) => PollBody::of(last, form),
                    None => conn.out.take_polling(form, max_body, usize::MAX),
                };
                let done = matches!(conn.phase, Phase::Lingering { .. }) && conn.out.is_empty() && last.is_none();
                // The poll may be gone already; then it has ended the session, or is about to.
                self.answer_waiting(waiting, body);
                if done {
                    self.remove(key);
                }
            }
            ActiveTransport::WebSocket(_) => self.flush_websocket(key),
        }
    }

    fn flush_websocket(&mut self, key: ConnKey) {
        let (now, timeout, soft) = (self.now, self.config.ping_timeout, self.config.outbound_soft);
        let Some(Conn { out, transport: ActiveTransport::WebSocket(ws), phase, .. }) = self.conns.get_mut(key.0) else {
            return;
        };
        let before = out.cost();
        let result = out.write_to(&mut self.gather, |bytes| ws.stream.try_write(bytes));
        let lingering = matches!(phase, Phase::Lingering { .. });
        if out.cost() <= soft && std::mem::take(&mut ws.paused) {
            ws.wake();
        }
        match result {
            Ok(true) => {
                ws.blocked = None;
                if lingering {
                    ws.finish();
                }
            }
            Ok(false) => {
                if ws.blocked.is_none() {
                    // The read loop waits for the socket to become writable.
                    ws.wake();
                }
                if ws.blocked.is_none() || out.cost() < before {
                    ws.blocked = Some(now);
                }
                if !std::mem::replace(&mut ws.watched, true) {
                    self.timers.others.push(now + timeout, (key, Deadline::Blocked));
                }
            }
            Err(_) if lingering => self.remove(key),
            Err(_) => {
                // A broken stream always counts as writable: a task that waits for that would loop.
                ws.blocked = None;
                self.end(key, CloseReason::TransportError, End::Gone);
            }
        }
    }
}
