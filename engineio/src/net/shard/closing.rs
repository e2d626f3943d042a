//! How sessions and their transports end.
//!
//! A session is closed at once and reported to the handler at the end of the turn's pass ([`super::application`]). Its
//! transport may take a little longer, to deliver what is queued and to close properly.

use std::time::Duration;

use super::{
    conn::{End, Phase},
    gradual_end::GradualEnd,
    io::ShardIo,
    timers::Deadline,
    transport::ActiveTransport,
};
use crate::{CloseReason, ConnKey, SharedFrame};

impl ShardIo {
    /// Ends a session: the handler is told before the turn ends, and the transport ends as `end` says.
    pub(in crate::net) fn end(&mut self, key: ConnKey, reason: CloseReason, end: End) {
        let Some(conn) = self.conns.get_mut(key.0).filter(|conn| conn.is_open()) else { return };
        conn.phase = Phase::Closing;
        self.closing.push((key, reason, end));
    }

    pub(super) fn end_transport(&mut self, key: ConnKey, end: End) {
        let Some(conn) = self.conns.get(key.0) else { return };
        match end {
            End::Gone | End::Abort => {
                if let (Some(websocket), End::Abort) = (conn.transport.websocket(), end) {
                    websocket.stream.reset_on_drop();
                }
                self.remove(key);
            }
            End::Fault(_) if conn.transport.is_polling_without_poll() => self.remove(key),
            End::Close(code) | End::Fault(code) => self.linger(key, SharedFrame::close(code), end),
            End::Noop => self.linger(key, self.noop.clone(), end),
        }
    }

    /// Queues the last frame of a closed session, and gives the peer `close_timeout` to read it.
    ///
    /// A client whose probe was answered may have sent packet `5` already, and then takes its WebSocket for the session's
    /// and polls no more. So that WebSocket is not closed yet: if the packet comes, the last frame goes there.
    fn linger(&mut self, key: ConnKey, last: SharedFrame, end: End) {
        let until = self.now + self.config.close_timeout;
        let Some(conn) = self.conns.get_mut(key.0) else { return };
        match conn.transport.polling_mut() {
            Some(polling) if end != End::Noop => polling.last = Some(last),
            _ => conn.out.push(last),
        }
        if end == End::Noop || !conn.session.is_probed() {
            conn.end_probe();
        }
        conn.phase = Phase::Lingering { until };
        self.mark_dirty(key);
        self.timers.others.push(until, (key, Deadline::Linger));
    }

    /// Removes the connection. Its stream closes; its tasks no longer find it and end.
    pub(in crate::net) fn remove(&mut self, key: ConnKey) {
        let Some(mut conn) = self.conns.remove(key.0) else { return };
        conn.end_probe();
        match conn.transport {
            ActiveTransport::WebSocket(websocket) => websocket.wake(),
            ActiveTransport::Polling(polling) => {
                if let Some(waiting) = &polling.waiting {
                    self.refuse_waiting(waiting);
                }
            }
        }
    }
}

/// A server that drains.
impl ShardIo {
    /// Begins to end the sessions that are open now.
    pub(in crate::net) fn end_gradually(&mut self, over: Duration) {
        let sessions = self.conns.keys().map(ConnKey).filter(|key| self.is_open(*key)).collect();
        self.gradual_end = Some(GradualEnd::new(self.now, over, sessions));
        self.on_no_sessions();
    }

    /// Ends the sessions whose time has come. When the time is over, the server shuts down.
    pub(super) fn run_gradual_end(&mut self) {
        let now = self.now;
        while let Some(key) = self.gradual_end.as_mut().and_then(|end| end.pop_due(now)) {
            let reason = CloseReason::ServerShuttingDown;
            self.end(key, reason, End::of(reason));
        }
        if self.gradual_end.as_ref().is_some_and(|end| end.is_over(now)) {
            self.gradual_end = None;
            self.registry.shut_down(self.config.close_timeout);
        }
    }

    /// A server that admits no more sessions may have none left: then it shuts down, or HTTP connections end.
    pub(in crate::net) fn on_no_sessions(&mut self) {
        self.end_http_if_drained();
        if self.registry.may_shut_down() {
            self.registry.shut_down(self.config.close_timeout);
        }
    }
}
