//! Reads the usual requests of long-polling without an HTTP library, which made up nine tenths of a poll's cost.
//!
//! A request is *plain* when its head can be read in only one way: HTTP/1.1, GET or POST on the engine's path, one
//! valid `Host`, no framing except a single `Content-Length` of a POST, `Connection` absent, `keep-alive` or `close`, and no
//! request for another protocol. Any other head goes to the library, from its first byte, so that unusual heads always get
//! the same answer.

use std::{mem::MaybeUninit, net::IpAddr};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header, request::Parts};
use httparse::Status;

use super::{
    Hosts, Origins,
    answer::is_old_browser,
    forwarded::{X_FORWARDED_FOR, X_FORWARDED_HOST},
    head::{MAX_HEAD, MAX_HEADERS, MAX_TARGET},
    host, matches_path,
    origin::SEC_FETCH_SITE,
};
use crate::Config;

/// What the bytes at the front of a connection are.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it lives for one call, and a box would be an allocation for each request"
)]
pub enum Head<'a> {
    /// The head of a plain request.
    Plain(Plain<'a>),
    /// The beginning of a head; what it becomes is known when it is complete.
    Partial,
    /// Anything else.
    Unusual,
}

/// A plain request, without its body.
#[derive(Debug)]
pub struct Plain<'a> {
    /// GET or POST.
    pub method: Method,
    /// The part of the target after the `?`; empty without one.
    pub query: &'a str,
    /// The bytes of the head.
    pub head: &'a [u8],
    /// The number of bytes of its body.
    pub body_len: usize,
    /// The client wants the connection to end after the answer (RFC 9112, 9.6), as the official client on Node does.
    pub closes: bool,
    fields: Fields<'a>,
}

/// The fields that framing or answers depend on. Each occurs at most once.
#[derive(Debug, Default)]
struct Fields<'a> {
    host: Option<&'a [u8]>,
    connection: Option<&'a [u8]>,
    content_length: Option<&'a [u8]>,
    content_type: Option<&'a [u8]>,
    origin: Option<&'a [u8]>,
    sec_fetch_site: Option<&'a [u8]>,
    forwarded: Option<&'a [u8]>,
    x_forwarded_for: Option<&'a [u8]>,
    x_forwarded_host: Option<&'a [u8]>,
    user_agent: Option<&'a [u8]>,
    accept_encoding: Option<&'a [u8]>,
}

/// Reads the head at the front of `bytes`.
#[must_use]
pub fn read<'a>(bytes: &'a [u8], config: &Config) -> Head<'a> {
    let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(bytes, &mut fields) {
        Ok(Status::Complete(len)) if len <= MAX_HEAD => {
            bytes.get(..len).and_then(|head| plain(&request, head, config)).map_or(Head::Unusual, Head::Plain)
        }
        Ok(Status::Partial) if bytes.len() < MAX_HEAD => Head::Partial,
        _ => Head::Unusual,
    }
}

fn plain<'a>(request: &httparse::Request<'_, 'a>, head: &'a [u8], config: &Config) -> Option<Plain<'a>> {
    let method = match request.method {
        Some("GET") => Method::GET,
        Some("POST") => Method::POST,
        _ => return None,
    };
    let target = request.path.filter(|target| is_plain_target(target.as_bytes()))?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if request.version != Some(1) || !matches_path(config, path) {
        return None;
    }
    let mut fields = Fields::default();
    if !request.headers.iter().all(|field| fields.take(field)) {
        return None;
    }
    let closes = match fields.connection {
        None => false,
        Some(value) if value.eq_ignore_ascii_case(b"keep-alive") => false,
        Some(value) if value.eq_ignore_ascii_case(b"close") => true,
        Some(_) => return None,
    };
    if !fields.host.is_some_and(host::is_valid) {
        return None;
    }
    let body_len = match (&method, fields.content_length) {
        (&Method::GET, None) => 0,
        (&Method::POST, Some(digits)) => length(digits)?,
        _ => return None,
    };
    Some(Plain { method, query, head, body_len, closes, fields })
}

