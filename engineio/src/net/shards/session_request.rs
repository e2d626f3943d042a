//! [`SessionRequest`]: what a shard asks of a session that lives on another shard. Data, answered through the channel it
//! carries; dropped unanswered when the session's shard has ended.

use bytes::Bytes;
use tokio::sync::oneshot::{Receiver, Sender};

use super::super::peer::send_queue::PollBody;
use crate::{
    ConnKey, Protocol, Sid,
    http::{Action, PostBody, Refused},
    payload::Form,
};

/// The session that a request names, and what the request wants of it.
#[derive(Debug, Clone, Copy)]
pub(in crate::net) struct SessionQuery {
    pub(in crate::net) sid: Sid,
    pub(in crate::net) action: Action,
    /// The revision that the request speaks.
    pub(in crate::net) protocol: Protocol,
}

/// One probing WebSocket of a session: it tells a probe from an earlier one of the same session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) struct ProbeKey {
    pub(in crate::net) conn: ConnKey,
    pub(in crate::net) number: u64,
}

/// See the module.
#[derive(Debug)]
pub(in crate::net) enum SessionRequest {
    /// Whether the request has a place in its session.
    Find { query: SessionQuery, answer: Sender<Result<ConnKey, Refused>> },
    /// A GET waits for packets; the body of its answer comes through the receiver.
    BeginPoll { query: SessionQuery, answer: Sender<Result<Receiver<PollBody>, Refused>> },
    /// A POST brings packets. `form` says how its body is to be read (`None`: it has no place in the session), `declared` how
    /// many bytes the body has at least.
    BeginPost {
        query: SessionQuery,
        form: Option<PostBody>,
        declared: u64,
        answer: Sender<Result<(ConnKey, PostBody), Refused>>,
    },
    /// The POST is over, without packets.
    EndPost { conn: ConnKey, answer: Sender<()> },
    /// The POST's body is not what it has to be.
    FailPost { conn: ConnKey, answer: Sender<()> },
    /// A request of this session was dropped half way.
    AbortPolling { sid: Sid },
    /// A WebSocket wants to take the session over. `valid`: its handshake is correct, so the session is to be reserved for it.
    /// The answer has no probe when the session has a WebSocket already.
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
