//! What the engine's answers are made of here.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header, request::Parts};

use super::super::polling::Refused;
use crate::{
    Config,
    error::{ErrorContext, HandshakeError},
    http::answer,
    ws,
};

/// The value of `Sec-WebSocket-Accept` for a request that asks for a WebSocket.
pub(in crate::net) fn check_websocket(parts: &Parts, has_body: bool) -> Result<String, Refused> {
    // RFC 6455, 4.1: at least HTTP/1.1. A body has no place there, and its bytes would be read as frames.
    if parts.version < Version::HTTP_11 || has_body {
        return Err(HandshakeError::BadRequest.within(ErrorContext::TransportHandshakeError).into());
    }
    ws::handshake::check(&parts.method, &parts.headers).map_err(Refused::WebSocket)
}

/// Adds what every response of the engine has, whatever it says.
pub(in crate::net) fn finish(config: &Config, request: &HeaderMap, response: &mut Response<Bytes>) {
    answer::finish(response, request, config);
    let status = response.status();
    if !status.is_success() && status != StatusCode::SWITCHING_PROTOCOLS && ws::handshake::is_upgrade(request) {
        // Whoever asked for a WebSocket and did not get one has no use for the connection.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

/// An answer without a body, and the end of the connection.
pub(in crate::net) fn closing(status: StatusCode) -> Response<Bytes> {
    let mut answer = answer::empty(status);
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// The answer to a request that is not served.
pub(in crate::net) fn refused(refused: Refused, request: &HeaderMap) -> Response<Bytes> {
    match refused {
        Refused::Coded(error, message) => {
            answer::refusal(error, message.as_deref(), ws::handshake::is_upgrade(request))
        }
        Refused::WebSocket(error) => answer::websocket_refusal(error),
        Refused::BadRequest => answer::empty(StatusCode::BAD_REQUEST),
        Refused::BrokenBody => closing(StatusCode::BAD_REQUEST),
        Refused::TimedOut => answer::empty(StatusCode::REQUEST_TIMEOUT),
        // What follows of the body is not read, so no request can follow it.
        Refused::TooLarge => closing(StatusCode::PAYLOAD_TOO_LARGE),
    }
}