/// Whether a target begins with its path (RFC 9112, 3.2.1), and has no byte that some parsers escape, cut at or refuse.
fn is_plain_target(target: &[u8]) -> bool {
    // Letters, digits, and `!$%&'()*+,-./:;=?@_~`. No early exit and no branch, so that many bytes are tested at once.
    let plain = |byte: u8| {
        (byte == b'!')
            | (b'$'..=b';').contains(&byte)
            | (byte == b'=')
            | (b'?'..=b'Z').contains(&byte)
            | (byte == b'_')
            | byte.is_ascii_lowercase()
            | (byte == b'~')
    };
    target.first() == Some(&b'/')
        && target.len() <= MAX_TARGET
        && target.iter().fold(true, |all, byte| all & plain(*byte))
}

/// A length other than 0, of digits only.
fn length(digits: &[u8]) -> Option<usize> {
    if digits.first() == Some(&b'0') || digits.is_empty() || digits.len() > 9 || !digits.iter().all(u8::is_ascii_digit)
    {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

impl<'a> Fields<'a> {
    /// Adds one field; `false` if it makes the request unusual.
    fn take(&mut self, field: &httparse::Header<'a>) -> bool {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        // Most fields can be told apart by their length.
        let known = match field.name.len() {
            4 if is("host") => &mut self.host,
            6 if is("origin") => &mut self.origin,
            6 if is("expect") => return false,
            7 if is("upgrade") => return false,
            9 if is("forwarded") => &mut self.forwarded,
            10 if is("connection") => &mut self.connection,
            10 if is("user-agent") => &mut self.user_agent,
            12 if is("content-type") => &mut self.content_type,
            14 if is("content-length") => &mut self.content_length,
            14 if is("sec-fetch-site") => &mut self.sec_fetch_site,
            15 if is("x-forwarded-for") => &mut self.x_forwarded_for,
            15 if is("accept-encoding") => &mut self.accept_encoding,
            16 if is("x-forwarded-host") => &mut self.x_forwarded_host,
            17 if is("transfer-encoding") => return false,
            _ => return true,
        };
        known.replace(field.value).is_none()
    }
}

impl Plain<'_> {
    /// The fields that the engine's rules and answers depend on with this configuration, for a request from `peer`.
    /// Usually there are none, and nothing is allocated. `Host` is the one that the client sent, if trusted proxies say so.
    #[must_use]
    pub fn relevant_headers(&self, config: &Config, peer: IpAddr) -> HeaderMap {
        let Fields { host, content_type, origin, user_agent, accept_encoding, .. } = self.fields;
        let mut headers = HeaderMap::new();
        let mut add = |name: HeaderName, value: Option<&[u8]>| {
            if let Some(Ok(value)) = value.map(HeaderValue::from_bytes) {
                headers.insert(name, value);
            }
        };
        if config.hosts != Hosts::Any || (origin.is_some() && (config.cors.is_some() || config.origins != Origins::Any))
        {
            add(header::ORIGIN, origin);
            add(SEC_FETCH_SITE, self.fields.sec_fetch_site.filter(|_| origin.is_some()));
            match self.forwarded_host(config, peer) {
                Some(forwarded) => add(header::HOST, Some(forwarded.as_bytes())),
                None => add(header::HOST, host),
            }
        }
        add(header::USER_AGENT, user_agent.filter(|agent| is_old_browser(agent)));
        add(header::ACCEPT_ENCODING, accept_encoding.filter(|_| config.http_compression.is_some()));
        add(header::CONTENT_TYPE, content_type.filter(|kind| *kind == b"application/octet-stream"));
        headers
    }

    fn forwarded_host(&self, config: &Config, peer: IpAddr) -> Option<HeaderValue> {
        let Fields { forwarded, x_forwarded_for, x_forwarded_host, .. } = self.fields;
        if x_forwarded_host.or(forwarded).is_none() || !config.trusted_proxies.trusts(peer) {
            return None;
        }
        let fields =
            [(header::FORWARDED, forwarded), (X_FORWARDED_FOR, x_forwarded_for), (X_FORWARDED_HOST, x_forwarded_host)];
        let headers =
            fields.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::from_bytes(value?).ok()?)));
        config.trusted_proxies.host(peer, &headers.collect()).and_then(|host| HeaderValue::from_str(host).ok())
    }

    /// The complete head, as an HTTP library returns it.
    #[must_use]
    pub fn parts(&self) -> Option<Parts> {
        let bytes = Bytes::copy_from_slice(self.head);
        let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut []);
        let Ok(Status::Complete(_)) = request.parse_with_uninit_headers(&bytes, &mut fields) else { return None };
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.method = self.method.clone();
        parts.uri = Uri::from_maybe_shared(bytes.slice_ref(request.path?.as_bytes())).ok()?;
        parts.headers = all_headers(&request, &bytes)?;
        Some(parts)
    }
}

