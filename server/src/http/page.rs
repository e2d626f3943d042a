//! The demo page: its files, which the binary holds.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use super::response::with_type;

/// The page's files: path, content type, content.
pub(super) const FILES: [(&str, &str, &str); 4] = [
    ("/", "text/html; charset=utf-8", include_str!("../page/index.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("../page/page.css")),
    ("/chat.js", "text/javascript; charset=utf-8", include_str!("../page/chat.js")),
    ("/socket.js", "text/javascript; charset=utf-8", include_str!("../page/socket.js")),
];

/// No address but the server's own, no inline script: what a message holds can never run.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The file of the page at this path, if there is one.
pub(super) fn file(path: &str) -> Option<Response<Bytes>> {
    let (_, content_type, content) = FILES.iter().find(|(of, ..)| *of == path)?;
    let mut response = with_type(StatusCode::OK, content_type, *content);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Some(response)
}
