//! What a request asks for, and which requests are refused.
//!
//! The order of the checks is Node's: (host, which Node does not check), origin, transport, session id, method, upgrade. The layers that have the session
//! and the application then do [`check_session`], the application's own check, and [`Query::check_protocol`].

use http::{HeaderMap, Method, Uri, Version, header};

use super::{Query, Refused};
use crate::{
    Config, Protocol,
    error::{ConnectionError, ErrorContext, HandshakeError},
    payload::Form,
    session::Transport,
    sid::Sid,
    ws,
};

/// What a request for the engine's path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// A new session on this transport. [`Query::check_protocol`] checks its version, after the application's own
    /// check.
    Open(Transport),
    /// A request that names a session; the session's state decides what it may do ([`check_session`]).
    Session(Sid, Action),
    /// A CORS preflight: any OPTIONS, as in the reference. Answered by [`super::answer::preflight`].
    Preflight,
}

/// What a request wants to do with the session it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// GET: wait for packets.
    Poll,
    /// POST: deliver packets.
    Post,
    /// A WebSocket handshake.
    Upgrade,
    /// `transport=websocket` without a handshake: a bad request in any state of the session.
    WebSocketWithoutUpgrade,
    /// Another method: 400 without a body, the session lives.
    Other,
}

/// Whether a request's path is the engine's: it begins with the configured path, with or without the trailing slash as
/// [`Config::add_trailing_slash`] says.
#[must_use]
pub fn matches_path(config: &Config, path: &str) -> bool {
    let own = config.path.strip_suffix('/').unwrap_or(&config.path);
    path.strip_prefix(own).is_some_and(|rest| !config.add_trailing_slash || rest.starts_with('/'))
}

/// What follows the configured path and its slash; `None` for a path that is not below it.
#[must_use]
pub fn below_path<'a>(config: &Config, path: &'a str) -> Option<&'a str> {
    let own = config.path.strip_suffix('/').unwrap_or(&config.path);
    path.strip_prefix(own)?.strip_prefix('/')
}

/// Finds out what a request for the engine's path asks for. `Host` must be what the client sent
/// ([`Config::judged_headers`](crate::Config::judged_headers)).
///
/// # Errors
/// An origin that is not allowed, and codes 0 to 3 if they can be found without the session. Whether `sid` is open is
/// checked by the shard that owns it.
pub fn route(method: &Method, uri: &Uri, headers: &HeaderMap, config: &Config) -> Result<Route, ConnectionError> {
    route_query(&Query::parse(uri), method, headers, config)
}

/// [`route`] for a query that is decoded already.
///
/// # Errors
/// As [`route`].
pub fn route_query(
    query: &Query<'_>,
    method: &Method,
    headers: &HeaderMap,
    config: &Config,
) -> Result<Route, ConnectionError> {
    if !config.hosts.allow(headers) {
        return Err(HandshakeError::Forbidden.within(ErrorContext::InvalidHost));
    }
    if !config.origins.allow(headers) {
        return Err(HandshakeError::Forbidden.within(ErrorContext::InvalidOrigin));
    }
    // Without CORS a preflight is an ordinary request: Node answers 400 with code 2.
    if config.cors.is_some() && method == Method::OPTIONS {
        return Ok(Route::Preflight);
    }
    let transport = match query.transport.as_deref() {
        Some("polling") => Transport::Polling,
        Some("websocket") => Transport::WebSocket,
        _ => return Err(HandshakeError::TransportUnknown.into()),
    };
    // A transport that is switched off counts as unknown.
    if !config.transports.contains(&transport) {
        return Err(HandshakeError::TransportUnknown.into());
    }
    let upgrade = ws::handshake::is_upgrade(headers);
    if let Some(text) = &query.sid {
        let sid = Sid::parse_chosen(text).ok_or(HandshakeError::SidUnknown)?;
        let action = match (transport, upgrade) {
            (Transport::WebSocket, true) => Action::Upgrade,
            (Transport::WebSocket, false) => Action::WebSocketWithoutUpgrade,
            // Upgrade headers on a polling request do not make it a WebSocket handshake. (Node answers 101 and closes.)
            (Transport::Polling, _) if method == Method::GET => Action::Poll,
            (Transport::Polling, _) if method == Method::POST => Action::Post,
            (Transport::Polling, _) => Action::Other,
        };
        return Ok(Route::Session(sid, action));
    }
    if method != Method::GET {
        return Err(HandshakeError::BadHandshakeMethod.into());
    }
    if transport == Transport::WebSocket && !upgrade {
        return Err(HandshakeError::BadRequest.within(ErrorContext::TransportHandshakeError));
    }
    Ok(Route::Open(transport))
}

