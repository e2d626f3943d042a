//! Every answer of the engine: status, headers, body. The layer that owns the socket sends them unchanged.
//!
//! All answers have some headers in common, CORS and the application's own. [`finish`] and then the hooks of
//! [`crate::hooks`] add them.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::{compression, jsonp};
use crate::{
    Config,
    error::{ConnectionError, ErrorContext, HandshakeError},
    ws,
};

/// The body of the answer to a poll, and what decides its form.
#[derive(Debug)]
pub struct Poll<'a> {
    /// The payload.
    pub body: Vec<u8>,
    /// It has v3's binary form.
    pub binary: bool,
    /// Some packet in it may be compressed ([`crate::SharedFrame::may_compress`]).
    pub compress: bool,
    /// The answer is a script that calls the function with this number ([`super::Query::jsonp_for`]).
    pub jsonp: Option<&'a str>,
}

impl Poll<'_> {
    /// The answer to a GET, including a handshake.
    #[must_use]
    pub fn answer(self, request: &HeaderMap, config: &Config) -> Response<Bytes> {
        let Self { mut body, binary, compress, jsonp } = self;
        if let Some(number) = jsonp {
            body = jsonp::script(number, &String::from_utf8_lossy(&body)).into_bytes();
        }
        let mut content_encoding = None;
        let options = config.http_compression.as_ref().filter(|_| compress);
        if let Some(encoding) = compression::choose(options, request, body.len())
            && let Some(compressed) = compression::compress(encoding, &body, options.map_or(0, |options| options.level))
        {
            content_encoding = Some(compressed.content_encoding);
            body = compressed.bytes;
        }
        let content_type = if binary { "application/octet-stream" } else { "text/plain; charset=UTF-8" };
        let mut answer = with_type(StatusCode::OK, content_type, body);
        if let Some(encoding) = content_encoding {
            answer.headers_mut().insert(header::CONTENT_ENCODING, encoding);
        }
        add_polling_headers(request, answer.headers_mut());
        answer
    }
}

/// The answer to a polling handshake: the answer to a poll, with the cookie.
///
/// An invalid cookie is left out: [`super::Cookie::set_cookie`] reported it when the configuration was made.
#[must_use]
pub fn handshake(poll: Poll<'_>, sid: &str, request: &HeaderMap, config: &Config) -> Response<Bytes> {
    let mut answer = poll.answer(request, config);
    if let Some(Ok(cookie)) = config.cookie.as_ref().map(|cookie| cookie.set_cookie(sid)) {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
    answer
}

/// The answer to a POST whose packets were accepted.
#[must_use]
pub fn posted(request: &HeaderMap) -> Response<Bytes> {
    // Not text/plain, because some browsers offer that as a download.
    let mut answer = with_type(StatusCode::OK, "text/html", Bytes::from_static(b"ok"));
    add_polling_headers(request, answer.headers_mut());
    answer
}

/// Adds the headers of every answer of an open polling session.
fn add_polling_headers(request: &HeaderMap, answer: &mut HeaderMap) {
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Old browsers mistake some payloads for attacks; Node tells them not to.
    let agent = request.get(header::USER_AGENT).map_or(&[][..], HeaderValue::as_bytes);
    if is_old_browser(agent) {
        answer.insert(HeaderName::from_static("x-xss-protection"), HeaderValue::from_static("0"));
    }
}

/// Whether a user agent matches Node's pattern: `;MSIE` or `Trident/` anywhere. It looks at each byte only once,
/// because every poll from a browser calls it.
pub(super) fn is_old_browser(agent: &[u8]) -> bool {
    agent.iter().enumerate().any(|(at, byte)| match byte {
        b';' => agent.get(at..).is_some_and(|rest| rest.starts_with(b";MSIE")),
        b'T' => agent.get(at..).is_some_and(|rest| rest.starts_with(b"Trident/")),
        _ => false,
    })
}

/// The answer to a handshake that opens a WebSocket. `accept` and `extensions` come from
/// [`crate::ws::handshake::check`] and [`crate::ws::extensions::negotiate`].
#[must_use]
pub fn switching_protocols(accept: &str, extensions: Option<HeaderValue>, request: &HeaderMap) -> Response<Bytes> {
    let mut answer = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if let Some(extensions) = extensions {
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, extensions);
    }
    if let Some(subprotocol) = ws::handshake::subprotocol(request) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    answer
}

