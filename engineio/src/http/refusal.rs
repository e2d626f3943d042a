//! [`Refused`]: why a request for the engine is refused, and the answer to it; [`RefusalReason`]: the same, for counting.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use super::answer;
use crate::{
    error::{ConnectionError, ErrorContext, HandshakeError},
    ws,
};

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refused {
    /// With a protocol code, and the application's message if it gave one.
    Coded(ConnectionError, Option<String>),
    /// The request asks for a WebSocket, but its handshake violates RFC 6455.
    WebSocket(ws::handshake::HandshakeError),
    /// 400 without a body.
    BadRequest,
    /// 400 without a body, and the connection is closed, because it is unknown where the request's body ends.
    BrokenBody,
    /// 408, and the connection is closed: the request's body did not come within `body_timeout`.
    TimedOut,
    /// 413, and the connection is closed, because the rest of the body is not read. The session lives.
    TooLarge,
}

/// Why requests are refused, as far as it is worth counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalReason {
    /// The `Origin` is not allowed.
    Origin,
    /// The server does not answer for this `Host`.
    Host,
    /// The application refused the handshake for good.
    Forbidden,
    /// A limit on connections was reached, or the server is ending; the client may come back.
    Unavailable,
    /// `EIO` names a revision of the protocol that is not served.
    ProtocolVersion,
    /// No such transport.
    Transport,
    /// The session has ended, or never was: usually clients that were away for too long.
    SessionUnknown,
    /// Not a request of the protocol: a wrong method, a transport that is not the session's, a broken WebSocket handshake.
    BadRequest,
    /// A body that is too long.
    BodyTooLarge,
    /// A body that did not come in time.
    BodyTimeout,
}

impl RefusalReason {
    /// All of them, in the order of their declaration.
    pub const ALL: [Self; 10] = [
        Self::Origin,
        Self::Host,
        Self::Forbidden,
        Self::Unavailable,
        Self::ProtocolVersion,
        Self::Transport,
        Self::SessionUnknown,
        Self::BadRequest,
        Self::BodyTooLarge,
        Self::BodyTimeout,
    ];

    /// Its name, for a label of a metric.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Host => "host",
            Self::Forbidden => "forbidden",
            Self::Unavailable => "unavailable",
            Self::ProtocolVersion => "protocol_version",
            Self::Transport => "transport",
            Self::SessionUnknown => "session_unknown",
            Self::BadRequest => "bad_request",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTimeout => "body_timeout",
        }
    }
}

impl Refused {
    /// What this counts as.
    #[must_use]
    pub const fn reason(&self) -> RefusalReason {
        let error = match self {
            Self::Coded(error, _) => error,
            Self::WebSocket(_) | Self::BadRequest | Self::BrokenBody => return RefusalReason::BadRequest,
            Self::TimedOut => return RefusalReason::BodyTimeout,
            Self::TooLarge => return RefusalReason::BodyTooLarge,
        };
        match (error.error, error.context) {
            (_, Some(ErrorContext::InvalidOrigin)) => RefusalReason::Origin,
            (_, Some(ErrorContext::InvalidHost)) => RefusalReason::Host,
            (HandshakeError::Forbidden, _) => RefusalReason::Forbidden,
            (HandshakeError::Unavailable { .. }, _) => RefusalReason::Unavailable,
            (HandshakeError::UnsupportedProtocolVersion, _) => RefusalReason::ProtocolVersion,
            (HandshakeError::TransportUnknown, _) => RefusalReason::Transport,
            (HandshakeError::SidUnknown, _) => RefusalReason::SessionUnknown,
            (HandshakeError::BadHandshakeMethod | HandshakeError::BadRequest, _) => RefusalReason::BadRequest,
        }
    }

    /// There is no such session.
    pub const UNKNOWN: Self = Self::Coded(ConnectionError { error: HandshakeError::SidUnknown, context: None }, None);

    /// The answer to the request with these headers.
    #[must_use]
    pub fn answer(self, request: &HeaderMap) -> Response<Bytes> {
        match self {
            Self::Coded(error, message) => {
                answer::refusal(error, message.as_deref(), ws::handshake::is_upgrade(request))
            }
            Self::WebSocket(error) => answer::websocket_refusal(error),
            Self::BadRequest => answer::empty(StatusCode::BAD_REQUEST),
            Self::BrokenBody => answer::closing(StatusCode::BAD_REQUEST),
            Self::TimedOut => answer::empty(StatusCode::REQUEST_TIMEOUT),
            Self::TooLarge => answer::closing(StatusCode::PAYLOAD_TOO_LARGE),
        }
    }
}

impl<E: Into<ConnectionError>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Coded(error.into(), None)
    }
}

#[cfg(test)]
mod tests {
    use http::header;

    use super::*;

    #[test]
    fn a_context_says_more_than_the_error_that_the_client_gets() {
        let origin = HandshakeError::Forbidden.within(ErrorContext::InvalidOrigin);
        let host = HandshakeError::Forbidden.within(ErrorContext::InvalidHost);
        for (refused, reason) in [
            (Refused::from(origin), "origin"),
            (host.into(), "host"),
            (HandshakeError::Forbidden.into(), "forbidden"),
            (HandshakeError::BadRequest.within(ErrorContext::TransportMismatch).into(), "bad_request"),
            (Refused::UNKNOWN, "session_unknown"),
            (Refused::TooLarge, "body_too_large"),
        ] {
            assert_eq!(refused.reason().as_str(), reason);
        }
    }

    #[test]
    fn only_unread_bytes_of_unknown_meaning_end_the_connection() {
        for (refused, status, closes) in [
            (Refused::UNKNOWN, 400, false),
            (Refused::BadRequest, 400, false),
            (Refused::BrokenBody, 400, true),
            (Refused::TimedOut, 408, true),
            (Refused::TooLarge, 413, true),
        ] {
            let name = format!("{refused:?}");
            let answer = refused.answer(&HeaderMap::new());
            let close = answer.headers().get(header::CONNECTION).is_some_and(|value| value == "close");
            assert_eq!((answer.status().as_u16(), close), (status, closes), "{name}");
        }
    }
}
