//! What a deadline asks for: a ping, the end of a session, a noop for a poll, the end of a peer that takes no byte.

use std::time::Instant;

use super::{
    conn::{End, Phase},
    io::ShardIo,
    timers::Deadline,
};
use crate::{CloseReason, ConnKey, Outbox, Protocol, session::SessionEvent};

impl ShardIo {
    /// A deadline of this connection has come, or a stale entry of one: see what is due.
    pub(super) fn on_deadline(&mut self, key: ConnKey, due: Deadline) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(key.0) else { return };
        match (due, conn.phase) {
            (Deadline::Session, Phase::Open) => {
                conn.look_at = conn.look_at.filter(|at| *at > now);
                self.run_session(key);
            }
            (Deadline::Blocked, Phase::Open) => self.check_blocked(key),
            (Deadline::Linger, Phase::Lingering { until }) if now >= until => self.remove(key),
            _ => {}
        }
    }

    /// Has the session's state machine run at `at`, the heartbeat's own queues apart. Entries are not taken back, so
    /// one that comes sooner serves: whoever begins upgrade after upgrade does not fill the heap.
    pub(in crate::net) fn look_at(&mut self, key: ConnKey, at: Instant) {
        let Some(conn) = self.conns.get_mut(key.0) else { return };
        if conn.look_at.is_none_or(|sooner| at < sooner) {
            conn.look_at = Some(at);
            self.timers.others.push(at, (key, Deadline::Session));
        }
    }

    /// A peer that has taken no byte for `ping_timeout` although some wait for it is closed.
    fn check_blocked(&mut self, key: ConnKey) {
        let (now, patience) = (self.now, self.config.ping_timeout);
        let Some(websocket) = self.websocket_mut(key) else { return };
        websocket.watched = false;
        let Some(since) = websocket.blocked else { return };
        if now >= since + patience {
            self.end(key, CloseReason::SlowConsumer, End::Abort);
        } else {
            websocket.watched = true;
            self.timers.others.push(since + patience, (key, Deadline::Blocked));
        }
    }

    fn run_session(&mut self, key: ConnKey) {
        let now = self.now;
        let (congested, mut pinged) = (self.is_congested(), false);
        while let Some(conn) = self.conns.get_mut(key.0).filter(|conn| conn.is_open()) {
            // We stopped reading from this peer, so its pong may lie unread: its writes' progress counts instead. Or we
            // read from nobody.
            if congested || (conn.out.cost() > self.config.outbound_soft && conn.transport.websocket().is_some()) {
                conn.session.excuse_pong(now);
            }
            if self.timers.stalled {
                conn.session.forgive_standstill(now);
            }
            match conn.session.handle_timeout(now) {
                Ok(Some(SessionEvent::Ping)) => {
                    pinged = true;
                    self.timers.pongs.push(conn.session.next_beat(), key);
                    let ping = self.ping.clone();
                    // A full queue closes the connection; a closed one needs no ping.
                    let _ = self.send(key, &ping);
                }
                Ok(Some(SessionEvent::Noop)) => self.release_poll(key),
                Ok(Some(SessionEvent::UpgradeExpired)) => {
                    if let Some(task) = conn.probe.take().and_then(|probe| probe.task) {
                        task.wake();
                    }
                }
                Ok(_) => {
                    // Pings and regular pongs have queues of their own; this is an upgrade, a pong with more time, or v3.
                    let more_time = conn.session.awaits_pong() && !pinged;
                    if conn.session.is_upgrading() || more_time || conn.session.protocol() == Protocol::V3 {
                        let at = conn.session.poll_timeout();
                        self.look_at(key, at);
                    }
                    return;
                }
                Err(reason) => return self.end(key, reason, End::Fault(None)),
            }
        }
    }

    /// Answers a waiting poll with a noop, so that the client can stop polling and finish its upgrade.
    fn release_poll(&mut self, key: ConnKey) {
        let noop = self.noop.clone();
        let Some(conn) = self.conns.get_mut(key.0) else { return };
        let waits = conn.transport.polling_mut().is_some_and(|polling| polling.waiting.is_some());
        if waits && conn.out.is_empty() {
            conn.out.push(noop);
            self.mark_dirty(key);
        }
    }
}
