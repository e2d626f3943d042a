//! From a request's method, query and headers to a [`Route`], or to the [`HandshakeError`] that refuses it.
//!
//! Only decisions: the bytes of HTTP belong to the layer that owns sockets. Engine.IO protocol v4, "HTTP
//! long-polling" and "WebSocket"; the order of the checks is the reference's: transport, session id, method, upgrade,
//! application, version.

use http::{HeaderMap, HeaderValue, Method, Uri, header};

use crate::{error::HandshakeError, session::Transport, sid::Sid, ws};

/// What a request for the engine's path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// A new session on this transport. Its version is checked by [`check_version`], after the application's say.
    Open(Transport),
    /// A request that names a session; what it may do there depends on the session's state.
    Session(Sid, Action),
    /// A CORS preflight: any OPTIONS, as in the reference.
    Preflight,
}

/// What a request wants of the session it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// GET: wait for packets.
    Poll,
    /// POST: deliver packets.
    Post,
    /// A WebSocket handshake.
    Upgrade,
    /// `transport=websocket` without a handshake: a bad request whatever the session's state.
    WebSocketWithoutUpgrade,
    /// Another method: 400 without a body, the session lives.
    Other,
}

/// The query parameters the protocol defines. Of a repeated key the last one counts, as in the reference.
#[derive(Debug, Default)]
struct Query {
    transport: Option<String>,
    sid: Option<String>,
    version: Option<String>,
}

impl Query {
    fn parse(uri: &Uri) -> Self {
        let mut query = Self::default();
        for (key, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            match &*key {
                "transport" => query.transport = Some(value.into_owned()),
                "sid" => query.sid = Some(value.into_owned()),
                "EIO" => query.version = Some(value.into_owned()),
                _ => {}
            }
        }
        query
    }
}

/// Sorts a request for the engine's path; `cors` says whether preflights are answered.
///
/// # Errors
/// Codes 0 to 3 as far as they do not need the session: whether `sid` is open is the owner's to say.
pub fn route(method: &Method, uri: &Uri, headers: &HeaderMap, cors: bool) -> Result<Route, HandshakeError> {
    // Without CORS a preflight is a request like any other (gotcha 18).
    if cors && method == Method::OPTIONS {
        return Ok(Route::Preflight);
    }
    let query = Query::parse(uri);
    let transport = match query.transport.as_deref() {
        Some("polling") => Transport::Polling,
        Some("websocket") => Transport::WebSocket,
        _ => return Err(HandshakeError::TransportUnknown),
    };
    let upgrade = ws::handshake::is_upgrade(headers);
    // An empty `sid` is a new handshake, as in the reference (A8).
    if let Some(text) = query.sid.as_deref().filter(|sid| !sid.is_empty()) {
        let sid = Sid::parse(text).ok_or(HandshakeError::SidUnknown)?;
        let action = match (transport, upgrade) {
            (Transport::WebSocket, true) => Action::Upgrade,
            (Transport::WebSocket, false) => Action::WebSocketWithoutUpgrade,
            // Upgrade headers on a polling request do not make it a WebSocket handshake (A56, gotcha 15).
            (Transport::Polling, _) if method == Method::GET => Action::Poll,
            (Transport::Polling, _) if method == Method::POST => Action::Post,
            (Transport::Polling, _) => Action::Other,
        };
        return Ok(Route::Session(sid, action));
    }
    if method != Method::GET {
        return Err(HandshakeError::BadHandshakeMethod);
    }
    if transport == Transport::WebSocket && !upgrade {
        return Err(HandshakeError::BadRequest);
    }
    Ok(Route::Open(transport))
}

/// The last check of a handshake: `EIO` must be `4`.
///
/// # Errors
/// [`HandshakeError::UnsupportedProtocolVersion`].
pub fn check_version(uri: &Uri) -> Result<(), HandshakeError> {
    match Query::parse(uri).version.as_deref() {
        Some("4") => Ok(()),
        _ => Err(HandshakeError::UnsupportedProtocolVersion),
    }
}

/// The body of the handshake: the JSON after the packet type `0`, keys in the reference's order (A17).
#[must_use]
pub fn open_json(sid: &Sid, transport: Transport, config: &crate::Config) -> String {
    let upgrades = match transport {
        Transport::Polling => r#"["websocket"]"#,
        Transport::WebSocket => "[]",
    };
    format!(
        r#"{{"sid":"{sid}","upgrades":{upgrades},"pingInterval":{},"pingTimeout":{},"maxPayload":{}}}"#,
        config.ping_interval.as_millis(),
        config.ping_timeout.as_millis(),
        config.max_payload
    )
}

