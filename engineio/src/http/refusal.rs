//! [`Refused`]: why a request for the engine is refused, and the answer to it.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use super::answer;
use crate::{
    error::{ConnectionError, HandshakeError},
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

impl Refused {
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
