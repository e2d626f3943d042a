//! [`Refused`]: why a request for the engine is not served, and how it is answered.

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
    /// With a code of the protocol, and the application's own message if it gave one.
    Coded(ConnectionError, Option<String>),
    /// It asks for a WebSocket, and not as RFC 6455 says.
    WebSocket(ws::handshake::HandshakeError),
    /// 400 without a body.
    BadRequest,
    /// 400 without a body, and the end of the connection: nobody knows where the request's body ends.
    BrokenBody,
    /// 408, and the end of the connection: the request's body did not come within `body_timeout`.
    TimedOut,
    /// 413, and the end of the connection: nobody reads the rest of the request's body. The session lives.
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
    fn only_what_leaves_bytes_of_unknown_meaning_ends_the_connection() {
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
