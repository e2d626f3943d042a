//! The state machine of one session, without sockets, clock or entropy.
//!
//! ```text
//!             GET open                      ws probe: 2probe/3probe            packet 5
//!   (new) ----------------> Polling --------------------------------> Upgrading --------> WebSocket
//!      \___________________ ws open ____________________________________________________/     |
//!    any state -- ping timeout | packet 1 | protocol error | limit --> Err(CloseReason): over <---+
//! ```
//! The contract: `handle_*` takes an input and the time, and returns at most one [`SessionEvent`]. `Err` ends the
//! session; nothing may be passed to it afterwards. [`Session::poll_timeout`] says when [`Session::handle_timeout`]
//! wants to be called. Calling it early is harmless; calling it late only delays things.
//!
//! The caller provides bytes (the codecs [`crate::ws`] and [`crate::payload`]), queues, and the handler above.

mod heartbeat;
mod upgrade;

use std::time::{Duration, Instant};

use heartbeat::{Beat, Heartbeat};
use upgrade::{Upgrade, UpgradeDeadline};

pub use heartbeat::Intervals;
pub use upgrade::{ProbeStep, UpgradeError};

use crate::{CloseReason, Message, Protocol, packet::Inbound};

/// How a session's packets travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTP long-polling.
    Polling,
    /// WebSocket.
    WebSocket,
}

impl Transport {
    /// The name in the query and in Node's API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::WebSocket => "websocket",
        }
    }
}