/// Whether a request may do `action` with an open session that is on `transport` and speaks `protocol`. `asked` is the
/// request's own protocol revision.
///
/// # Errors
/// Code 3: a transport other than the session's, without an upgrade, or another protocol revision (as in Node since
/// 6.6.11).
pub fn check_session(
    action: Action,
    asked: Protocol,
    transport: Transport,
    protocol: Protocol,
) -> Result<(), ConnectionError> {
    let fits = match action {
        Action::Upgrade => true,
        Action::WebSocketWithoutUpgrade => false,
        Action::Poll | Action::Post | Action::Other => transport == Transport::Polling,
    };
    if !fits {
        return Err(HandshakeError::BadRequest.within(ErrorContext::TransportMismatch));
    }
    if asked != protocol {
        return Err(HandshakeError::BadRequest.within(ErrorContext::ProtocolMismatch));
    }
    Ok(())
}

/// The value of `Sec-WebSocket-Accept` for a request that asks for a WebSocket.
///
/// # Errors
/// When the request is not a valid handshake by RFC 6455. `has_body` says that it announces a body.
pub fn check_websocket(
    method: &Method,
    headers: &HeaderMap,
    version: Version,
    has_body: bool,
) -> Result<String, Refused> {
    // RFC 6455, 4.1: at least HTTP/1.1. A body is not allowed, since its bytes would be read as frames.
    if version < Version::HTTP_11 || has_body {
        return Err(HandshakeError::BadRequest.within(ErrorContext::TransportHandshakeError).into());
    }
    ws::handshake::check(method, headers).map_err(Refused::WebSocket)
}

/// How to read the body of a POST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostBody {
    /// As a payload.
    Payload(Form),
    /// As a form that contains a payload: [`super::jsonp::form_data`], then [`Form::V3Text`].
    Jsonp,
}

