//! The responses of the engine, as values, and their bytes where hyper does not write them.

use ::http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header, request::Parts};
use bytes::Bytes;

use super::super::polling::Refused;
use crate::{Config, error::HandshakeError, http, ws};

/// The value of `Sec-WebSocket-Accept`, or the answer to a request that is no WebSocket handshake.
#[expect(clippy::result_large_err, reason = "once a connection, and it goes out as it is")]
pub(in crate::net) fn check_websocket(parts: &Parts, has_body: bool) -> Result<String, Response<Bytes>> {
    // RFC 6455, 4.1: at least HTTP/1.1. A body has no place there, and its bytes would be read as frames.
    if parts.version < Version::HTTP_11 || has_body {
        return Err(refusal(HandshakeError::BadRequest));
    }
    ws::handshake::check(&parts.method, &parts.headers).map_err(|error| {
        let mut response = Response::new(Bytes::from(error.to_string()));
        *response.status_mut() = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
        if error.status() == 405 {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        }
        if error.status() == 426 {
            // RFC 6455, 4.4: tell which version is spoken.
            response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    })
}

/// Adds what every response of the engine has, whatever it says.
pub(in crate::net) fn finish(config: &Config, request: &HeaderMap, response: &mut Response<Bytes>) {
    http::answer::finish(response, request, config);
    let status = response.status();
    if !status.is_success() && status != StatusCode::SWITCHING_PROTOCOLS && ws::handshake::is_upgrade(request) {
        // Whoever asked for a WebSocket and did not get one has no use for the connection.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

pub(in crate::net) fn switching_protocols(accept: &str) -> Response<Bytes> {
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

pub(in crate::net) fn refusal(error: HandshakeError) -> Response<Bytes> {
    let mut response = with_type("application/json", Bytes::from(error.body()));
    *response.status_mut() = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    if let HandshakeError::Unavailable { retry_after } = error {
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}

/// The answer to a request that names a session, and is not served.
pub(in crate::net) fn refused(refused: Refused) -> Response<Bytes> {
    let status = match refused {
        Refused::Unknown => return refusal(HandshakeError::SidUnknown),
        Refused::NotPolling => return refusal(HandshakeError::BadRequest),
        Refused::BadRequest => StatusCode::BAD_REQUEST,
        Refused::TimedOut => StatusCode::REQUEST_TIMEOUT,
        Refused::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
    };
    let mut response = empty(status);
    if status == StatusCode::REQUEST_TIMEOUT {
        // RFC 9110, 15.5.9: the server has decided to close the connection.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

pub(in crate::net) fn empty(status: StatusCode) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = status;
    response
}

/// The answer to a poll or a polling handshake (A23).
pub(in crate::net) fn text(body: Vec<u8>) -> Response<Bytes> {
    let mut response = with_type("text/plain; charset=UTF-8", Bytes::from(body));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(in crate::net) fn with_type(content_type: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The bytes of a response, as hyper writes them.
pub(in crate::net) fn encode(response: &Response<Bytes>, date: &str) -> Vec<u8> {
    let (status, body) = (response.status(), response.body());
    let mut bytes = Vec::with_capacity(512);
    let mut push = |parts: &[&[u8]]| parts.iter().for_each(|part| bytes.extend_from_slice(part));
    let reason = status.canonical_reason().unwrap_or("<none>");
    push(&[b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"]);
    for (name, value) in response.headers() {
        push(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    // RFC 9110, 8.6: none in a 1xx.
    if !status.is_informational() {
        push(&[b"content-length: ", body.len().to_string().as_bytes(), b"\r\n"]);
    }
    push(&[b"date: ", date.as_bytes(), b"\r\n\r\n", body]);
    bytes
}