/// All header fields of a request in `bytes`, as an HTTP library returns them; `None` if one is invalid.
pub(crate) fn all_headers(request: &httparse::Request<'_, '_>, bytes: &Bytes) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for field in &*request.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value)).ok()?;
        headers.append(name, value);
    }
    Some(headers)
}

/// Whether new bytes may have completed a partial head: an empty line ends at or after `seen`. That is cheaper than to
/// read the head again for each byte of a peer that sends single bytes.
#[must_use]
pub fn may_be_whole(bytes: &[u8], seen: usize) -> bool {
    let tail = bytes.get(seen.saturating_sub(3)..).unwrap_or_default();
    tail.windows(2).any(|pair| pair == b"\n\n") || tail.windows(3).any(|end| end == b"\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Cors, HttpCompression};

    const GET: &str = "GET /engine.io/?EIO=4&transport=polling&t=PkQ1x.a HTTP/1.1\r\nHost: localhost:3000\r\n";
    const POST: &str = "POST /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: localhost:3000\r\n";

    fn kind(head: &str) -> &'static str {
        match read(head.as_bytes(), &Config::default()) {
            Head::Plain(_) => "plain",
            Head::Partial => "partial",
            Head::Unusual => "unusual",
        }
    }

    fn get(fields: &str) -> String {
        format!("{GET}{fields}\r\n")
    }

    fn post(fields: &str) -> String {
        format!("{POST}{fields}\r\n")
    }

    #[test]
    fn requests_of_real_clients_are_plain() {
        for head in [
            get(""),
            get("Accept: */*\r\nConnection: keep-alive\r\nUser-Agent: node-XMLHttpRequest\r\n"),
            get("Connection: Close\r\n"),
            get("connection: Keep-Alive\r\nte: trailers\r\nx-more: \u{e9}\r\n"),
            get(
                "Accept-Encoding: gzip, deflate, br\r\nOrigin: https://a.b\r\nCookie: io=x\r\nSec-Fetch-Mode: cors\r\n",
            ),
            post("Content-type: text/plain;charset=UTF-8\r\nContent-Length: 17\r\n"),
            post("Content-Length: 999999999\r\n"),
            format!("\r\n{}", get("")),
            get("").replace("\r\n", "\n"),
        ] {
            assert_eq!(kind(&head), "plain", "{head}");
        }
    }

    #[test]
    fn a_head_that_can_be_read_in_two_ways_is_not_plain() {
        let swap = |from: &str, to: &str| get("").replacen(from, to, 1);
        for head in [
            swap("GET", "PUT"),
            swap("GET", "get"),
            swap("HTTP/1.1", "HTTP/1.0"),
            swap("/engine.io/", "/other/"),
            swap("/engine.io/", "/engine.io"),
            swap("/engine.io/", "http://localhost/engine.io/"),
            swap("t=", "t=#"),
            swap("t=", "t={}"),
            swap("t=", "t=\u{e9}"),
            swap("t=", &format!("t={}", "a".repeat(MAX_TARGET))),
            swap("Host: localhost:3000\r\n", ""),
            swap("localhost", "local host"),
            get("Host: localhost:3000\r\n"),
            get("Connection: close, x\r\n"),
            get("Connection: keep-alive, x\r\n"),
            get("Connection: keep-alive\r\nConnection: keep-alive\r\n"),
            get("Upgrade: websocket\r\n"),
            get("Expect: 100-continue\r\n"),
            get("Transfer-Encoding: chunked\r\n"),
            get("Content-Length: 0\r\n"),
            get("Origin: https://a.b\r\norigin: https://a.b\r\n"),
            get("User-Agent: a\r\nUser-Agent: b\r\n"),
            get("X: a\r\n b\r\n"),
            get("X : a\r\n"),
            get("X: a\x01\r\n"),
            get(&"X: y\r\n".repeat(MAX_HEADERS)),
            get(&format!("X: {}\r\n", "x".repeat(MAX_HEAD))),
            post(""),
            post("Content-Length: 0\r\n"),
            post("Content-Length: 02\r\n"),
            post("Content-Length: +2\r\n"),
            post("Content-Length: 2,2\r\n"),
            post("Content-Length: 1000000000\r\n"),
            post("Content-Length: 2\r\nContent-Length: 2\r\n"),
            post("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"),
            "\x16\x03\x01\r\n\r\n".to_owned(),
        ] {
            assert_eq!(kind(&head), "unusual", "{head}");
        }
    }

    #[test]
    fn the_parts_are_those_of_the_bytes() {
        let bytes = post("Content-Length: 2\r\nX: a\r\nx: b\r\n") + "4abehind";
        let Head::Plain(request) = read(bytes.as_bytes(), &Config::default()) else { panic!("plain") };
        assert_eq!((request.query, request.body_len), ("EIO=4&transport=polling", 2));
        assert_eq!(request.head.len() + "4abehind".len(), bytes.len());
        let parts = request.parts().unwrap();
        assert_eq!((parts.method, parts.uri.path()), (Method::POST, "/engine.io/"));
        assert_eq!(parts.headers.get_all("x").iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(parts.headers.len(), 4);
    }

    #[test]
    fn any_part_of_a_head_is_partial_and_is_read_again_only_if_it_may_be_complete() {
        for head in [get("X: y\r\n"), get("").replace("\r\n", "\n"), format!("\r\n{}", get(""))] {
            for len in 1..head.len() {
                assert_eq!(kind(&head[..len]), "partial", "{len} of {head}");
                assert!(may_be_whole(head.as_bytes(), len), "{len} of {head}");
            }
            let begun = &head[..head.len() - 4];
            assert!(!may_be_whole(begun.as_bytes(), begun.len() - 9), "{head}");
        }
        let endless = GET.to_owned() + "X: " + &"x".repeat(MAX_HEAD);
        assert_eq!(kind(&endless[..MAX_HEAD - 1]), "partial");
        assert_eq!(kind(&endless), "unusual");
    }

    #[test]
    fn fields_matter_as_the_configuration_says() {
        let head = get(
            "Origin: https://a.b\r\nUser-Agent: x\r\nAccept-Encoding: gzip\r\nContent-Type: text/plain\r\nX: y\r\n",
        );
        let names = |config: &Config, head: &str| {
            let Head::Plain(request) = read(head.as_bytes(), config) else { panic!("plain") };
            let mut names: Vec<_> = request
                .relevant_headers(config, std::net::Ipv4Addr::LOCALHOST.into())
                .keys()
                .map(ToString::to_string)
                .collect();
            names.sort();
            names
        };
        let mut config = Config { http_compression: None, ..Config::default() };
        assert!(names(&config, &head).is_empty());
        config.http_compression = Some(HttpCompression::default());
        assert_eq!(names(&config, &head), ["accept-encoding"]);
        config.cors = Some(Cors::default());
        assert_eq!(names(&config, &head), ["accept-encoding", "host", "origin"]);
        (config.cors, config.origins) = (None, Origins::Listed { origins: vec![], own: true, loopback: false });
        assert_eq!(names(&config, &head), ["accept-encoding", "host", "origin"]);
        assert!(names(&config, &get("")).is_empty());
        let odd = get("User-Agent: a;MSIE\r\nContent-Type: application/octet-stream\r\n");
        assert_eq!(names(&config, &odd), ["content-type", "user-agent"]);
    }
}
