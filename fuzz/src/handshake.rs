//! `engineio::http` and `engineio::ws::handshake`: the reading of a request head.
//!
//! The bytes are lines: the method, a space and the target; then one header in each line, `name: value`. What cannot be
//! a request head is refused by the HTTP library before our code sees it.

use base64::{Engine, engine::general_purpose::URL_SAFE};
use engineio::{
    Config, Sid,
    error::{ConnectionError, HandshakeError},
    http::{self as engine, Action, Cors, Origins, Route},
    session::Transport,
    ws::handshake as websocket,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::negotiation;

/// Runs the target. See the module.
pub fn handshake(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut words = lines.next().unwrap_or_default().splitn(2, |byte| *byte == b' ');
    let Ok(method) = Method::from_bytes(words.next().unwrap_or_default()) else { return };
    let Ok(uri) = Uri::try_from(words.next().unwrap_or_default()) else { return };
    let mut headers = HeaderMap::new();
    for line in lines.take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = value[1..].trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }

    routes(&method, &uri, &headers);
    upgrades(&method, &headers);
    origins(&headers);
    negotiation::query(&uri, &headers);
    negotiation::extensions(&headers);
    negotiation::codings(&uri, &headers);
    negotiation::cors(&headers);
}

fn routes(method: &Method, uri: &Uri, headers: &HeaderMap) {
    let mut config = Config::default();
    let route = engine::route(method, uri, headers, &config);
    config.cors = Some(Cors::default());
    let with_cors = engine::route(method, uri, headers, &config);
    assert!(with_cors == route || (with_cors == Ok(Route::Preflight) && method == Method::OPTIONS));
    let upgrade = websocket::is_upgrade(headers);
    match route {
        Ok(Route::Open(transport)) => {
            assert_eq!(method, Method::GET);
            assert!(transport == Transport::Polling || upgrade);
            let opened = engine::open_json(&Sid::new(1, 2, [3; 15]), transport, &Config::default());
            assert!(serde_json::from_str::<serde_json::Value>(&opened).is_ok_and(|value| value.is_object()));
        }
        Ok(Route::Session(sid, action)) => {
            let text = sid.to_string();
            assert_eq!(Sid::parse(&text), Some(sid), "a sid reads back");
            // A second reading of the location in it.
            let bytes = URL_SAFE.decode(&text).expect("base64 without padding");
            assert_eq!([bytes[0], bytes[1]], sid.shard().to_be_bytes());
            assert_eq!(bytes[2..6], sid.index().to_be_bytes());
            assert!(sid.proves(bytes[6..].try_into().expect("15 bytes")));
            match action {
                Action::Poll => assert_eq!(method, Method::GET),
                Action::Post => assert_eq!(method, Method::POST),
                Action::Upgrade => assert!(upgrade),
                Action::WebSocketWithoutUpgrade => assert!(!upgrade),
                Action::Other => assert!(method != Method::GET && method != Method::POST),
            }
        }
        Ok(Route::Preflight) => panic!("no preflight without CORS"),
        Err(ConnectionError { error, .. }) => {
            assert!(error.code() <= 3, "{error}");
            assert!(error != HandshakeError::BadHandshakeMethod || method != Method::GET);
            assert!(serde_json::from_str::<serde_json::Value>(&error.body()).is_ok());
        }
    }
}

fn upgrades(method: &Method, headers: &HeaderMap) {
    match websocket::check(method, headers) {
        Ok(accept) => {
            assert!(method == Method::GET && websocket::is_upgrade(headers));
            let key = headers[header::SEC_WEBSOCKET_KEY].as_bytes().trim_ascii();
            assert_eq!(accept, derive_accept_key(key));
            assert!(HeaderValue::from_str(&accept).is_ok());
            assert_eq!(headers.get_all(header::SEC_WEBSOCKET_KEY).iter().count(), 1);
            assert_eq!(headers[header::SEC_WEBSOCKET_VERSION].as_bytes().trim_ascii(), b"13");
        }
        Err(error) => {
            assert!([400, 405, 426].contains(&error.status()));
            assert_eq!(error == websocket::HandshakeError::Method, method != Method::GET);
        }
    }
}

fn origins(headers: &HeaderMap) {
    assert!(Origins::Any.allow(headers));
    let named: Vec<&[u8]> = headers.get_all(header::ORIGIN).iter().map(HeaderValue::as_bytes).collect();
    let rule = |own, loopback| Origins::Listed { origins: vec!["https://good.example".into()], own, loopback };
    let allowed = [rule(false, false), rule(true, false), rule(false, true)].map(|rule| rule.allow(headers));
    match *named {
        [] => assert_eq!(allowed, [true; 3], "a client that is not a browser sends no origin"),
        [origin] => {
            assert_eq!(allowed[0], origin.eq_ignore_ascii_case(b"https://good.example"));
            let place = origin.to_ascii_lowercase();
            let place = place.strip_prefix(b"http://").or_else(|| place.strip_prefix(b"https://"));
            // Apart from their ports, which may differ in some ways, the origin's host is the request's.
            let name = |host: &[u8]| {
                let end = host.iter().rposition(|byte| *byte == b':').filter(|_| !host.ends_with(b"]"));
                host[..end.unwrap_or(host.len())].to_vec()
            };
            let host = headers.get(header::HOST).map(|host| name(&host.as_bytes().to_ascii_lowercase()));
            let own = place.map(name) == host;
            let told = headers.get("sec-fetch-site").is_some_and(|value| value == "same-origin");
            assert!(!allowed[1] || allowed[0] || own || told);
            let local = place.is_some_and(|place| {
                [&b"localhost"[..], b"127.", b"[", b"::1"].iter().any(|start| place.starts_with(start))
                    && !place.contains(&b'@')
            });
            assert!(!allowed[2] || allowed[0] || local, "{}", origin.escape_ascii());
        }
        _ => assert_eq!(allowed, [false; 3], "only one origin is allowed"),
    }
}
