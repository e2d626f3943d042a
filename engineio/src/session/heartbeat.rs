//! The heartbeat of one session. In v4 the server pings, the client answers (Engine.IO protocol v4, "Heartbeat"):
//!
//! ```text
//!   handshake          ping_interval           pong
//! ------------> Resting ------------> Awaiting -----> Resting
//!                                        | ping_timeout
//!                                        v
//!                                      over
//! ```
//! In v3 the client pings, and the server only checks that it does: `Listening` until `ping_interval` plus
//! `ping_timeout` have passed since the handshake or the last ping.
//!
//! Deadlines count from the handshake or the pong, not from when a timer happened to fire, so a timer that is a little
//! late does not lengthen a session's life.

use std::time::{Duration, Instant};

use crate::Protocol;

/// The intervals, shared by all sessions of a server.
#[derive(Debug, Clone, Copy)]
pub struct Intervals {
    /// From a pong (or the handshake) to the next ping.
    pub ping_interval: Duration,
    /// From a ping to the latest time of its pong.
    pub ping_timeout: Duration,
}

/// What a deadline of the heartbeat asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    /// Nothing yet.
    Quiet,
    /// A ping is due.
    Ping,
    /// The pong did not come.
    Over,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Heartbeat {
    /// The next ping is due at this time.
    Resting { ping_at: Instant },
    /// A ping was sent; the pong must come by this time.
    Awaiting { pong_by: Instant, refreshed: bool, forgiven: bool },
    /// The client's next ping must come by this time (v3).
    Listening { ping_by: Instant, forgiven: bool },
}

impl Heartbeat {
    pub(super) fn start(now: Instant, intervals: Intervals, protocol: Protocol) -> Self {
        match protocol {
            Protocol::V3 => {
                Self::Listening { ping_by: now + intervals.ping_interval + intervals.ping_timeout, forgiven: false }
            }
            Protocol::V4 => Self::Resting { ping_at: now + intervals.ping_interval },
        }
    }

    pub(super) const fn deadline(&self) -> Instant {
        match *self {
            Self::Resting { ping_at } => ping_at,
            Self::Awaiting { pong_by, .. } => pong_by,
            Self::Listening { ping_by, .. } => ping_by,
        }
    }

    /// When the peer was last heard of by it: the handshake, a pong, or its ping (v3). A packet that stood in for a pong, or
    /// time that the peer was given, counts too.
    pub(super) fn last_heard(&self, intervals: Intervals) -> Instant {
        let Intervals { ping_interval, ping_timeout } = intervals;
        let ago = match self {
            Self::Resting { .. } => ping_interval,
            Self::Awaiting { refreshed: true, .. } => ping_timeout,
            Self::Awaiting { .. } | Self::Listening { .. } => ping_interval + ping_timeout,
        };
        let deadline = self.deadline();
        deadline.checked_sub(ago).unwrap_or(deadline)
    }

    /// Whether this was the pong that was awaited. An unsolicited pong is legal and changes nothing: the next ping
    /// stays due.
    pub(super) fn on_pong(&mut self, now: Instant, intervals: Intervals) -> bool {
        let awaited = matches!(self, Self::Awaiting { .. });
        if awaited {
            *self = Self::start(now, intervals, Protocol::V4);
        }
        awaited
    }

    /// A client's ping (v3).
    pub(super) fn on_ping(&mut self, now: Instant, intervals: Intervals) {
        *self = Self::start(now, intervals, Protocol::V3);
    }

    /// Any packet is a sign of life, once per ping (as in Node since 6.6.11): a big upload may hold up the pong.
    pub(super) fn on_packet(&mut self, now: Instant, intervals: Intervals) {
        if let Self::Awaiting { pong_by, refreshed: refreshed @ false, .. } = self {
            *pong_by = now + intervals.ping_timeout;
            *refreshed = true;
        }
    }

    /// We do not read from the peer just now, for a reason of our own: its pong, or ping, gets more time.
    pub(super) fn excuse(&mut self, now: Instant, intervals: Intervals) {
        match self {
            Self::Resting { .. } => {}
            Self::Awaiting { pong_by, .. } => *pong_by = now + intervals.ping_timeout,
            Self::Listening { ping_by, .. } => *ping_by = (*ping_by).max(now + intervals.ping_timeout),
        }
    }

    /// The process stalled, so what the peer sent in time may not be read yet. A deadline that has passed is extended
    /// once, by half of `ping_timeout`; by then it is read.
    pub(super) fn forgive(&mut self, now: Instant, intervals: Intervals) {
        if let Self::Awaiting { pong_by: by, forgiven: forgiven @ false, .. }
        | Self::Listening { ping_by: by, forgiven: forgiven @ false } = self
            && now >= *by
        {
            *by = now + intervals.ping_timeout / 2;
            *forgiven = true;
        }
    }

    pub(super) fn on_deadline(&mut self, now: Instant, intervals: Intervals) -> Beat {
        if now < self.deadline() {
            return Beat::Quiet;
        }
        match *self {
            Self::Resting { ping_at } => {
                // A process that stalled must not blame its peers: they have half of the time in any case.
                let pong_by = (ping_at + intervals.ping_timeout).max(now + intervals.ping_timeout / 2);
                *self = Self::Awaiting { pong_by, refreshed: false, forgiven: false };
                Beat::Ping
            }
            Self::Awaiting { .. } | Self::Listening { .. } => Beat::Over,
        }
    }
}