/// What the caller has to do after an input.
#[derive(Debug, PartialEq, Eq)]
pub enum SessionEvent<'i> {
    /// Pass this to the application.
    Message(Message<'i>),
    /// The pong came: the next ping is due at [`Session::next_beat`].
    Pong,
    /// Send a ping on the session's transport.
    Ping,
    /// Answer the client's ping with a pong with the same data (v3); its next ping is due at [`Session::next_beat`].
    Answer(&'i str),
    /// Answer a waiting poll with a noop packet; without a waiting poll do nothing.
    Noop,
    /// The probing WebSocket took too long: close it. The session lives on.
    UpgradeExpired,
}

/// One session. See the module's diagram and contract.
#[derive(Debug)]
pub struct Session {
    protocol: Protocol,
    transport: Transport,
    intervals: Intervals,
    heartbeat: Heartbeat,
    upgrade: Upgrade,
    polling: bool,
    posting: bool,
}

impl Session {
    /// A session of protocol v4 that starts on `transport` at the moment of its handshake.
    #[must_use]
    pub fn new(now: Instant, transport: Transport, intervals: Intervals) -> Self {
        Self::with_protocol(now, transport, intervals, Protocol::V4)
    }

    /// A session that speaks `protocol`.
    #[must_use]
    pub fn with_protocol(now: Instant, transport: Transport, intervals: Intervals, protocol: Protocol) -> Self {
        Self {
            protocol,
            transport,
            intervals,
            heartbeat: Heartbeat::start(now, intervals, protocol),
            upgrade: Upgrade::Idle,
            polling: false,
            posting: false,
        }
    }

    /// The revision of the protocol that the handshake agreed on.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The transport the session's packets travel on.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// When [`Session::handle_timeout`] wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        let heartbeat = self.heartbeat.deadline();
        self.upgrade.deadline().map_or(heartbeat, |upgrade| upgrade.min(heartbeat))
    }

    /// When the heartbeat is due, whatever the upgrade is waiting for: the time of the next ping, or the latest time of
    /// the awaited pong. In v3 it is the latest time of the client's next ping.
    #[must_use]
    pub const fn next_beat(&self) -> Instant {
        self.heartbeat.deadline()
    }

    /// A packet on the session's transport.
    ///
    /// # Errors
    /// The reason the packet ends the session.
    pub fn handle_packet<'i>(
        &mut self,
        now: Instant,
        packet: Inbound<'i>,
    ) -> Result<Option<SessionEvent<'i>>, CloseReason> {
        self.heartbeat.on_packet(now, self.intervals);
        match packet {
            Inbound::Message(message) => Ok(Some(SessionEvent::Message(message))),
            // Engine.IO protocol v3, "ping": the client pings, and gets its data back.
            Inbound::Ping(data) if self.protocol == Protocol::V3 => {
                self.heartbeat.on_ping(now, self.intervals);
                Ok(Some(SessionEvent::Answer(data)))
            }
            Inbound::Pong(_) if self.protocol == Protocol::V3 => Err(CloseReason::TransportError),
            Inbound::Pong(_) => Ok(self.heartbeat.on_pong(now, self.intervals).then_some(SessionEvent::Pong)),
            // Known packets that mean nothing here are ignored, as Node does.
            Inbound::Upgrade | Inbound::Noop => Ok(None),
            // In v4 only the server pings: Node treats a client's ping as a transport error.
            Inbound::Ping(_) => Err(CloseReason::TransportError),
            Inbound::Close => Err(CloseReason::TransportClose),
        }
    }

    /// A deadline that [`Session::poll_timeout`] named has come. Each call returns at most one event: call it until it
    /// returns `None`.
    ///
    /// # Errors
    /// [`CloseReason::PingTimeout`].
    pub fn handle_timeout(&mut self, now: Instant) -> Result<Option<SessionEvent<'static>>, CloseReason> {
        match self.heartbeat.on_deadline(now, self.intervals) {
            Beat::Ping => return Ok(Some(SessionEvent::Ping)),
            Beat::Over => return Err(CloseReason::PingTimeout),
            Beat::Quiet => {}
        }
        Ok(match self.upgrade.on_deadline(now) {
            UpgradeDeadline::Noop => Some(SessionEvent::Noop),
            UpgradeDeadline::Expired => Some(SessionEvent::UpgradeExpired),
            UpgradeDeadline::Quiet => None,
        })
    }

    /// When the peer was last heard of by the heartbeat, at the latest: it may have sent something else since.
    #[must_use]
    pub fn last_heartbeat(&self) -> Instant {
        self.heartbeat.last_heard(self.intervals)
    }

    /// The caller does not read from the peer just now (back-pressure), so a missing pong, or ping, is not the peer's
    /// fault.
    pub fn excuse_pong(&mut self, now: Instant) {
        self.heartbeat.excuse(now, self.intervals);
    }

    /// The caller stalled until now. The peer's pong, or ping, may have arrived in time and not be read yet, so a
    /// deadline that passed meanwhile is extended once, by half of `ping_timeout`.
    pub fn forgive_stall(&mut self, now: Instant) {
        self.heartbeat.forgive(now, self.intervals);
    }

    /// Whether a ping was sent whose pong has not come; never in v3.
    #[must_use]
    pub const fn awaits_pong(&self) -> bool {
        matches!(self.heartbeat, Heartbeat::Awaiting { .. })
    }

    /// A GET wants to wait for packets.
    ///
    /// # Errors
    /// A second waiting poll ends the session, as in Node.
    pub fn begin_poll(&mut self) -> Result<(), CloseReason> {
        if std::mem::replace(&mut self.polling, true) { Err(CloseReason::TransportError) } else { Ok(()) }
    }

    /// The waiting poll was answered.
    pub fn end_poll(&mut self) {
        self.polling = false;
    }

    /// A POST begins; its packets follow by [`Session::handle_packet`].
    ///
    /// # Errors
    /// Overlapping POSTs end the session, as in Node: their packets would have no order.
    pub fn begin_post(&mut self) -> Result<(), CloseReason> {
        if std::mem::replace(&mut self.posting, true) { Err(CloseReason::TransportError) } else { Ok(()) }
    }

    /// The POST was read to its end.
    pub fn end_post(&mut self) {
        self.posting = false;
    }

    /// A WebSocket handshake names this session.
    ///
    /// [`UpgradeError::Taken`]: close that WebSocket; this session is not disturbed.
    /// [`UpgradeError::Taken`]: that WebSocket is to be closed, this session is not disturbed.
    pub fn begin_upgrade(&mut self, now: Instant, timeout: Duration) -> Result<(), UpgradeError> {
        if self.transport == Transport::WebSocket || !self.upgrade.is_idle() {
            return Err(UpgradeError::Taken);
        }
        self.upgrade = Upgrade::Opened { deadline: now + timeout };
        Ok(())
    }

    /// A packet on the probing WebSocket.
    ///
    /// # Errors
    /// The upgrade has failed; polling lives on.
    pub fn handle_probe(&mut self, now: Instant, packet: &Inbound<'_>) -> Result<ProbeStep, UpgradeError> {
        let probe = self.upgrade.on_packet(now, packet)?;
        if probe == ProbeStep::Upgraded {
            self.transport = Transport::WebSocket;
        }
        Ok(probe)
    }

    /// Whether a WebSocket of this session is being probed.
    #[must_use]
    pub const fn is_upgrading(&self) -> bool {
        !self.upgrade.is_idle()
    }

    /// Whether the probe was answered: the client may have sent packet `5`, and then it polls no more.
    #[must_use]
    pub const fn is_probed(&self) -> bool {
        matches!(self.upgrade, Upgrade::Probed { .. })
    }

    /// The probing WebSocket is gone.
    pub fn abandon_upgrade(&mut self) {
        self.upgrade = Upgrade::Idle;
    }
}

#[cfg(test)]
mod tests;
