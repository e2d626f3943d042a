//! The upgrade of a session, as its shard sees it: the reservation for a probing WebSocket, the packets it sends, and
//! the change of the transport.

use std::task::Context;

use super::{
    super::{
        peer::{send_queue::PollBody, stream::PeerStream, wire_format::WireFormat},
        shards::session_request::{ProbeKey, SessionQuery},
    },
    conn::ProbeSlot,
    io::ShardIo,
    transport::{ActiveTransport, PollingTransport, WebSocketTransport},
};
use crate::{ConnKey, SharedFrame, http::Refused, packet::Inbound, session::ProbeStep};

impl ShardIo {
    /// A WebSocket handshake names a session. If the handshake is `valid`, the session is reserved for it. The answer
    /// has no probe if another WebSocket has the session already.
    pub(in crate::net) fn begin_probe(
        &mut self,
        query: SessionQuery,
        valid: bool,
    ) -> Result<Option<ProbeKey>, Refused> {
        let key = self.find_session(query)?;
        Ok(if valid { self.reserve_probe(key) } else { None })
    }

    fn reserve_probe(&mut self, key: ConnKey) -> Option<ProbeKey> {
        let (now, timeout) = (self.now, self.config.upgrade_timeout);
        self.probes += 1;
        let number = self.probes;
        let conn = self.conn(key).filter(|conn| conn.is_open())?;
        conn.session.begin_upgrade(now, timeout).ok()?;
        conn.probe = Some(Box::new(ProbeSlot { number, task: None }));
        self.look_at(key, now + timeout);
        Some(ProbeKey { conn: key, number })
    }

    /// Whether this probe still has the session reserved.
    fn holds_probe(&mut self, probe: ProbeKey) -> bool {
        let slot = self.conn(probe.conn).and_then(|conn| conn.probe.as_ref());
        slot.is_some_and(|slot| slot.number == probe.number)
    }

    /// As [`ShardIo::holds_probe`], and wakes `cx` when that changes.
    pub(in crate::net) fn watch_probe(&mut self, probe: ProbeKey, cx: &Context<'_>) -> bool {
        let held = self.holds_probe(probe);
        if let Some(slot) = self.conn(probe.conn).and_then(|conn| conn.probe.as_mut()).filter(|_| held) {
            slot.task = Some(cx.waker().clone());
        }
        held
    }

    /// Passes the probe's packet to the session; `None` when the upgrade is over.
    pub(in crate::net) fn handle_probe(&mut self, probe: ProbeKey, packet: &Inbound<'_>) -> Option<ProbeStep> {
        let now = self.now;
        if !self.holds_probe(probe) {
            return None;
        }
        let session = &mut self.conn(probe.conn)?.session;
        let step = session.handle_probe(now, packet).ok()?;
        let next = session.poll_timeout();
        if step == ProbeStep::Pong {
            // The deadline of the noop that answers a waiting poll.
            self.look_at(probe.conn, next);
        }
        Some(step)
    }

    /// Moves the session to the WebSocket that completed its upgrade. The queue is sent there, in order; so is the last
    /// frame of a session that was closed meanwhile. `false` if the session is gone.
    pub(in crate::net) fn adopt_websocket(&mut self, key: ConnKey, stream: PeerStream, wire: WireFormat) -> bool {
        let Some(conn) = self.conns.get_mut(key.0) else { return false };
        conn.probe = None;
        let form = conn.poll_form();
        if !wire.is_plain() {
            conn.out.adapt(wire.wire(&self.config));
        }
        let websocket = ActiveTransport::WebSocket(WebSocketTransport::new(stream, wire));
        let before = std::mem::replace(&mut conn.transport, websocket);
        if let ActiveTransport::Polling(PollingTransport { waiting, last, .. }) = before {
            if let Some(last) = last {
                conn.out.push(last);
            }
            // A poll that still waits is answered with a close packet, as Node does. A client that upgrades correctly
            // has none waiting.
            if let Some(waiting) = waiting {
                conn.session.end_poll();
                self.answer_waiting(waiting, PollBody::of(SharedFrame::close(None), form));
            }
        }
        self.mark_dirty(key);
        true
    }

    /// Ends the reservation; polling lives on.
    pub(in crate::net) fn abandon_probe(&mut self, probe: ProbeKey) {
        if self.holds_probe(probe)
            && let Some(conn) = self.conn(probe.conn)
        {
            conn.probe = None;
            conn.session.abandon_upgrade();
        }
    }
}
