//! Answers with a content and its type.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

/// A line of plain text.
pub(super) fn text(status: StatusCode, content: impl Into<Bytes>) -> Response<Bytes> {
    with_type(status, "text/plain; charset=utf-8", content)
}

/// A content of this type, which the browser may not take for another one.
pub(super) fn with_type(status: StatusCode, content_type: &'static str, content: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(content.into());
    *response.status_mut() = status;
    let headers: [(HeaderName, &str); 3] = [
        (header::CONTENT_TYPE, content_type),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
