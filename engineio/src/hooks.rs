//! What an application may decide about a connection before it is a session, and about the headers of answers.
//!
//! This file holds only the types: [`crate::net`] calls the hooks. A handshake calls them in this order:
//! [`Hooks::allow_request`], the check of the protocol's revision, [`Hooks::generate_id`], [`Hooks::initial_headers`],
//! [`Hooks::headers`]. Any refusal calls [`Hooks::on_connection_error`].

use std::{fmt, future::Future, net::SocketAddr, pin::Pin, time::Duration};

use http::{HeaderMap, Method, Uri};

pub use crate::sid::{InvalidSidPart, MAX_SID_PART, SidPart};
use crate::{
    error::{ConnectionError, HandshakeError},
    http::Query,
};

/// A request as the hooks see it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// Path and query.
    pub uri: &'a Uri,
    /// The query parameters that the protocol defines.
    pub query: &'a Query<'a>,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The peer of the TCP connection.
    pub remote: SocketAddr,
}

/// A result that is there at once or comes later. While it is pending, only the request is kept for the connection, and
/// the limits on handshakes count it.
pub enum Outcome<T> {
    /// At once.
    Ready(T),
    /// When the future is done.
    Pending(Pin<Box<dyn Future<Output = T>>>),
}

impl<T> Outcome<T> {
    /// A result that comes later.
    #[must_use]
    pub fn pending(future: impl Future<Output = T> + 'static) -> Self {
        Self::Pending(Box::pin(future))
    }
}

impl<T: fmt::Debug> fmt::Debug for Outcome<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(outcome) => f.debug_tuple("Ready").field(outcome).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}

/// The application's decision about a handshake (`allowRequest` of the reference).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It may become a session.
    Allow,
    /// 403 with code 4 (400 for a WebSocket) and this message, by default `Forbidden`.
    Refuse {
        /// The message.
        message: Option<String>,
    },
    /// 503 with `Retry-After`: the client may come back.
    Unavailable {
        /// When to come back.
        retry_after: Duration,
    },
}

impl Verdict {
    /// The decision as a result: `Err` with the error and the application's message.
    ///
    /// # Errors
    /// When the handshake is refused.
    pub fn check(&self) -> Result<(), (ConnectionError, Option<&str>)> {
        match self {
            Self::Allow => Ok(()),
            Self::Refuse { message } => Err((HandshakeError::Forbidden.into(), message.as_deref())),
            Self::Unavailable { retry_after } => {
                Err((HandshakeError::Unavailable { retry_after: *retry_after }.into(), None))
            }
        }
    }
}

/// The application could not make an id. The client gets code 3, and [`Hooks::on_connection_error`] the context
/// [`crate::error::ErrorContext::IdGenerationError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no id: {0}")]
pub struct IdGenerationError(pub String);

/// A connection that was refused (`connection_error` of the reference). [`ConnectionError::error`] has the code,
/// [`ConnectionError::context`] the context's name.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionErrorEvent<'a> {
    /// What is wrong.
    pub error: ConnectionError,
    /// The message that the client got.
    pub message: &'a str,
    /// The request that was refused.
    pub request: Request<'a>,
}

/// The application's hooks. Each has a default that changes nothing. Calls never overlap.
pub trait Hooks {
    /// Whether this request, which names no session, may become one.
    fn allow_request(&mut self, request: &Request<'_>) -> Outcome<Verdict> {
        let _ = request;
        Outcome::Ready(Verdict::Allow)
    }

    /// Chooses the secret part of the new session's sid. `None` means 120 random bits.
    fn generate_id(&mut self, request: &Request<'_>) -> Outcome<Result<Option<SidPart>, IdGenerationError>> {
        let _ = request;
        Outcome::Ready(Ok(None))
    }

    /// Changes the headers of the answer to the first request of a session: of a polling handshake, or of the 101 of a
    /// session that begins on WebSocket.
    fn initial_headers(&mut self, headers: &mut HeaderMap, request: &Request<'_>) {
        let _ = (headers, request);
    }

    /// Changes the headers of every answer of a session except refusals, and of every 101.
    fn headers(&mut self, headers: &mut HeaderMap, request: &Request<'_>) {
        let _ = (headers, request);
    }

    /// A connection was refused.
    fn on_connection_error(&mut self, event: &ConnectionErrorEvent<'_>) {
        let _ = event;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_says_what_the_client_is_told() {
        assert_eq!(Verdict::Allow.check(), Ok(()));
        let refused = Verdict::Refuse { message: Some("no".into()) };
        assert_eq!(refused.check(), Err((HandshakeError::Forbidden.into(), Some("no"))));
        let retry_after = Duration::from_secs(1);
        assert_eq!(
            Verdict::Unavailable { retry_after }.check(),
            Err((HandshakeError::Unavailable { retry_after }.into(), None))
        );
    }
}
