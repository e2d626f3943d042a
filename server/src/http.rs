//! HTTP beside the socket: the demo page, and whether the server lives and is ready.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts};

/// The page's files: path, content type, content.
const FILES: [(&str, &str, &str); 4] = [
    ("/", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("/page.css", "text/css; charset=utf-8", include_str!("page/page.css")),
    ("/chat.js", "text/javascript; charset=utf-8", include_str!("page/chat.js")),
    ("/socket.js", "text/javascript; charset=utf-8", include_str!("page/socket.js")),
];

/// No address but the server's own, no inline script: what a message holds can never run.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws: wss:; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Whether new clients should be sent here.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// The server began to shut down.
    pub(crate) fn drain(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_draining(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Answers a request for a path that is not the engine's.
pub(crate) fn answer(parts: &Parts, readiness: &Readiness) -> Response<Bytes> {
    let path = parts.uri.path();
    if parts.method != Method::GET && parts.method != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/healthz" => text(StatusCode::OK, "ok\n"),
        "/readyz" if readiness.is_draining() => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        "/readyz" => text(StatusCode::OK, "ready\n"),
        _ => match FILES.iter().find(|(of, ..)| *of == path) {
            Some((_, content_type, content)) => file(content_type, content),
            None => text(StatusCode::NOT_FOUND, "not found\n"),
        },
    }
}

fn file(content_type: &'static str, content: &'static str) -> Response<Bytes> {
    let mut response = with_type(StatusCode::OK, content_type, content);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn text(status: StatusCode, content: &'static str) -> Response<Bytes> {
    with_type(status, "text/plain; charset=utf-8", content)
}

fn with_type(status: StatusCode, content_type: &'static str, content: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(content.as_bytes()));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn get(method: &str, path: &str, readiness: &Readiness) -> (u16, String) {
        let request = http::Request::builder().method(method).uri(path).body(()).unwrap();
        let response = answer(&request.into_parts().0, readiness);
        (response.status().as_u16(), String::from_utf8(response.body().to_vec()).unwrap())
    }

    #[test]
    fn health_readiness_and_the_rest() {
        let readiness = Readiness::default();
        assert_eq!(get("GET", "/healthz", &readiness), (200, "ok\n".into()));
        assert_eq!(get("GET", "/readyz", &readiness).0, 200);
        assert_eq!(get("GET", "/../etc/passwd", &readiness).0, 404);
        assert_eq!(get("POST", "/", &readiness).0, 405);
        readiness.drain();
        assert_eq!((get("GET", "/readyz", &readiness).0, get("GET", "/healthz", &readiness).0), (503, 200));
    }

    #[test]
    fn the_page_names_no_foreign_address_and_only_files_that_are_served() {
        let readiness = Readiness::default();
        let (status, page) = get("GET", "/", &readiness);
        assert_eq!(status, 200);
        for (path, _, content) in FILES {
            assert!(!content.contains("http://") && !content.contains("https://"), "{path}");
        }
        for reference in page.split(['"', '\'']).filter(|text| text.starts_with('/') && text.contains('.')) {
            assert_eq!(get("GET", reference, &readiness).0, 200, "{reference}");
        }
    }
}
