//! What to do when a deadline comes: send a ping, end a session, answer a poll with a noop, close a peer that reads
//! nothing.

use std::time::Instant;

use super::{
    conn::{End, Phase},
    io::ShardIo,
    timers::Deadline,
};
use crate::{CloseReason, ConnKey, Outbox, Protocol, session::SessionEvent};

impl ShardIo {
    /// A deadline of this connection has come, or a stale entry for one: checks what is due.
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

    /// Runs the session's state machine at `at`, apart from the heartbeat's queues. Entries are never removed, and one
    /// that comes sooner is enough, so a client that begins upgrade after upgrade does not fill the heap.
    pub(in crate::net) fn look_at(&mut self, key: ConnKey, at: Instant) {
        let Some(conn) = self.conns.get_mut(key.0) else { return };
        if conn.look_at.is_none_or(|sooner| at < sooner) {
            conn.look_at = Some(at);
            self.timers.others.push(at, (key, Deadline::Session));
        }
    }

    /// Closes a peer that has accepted no byte for `ping_timeout` although some wait for it.
    fn check_blocked(&mut self, key: ConnKey) {
        let (now, timeout) = (self.now, self.config.ping_timeout);
        let Some(websocket) = self.websocket_mut(key) else { return };
        websocket.watched = false;
        let Some(since) = websocket.blocked else { return };
        if now >= since + timeout {
            self.end(key, CloseReason::SlowConsumer, End::Abort);
        } else {
            websocket.watched = true;
            self.timers.others.push(since + timeout, (key, Deadline::Blocked));
        }
    }

    fn run_session(&mut self, key: ConnKey) {
        let now = self.now;
        let (congested, mut pinged) = (self.is_congested(), false);
        while let Some(conn) = self.conns.get_mut(key.0).filter(|conn| conn.is_open()) {
            // We do not read from this peer, so its pong may be unread: progress of its writes counts instead. The same
            // when we read from no peer.
            if congested || (conn.out.cost() > self.config.outbound_soft && conn.transport.websocket().is_some()) {
                conn.session.excuse_pong(now);
            }
            if self.timers.stalled {
                conn.session.forgive_stall(now);
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
                Ok(Some(SessionEvent::UpgradeExpired)) => conn.end_probe(),
                Ok(_) => {
                    // Pings and regular pongs have their own queues. This is an upgrade, a pong with more time, or v3.
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
