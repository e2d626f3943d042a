//! The opening handshake of a WebSocket, on headers that are parsed already.
//!
//! Checks whether a request is a correct handshake, and makes the accept key that answers it. [`crate::http`] does
//! routing, checks the Origin and writes the response; [`super::extensions`] negotiates extensions. RFC 6455 section
//! 4.2.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use http::header::{
    CONNECTION, HeaderMap, HeaderName, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderValue, Method};
use sha1::{Digest as _, Sha1};

use super::extensions::is_token;

/// What RFC 6455 section 1.3 appends to the key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The only supported version; the value of `Sec-WebSocket-Version` in a response with status 426.
pub const VERSION: &str = "13";

/// Real clients' keys are not always canonical: the last character has four unused bits, which may be set.
const KEY_ENGINE: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// Why a request is not a valid WebSocket handshake. Always the peer's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The method is not GET.
    #[error("method of a WebSocket handshake must be GET")]
    Method,
    /// `Connection` does not contain the token `upgrade`.
    #[error("missing token in header Connection: upgrade")]
    Connection,
    /// `Upgrade` does not contain the token `websocket`.
    #[error("missing token in header Upgrade: websocket")]
    Upgrade,
    /// `Sec-WebSocket-Version` is not exactly 13.
    #[error("unsupported WebSocket version")]
    Version,
    /// `Sec-WebSocket-Key` is missing, repeated, or not 16 bytes in base64.
    #[error("missing or invalid header Sec-WebSocket-Key")]
    Key,
    /// `Sec-WebSocket-Protocol` is not a list of tokens.
    #[error("invalid header Sec-WebSocket-Protocol")]
    Protocol,
}

impl HandshakeError {
    /// The HTTP status of the refusal. With 426 the response names the supported version ([`VERSION`]), with 405 the
    /// allowed method (GET).
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            // 4.4: "an appropriate HTTP error code (such as 426 Upgrade Required)".
            Self::Version => 426,
            Self::Connection | Self::Upgrade | Self::Key | Self::Protocol => 400,
        }
    }
}

/// The value of `Sec-WebSocket-Accept` for a key: base64 of the SHA-1 of key and GUID.
#[must_use]
pub fn accept_key(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// Whether a request asks to become a WebSocket, correctly or not: `Connection` contains `upgrade` and `Upgrade`
/// contains `websocket`.
#[must_use]
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    has_token(headers, &CONNECTION, b"upgrade") && has_token(headers, &UPGRADE, b"websocket")
}

/// Checks a handshake, in the order of RFC 6455 section 4.2.1, and returns the value of `Sec-WebSocket-Accept`.
///
/// # Errors
/// When the request is not a correct handshake; [`HandshakeError::status`] is the status of the answer.
pub fn check(method: &Method, headers: &HeaderMap) -> Result<String, HandshakeError> {
    if method != Method::GET {
        return Err(HandshakeError::Method);
    }
    if !has_token(headers, &UPGRADE, b"websocket") {
        return Err(HandshakeError::Upgrade);
    }
    if !has_token(headers, &CONNECTION, b"upgrade") {
        return Err(HandshakeError::Connection);
    }
    let key = only(headers, &SEC_WEBSOCKET_KEY).filter(|key| is_key(key)).ok_or(HandshakeError::Key)?;
    only(headers, &SEC_WEBSOCKET_VERSION)
        .filter(|version| *version == VERSION.as_bytes())
        .ok_or(HandshakeError::Version)?;
    // A malformed offer is a sign of a request that two parsers may read differently.
    if !headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().flat_map(items).all(is_token) {
        return Err(HandshakeError::Protocol);
    }
    Ok(accept_key(key))
}

/// The subprotocol in the answer to a correct handshake: the first one offered, as in Node. The engine knows no
/// subprotocol, but a client that offers some treats an answer without one as a refusal.
#[must_use]
pub fn subprotocol(headers: &HeaderMap) -> Option<HeaderValue> {
    let offered = headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|value| items(value).next())?;
    HeaderValue::from_bytes(offered).ok()
}

/// The value of a header that must occur exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a [u8]> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.as_bytes().trim_ascii()),
        _ => None,
    }
}

/// 4.2.1: a "base64-encoded value that, when decoded, is 16 bytes in length", which is 24 characters.
fn is_key(key: &[u8]) -> bool {
    // 24 characters decode to at most 18 bytes.
    let mut decoded = [0; 18];
    key.len() == 24 && KEY_ENGINE.decode_slice(key, &mut decoded) == Ok(16)
}

/// Header values are bytes, not text: a value that is not ASCII simply does not contain the token.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &[u8]) -> bool {
    headers.get_all(name).iter().flat_map(items).any(|item| item.eq_ignore_ascii_case(token))
}

