//! What a request head says besides its route: query, extensions, content codings, CORS. Part of the target
//! `handshake`.

use engineio::{
    Config, Protocol,
    http::{
        self as engine, Cors, CorsOrigins, HttpCompression, Origins,
        answer::{self, Poll},
        compression::{self, Encoding},
    },
    ws::{
        deflate::{MIN_WINDOW_BITS, PerMessageDeflate},
        extensions,
    },
};
use flate2::read::{GzDecoder, ZlibDecoder};
use http::{HeaderMap, HeaderName, Uri, header};
use std::io::Read;

/// Compares the parameters with a second parser of the query.
pub(crate) fn query(uri: &Uri, headers: &HeaderMap) {
    let pairs: Vec<(String, String)> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (decoded(key), decoded(value)))
        .collect();
    let last = |name: &str| pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let query = engine::Query::parse(uri);
    assert_eq!(query.transport.as_deref(), last("transport"));
    assert_eq!(query.sid.as_deref(), last("sid").filter(|sid| !sid.is_empty()));
    assert_eq!(query.version.as_deref(), last("EIO"));
    assert_eq!(query.base64, last("b64").is_some_and(|value| !value.is_empty()));
    let digits = last("j").map(|value| value.chars().filter(char::is_ascii_digit).collect::<String>());
    assert_eq!(query.jsonp, digits);
    let v4 = last("EIO") == Some("4");
    assert_eq!(query.protocol() == Protocol::V4, v4);
    let mut config = Config::default();
    assert_eq!(query.check_protocol(&config).is_ok(), v4);
    config.allow_eio3 = true;
    assert_eq!(query.check_protocol(&config), Ok(query.protocol()));
    assert!(engine::post_body(headers, &query, Protocol::V3).is_some(), "v3 accepts every content type");
}

fn decoded(text: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let [byte, after @ ..] = rest {
        let escaped = after.get(..2).filter(|digits| *byte == b'%' && digits.iter().all(u8::is_ascii_hexdigit));
        let escaped = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        out.push(escaped.unwrap_or(if *byte == b'+' { b' ' } else { *byte }));
        rest = &rest[if escaped.is_some() { 3 } else { 1 }..];
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Each item with its parameters: a name, and a value without quotes.
fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<Vec<(String, Option<String>)>> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_ascii().to_owned();
    let pair = |part: &'a [u8]| match part.iter().position(|byte| *byte == b'=') {
        Some(at) => (text(&part[..at]), Some(text(&part[at + 1..]).replace(['"', '\\'], ""))),
        None => (text(part), None),
    };
    headers
        .get_all(name)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|item| item.split(|byte| *byte == b';').map(pair).collect())
        .collect()
}

/// Checks that an answer names only what one offer allows, and that the connection does what the answer says.
pub(crate) fn extensions(headers: &HeaderMap) {
    let offers = list(headers, &header::SEC_WEBSOCKET_EXTENSIONS);
    let ours = |offer: &&Vec<(String, Option<String>)>| offer[0].0.eq_ignore_ascii_case("permessage-deflate");
    for own_bits in [9, 12, 15] {
        let mut config = PerMessageDeflate::default();
        config.server_max_window_bits = own_bits;
        let Some(agreed) = extensions::negotiate(headers, &config) else {
            let plain = offers.len() == 1 && offers[0].len() == 1 && ours(&&offers[0]);
            assert!(!plain || offers[0][0].1.is_some(), "an offer without conditions is accepted");
            continue;
        };
        let answer = HeaderMap::from_iter([(header::SEC_WEBSOCKET_EXTENSIONS, agreed.header)]);
        let answer = list(&answer, &header::SEC_WEBSOCKET_EXTENSIONS);
        assert_eq!((answer.len(), answer[0][0].0.as_str()), (1, "permessage-deflate"));
        let flag = |name: &str| answer[0].contains(&(name.to_owned(), None));
        assert!(flag("server_no_context_takeover") && flag("client_no_context_takeover"));
        let bits = answer[0].iter().find(|(name, _)| name == "server_max_window_bits");
        let bits = bits.map_or(15, |(_, value)| value.as_ref().and_then(|value| value.parse().ok()).expect("a number"));
        assert_eq!(answer[0].len(), 3 + usize::from(answer[0].len() > 3), "nothing else");
        assert_eq!(agreed.deflate.window_bits, bits);
        assert!((MIN_WINDOW_BITS..=own_bits).contains(&bits));
        // One offer must allow that window.
        let allows = |offer: &Vec<(String, Option<String>)>| {
            offer.iter().filter(|(name, _)| name == "server_max_window_bits").all(|(_, value)| {
                value.as_ref().and_then(|value| value.parse::<u8>().ok()).is_some_and(|offered| offered >= bits)
            })
        };
        assert!(offers.iter().filter(ours).any(allows), "{offers:?}, answered {answer:?}");
    }
}

