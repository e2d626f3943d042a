//! [`Command`]: one thing for a shard to do, sent by another shard or another thread.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{
    super::peer::{stream::DetachedStream, wire_format::WireFormat},
    connections::ConnectionGuard,
    http_connections::HttpConnectionGuard,
    session_request::{PostedPackets, ProbeKey, SessionRequest},
    stats::ShardStats,
};
use crate::{Config, JobId, ShardMessage, job::JobPanicked};

/// What a command costs in addition to its weight, in bytes: 1,024 commands of weight 0 count as 4 MiB.
pub(in crate::net) const COMMAND_COST: usize = 4096;

/// A command for a shard. See the module.
#[derive(Debug)]
pub(in crate::net) enum Command {
    /// A message for the handler.
    Message(ShardMessage),
    /// The result of a job that the handler started.
    JobDone(JobId, Result<ShardMessage, JobPanicked>),
    /// A connection that this shard serves from now on.
    Stream(Box<PassedStream>),
    /// A request for a session of this shard.
    Session(SessionRequest),
    /// A body that was posted to a session of this shard.
    Packets(Box<PostedPackets>),
    /// A request that another server passes on.
    #[cfg(feature = "tower")]
    Request(Box<PassedRequest>),
    /// Some settings are different from now on ([`Config::take_changes`]).
    Reconfigure(Box<Config>),
    /// What has this shard counted?
    Stats(oneshot::Sender<ShardStats>),
    /// A server that admits no more sessions has none left.
    Drained,
    /// End every session, one after another, over this time.
    Drain { over: Duration },
    /// End every session and its transport; stop once all are gone, or after this time.
    Shutdown { within: Duration },
}

impl Command {
    /// How much it counts towards the limit of a mailbox, in bytes.
    pub(in crate::net) fn cost(&self) -> usize {
        COMMAND_COST
            + match self {
                Self::Message(message) => message.weight(),
                Self::JobDone(_, result) => result.as_ref().map_or(0, ShardMessage::weight),
                Self::Stream(passed) => passed.early.len(),
                Self::Packets(packets) => packets.body.len(),
                #[cfg(feature = "tower")]
                Self::Request(_) => 0,
                Self::Session(_)
                | Self::Reconfigure(_)
                | Self::Stats(_)
                | Self::Drained
                | Self::Drain { .. }
                | Self::Shutdown { .. } => 0,
            }
    }
}

/// A connection that moves from one shard to another.
#[derive(Debug)]
pub(in crate::net) struct PassedStream {
    pub(in crate::net) stream: DetachedStream,
    pub(in crate::net) remote: SocketAddr,
    /// The bytes that were read from it already.
    pub(in crate::net) early: Bytes,
    pub(in crate::net) counted: ConnectionGuard,
    pub(in crate::net) http: HttpConnectionGuard,
    pub(in crate::net) purpose: StreamPurpose,
}

/// What the other shard does with the connection.
#[derive(Debug, Clone, Copy)]
pub(in crate::net) enum StreamPurpose {
    /// Serve it from its first byte.
    Serve,
    /// It is a WebSocket that probes a session and was answered 101.
    Probe(ProbeKey, WireFormat),
}

#[cfg(feature = "tower")]
pub(in crate::net) use passed_request::{AnyBody, PassedAnswer, PassedRequest};

#[cfg(feature = "tower")]
mod passed_request {
    use std::{error::Error, net::SocketAddr};

    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::combinators::UnsyncBoxBody;
    use tokio::sync::oneshot;

    use super::DetachedStream;

    /// The body of a request that another server passes on.
    pub(in crate::net) type AnyBody = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

    /// A request that another server passes on.
    #[derive(Debug)]
    pub(in crate::net) struct PassedRequest {
        pub(in crate::net) request: Request<AnyBody>,
        pub(in crate::net) remote: SocketAddr,
        pub(in crate::net) answer: oneshot::Sender<PassedAnswer>,
    }

    /// The answer to it, and where to send the stream if it becomes a WebSocket.
    #[derive(Debug)]
    pub(in crate::net) struct PassedAnswer {
        pub(in crate::net) response: Response<Bytes>,
        pub(in crate::net) upgrade: Option<oneshot::Sender<(DetachedStream, Bytes)>>,
    }
}
