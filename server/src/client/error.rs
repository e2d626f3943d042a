//! What a client of a server can meet.

use std::io;

use http::StatusCode;

/// Why a client did not get what it wanted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ClientError {
    /// The name has no address.
    #[error("cannot resolve {host}: {error}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        error: io::Error,
    },
    /// No TCP connection.
    #[error("cannot connect to {address}: {error}")]
    Connect {
        /// Host and port.
        address: String,
        /// What the operating system said.
        error: io::Error,
    },
    /// No TLS connection.
    #[error("TLS: {0}")]
    Tls(io::Error),
    /// The connection broke, or what came is no HTTP.
    #[error("HTTP: {0}")]
    Http(String),
    /// An answer with another status than the one that was asked for.
    #[error("{0}")]
    Status(Refused),
    /// The connection broke, or what came is no WebSocket.
    #[error("WebSocket: {0}")]
    WebSocket(String),
    /// CONNECT was refused.
    #[error("the server refused CONNECT: {message} ({code})")]
    Unauthorized {
        /// The server's `data.code`.
        code: String,
        /// Its message.
        message: String,
    },
    /// The server ended the connection.
    #[error("the connection ended: {0}")]
    Ended(&'static str),
    /// A packet that a Socket.IO server does not send here.
    #[error("expected {expected}, got {got:?}")]
    Unexpected {
        /// What should have come.
        expected: &'static str,
        /// The beginning of what came.
        got: String,
    },
    /// Nothing came.
    #[error("no answer within {0:?}")]
    Timeout(std::time::Duration),
}

/// An HTTP answer that refuses.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its `Server` header, which often names the proxy.
    pub(crate) server: Option<String>,
    /// The beginning of its body.
    pub(crate) body: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        if let Some(server) = &self.server {
            write!(f, " from {server:?}")?;
        }
        if !self.body.is_empty() {
            write!(f, ": {}", self.body)?;
        }
        Ok(())
    }
}

/// The beginning of a text of the server, as one line.
pub(super) fn excerpt(text: &str) -> String {
    /// Characters: enough for an error in JSON, and for the title of a proxy's page.
    const LENGTH: usize = 200;
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    one_line.chars().filter(|c| !c.is_control()).take(LENGTH).collect()
}

impl ClientError {
    /// `got` came in place of `expected`.
    pub(super) fn unexpected(expected: &'static str, got: &str) -> Self {
        Self::Unexpected { expected, got: excerpt(got) }
    }
}
