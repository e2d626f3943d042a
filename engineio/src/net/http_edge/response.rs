//! The responses of the engine, as values.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, Version, header, request::Parts};
use http_body_util::Full;

use super::super::polling::Refused;
use crate::{Config, error::HandshakeError, http::Origins, ws};

/// The value of `Sec-WebSocket-Accept`, or the answer to a request that is no WebSocket handshake.
#[expect(clippy::result_large_err, reason = "once a connection, and it goes out as it is")]
pub(super) fn check_websocket(parts: &Parts, has_body: bool) -> Result<String, Response<Full<Bytes>>> {
    // RFC 6455, 4.1: at least HTTP/1.1. A body has no place there, and its bytes would be read as frames.
    if parts.version < Version::HTTP_11 || has_body {
        return Err(refusal(HandshakeError::BadRequest));
    }
    ws::handshake::check(&parts.method, &parts.headers).map_err(|error| {
        let mut response = Response::new(Full::new(Bytes::from(error.to_string())));
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

/// Adds what lets a page of an allowed origin read the response.
pub(super) fn add_cors(config: &Config, request: &HeaderMap, response: &mut Response<Full<Bytes>>) {
    if !config.cors {
        return;
    }
    let headers = response.headers_mut();
    if config.origins == Origins::Any {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        return;
    }
    let origin = request.get(header::ORIGIN);
    if let Some(origin) = origin.filter(|_| config.origins.allow(request)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
    }
}

pub(super) fn preflight(headers: &HeaderMap) -> Response<Full<Bytes>> {
    let mut response = empty(StatusCode::NO_CONTENT);
    let answer = response.headers_mut();
    answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE"));
    if let Some(asked) = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        answer.append(header::VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    }
    response
}

pub(super) fn switching_protocols(accept: &str) -> Response<Full<Bytes>> {
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

pub(super) fn refusal(error: HandshakeError) -> Response<Full<Bytes>> {
    let mut response = with_type("application/json", Bytes::from(error.body()));
    *response.status_mut() = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    if let HandshakeError::Unavailable { retry_after } = error {
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}

/// The answer to a request that names a session, and is not served.
pub(super) fn refused(refused: Refused) -> Response<Full<Bytes>> {
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

pub(super) fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// The answer to a poll or a polling handshake (A23).
pub(super) fn text(body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = with_type("text/plain; charset=UTF-8", Bytes::from(body));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn with_type(content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
