//! [`SessionRequest`]: what a shard asks of a session that is on another shard. It is data, and is answered through the
//! channel in it. If the session's shard has ended, the request is dropped without an answer.

use bytes::Bytes;
use tokio::sync::oneshot::{Receiver, Sender};

use super::super::peer::send_queue::PollBody;
use crate::{
    ConnKey, Protocol, Sid,
    http::{Action, PostBody, Refused},
    payload::Form,
};

/// The session that a request names, and what the request wants to do with it.
#[derive(Debug, Clone, Copy)]
pub(in crate::net) struct SessionQuery {
    pub(in crate::net) sid: Sid,
    pub(in crate::net) action: Action,
    /// The protocol revision of the request.
    pub(in crate::net) protocol: Protocol,
}

/// One probing WebSocket of a session. It tells a probe from an earlier one of the same session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) struct ProbeKey {
    pub(in crate::net) conn: ConnKey,
    pub(in crate::net) number: u64,
}

/// A POST that has begun.
#[derive(Debug)]
pub(in crate::net) struct BegunPost {
    pub(in crate::net) conn: ConnKey,
    /// How to read its body.
    pub(in crate::net) form: PostBody,
    /// The most bytes that its body may have.
    pub(in crate::net) max_body: usize,
    /// A longer body is read up to so many bytes, and dropped, so that the client reads why ([`CloseReason::TooLong`]).
    ///
    /// [`CloseReason::TooLong`]: crate::CloseReason::TooLong
    pub(in crate::net) max_read: usize,
}

/// A request for a session. See the module.
#[derive(Debug)]
pub(in crate::net) enum SessionRequest {
    /// Find the session, and check that the request fits it.
    Find { query: SessionQuery, answer: Sender<Result<ConnKey, Refused>> },
    /// A GET waits for packets. The receiver gets the body of its answer.
    BeginPoll { query: SessionQuery, answer: Sender<Result<Receiver<PollBody>, Refused>> },
    /// A POST brings packets. `form` says how to read its body (`None`: its content type does not fit the session),
    /// `declared` how many bytes the body has at least.
    BeginPost { query: SessionQuery, form: Option<PostBody>, declared: u64, answer: Sender<Result<BegunPost, Refused>> },
    /// The POST has ended, without packets. `too_long` says that its body was dropped, which ends the session.
    EndPost { conn: ConnKey, too_long: bool, answer: Sender<()> },
    /// The body of the POST is invalid.
    FailPost { conn: ConnKey, answer: Sender<()> },
    /// A request of this session was dropped before it was complete.
    AbortPolling { sid: Sid },
    /// A WebSocket wants to upgrade the session. `valid` says that its handshake is correct; then the session is
    /// reserved for it. The answer has no probe if the session has a WebSocket already.
    BeginProbe { query: SessionQuery, valid: bool, answer: Sender<Result<Option<ProbeKey>, Refused>> },
}

/// The body of a POST for a session of another shard.
#[derive(Debug)]
pub(in crate::net) struct PostedPackets {
    pub(in crate::net) conn: ConnKey,
    pub(in crate::net) form: Form,
    pub(in crate::net) body: Bytes,
    pub(in crate::net) answer: Sender<Result<(), Refused>>,
}
