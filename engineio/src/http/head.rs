//! The checks of a request head that an HTTP parser does not make.
//!
//! A parser may accept a head that a proxy in front of the server reads differently. Such a request is refused and its
//! connection closed, so that bytes after it are never read as another request.

use http::{HeaderMap, HeaderValue, StatusCode, Uri, Version, header};

use super::host;

/// The largest request head, in bytes.
pub const MAX_HEAD: usize = 16 * 1024;

/// The most header fields of one request.
pub const MAX_HEADERS: usize = 100;

/// The longest path and query, in bytes.
pub const MAX_TARGET: usize = 8 * 1024;

/// Checks a parsed head: RFC 9112, 3.2 (one `Host`, with a valid host) and 6.1 (at most one `Transfer-Encoding`, which
/// is `chunked`, once).
///
/// # Errors
/// The status of the answer: 400, or 414 for a target over 8 KiB.
pub fn check_head(uri: &Uri, headers: &HeaderMap, version: Version) -> Result<(), StatusCode> {
    let (mut hosts, mut codings, mut valid) = (0, 0, true);
    // One pass over the few fields, instead of a search for each name.
    for (name, value) in headers {
        if name == header::HOST {
            hosts += 1;
            valid &= host::is_valid(value.as_bytes());
        } else if name == header::TRANSFER_ENCODING {
            codings += 1;
            valid &= is_chunked(value);
        }
    }
    if !valid || hosts > 1 || (hosts == 0 && version == Version::HTTP_11) || codings > 1 {
        return Err(StatusCode::BAD_REQUEST);
    }
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > MAX_TARGET { Err(StatusCode::URI_TOO_LONG) } else { Ok(()) }
}

/// `chunked` once, or nothing. RFC 9110, 5.6.1.2: empty list elements do not count.
fn is_chunked(codings: &HeaderValue) -> bool {
    let mut codings =
        codings.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|coding| !coding.is_empty());
    codings.next().is_none_or(|coding| coding.eq_ignore_ascii_case(b"chunked")) && codings.next().is_none()
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn a_head_that_a_proxy_may_read_differently_is_refused() {
        let (ok, bad) = (Ok(()), Err(StatusCode::BAD_REQUEST));
        type Row<'a> = (&'a [(HeaderName, &'a str)], Version, Result<(), StatusCode>);
        let rows: [Row<'_>; 10] = [
            (&[(header::HOST, "a.example:80")], Version::HTTP_11, ok),
            (&[(header::HOST, "a.example")], Version::HTTP_10, ok),
            (&[], Version::HTTP_10, ok),
            (&[], Version::HTTP_11, bad),
            (&[(header::HOST, "a"), (header::HOST, "a")], Version::HTTP_11, bad),
            (&[(header::HOST, "a b")], Version::HTTP_11, bad),
            (&[(header::HOST, "a"), (header::TRANSFER_ENCODING, ", Chunked ,")], Version::HTTP_11, ok),
            (&[(header::HOST, "a"), (header::TRANSFER_ENCODING, "gzip, chunked")], Version::HTTP_11, bad),
            (&[(header::HOST, "a"), (header::TRANSFER_ENCODING, "chunked, chunked")], Version::HTTP_11, bad),
            (
                &[(header::HOST, "a"), (header::TRANSFER_ENCODING, "chunked"), (header::TRANSFER_ENCODING, "chunked")],
                Version::HTTP_11,
                bad,
            ),
        ];
        let uri = Uri::from_static("/");
        for (fields, version, expected) in rows {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(name, value.parse().unwrap());
            }
            assert_eq!(check_head(&uri, &headers, version), expected, "{fields:?} {version:?}");
        }
        let long: Uri = format!("/{}", "x".repeat(MAX_TARGET)).parse().unwrap();
        assert_eq!(check_head(&long, &HeaderMap::new(), Version::HTTP_10), Err(StatusCode::URI_TOO_LONG));
    }
}
