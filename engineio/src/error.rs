//! Refusals of a request before it reaches a session.

use std::time::Duration;

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
    /// Transport `websocket` without an upgrade, or a transport that is not the session's.
    #[error("Bad request")]
    BadRequest,
    /// The application or the origin rule refused the request.
    #[error("Forbidden")]
    Forbidden,
    /// `EIO` is not `4`.
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
    /// The number in the JSON body (Engine.IO server errors 0 to 5); `Unavailable`, which the reference does not have,
    /// counts as `Forbidden`.
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
        format!(r#"{{"code":{},"message":"{self}"}}"#, self.code())
    }
}

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
    }
}
