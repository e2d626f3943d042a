//! [`Conn`]: what a shard keeps for one session, whatever transport it is on.

use std::{task::Waker, time::Instant};

use super::{
    super::{
        peer::send_queue::{PollForm, SendQueue},
        shards::registry::SessionPermit,
    },
    transport::{ActiveTransport, PollingTransport},
};
use crate::{CloseReason, session::Session, sid::RANDOM_LEN};

/// One session and the transport under it.
#[derive(Debug)]
pub(in crate::net) struct Conn {
    pub(in crate::net) session: Session,
    /// The secret part of the sid; the rest follows from the key.
    pub(in crate::net) random: [u8; RANDOM_LEN],
    pub(in crate::net) out: SendQueue,
    pub(in crate::net) transport: ActiveTransport,
    pub(in crate::net) phase: Phase,
    /// The session's next deadline that is not in the heartbeat's queues.
    pub(in crate::net) look_at: Option<Instant>,
    /// Whether it is in the list of connections to flush at the end of the turn.
    pub(in crate::net) dirty: bool,
    /// The WebSocket that is being probed for an upgrade.
    pub(in crate::net) probe: Option<Box<ProbeSlot>>,
    /// The application knows who the client is.
    pub(in crate::net) accepted: bool,
    /// Counts it as one of the server's sessions.
    pub(in crate::net) _permit: SessionPermit,
}

/// How far the session is in closing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) enum Phase {
    Open,
    /// Closed; the handler is told before the turn ends.
    Closing,
    /// The handler was told. The queue is still written; then the transport ends, at this deadline at the latest.
    Lingering {
        until: Instant,
    },
}

/// How the transport of a closed session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) enum End {
    /// Write the queue, then a close frame with this code (or answer a poll with packet `1`).
    Close(Option<u16>),
    /// The peer is at fault. A WebSocket ends as with [`End::Close`]; a waiting poll is answered with packet `1`. If no
    /// poll waits, the sid is unknown from now on, as in Node.
    Fault(Option<u16>),
    /// Write the queue, then answer a poll with a noop: the client itself sent packet `1`, and Node answers its poll
    /// with a noop.
    Noop,
    /// The transport is gone already.
    Gone,
    /// Close at once, with a reset if there is a stream: a peer that does not read would never see a normal close.
    Abort,
}

impl End {
    /// How the transport ends after a close that the layer above asked for.
    pub(in crate::net) const fn of(reason: CloseReason) -> Self {
        match reason {
            CloseReason::SlowConsumer | CloseReason::LimitExceeded | CloseReason::Internal => Self::Abort,
            // RFC 6455, 7.4.1: 1001 is an endpoint going away.
            CloseReason::ServerShuttingDown => Self::Close(Some(1001)),
            _ => Self::Close(None),
        }
    }
}

/// A WebSocket that probes a polling session for an upgrade.
#[derive(Debug)]
pub(in crate::net) struct ProbeSlot {
    /// Tells this probe from an earlier one of the same session.
    pub(in crate::net) number: u64,
    pub(in crate::net) task: Option<Waker>,
}

impl Conn {
    pub(in crate::net) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Ends the reservation for a probing WebSocket, whose task then closes it.
    pub(in crate::net) fn end_probe(&mut self) {
        if let Some(task) = self.probe.take().and_then(|probe| probe.task) {
            task.wake();
        }
    }

    /// How the bodies of its polls are written.
    pub(in crate::net) const fn poll_form(&self) -> PollForm {
        let takes_binary =
            matches!(self.transport, ActiveTransport::Polling(PollingTransport { takes_binary: true, .. }));
        PollForm { protocol: self.session.protocol(), takes_binary }
    }
}
