//! HTTP beside the socket: the demo page (`page`), and whether the server lives and is ready (`health`).

mod health;
mod page;
mod response;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};

pub(crate) use health::Readiness;
use response::text;

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
        _ => page::file(path).unwrap_or_else(|| text(StatusCode::NOT_FOUND, "not found\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::{page::FILES, *};

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
