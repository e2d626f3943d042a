//! The bytes of responses that no HTTP library writes.

use bytes::Bytes;
use http::{Response, header};

use crate::http::answer::Poll;

/// The bytes of an HTTP/1.1 response: status line, headers, `content-length` (none in a 1xx: RFC 9110, 8.6), `date`,
/// body. They are the same as hyper's.
#[must_use]
pub fn encode(response: &Response<Bytes>, date: &str) -> Vec<u8> {
    let body = response.body();
    let mut bytes = Vec::with_capacity(512 + body.len());
    push_fields(&mut bytes, response);
    let len = (!response.status().is_informational()).then_some(body.len());
    push_end(&mut bytes, len, date);
    bytes.extend_from_slice(body);
    bytes
}

/// Appends the status line and the header fields.
fn push_fields(bytes: &mut Vec<u8>, response: &Response<Bytes>) {
    let status = response.status();
    let mut push = |parts: &[&[u8]]| parts.iter().for_each(|part| bytes.extend_from_slice(part));
    let reason = status.canonical_reason().unwrap_or("<none>");
    push(&[b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"]);
    for (name, value) in response.headers() {
        push(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
}

/// Appends the rest of a head.
fn push_end(bytes: &mut Vec<u8>, len: Option<usize>, date: &str) {
    if let Some(len) = len {
        bytes.extend_from_slice(b"content-length: ");
        push_number(bytes, len);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"date: ");
    bytes.extend_from_slice(date.as_bytes());
    bytes.extend_from_slice(b"\r\n\r\n");
}

/// Appends a number in decimal digits, without the formatting machinery, because every poll writes one.
fn push_number(bytes: &mut Vec<u8>, mut number: usize) {
    let start = bytes.len();
    loop {
        bytes.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = bytes.get_mut(start..) {
        digits.reverse();
    }
}

/// The head of answers that differ only in their body, encoded once.
#[derive(Debug)]
pub struct Template(Vec<u8>);

impl Template {
    /// The template of answers like this one.
    #[must_use]
    pub fn of(answer: &Response<Bytes>) -> Self {
        let mut bytes = Vec::new();
        push_fields(&mut bytes, answer);
        Self(bytes)
    }

    /// Appends an answer with `body` to `out`.
    pub fn push(&self, out: &mut Vec<u8>, body: &[u8], date: &str) {
        // At most one growth.
        out.reserve(self.0.len() + body.len() + 96);
        out.extend_from_slice(&self.0);
        push_end(out, Some(body.len()), date);
        out.extend_from_slice(body);
    }
}

/// Whether the answer to a poll is the same as for a request without header fields, so that its [`Template`] fits.
/// `relevant` holds those fields of the request that matter ([`super::plain::Plain::relevant_headers`]).
#[must_use]
pub fn fits_template(poll: &Poll<'_>, relevant: &http::HeaderMap, config: &crate::Config) -> bool {
    let compressible = poll.compress
        && config.http_compression.as_ref().is_some_and(|options| poll.body.len() >= options.threshold)
        && relevant.contains_key(header::ACCEPT_ENCODING);
    let others = relevant.len() - usize::from(relevant.contains_key(header::ACCEPT_ENCODING));
    others == 0 && !compressible && !poll.binary && poll.jsonp.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, http::answer};
    use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

    const DATE: &str = "Thu, 01 Jan 1970 00:00:00 GMT";

    #[test]
    fn a_response_has_its_fields_then_length_and_date() {
        let mut refused = answer::empty(StatusCode::BAD_REQUEST);
        refused.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
        let expected = format!("HTTP/1.1 400 Bad Request\r\nvary: Origin\r\ncontent-length: 0\r\ndate: {DATE}\r\n\r\n");
        assert_eq!(encode(&refused, DATE), expected.as_bytes());
        let switching = answer::switching_protocols("key", None, &HeaderMap::new());
        assert!(!String::from_utf8(encode(&switching, DATE)).unwrap().contains("content-length"));
    }

    #[test]
    fn a_template_gives_the_bytes_of_the_response_it_was_made_from() {
        let (none, config) = (HeaderMap::new(), Config::default());
        let poll = |body: Vec<u8>| Poll { body, binary: false, compress: true, jsonp: None };
        let template = Template::of(&poll(Vec::new()).answer(&none, &config));
        for len in [0, 1, 9, 10, 99, 100, 1023, 70_000, 1_000_000] {
            let body = vec![b'x'; len];
            let mut out = b"before".to_vec();
            template.push(&mut out, &body, DATE);
            let expected = [b"before", &*encode(&poll(body).answer(&none, &config), DATE)].concat();
            assert!(out == expected, "{len}");
        }
    }

    #[test]
    fn a_template_fits_unless_the_request_or_the_body_asks_for_more() {
        let config = Config::default();
        let headers = |names: &[HeaderName]| {
            names.iter().map(|name| (name.clone(), HeaderValue::from_static("gzip"))).collect::<HeaderMap>()
        };
        let poll = |len| Poll { body: vec![b'4'; len], binary: false, compress: true, jsonp: None };
        let (none, coding) = (headers(&[]), headers(&[header::ACCEPT_ENCODING]));
        for (poll, headers, fits) in [
            (poll(5), &none, true),
            (poll(5000), &none, true),
            (poll(1023), &coding, true),
            (poll(1024), &coding, false),
            (Poll { compress: false, ..poll(1024) }, &coding, true),
            (Poll { binary: true, ..poll(5) }, &none, false),
            (Poll { jsonp: Some("1"), ..poll(5) }, &none, false),
            (poll(5), &headers(&[header::ORIGIN]), false),
            (poll(5), &headers(&[header::USER_AGENT, header::ACCEPT_ENCODING]), false),
        ] {
            assert_eq!(fits_template(&poll, headers, &config), fits, "{poll:?} {headers:?}");
        }
    }
}
