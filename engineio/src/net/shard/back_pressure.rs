//! When a shard leaves sockets unread: because their peers do not read, or because another shard has too much to do.

use std::rc::Rc;

use tokio::sync::Notify;

use super::{
    conn::{Conn, Phase},
    io::ShardIo,
    transport::ActiveTransport,
};
use crate::ConnKey;

impl ShardIo {
    /// Whether sockets stay unread because another shard has too much to do, or will have at the end of this turn.
    pub(in crate::net) const fn is_congested(&self) -> bool {
        self.congestion.is_on() || self.outgoing.is_too_much()
    }

    /// Notified when sockets may be read again.
    pub(super) fn congestion_over(&self) -> Rc<Notify> {
        self.congestion.over()
    }

    /// Whether a WebSocket must be left unread, because its peer does not read or another shard has too much to do. Its
    /// task is woken when that is over. The bytes of a closed connection are read and discarded, up to a limit.
    pub(in crate::net) fn pauses(&mut self, key: ConnKey) -> bool {
        let (soft, congested) = (self.config.outbound_soft, self.is_congested());
        let Some(Conn { transport: ActiveTransport::WebSocket(ws), out, phase: Phase::Open, .. }) =
            self.conns.get_mut(key.0)
        else {
            return false;
        };
        ws.paused = out.cost() > soft;
        if ws.paused {
            return true;
        }
        if congested && !std::mem::replace(&mut ws.held, true) {
            self.congestion.hold(key);
        }
        congested
    }

    /// Sends this turn's commands to other shards, and notes which of them have too much to do.
    pub(super) fn flush_to_mailboxes(&mut self) {
        if !self.outgoing.is_empty() {
            self.congestion.flush_to_mailboxes(&mut self.outgoing, &self.registry);
            self.resume_if_over();
        }
    }

    /// Asks the shards that had too much to do whether they have caught up, and resumes reading when all have.
    pub(in crate::net) fn recheck_congestion(&mut self) {
        if self.congestion.is_on() {
            self.resume_if_over();
        }
    }

    fn resume_if_over(&mut self) {
        for key in self.congestion.end_if_over(self.id, &self.registry, self.driver.as_ref()) {
            if let Some(websocket) = self.websocket_mut(key) {
                websocket.held = false;
                websocket.wake();
            }
        }
    }
}
