//! [`Conn`]: what a shard keeps for one session, whatever transport it is on.

use std::{task::Waker, time::Instant};

use tokio::{net::TcpStream, sync::oneshot};

use super::{
    counts::Place,
    outq::{OutQueue, PollBody, PollForm},
    peer_wire::PeerWire,
};
use crate::{CloseReason, Config, SharedFrame, session::Session, sid::RANDOM_LEN, slab::Key};

/// One session and the transport under it.
#[derive(Debug)]
pub(super) struct Conn {
    pub(super) session: Session,
    /// The secret part of the sid; the rest is the key.
    pub(super) random: [u8; RANDOM_LEN],
    pub(super) out: OutQueue,
    pub(super) link: Link,
    pub(super) phase: Phase,
    /// The next deadline of the session that is set outside the heartbeat's queues.
    pub(super) look_at: Option<Instant>,
    /// In the list of connections to flush at the end of the turn.
    pub(super) dirty: bool,
    /// The WebSocket that is being probed for an upgrade.
    pub(super) probe: Option<Box<Probe>>,
    /// Counts it among the sessions of the server.
    pub(super) _place: Place,
}

/// How far a session is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// Closed; the handler is told before the turn ends.
    Closing,
    /// The handler was told. What is queued goes out, then the transport ends, by this deadline at the latest.
    Lingering {
        until: Instant,
    },
}

/// How the transport of a closed session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The queue, then a close frame with this code (or a poll answered with packet `1`).
    Close(Option<u16>),
    /// The peer is at fault: a WebSocket as after [`End::Close`]; a poll that waits is answered with packet `1`. Without
    /// one the sid is unknown from now on, as in the reference.
    Fault(Option<u16>),
    /// The queue, then a poll answered with a noop: the client itself sent packet `1` (gotcha 4).
    Noop,
    /// The transport is gone already.
    Gone,
    /// At once, with a reset where there is a stream: a peer that does not read never sees a polite close.
    Abort,
}

impl End {
    /// How a close that the layer above asked for ends.
    pub(super) const fn of(reason: CloseReason) -> Self {
        match reason {
            CloseReason::SlowConsumer | CloseReason::Internal => Self::Abort,
            // RFC 6455, 7.4.1: 1001 is an endpoint going away.
            CloseReason::ServerShuttingDown => Self::Close(Some(1001)),
            _ => Self::Close(None),
        }
    }
}

#[derive(Debug)]
pub(super) enum Link {
    Polling(PollLink),
    WebSocket(WsLink),
}

impl Link {
    /// The frame as it is queued for this peer.
    pub(super) fn adapt(&self, frame: &SharedFrame, config: &Config) -> SharedFrame {
        match self {
            Self::WebSocket(ws) if !ws.wire.is_plain() => frame.adapt(ws.wire.wire(config)),
            _ => frame.clone(),
        }
    }
}

/// A GET that waits for packets.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A task has the request, maybe another shard's; it gets the body of the answer.
    Request(oneshot::Sender<PollBody>),
    /// The whole answer is written to this connection.
    Plain(Key),
}

#[derive(Debug, Default)]
pub(super) struct PollLink {
    /// The GET that waits for packets.
    pub(super) waiting: Option<Waiting>,
    /// What ends the session, in a body of its own after the queue: official clients act on a close packet at once, but
    /// on the messages before it in the same body only later, and so would lose them.
    pub(super) last: Option<SharedFrame>,
    /// The answers to polls may be binary (v3).
    pub(super) takes_binary: bool,
}

#[derive(Debug)]
pub(super) struct WsLink {
    pub(super) stream: TcpStream,
    pub(super) wire: PeerWire,
    /// The connection's read loop, to be woken when it must look at the connection again.
    pub(super) task: Option<Waker>,
    /// Since when the peer has taken no byte although some wait for it.
    pub(super) blocked: Option<Instant>,
    /// A deadline about that is set already: one at a time, however often the peer stops and goes on.
    pub(super) watched: bool,
    /// The read loop reads no more until less than `outbound_soft` is queued; then it is to be woken.
    pub(super) paused: bool,
    /// The read loop reads no more until other shards have caught up; then it is to be woken.
    pub(super) held: bool,
    /// The close frame is out and the write side is shut.
    pub(super) finished: bool,
}

impl WsLink {
    pub(super) const fn new(stream: TcpStream, wire: PeerWire) -> Self {
        Self { stream, wire, task: None, blocked: None, watched: false, paused: false, held: false, finished: false }
    }

    pub(super) fn wake(&self) {
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }
}

/// A WebSocket that wants to take a polling session over.
#[derive(Debug)]
pub(super) struct Probe {
    /// Tells this probe from an earlier one of the same session.
    pub(super) id: u64,
    pub(super) task: Option<Waker>,
}

impl Conn {
    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// How the bodies of its polls are written.
    pub(super) const fn poll_form(&self) -> PollForm {
        let takes_binary = matches!(self.link, Link::Polling(PollLink { takes_binary: true, .. }));
        PollForm { protocol: self.session.protocol(), takes_binary }
    }
}