/// Which origins may talk to the server. Enforced on every request and upgrade, not only announced by CORS headers
/// (A15: the reference lets every origin through).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Every origin.
    Any,
    /// Requests without `Origin`, and those a rule below names.
    Listed {
        /// Exact origins, such as `https://chat.example.com`, compared without regard to case.
        origins: Vec<String>,
        /// The server's own origin: the one whose host is the request's `Host`.
        own: bool,
        /// Any origin on a loopback host.
        loopback: bool,
    },
}

impl Origins {
    /// Whether a request with these headers may go on.
    #[must_use]
    pub fn allow(&self, headers: &HeaderMap) -> bool {
        let Self::Listed { origins, own, loopback } = self else { return true };
        let mut values = headers.get_all(header::ORIGIN).iter();
        let Some(origin) = values.next() else { return true };
        let Ok(origin) = origin.to_str() else { return false };
        if values.next().is_some() {
            return false;
        }
        origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
            || (*own && is_own(origin, headers.get(header::HOST)))
            || (*loopback && is_loopback(origin))
    }
}

/// The part of an origin after `http://` or `https://`.
fn authority(origin: &str) -> Option<&str> {
    let (scheme, authority) = origin.split_once("://")?;
    let plain = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    (plain && !authority.is_empty()).then_some(authority)
}

fn is_own(origin: &str, host: Option<&HeaderValue>) -> bool {
    let host = host.and_then(|host| host.to_str().ok());
    authority(origin).zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

fn is_loopback(origin: &str) -> bool {
    let Some(Ok(authority)) = authority(origin).map(str::parse::<http::uri::Authority>) else { return false };
    if authority.as_str().contains('@') {
        return false;
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let uri = format!("/engine.io/?{query}").parse().unwrap();
        route(&method.parse().unwrap(), &uri, &headers(pairs), true)
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "the rows of a table")]
    fn requests_are_sorted_in_the_reference_order_of_checks() {
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
    fn only_version_four_passes() {
        for (query, ok) in [("EIO=4", true), ("EIO=3", false), ("EIO=", false), ("", false), ("EIO=3&EIO=4", true)] {
            assert_eq!(check_version(&format!("/?{query}").parse().unwrap()).is_ok(), ok, "{query}");
        }
    }

    #[test]
    fn the_handshake_has_the_reference_key_order() {
        let sid = Sid::new(0, 0, [0; 15]);
        assert_eq!(
            open_json(&sid, Transport::Polling, &crate::Config::default()),
            format!(
                r#"{{"sid":"{sid}","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#
            )
        );
    }

    #[test]
    fn origins_are_compared_whole() {
        let rule = Origins::Listed { origins: vec!["https://good.example".into()], own: true, loopback: false };
        let cases: &[(&[(&str, &str)], bool)] = &[
            (&[], true),
            (&[("origin", "https://good.example")], true),
            (&[("origin", "HTTPS://GOOD.example")], true),
            (&[("origin", "http://good.example")], false),
            (&[("origin", "https://good.example.evil")], false),
            (&[("origin", "https://good.example:8443")], false),
            (&[("origin", "null")], false),
            (&[("origin", "")], false),
            (&[("origin", "http://chat.test:3000"), ("host", "chat.test:3000")], true),
            (&[("origin", "http://chat.test"), ("host", "chat.test:3000")], false),
            (&[("origin", "http://localhost:5173")], false),
            (&[("origin", "https://good.example"), ("origin", "https://evil.example")], false),
        ];
        for (pairs, expected) in cases {
            let mut map = HeaderMap::new();
            for (name, value) in *pairs {
                map.append(*name, HeaderValue::from_static(value));
            }
            assert_eq!(rule.allow(&map), *expected, "{pairs:?}");
        }
        let development = Origins::Listed { origins: vec![], own: false, loopback: true };
        for (origin, expected) in [
            ("http://localhost:5173", true),
            ("http://127.0.0.1", true),
            ("http://[::1]:80", true),
            ("http://127.0.0.1.evil.example", false),
            ("http://localhost@evil.example", false),
            ("http://evil@localhost", false),
            ("file://localhost", false),
        ] {
            let map = HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))]);
            assert_eq!(development.allow(&map), expected, "{origin}");
        }
    }
}
