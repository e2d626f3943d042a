//! The upgrade of one session from polling to WebSocket (Engine.IO protocol v4, "Upgrade").
//!
//! ```text
//!            WebSocket with sid          2probe / 3probe              5
//!   Idle ---------------------> Opened -----------------> Probed -----------> done (the session is on WebSocket)
//!    ^                            |                         |
//!    +---- wrong packet, close, upgrade_timeout: the WebSocket dies, polling lives on ----+
//! ```
//! While `Probed`, a waiting poll is released with a noop every 100 ms, so that the client can stop polling.

use std::time::{Duration, Instant};

use crate::packet::Inbound;

/// How often a waiting poll is released while the probe stands.
const NOOP_INTERVAL: Duration = Duration::from_millis(100);

/// Why an upgrade failed. Only its WebSocket is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// Another WebSocket of this session is being probed, or the session is on WebSocket already.
    #[error("the session has a WebSocket already")]
    Taken,
    /// The client sent something other than the probe, or than packet `5` after it.
    #[error("not the packet that the upgrade expects")]
    UnexpectedPacket,
}

/// What to do about a packet on the probing WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeStep {
    /// Answer `3probe` on the WebSocket.
    Pong,
    /// The session is on WebSocket now.
    Upgraded,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Upgrade {
    Idle,
    Opened { deadline: Instant },
    Probed { deadline: Instant, noop_at: Instant },
}

/// What a deadline of the upgrade asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UpgradeDeadline {
    Quiet,
    /// Release a waiting poll.
    Noop,
    /// The upgrade took too long.
    Expired,
}

impl Upgrade {
    pub(super) const fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match *self {
            Self::Idle => None,
            Self::Opened { deadline } => Some(deadline),
            Self::Probed { deadline, noop_at } => Some(deadline.min(noop_at)),
        }
    }

    pub(super) fn on_packet(&mut self, now: Instant, packet: &Inbound<'_>) -> Result<ProbeStep, UpgradeError> {
        match (*self, packet) {
            (Self::Opened { deadline }, Inbound::Ping("probe")) => {
                *self = Self::Probed { deadline, noop_at: now + NOOP_INTERVAL };
                Ok(ProbeStep::Pong)
            }
            // A repeated probe is answered again, as Node does.
            (Self::Probed { .. }, Inbound::Ping("probe")) => Ok(ProbeStep::Pong),
            (Self::Probed { .. }, Inbound::Upgrade) => {
                *self = Self::Idle;
                Ok(ProbeStep::Upgraded)
            }
            _ => {
                *self = Self::Idle;
                Err(UpgradeError::UnexpectedPacket)
            }
        }
    }

    pub(super) fn on_deadline(&mut self, now: Instant) -> UpgradeDeadline {
        match *self {
            Self::Opened { deadline } | Self::Probed { deadline, .. } if now >= deadline => {
                *self = Self::Idle;
                UpgradeDeadline::Expired
            }
            Self::Probed { deadline, noop_at } if now >= noop_at => {
                *self = Self::Probed { deadline, noop_at: now + NOOP_INTERVAL };
                UpgradeDeadline::Noop
            }
            _ => UpgradeDeadline::Quiet,
        }
    }
}
