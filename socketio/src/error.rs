//! Errors and reasons of the Socket.IO layer.

use std::fmt;

use engineio::CloseReason;

/// Why a CONNECT was refused; becomes a CONNECT_ERROR packet. The engine stays open, the client may try again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    /// The text of the client's `Error`.
    pub message: String,
    /// The client's `error.data`, as JSON.
    pub data: Option<String>,
}

impl ConnectError {
    /// A refusal with this text and no data.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), data: None }
    }

    /// Adds data for the client, which finds it in `error.data`.
    ///
    /// ```
    /// let error = socketio::ConnectError::new("not authorized").with_data(&serde_json::json!({ "code": 1 }));
    /// ```
    #[cfg(feature = "router")]
    #[must_use]
    pub fn with_data(self, data: &serde_json::Value) -> Self {
        Self { data: Some(data.to_string()), ..self }
    }
}

impl From<String> for ConnectError {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

impl From<&str> for ConnectError {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

/// Why a socket is no longer connected, in the protocol's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The client left the namespace.
    ClientNamespaceDisconnect,
    /// The server made the socket leave the namespace.
    ServerNamespaceDisconnect,
    /// The engine session under it ended.
    Engine(CloseReason),
}

impl DisconnectReason {
    /// Whether the client may get the socket back ([`recovery`](crate::recovery)): its connection broke, or was closed without a word.
    #[must_use]
    pub const fn is_recoverable(self) -> bool {
        use CloseReason::{ForcedClose, PingTimeout, ServerShuttingDown, TransportClose, TransportError};
        let Self::Engine(reason) = self else { return false };
        matches!(reason, TransportClose | TransportError | ForcedClose | PingTimeout | ServerShuttingDown)
    }

    /// The wording of Node's `socket.io`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientNamespaceDisconnect => "client namespace disconnect",
            Self::ServerNamespaceDisconnect => "server namespace disconnect",
            Self::Engine(reason) => reason.as_str(),
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why something was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EmitError {
    /// The socket is not connected, or its engine session is closing.
    #[error("the socket is not connected")]
    Disconnected,
    /// The peer does not read what is queued for it; its session is being closed.
    #[error("the peer's queue is full")]
    Full,
    /// The socket owes too many acknowledgements.
    #[error("too many acknowledgements are pending")]
    TooManyAcks,
    /// A name that the protocol keeps for itself (`connect`, `disconnect`, ...).
    #[error("the event name is reserved")]
    ReservedName,
    /// This shard waits for too many replies and other jobs (`engineio::Config::max_jobs`).
    #[error("too many requests are under way")]
    TooManyRequests,
    /// The configuration has no namespace of this name, and allows none.
    #[error("the server has no such namespace")]
    UnknownNamespace,
}

impl From<engineio::SendError> for EmitError {
    fn from(error: engineio::SendError) -> Self {
        match error {
            engineio::SendError::Full => Self::Full,
            _ => Self::Disconnected,
        }
    }
}

/// Why an acknowledgement did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AckError {
    /// Not within the time that was given.
    #[error("operation has timed out")]
    Timeout,
    /// The socket was disconnected first.
    #[error("socket has been disconnected")]
    Disconnected,
}