/// Checks that a chosen content coding is one that the client names, and that the body decodes.
pub(crate) fn codings(uri: &Uri, headers: &HeaderMap) {
    let items = list(headers, &header::ACCEPT_ENCODING);
    let named = |name: &str| items.iter().any(|item| item[0].0.eq_ignore_ascii_case(name) || item[0].0 == "*");
    let chosen = compression::negotiate(headers);
    match chosen {
        Some(encoding) => assert!(named(encoding.as_str()), "{items:?}"),
        None => {
            let any = |item: &Vec<(String, Option<String>)>| {
                item.len() == 1 && item[0].1.is_none() && ["gzip", "deflate"].contains(&item[0].0.as_str())
            };
            assert!(items.len() != 1 || !any(&items[0]), "a single coding without conditions is used");
        }
    }
    let mut config = Config::default();
    let mut options = HttpCompression::default();
    options.threshold = 20;
    config.http_compression = Some(options);
    let body = uri.path().repeat(3).into_bytes();
    let answer = Poll { body: body.clone(), binary: false, compress: true, jsonp: None }.answer(headers, &config);
    let expected = chosen.filter(|_| body.len() >= 20);
    assert_eq!(
        answer.headers().get(header::CONTENT_ENCODING).map(|value| value.as_bytes()),
        expected.map(|encoding| encoding.as_str().as_bytes())
    );
    let mut read = Vec::new();
    let result = match expected {
        Some(Encoding::Gzip) => GzDecoder::new(&**answer.body()).read_to_end(&mut read),
        Some(Encoding::Deflate) => ZlibDecoder::new(&**answer.body()).read_to_end(&mut read),
        None => (&**answer.body()).read_to_end(&mut read),
    };
    assert!(result.is_ok() && read == body);
}

/// Checks that only an origin allowed by the rules is told that it may read, and never one that may not connect.
pub(crate) fn cors(headers: &HeaderMap) {
    let listed = vec!["https://good.example".parse().expect("a header value")];
    let origin = headers.get(header::ORIGIN);
    for origins in [CorsOrigins::Any, CorsOrigins::Reflect, CorsOrigins::Listed(listed.clone())] {
        let mut config = Config::default();
        config.origins = Origins::Listed { origins: vec!["https://good.example".into()], own: false, loopback: false };
        config.cors = Some(Cors::with_origins(origins.clone()));
        let mut answer = answer::preflight(headers, &config);
        answer::finish(&mut answer, headers, &config);
        let told = answer.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
        assert!(told.is_none() || config.origins.allow(headers), "{told:?}");
        match origins {
            CorsOrigins::Any => assert!(told.is_none_or(|told| told == "*")),
            CorsOrigins::Listed(_) => assert!(told.is_none_or(|told| Some(told) == origin && listed.contains(told))),
            _ => assert!(told.is_none_or(|told| Some(told) == origin)),
        }
        let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).filter(|asked| !asked.is_empty());
        assert_eq!(answer.headers().get(header::ACCESS_CONTROL_ALLOW_HEADERS), asked);
    }
}
