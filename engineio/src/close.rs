//! Why a session ended. Every session ends with exactly one [`CloseReason`].

use std::fmt;

/// Why a session ended, in the protocol's own words: Node's `CloseReason`s, and some of our own. Logs and counters tell
/// ours apart, the wire does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer ended the transport: a close packet, a WebSocket close frame, end of stream.
    TransportClose,
    /// The transport broke: reset, aborted poll, WebSocket protocol error, illegal use of the HTTP transport.
    TransportError,
    /// No pong within `ping_timeout` after a ping.
    PingTimeout,
    /// A packet that cannot be decoded.
    ParseError,
    /// This side closed the session ([`crate::Outbox::close`]).
    ForcedClose,
    /// The server is shutting down; the client may come back.
    ServerShuttingDown,
    /// The peer did not read: more than `outbound_hard` bytes wait for it, or it took none for `ping_timeout`.
    SlowConsumer,
    /// The application has not accepted the session yet, and a message was longer than
    /// [`max_unaccepted`](crate::Config::max_unaccepted).
    TooLong,
    /// The peer exceeded one of our limits, such as the number of its sessions.
    LimitExceeded,
    /// A fault on our side (a caught panic), not the peer's.
    Internal,
}

impl CloseReason {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 10] = [
        Self::TransportClose,
        Self::TransportError,
        Self::PingTimeout,
        Self::ParseError,
        Self::ForcedClose,
        Self::ServerShuttingDown,
        Self::SlowConsumer,
        Self::TooLong,
        Self::LimitExceeded,
        Self::Internal,
    ];

    /// The protocol's wording where it has one.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TransportClose => "transport close",
            Self::TransportError => "transport error",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
            Self::ForcedClose => "forced close",
            Self::ServerShuttingDown => "server shutting down",
            Self::SlowConsumer => "slow consumer",
            Self::TooLong => "message too long",
            Self::LimitExceeded => "limit exceeded",
            Self::Internal => "internal error",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
