//! Errors that refuse a request before it reaches a session.

use std::{fmt, time::Duration};

use crate::http::json;

/// A request that cannot be served, with the code and message the protocol gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The `transport` parameter is missing or names no transport.
    #[error("Transport unknown")]
    TransportUnknown,
    /// `sid` names no open session.
    #[error("Session ID unknown")]
    SidUnknown,
    /// A request without `sid` that is no GET.
    #[error("Bad handshake method")]
    BadHandshakeMethod,
    /// Transport `websocket` without an upgrade; a transport or a protocol revision other than the session's; or an
    /// application that could not make an id.
    #[error("Bad request")]
    BadRequest,
    /// The application or the origin rule refused the request.
    #[error("Forbidden")]
    Forbidden,
    /// `EIO` is not `4`, and v3 is not allowed.
    #[error("Unsupported protocol version")]
    UnsupportedProtocolVersion,
    /// A limit on connections was reached; the client may try again.
    #[error("Too many connections")]
    Unavailable {
        /// When to try again; sent as `Retry-After`, rounded up to whole seconds.
        retry_after: Duration,
    },
}

impl HandshakeError {
    /// The number in the JSON body (Engine.IO server errors 0 to 5). `Unavailable`, which Node does not have, has the
    /// code of `Forbidden`.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::TransportUnknown => 0,
            Self::SidUnknown => 1,
            Self::BadHandshakeMethod => 2,
            Self::BadRequest => 3,
            Self::Forbidden | Self::Unavailable { .. } => 4,
            Self::UnsupportedProtocolVersion => 5,
        }
    }

    /// The HTTP status of the refusal.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            Self::Unavailable { .. } => 503,
            _ => 400,
        }
    }

    /// The body of the refusal, `{"code":N,"message":"..."}`.
    #[must_use]
    pub fn body(self) -> String {
        self.body_with(None)
    }

    /// The body with the application's message instead of the protocol's.
    #[must_use]
    pub fn body_with(self, message: Option<&str>) -> String {
        let mut body = format!(r#"{{"code":{},"message":"#, self.code());
        match message {
            Some(message) => json::push_string(message, &mut body),
            None => json::push_string(&self.to_string(), &mut body),
        }
        body.push('}');
        body
    }

    /// The error together with its context, which tells apart causes that share one code.
    #[must_use]
    pub const fn within(self, context: ErrorContext) -> ConnectionError {
        ConnectionError { error: self, context: Some(context) }
    }
}

/// The cause of a refusal in more detail: for the application, never for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorContext {
    /// The `Origin` header is not allowed.
    InvalidOrigin,
    /// The server does not answer for the `Host` of the request. (Not in Node.)
    InvalidHost,
    /// The request's transport is not the session's.
    TransportMismatch,
    /// Transport `websocket` without an upgrade.
    TransportHandshakeError,
    /// The application could not make an id.
    IdGenerationError,
    /// Something in front of the engine refused the request.
    MiddlewareFailure,
    /// The request's protocol revision is not the session's.
    ProtocolMismatch,
}

impl ErrorContext {
    /// Node's name for this context.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidOrigin => "INVALID_ORIGIN",
            Self::InvalidHost => "INVALID_HOST",
            Self::TransportMismatch => "TRANSPORT_MISMATCH",
            Self::TransportHandshakeError => "TRANSPORT_HANDSHAKE_ERROR",
            Self::IdGenerationError => "ID_GENERATION_ERROR",
            Self::MiddlewareFailure => "MIDDLEWARE_FAILURE",
            Self::ProtocolMismatch => "PROTOCOL_MISMATCH",
        }
    }
}

/// A refusal, with what the application may want to know about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionError {
    /// What the client is told.
    pub error: HandshakeError,
    /// More detail for the application; `None` if the error says everything.
    pub context: Option<ErrorContext>,
}

impl From<HandshakeError> for ConnectionError {
    fn from(error: HandshakeError) -> Self {
        Self { error, context: None }
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.context {
            Some(context) => write!(f, "{} ({})", self.error, context.name()),
            None => self.error.fmt(f),
        }
    }
}

impl std::error::Error for ConnectionError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_carry_the_code_as_a_number() {
        assert_eq!(HandshakeError::TransportUnknown.body(), r#"{"code":0,"message":"Transport unknown"}"#);
        assert_eq!(HandshakeError::SidUnknown.body(), r#"{"code":1,"message":"Session ID unknown"}"#);
        assert_eq!(HandshakeError::Forbidden.status(), 403);
        let busy = HandshakeError::Unavailable { retry_after: Duration::from_secs(1) };
        assert_eq!((busy.status(), busy.code()), (503, 4));
        let own = HandshakeError::Forbidden.body_with(Some("\"no\"\n"));
        assert_eq!(own, r#"{"code":4,"message":"\"no\"\n"}"#);
    }

    #[test]
    fn a_context_has_the_reference_s_name() {
        let error = HandshakeError::BadRequest.within(ErrorContext::ProtocolMismatch);
        assert_eq!(error.to_string(), "Bad request (PROTOCOL_MISMATCH)");
    }
}
