//! [`ActiveTransport`]: the transport that a session is on now.
//!
//! The differences between the transports are here, in `flush`, and in the folder `net/transport`; all other code goes
//! through methods of this type.

use std::{
    io,
    task::{Context, Poll, Waker},
    time::Instant,
};

use tokio::sync::oneshot;

use super::super::peer::{send_queue::PollBody, stream::PeerStream, wire_format::WireFormat};
use crate::{Config, SharedFrame, slab::Key};

/// The transport of one session. See the module.
#[derive(Debug)]
pub(in crate::net) enum ActiveTransport {
    Polling(PollingTransport),
    WebSocket(WebSocketTransport),
}

impl ActiveTransport {
    pub(in crate::net) const fn polling_mut(&mut self) -> Option<&mut PollingTransport> {
        match self {
            Self::Polling(polling) => Some(polling),
            Self::WebSocket(_) => None,
        }
    }

    pub(in crate::net) const fn polling(&self) -> Option<&PollingTransport> {
        match self {
            Self::Polling(polling) => Some(polling),
            Self::WebSocket(_) => None,
        }
    }

    pub(in crate::net) const fn websocket(&self) -> Option<&WebSocketTransport> {
        match self {
            Self::WebSocket(websocket) => Some(websocket),
            Self::Polling(_) => None,
        }
    }

    pub(in crate::net) const fn websocket_mut(&mut self) -> Option<&mut WebSocketTransport> {
        match self {
            Self::WebSocket(websocket) => Some(websocket),
            Self::Polling(_) => None,
        }
    }

    /// The frame in the form in which it is queued for this peer.
    pub(in crate::net) fn adapt(&self, frame: &SharedFrame, config: &Config) -> SharedFrame {
        match self {
            Self::WebSocket(websocket) if !websocket.wire.is_plain() => frame.adapt(websocket.wire.wire(config)),
            _ => frame.clone(),
        }
    }

    /// Writes WebSocket bytes straight to the peer, if it takes them in this form and nothing is queued before them.
    /// Returns how many were written, or `None` if they must be queued.
    pub(in crate::net) fn try_write_through(&mut self, bytes: &[u8]) -> Option<usize> {
        match self {
            // The queue's own write will meet an error again and handle it.
            Self::WebSocket(websocket) if websocket.blocked.is_none() && websocket.wire.is_plain() => {
                websocket.stream.try_write(bytes).ok()
            }
            _ => None,
        }
    }

    /// Whether the transport is polling and no poll waits.
    pub(in crate::net) const fn is_polling_without_poll(&self) -> bool {
        matches!(self, Self::Polling(PollingTransport { waiting: None, .. }))
    }
}

/// A GET that waits for packets.
#[derive(Debug)]
pub(in crate::net) enum Waiting {
    /// A task has the request, maybe another shard's; it gets the body of the answer.
    Request(oneshot::Sender<PollBody>),
    /// The whole answer is written to this connection.
    Plain(Key),
}

/// Long-polling.
#[derive(Debug, Default)]
pub(in crate::net) struct PollingTransport {
    /// The GET that waits for packets.
    pub(in crate::net) waiting: Option<Waiting>,
    /// The packet that ends the session, sent in its own body after the queue. Official clients act on a close packet
    /// at once, but on the messages before it in the same body only later, and so would lose them.
    pub(in crate::net) last: Option<SharedFrame>,
    /// The answers to polls may be binary (v3).
    pub(in crate::net) takes_binary: bool,
}

/// A WebSocket.
#[derive(Debug)]
pub(in crate::net) struct WebSocketTransport {
    pub(in crate::net) stream: PeerStream,
    pub(in crate::net) wire: WireFormat,
    /// The connection's read loop, woken when it must check the connection again.
    pub(in crate::net) task: Option<Waker>,
    /// Since when the peer has accepted no byte although some wait for it.
    pub(in crate::net) blocked: Option<Instant>,
    /// A deadline for `blocked` is set already. There is at most one, however often the peer stops and goes on.
    pub(in crate::net) watched: bool,
    /// The read loop stopped reading until less than `outbound_soft` is queued; it must be woken then.
    pub(in crate::net) paused: bool,
    /// The read loop stopped reading until other shards have caught up; it must be woken then.
    pub(in crate::net) held: bool,
    /// The close frame is written and the write side is shut down.
    finished: bool,
}

impl WebSocketTransport {
    pub(in crate::net) const fn new(stream: PeerStream, wire: WireFormat) -> Self {
        Self { stream, wire, task: None, blocked: None, watched: false, paused: false, held: false, finished: false }
    }

    pub(in crate::net) fn wake(&self) {
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }

    /// The close frame is written: ends the write side, so that the peer sees the end of the stream after it.
    pub(in crate::net) fn finish(&mut self) {
        if !std::mem::replace(&mut self.finished, true) {
            self.stream.shut_down_write();
            self.wake();
        }
    }

    /// Whether the close frame is written.
    pub(in crate::net) const fn is_finished(&self) -> bool {
        self.finished
    }

    /// Whether the stream may accept more after a write has blocked; registers `cx` otherwise.
    pub(in crate::net) fn poll_unblocked(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_unblocked(cx)
    }
}