/// How to read the body of a POST to a session that speaks `protocol`. `None` if its content type does not fit: the
/// client gets 400 without a body, and the session ends. That is v3's binary type on v4, where bodies are text.
#[must_use]
pub fn post_body(headers: &HeaderMap, query: &Query<'_>, protocol: Protocol) -> Option<PostBody> {
    let binary = headers.get(header::CONTENT_TYPE).is_some_and(|value| value == "application/octet-stream");
    match protocol {
        Protocol::V4 => (!binary).then_some(PostBody::Payload(Form::V4)),
        Protocol::V3 if query.jsonp.is_some() => Some(PostBody::Jsonp),
        Protocol::V3 if binary => Some(PostBody::Payload(Form::V3Binary)),
        Protocol::V3 => Some(PostBody::Payload(Form::V3Text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Cors, Origins};
    use http::HeaderValue;

    const WS: &[(&str, &str)] = &[
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    fn ask(method: &str, query: &str, pairs: &[(&'static str, &'static str)]) -> Result<Route, HandshakeError> {
        let config = Config { cors: Some(Cors::default()), ..Config::default() };
        ask_with(&config, method, query, pairs).map_err(|error| error.error)
    }

    fn ask_with(
        config: &Config,
        method: &str,
        query: &str,
        pairs: &[(&'static str, &'static str)],
    ) -> Result<Route, ConnectionError> {
        let uri = format!("/engine.io/?{query}").parse().unwrap();
        route(&method.parse().unwrap(), &uri, &headers(pairs), config)
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "the rows of a table")]
    fn requests_are_checked_in_the_reference_order() {
        use HandshakeError as E;
        let sid = Sid::new(0, 1, [7; 15]);
        let cases: &[(&str, String, &[(&str, &str)], Result<Route, E>)] = &[
            ("GET", "EIO=4&transport=polling".into(), &[], Ok(Route::Open(Transport::Polling))),
            ("GET", "EIO=4&transport=websocket".into(), WS, Ok(Route::Open(Transport::WebSocket))),
            ("GET", "EIO=4&transport=polling".into(), WS, Ok(Route::Open(Transport::Polling))),
            ("GET", "EIO=4&transport=websocket".into(), &[], Err(E::BadRequest)),
            ("GET", "EIO=4".into(), &[], Err(E::TransportUnknown)),
            ("POST", "EIO=4&transport=abc&sid=x".into(), &[], Err(E::TransportUnknown)),
            ("GET", "EIO=4&transport=__proto__".into(), &[], Err(E::TransportUnknown)),
            ("POST", "EIO=4&transport=polling".into(), &[], Err(E::BadHandshakeMethod)),
            ("OPTIONS", "EIO=4&transport=polling".into(), &[], Ok(Route::Preflight)),
            ("GET", "EIO=4&transport=polling&sid=zzz".into(), &[], Err(E::SidUnknown)),
            ("PUT", "EIO=4&transport=polling&sid=zzz".into(), &[], Err(E::SidUnknown)),
            ("GET", "EIO=4&transport=polling&sid=".into(), &[], Ok(Route::Open(Transport::Polling))),
            ("GET", "transport=websocket&transport=poll%69ng".into(), &[], Ok(Route::Open(Transport::Polling))),
            ("GET", format!("transport=polling&sid={sid}"), &[], Ok(Route::Session(sid, Action::Poll))),
            ("POST", format!("transport=polling&sid={sid}"), &[], Ok(Route::Session(sid, Action::Post))),
            ("PUT", format!("transport=polling&sid={sid}"), &[], Ok(Route::Session(sid, Action::Other))),
            ("GET", format!("transport=websocket&sid={sid}"), WS, Ok(Route::Session(sid, Action::Upgrade))),
            (
                "GET",
                format!("transport=websocket&sid={sid}"),
                &[],
                Ok(Route::Session(sid, Action::WebSocketWithoutUpgrade)),
            ),
            ("OPTIONS", String::new(), &[("access-control-request-method", "POST")], Ok(Route::Preflight)),
        ];
        for (method, query, pairs, expected) in cases {
            assert_eq!(ask(method, query, pairs), *expected, "{method} {query}");
        }
    }

    #[test]
    fn without_cors_a_preflight_is_an_ordinary_request() {
        let refused = ask_with(&Config::default(), "OPTIONS", "EIO=4&transport=polling", &[]);
        assert_eq!(refused, Err(HandshakeError::BadHandshakeMethod.into()));
    }

    #[test]
    fn a_transport_that_is_switched_off_is_unknown() {
        let mut config = Config { transports: vec![Transport::WebSocket], ..Config::default() };
        let unknown = Err(HandshakeError::TransportUnknown.into());
        assert_eq!(ask_with(&config, "GET", "EIO=4&transport=polling", &[]), unknown);
        assert_eq!(ask_with(&config, "GET", "EIO=4&transport=websocket", WS), Ok(Route::Open(Transport::WebSocket)));
        config.transports = vec![Transport::Polling];
        assert_eq!(ask_with(&config, "GET", "EIO=4&transport=websocket&sid=zzz", WS), unknown);
    }

    #[test]
    fn an_origin_that_is_not_allowed_is_refused_before_any_other_check() {
        let origins = Origins::Listed { origins: vec!["https://good.example".into()], own: false, loopback: false };
        let config = Config { cors: Some(Cors::default()), origins, ..Config::default() };
        let evil = ("origin", "https://evil.example");
        for (method, query) in [("GET", "transport=x"), ("OPTIONS", ""), ("POST", "transport=polling&sid=zzz")] {
            let refused = ask_with(&config, method, query, &[evil]).unwrap_err();
            assert_eq!(refused, HandshakeError::Forbidden.within(ErrorContext::InvalidOrigin));
        }
        let websocket: Vec<_> = WS.iter().copied().chain([evil]).collect();
        assert!(ask_with(&config, "GET", "EIO=4&transport=websocket", &websocket).is_err());
    }

    #[test]
    fn a_sid_serves_its_own_transport_and_revision_only() {
        let (polling, websocket) = (Transport::Polling, Transport::WebSocket);
        let (v3, v4) = (Protocol::V3, Protocol::V4);
        let mismatch = |context| Err(HandshakeError::BadRequest.within(context));
        let (transport, protocol) = (ErrorContext::TransportMismatch, ErrorContext::ProtocolMismatch);
        for (action, asked, on, speaks, expected) in [
            (Action::Poll, v4, polling, v4, Ok(())),
            (Action::Post, v3, polling, v3, Ok(())),
            (Action::Upgrade, v4, polling, v4, Ok(())),
            (Action::Upgrade, v4, websocket, v4, Ok(())),
            (Action::Poll, v4, websocket, v4, mismatch(transport)),
            (Action::Other, v3, websocket, v4, mismatch(transport)),
            (Action::WebSocketWithoutUpgrade, v4, polling, v4, mismatch(transport)),
            (Action::Poll, v3, polling, v4, mismatch(protocol)),
            (Action::Post, v4, polling, v3, mismatch(protocol)),
            (Action::Upgrade, v3, polling, v4, mismatch(protocol)),
            (Action::Other, v4, polling, v3, mismatch(protocol)),
        ] {
            assert_eq!(check_session(action, asked, on, speaks), expected, "{action:?} {asked:?} {on:?} {speaks:?}");
        }
    }

    #[test]
    fn the_path_is_a_prefix_whose_slash_counts_unless_configured_otherwise() {
        let mut config = Config::default();
        for path in ["/engine.io/", "/engine.io"] {
            config.path = path.to_owned();
            config.add_trailing_slash = true;
            for (path, expected) in [
                ("/engine.io/", true),
                ("/engine.io/default/", true),
                ("/engine.io", false),
                ("/engine.iox/", false),
                ("/", false),
                ("/x/engine.io/", false),
            ] {
                assert_eq!(matches_path(&config, path), expected, "{path}");
            }
            config.add_trailing_slash = false;
            for (path, expected) in [("/engine.io/", true), ("/engine.io", true), ("/engine", false), ("/", false)] {
                assert_eq!(matches_path(&config, path), expected, "{path}");
            }
        }
    }

    #[test]
    fn the_body_of_a_post_is_read_by_revision_and_type() {
        let uri = |text: &str| format!("/?{text}").parse().unwrap();
        let binary: &[(&str, &str)] = &[("content-type", "application/octet-stream")];
        let text: &[(&str, &str)] = &[("content-type", "text/plain;charset=UTF-8")];
        for (pairs, asked, protocol, expected) in [
            (text, "", Protocol::V4, Some(PostBody::Payload(Form::V4))),
            (&[], "j=1", Protocol::V4, Some(PostBody::Payload(Form::V4))),
            (binary, "", Protocol::V4, None),
            (text, "", Protocol::V3, Some(PostBody::Payload(Form::V3Text))),
            (binary, "", Protocol::V3, Some(PostBody::Payload(Form::V3Binary))),
            (text, "j=1", Protocol::V3, Some(PostBody::Jsonp)),
        ] {
            assert_eq!(
                post_body(&headers(pairs), &Query::parse(&uri(asked)), protocol),
                expected,
                "{pairs:?} {asked} {protocol:?}"
            );
        }
    }
}
