//! The bytes of an answer, as hyper writes them: header fields as they are, then `content-length` and `date`.

use bytes::Bytes;
use http::{Response, header};

use crate::http::answer::Poll;

/// The bytes of a response; `date` is the time as HTTP writes it.
#[must_use]
pub fn encode(response: &Response<Bytes>, date: &str) -> Vec<u8> {
    let body = response.body();
    let mut bytes = Vec::with_capacity(512 + body.len());
    push_fields(&mut bytes, response);
    // RFC 9110, 8.6: no length in a 1xx.
    let len = (!response.status().is_informational()).then_some(body.len());
    push_end(&mut bytes, len, date);
    bytes.extend_from_slice(body);
    bytes
}

/// Status line and header fields.
fn push_fields(bytes: &mut Vec<u8>, response: &Response<Bytes>) {
    let status = response.status();
    let mut push = |parts: &[&[u8]]| parts.iter().for_each(|part| bytes.extend_from_slice(part));
    let reason = status.canonical_reason().unwrap_or("<none>");
    push(&[b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"]);
    for (name, value) in response.headers() {
        push(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
}

/// The rest of a head.
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

/// A number in decimal digits, without the formatting machinery: every poll writes one.
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

/// The head of answers that differ by their body alone, encoded once.
#[derive(Debug)]
pub struct Template(Vec<u8>);

impl Template {
    /// That of answers like this one.
    #[must_use]
    pub fn of(answer: &Response<Bytes>) -> Self {
        let mut bytes = Vec::new();
        push_fields(&mut bytes, answer);
        Self(bytes)
    }

    /// Appends an answer with `body` to `out`.
    pub fn push(&self, out: &mut Vec<u8>, body: &[u8], date: &str) {
        // One growth at most.
        out.reserve(self.0.len() + body.len() + 96);
        out.extend_from_slice(&self.0);
        push_end(out, Some(body.len()), date);
        out.extend_from_slice(body);
    }
}

/// Whether the answer to a poll is that of a request without header fields: what matters of the request's own is in
/// `relevant` ([`super::plain::Plain::relevant_headers`]). Then its [`Template`] fits.
#[must_use]
pub fn fits_template(poll: &Poll<'_>, relevant: &http::HeaderMap, config: &crate::Config) -> bool {
    let compressible = poll.compress
        && config.http_compression.as_ref().is_some_and(|options| poll.body.len() >= options.threshold)
        && relevant.contains_key(header::ACCEPT_ENCODING);
    let others = relevant.len() - usize::from(relevant.contains_key(header::ACCEPT_ENCODING));
    others == 0 && !compressible && !poll.binary && poll.jsonp.is_none()
}