fn items(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

    /// A correct handshake in which the header `name` is replaced by `values` (none: left out).
    fn with(name: &'static str, values: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let correct = [
            ("host", "chat.example"),
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-key", KEY),
            ("sec-websocket-version", "13"),
        ];
        for (name, value) in correct {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.remove(name);
        for value in values {
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    #[test]
    fn answers_the_key_of_the_specification() {
        // RFC 6455 section 1.3.
        assert_eq!(accept_key(KEY.as_bytes()), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn accepts_what_the_specification_allows() {
        let table: &[(&'static str, &[&[u8]])] = &[
            ("upgrade", &[b"websocket"]),
            ("upgrade", &[b"WebSocket"]),
            ("upgrade", &[b"h2c, websocket"]),
            ("connection", &[b"keep-alive, Upgrade"]),
            ("connection", &[b"keep-alive", b"UPGRADE"]),
            ("sec-websocket-key", &[b" dGhlIHNhbXBsZSBub25jZQ== "]),
            ("sec-websocket-protocol", &[b"chat, superchat", b"v2.chat"]),
            ("sec-websocket-extensions", &[b"constructor"]),
            ("sec-websocket-extensions", &[b"__proto__; __proto__"]),
            ("sec-websocket-extensions", &[b"permessage-deflate; server_max_window_bits=7; server_max_window_bits=x"]),
            ("sec-websocket-extensions", &[b"\xff\xfe"]),
        ];
        for (name, values) in table {
            let headers = with(name, values);
            assert_eq!(
                check(&Method::GET, &headers).as_deref(),
                Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
                "{name} {values:?}"
            );
            assert!(is_upgrade(&headers));
        }
        let spare_bits = with("sec-websocket-key", &[b"dGhlIHNhbXBsZSBub25jZR=="]);
        assert!(check(&Method::GET, &spare_bits).is_ok());
    }

    #[test]
    fn the_first_subprotocol_offered_is_agreed_to() {
        for (offers, agreed) in [
            (&[][..], None),
            (&[&b"chat"[..]], Some("chat")),
            (&[b" v2.chat , chat"], Some("v2.chat")),
            (&[b"b", b"a"], Some("b")),
        ] {
            let headers = with("sec-websocket-protocol", offers);
            assert_eq!(subprotocol(&headers), agreed.map(HeaderValue::from_static));
        }
    }

    #[test]
    fn refuses_invalid_handshakes() {
        use HandshakeError as E;
        let spaces = [&b"b"[..], &[b' '; 15_000], b"x"].concat();
        let table: &[(&'static str, &[&[u8]], E, u16)] = &[
            ("upgrade", &[], E::Upgrade, 400),
            ("upgrade", &[b"h2c"], E::Upgrade, 400),
            ("upgrade", &[b"websocket13"], E::Upgrade, 400),
            ("upgrade", &[b"\xff\xfe"], E::Upgrade, 400),
            ("connection", &[], E::Connection, 400),
            ("connection", &[b"close"], E::Connection, 400),
            ("connection", &[b"keep-alive upgrade"], E::Connection, 400),
            ("connection", &[b"\xff\xfe"], E::Connection, 400),
            ("sec-websocket-key", &[], E::Key, 400),
            ("sec-websocket-key", &[b""], E::Key, 400),
            ("sec-websocket-key", &[KEY.as_bytes(), KEY.as_bytes()], E::Key, 400),
            ("sec-websocket-key", &[b"dGhlIHNhbXBsZSBub25jZQ"], E::Key, 400),
            ("sec-websocket-key", &[b"dGhlIHNhbXBsZSBub25jZQ="], E::Key, 400),
            ("sec-websocket-key", &[b"dGhlIHNhbXBsZSBub25jZSE="], E::Key, 400),
            ("sec-websocket-key", &[b"dGhlIHNhbXBsZSBub25jZSEh"], E::Key, 400),
            ("sec-websocket-key", &[b"dGhlIHNhbXBsZSBub25jZ-=="], E::Key, 400),
            ("sec-websocket-key", &[b"dGhlIHNhbXBsZSBub25jZQ==AA=="], E::Key, 400),
            (
                "sec-websocket-key",
                &[b"\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe\xff\xfe=="],
                E::Key,
                400,
            ),
            ("sec-websocket-version", &[], E::Version, 426),
            ("sec-websocket-version", &[b"8"], E::Version, 426),
            ("sec-websocket-version", &[b"013"], E::Version, 426),
            ("sec-websocket-version", &[b"13, 8"], E::Version, 426),
            ("sec-websocket-version", &[b"13", b"13"], E::Version, 426),
            ("sec-websocket-version", &[b"\xff"], E::Version, 426),
            ("sec-websocket-protocol", &[b"\xff\xfe"], E::Protocol, 400),
            ("sec-websocket-protocol", &[&spaces], E::Protocol, 400),
            ("sec-websocket-protocol", &[b""], E::Protocol, 400),
            ("sec-websocket-protocol", &[b"a,,b"], E::Protocol, 400),
            ("sec-websocket-protocol", &[b"a;b"], E::Protocol, 400),
        ];
        for (name, values, error, status) in table {
            let headers = with(name, values);
            assert_eq!(check(&Method::GET, &headers), Err(*error), "{name} {values:?}");
            assert_eq!(error.status(), *status);
            assert_eq!(is_upgrade(&headers), !matches!(error, E::Upgrade | E::Connection));
        }
    }

    #[test]
    fn refuses_every_method_but_get() {
        for method in [Method::POST, Method::HEAD, Method::OPTIONS, Method::CONNECT] {
            let refused = check(&method, &with("origin", &[]));
            assert_eq!(refused, Err(HandshakeError::Method));
            assert_eq!(HandshakeError::Method.status(), 405);
        }
    }
}