/// The answer to a request for a WebSocket whose handshake is invalid.
#[must_use]
pub fn websocket_refusal(error: ws::handshake::HandshakeError) -> Response<Bytes> {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut answer = with_type(status, "text/plain", error.to_string());
    let headers = answer.headers_mut();
    match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
        }
        // RFC 6455, 4.4: name the supported version.
        StatusCode::UPGRADE_REQUIRED => {
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static(ws::handshake::VERSION));
        }
        _ => {}
    }
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// The answer to a refused request. `message` is the application's, if it gave one. `upgrade` says that the request
/// asked to become a WebSocket ([`crate::ws::handshake::is_upgrade`]).
///
/// As from Node, a request for a WebSocket gets only the message, as text, with status 400, and its connection is
/// closed. Only refusals that Node does not have keep their own status (403 for an origin or a host, 503).
#[must_use]
pub fn refusal(error: ConnectionError, message: Option<&str>, upgrade: bool) -> Response<Bytes> {
    let ConnectionError { error, context } = error;
    let mut status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut answer = if upgrade {
        let ours = matches!(context, Some(ErrorContext::InvalidOrigin | ErrorContext::InvalidHost));
        if error == HandshakeError::Forbidden && !ours {
            status = StatusCode::BAD_REQUEST;
        }
        let mut answer = with_type(status, "text/html", message.map_or_else(|| error.to_string(), str::to_owned));
        // The client asked for a WebSocket and did not get one, so it cannot use the connection.
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        answer
    } else {
        with_type(status, "application/json", error.body_with(message))
    };
    if let HandshakeError::Unavailable { retry_after } = error {
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    answer
}

/// The answer to a preflight. [`finish`] adds the headers of every answer.
#[must_use]
pub fn preflight(request: &HeaderMap, config: &Config) -> Response<Bytes> {
    let mut answer = empty(config.cors.as_ref().map_or(StatusCode::NO_CONTENT, |cors| cors.options_success_status));
    if let Some(cors) = &config.cors {
        cors.apply_preflight(request, answer.headers_mut());
    }
    answer
}

/// An answer without a body: 400 for a request that does not fit its session, 408, 413.
#[must_use]
pub fn empty(status: StatusCode) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = status;
    if status == StatusCode::REQUEST_TIMEOUT {
        // RFC 9110, 15.5.9: the server has decided to close the connection.
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// An answer without a body that closes the connection.
#[must_use]
pub fn closing(status: StatusCode) -> Response<Bytes> {
    let mut answer = empty(status);
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Adds the headers that every answer has: CORS, and `Connection: close` if the client asked for a WebSocket and did
/// not get one.
pub fn finish<B>(answer: &mut Response<B>, request: &HeaderMap, config: &Config) {
    if let Some(cors) = &config.cors {
        cors.apply(request, &config.origins, answer.headers_mut());
    }
    let status = answer.status();
    if !status.is_success() && status != StatusCode::SWITCHING_PROTOCOLS && ws::handshake::is_upgrade(request) {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

fn with_type(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Cookie, Cors};
    use std::time::Duration;

    fn poll(body: &[u8]) -> Poll<'static> {
        Poll { body: body.to_vec(), binary: false, compress: true, jsonp: None }
    }

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_poll_s_answer_has_its_type_and_is_not_cached() {
        let config = Config::default();
        let answer = poll(b"4a").answer(&HeaderMap::new(), &config);
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (200, &b"4a"[..]));
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/plain; charset=UTF-8");
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
        assert_eq!(answer.headers().len(), 2);
        let answer = Poll { binary: true, ..poll(b"\x01") }.answer(&HeaderMap::new(), &config);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/octet-stream");
        let answer = Poll { jsonp: Some("3"), ..poll("2:4€".as_bytes()) }.answer(&HeaderMap::new(), &config);
        assert_eq!(&answer.body()[..], "___eio[3](\"2:4€\");".as_bytes());
        assert_eq!(&posted(&HeaderMap::new()).body()[..], b"ok");
        assert_eq!(posted(&HeaderMap::new()).headers()[header::CONTENT_TYPE], "text/html");
    }

    #[test]
    fn old_browsers_are_told_not_to_filter_scripts() {
        for (agent, told) in [
            ("Mozilla/4.0 (compatible;MSIE 8.0; Windows NT 6.0)", true),
            ("Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko", true),
            ("Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0", false),
        ] {
            let request = headers(&[(header::USER_AGENT, agent)]);
            assert_eq!(posted(&request).headers().contains_key("x-xss-protection"), told, "{agent}");
            let answer = poll(b"6").answer(&request, &Config::default());
            assert_eq!(answer.headers().contains_key("x-xss-protection"), told, "{agent}");
        }
    }

    #[test]
    fn a_long_poll_body_is_compressed_if_the_client_and_its_packets_allow_it() {
        let request = headers(&[(header::ACCEPT_ENCODING, "gzip, deflate")]);
        let body = vec![b'4'; 2000];
        let mut config = Config::default();
        let encoding = |poll: Poll<'_>, request: &HeaderMap, config: &Config| {
            let answer = poll.answer(request, config);
            assert_eq!(answer.headers().contains_key(header::CONTENT_ENCODING), answer.body().len() < 1000);
            answer.headers().contains_key(header::CONTENT_ENCODING)
        };
        assert!(encoding(poll(&body), &request, &config));
        assert!(!encoding(poll(&body), &HeaderMap::new(), &config));
        assert!(!encoding(Poll { compress: false, ..poll(&body) }, &request, &config));
        config.http_compression = None;
        assert!(!encoding(poll(&body), &request, &config));
    }

    #[test]
    fn only_a_polling_handshake_sets_the_cookie() {
        let mut config = Config::default();
        assert!(!handshake(poll(b"0{}"), "x", &HeaderMap::new(), &config).headers().contains_key(header::SET_COOKIE));
        config.cookie = Some(Cookie::default());
        let answer = handshake(poll(b"0{}"), "sid", &HeaderMap::new(), &config);
        assert_eq!(answer.headers()[header::SET_COOKIE], "io=sid; Path=/; HttpOnly; SameSite=Lax");
        assert!(!poll(b"6").answer(&HeaderMap::new(), &config).headers().contains_key(header::SET_COOKIE));
        assert!(!switching_protocols("x", None, &HeaderMap::new()).headers().contains_key(header::SET_COOKIE));
    }

    #[test]
    fn refusals_have_their_form() {
        use HandshakeError as E;
        let origin = E::Forbidden.within(ErrorContext::InvalidOrigin);
        let busy = ConnectionError::from(E::Unavailable { retry_after: Duration::from_millis(1500) });
        let table: &[(ConnectionError, Option<&str>, bool, u16, &str)] = &[
            (E::TransportUnknown.into(), None, false, 400, r#"{"code":0,"message":"Transport unknown"}"#),
            (E::SidUnknown.into(), None, false, 400, r#"{"code":1,"message":"Session ID unknown"}"#),
            (E::SidUnknown.into(), None, true, 400, "Session ID unknown"),
            (E::Forbidden.into(), None, false, 403, r#"{"code":4,"message":"Forbidden"}"#),
            (E::Forbidden.into(), Some("no \"you\""), false, 403, r#"{"code":4,"message":"no \"you\""}"#),
            (E::Forbidden.into(), Some("no"), true, 400, "no"),
            (origin, None, true, 403, "Forbidden"),
            (busy, None, true, 503, "Too many connections"),
        ];
        for (error, message, upgrade, status, body) in table {
            let answer = refusal(*error, *message, *upgrade);
            assert_eq!((answer.status().as_u16(), &answer.body()[..]), (*status, body.as_bytes()), "{error}");
            let content_type = if *upgrade { "text/html" } else { "application/json" };
            assert_eq!(answer.headers()[header::CONTENT_TYPE], content_type);
            assert_eq!(answer.headers().contains_key(header::CONNECTION), *upgrade);
        }
        assert_eq!(refusal(busy, None, false).headers()[header::RETRY_AFTER], "2");
    }

    #[test]
    fn a_preflight_and_every_answer_have_cors_headers_if_configured() {
        let request = headers(&[(header::ACCESS_CONTROL_REQUEST_HEADERS, "x-a")]);
        let mut config = Config::default();
        let mut answer = empty(StatusCode::BAD_REQUEST);
        finish(&mut answer, &request, &config);
        assert!(answer.headers().is_empty());
        config.cors = Some(Cors::default());
        finish(&mut answer, &request, &config);
        assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        let mut answer = preflight(&request, &config);
        finish(&mut answer, &request, &config);
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
        assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_HEADERS], "x-a");
        assert_eq!(answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    }

    #[test]
    fn a_101_names_what_was_agreed() {
        let answer =
            switching_protocols("key", Some(HeaderValue::from_static("permessage-deflate")), &HeaderMap::new());
        assert_eq!(answer.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(answer.headers()[header::SEC_WEBSOCKET_ACCEPT], "key");
        assert_eq!(answer.headers()[header::SEC_WEBSOCKET_EXTENSIONS], "permessage-deflate");
        assert_eq!(answer.headers()[header::CONNECTION], "Upgrade");
        let refused = websocket_refusal(ws::handshake::HandshakeError::Version);
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()[header::SEC_WEBSOCKET_VERSION]),
            (426, &HeaderValue::from_static("13"))
        );
    }
}
