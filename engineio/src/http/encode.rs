//! The bytes of a response, where no HTTP library writes them.

use bytes::Bytes;
use http::Response;

/// The bytes of an HTTP/1.1 response: status line, headers, `content-length` (none in a 1xx: RFC 9110, 8.6), `date`, body. They are
/// those that hyper writes.
#[must_use]
pub fn encode(response: &Response<Bytes>, date: &str) -> Vec<u8> {
    let (status, body) = (response.status(), response.body());
    let mut bytes = Vec::with_capacity(512);
    let mut push = |parts: &[&[u8]]| parts.iter().for_each(|part| bytes.extend_from_slice(part));
    let reason = status.canonical_reason().unwrap_or("<none>");
    push(&[b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason.as_bytes(), b"\r\n"]);
    for (name, value) in response.headers() {
        push(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
    }
    if !status.is_informational() {
        push(&[b"content-length: ", body.len().to_string().as_bytes(), b"\r\n"]);
    }
    push(&[b"date: ", date.as_bytes(), b"\r\n\r\n", body]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_1xx_has_no_length() {
        let date = "Thu, 01 Jan 1970 00:00:00 GMT";
        let ok = Response::builder().header("a", "b").body(Bytes::from_static(b"xyz")).unwrap();
        let expected = format!("HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 3\r\ndate: {date}\r\n\r\nxyz");
        assert_eq!(encode(&ok, date), expected.as_bytes());
        let switching = Response::builder().status(101).body(Bytes::new()).unwrap();
        let expected = format!("HTTP/1.1 101 Switching Protocols\r\ndate: {date}\r\n\r\n");
        assert_eq!(encode(&switching, date), expected.as_bytes());
    }
}
