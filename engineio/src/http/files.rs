//! [`Files`]: files that are served below the engine's path, such as the bundles of the official client.
//!
//! Their contents are in memory. A request's path is only compared with names, and never becomes the path of a file.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use sha1::{Digest, Sha1};

use super::compression::{self, Encoding, HttpCompression};

/// Files for [`Config::files`](crate::Config::files). All clones share their contents.
///
/// A GET or HEAD for `path` + name is answered with the file; any other request is the engine's. A browser may keep a file,
/// but asks each time whether it has changed (`Cache-Control: public, max-age=0` and `ETag`, as from Node). With
/// [`Config::http_compression`](crate::Config::http_compression), a file from its `threshold` on is compressed: once, at the first request that
/// accepts it, so the other limits do not matter.
///
/// ```
/// let mut config = engineio::Config::default();
/// config.files.add("hello.js", "application/javascript; charset=utf-8", "console.log('hello')");
/// ```
#[derive(Clone, Default)]
pub struct Files(Arc<BTreeMap<Box<str>, Arc<File>>>);

/// How well a file is compressed: better than what is compressed for one answer.
const LEVEL: u8 = 6;

/// A file, and its compressed forms once they were asked for.
struct File {
    content_type: HeaderValue,
    content: Bytes,
    /// A hash of the content, in hexadecimal.
    hash: String,
    gzip: OnceLock<Option<Bytes>>,
    deflate: OnceLock<Option<Bytes>>,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Files {
    /// Adds a file, or replaces the one of this name.
    pub fn add(&mut self, name: &str, content_type: &'static str, content: impl Into<Bytes>) {
        let content = content.into();
        let hash: String = Sha1::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        let content_type = HeaderValue::from_static(content_type);
        let file = File { content_type, content, hash, gzip: OnceLock::new(), deflate: OnceLock::new() };
        Arc::make_mut(&mut self.0).insert(name.into(), Arc::new(file));
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The answer to a request for the file of this name; `None` if it is none.
    #[must_use]
    pub fn answer(
        &self,
        method: &Method,
        name: &str,
        headers: &HeaderMap,
        compression: Option<&HttpCompression>,
    ) -> Option<Response<Bytes>> {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        Some(self.0.get(name).filter(|_| reads)?.answer(headers, compression))
    }
}

impl File {
    fn answer(&self, headers: &HeaderMap, options: Option<&HttpCompression>) -> Response<Bytes> {
        let encoding = options
            .filter(|options| self.content.len() >= options.threshold)
            .and_then(|_| compression::negotiate(headers));
        let compressed = encoding.and_then(|encoding| self.compressed(encoding).map(|content| (encoding, content)));
        // A strong validator names the bytes that are sent, so each coding has its own.
        let etag = match compressed {
            Some((encoding, _)) => format!("\"{}-{}\"", self.hash, encoding.as_str()),
            None => format!("\"{}\"", self.hash),
        };
        let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| names(value.as_bytes(), etag.as_bytes()));
        let mut answer = Response::new(Bytes::new());
        let fields = answer.headers_mut();
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
        if let Ok(etag) = HeaderValue::try_from(etag) {
            fields.insert(header::ETAG, etag);
        }
        if options.is_some() {
            fields.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        }
        if known {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            return answer;
        }
        fields.insert(header::CONTENT_TYPE, self.content_type.clone());
        if let Some((encoding, _)) = compressed {
            fields.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding.as_str()));
        }
        *answer.body_mut() = compressed.map_or(&self.content, |(_, content)| content).clone();
        answer
    }

    /// The file in this coding; `None` if that is not shorter.
    fn compressed(&self, encoding: Encoding) -> Option<&Bytes> {
        let kept = match encoding {
            Encoding::Gzip => &self.gzip,
            Encoding::Deflate => &self.deflate,
        };
        let compress = || {
            let bytes = compression::compress(encoding, &self.content, LEVEL)?.bytes;
            (bytes.len() < self.content.len()).then(|| bytes.into())
        };
        kept.get_or_init(compress).as_ref()
    }
}

/// Whether a value of `If-None-Match` names this validator. Weak ones count too (RFC 9110, 13.1.2).
fn names(value: &[u8], etag: &[u8]) -> bool {
    let tags = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    tags.map(|tag| tag.strip_prefix(b"W/").unwrap_or(tag)).any(|tag| tag == b"*" || tag == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    const JAVASCRIPT: &str = "application/javascript; charset=utf-8";

    fn files() -> Files {
        let mut files = Files::default();
        files.add("a.js", JAVASCRIPT, "a".repeat(50_000));
        files.add("short.js", JAVASCRIPT, "b");
        files
    }

    fn ask(files: &Files, name: &str, fields: &[(header::HeaderName, &str)]) -> Option<Response<Bytes>> {
        let fields = fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
        files.answer(&Method::GET, name, &fields, Some(&HttpCompression::default()))
    }

    #[test]
    fn only_a_get_or_head_for_a_name_is_answered() {
        for name in ["", "b.js", "../a.js", "/a.js", "a.js/"] {
            assert!(ask(&files(), name, &[]).is_none(), "{name}");
        }
        let none = HeaderMap::new();
        for (method, answered) in [(Method::HEAD, true), (Method::POST, false), (Method::OPTIONS, false)] {
            assert_eq!(files().answer(&method, "a.js", &none, None).is_some(), answered, "{method}");
        }
    }

    #[test]
    fn the_validator_names_the_bytes_that_are_sent() {
        let files = files();
        let get = |fields: &[(header::HeaderName, &str)]| ask(&files, "a.js", fields).unwrap();
        let gzip = (header::ACCEPT_ENCODING, "gzip");
        let (plain, packed) = (get(&[]), get(std::slice::from_ref(&gzip)));
        let etag = |answer: &Response<Bytes>| answer.headers()[header::ETAG].to_str().unwrap().to_owned();
        assert_ne!(etag(&plain), etag(&packed));
        assert_eq!(plain.headers()[header::VARY], "Accept-Encoding");
        let weak = format!("W/{}", etag(&plain));
        let list = format!("\"x\", {}", etag(&plain));
        for (value, status) in [(&*etag(&plain), 304), (&weak, 304), (&list, 304), ("*", 304), ("\"x\"", 200)] {
            let answer = get(&[(header::IF_NONE_MATCH, value)]);
            assert_eq!((answer.status().as_u16(), answer.body().is_empty()), (status, status == 304), "{value}");
            assert_eq!(etag(&answer), etag(&plain));
        }
        assert_eq!(get(&[gzip, (header::IF_NONE_MATCH, &*etag(&packed))]).status(), 304);
    }

    #[test]
    fn a_file_is_compressed_once_if_that_is_accepted_and_configured() {
        let files = files();
        let body = |name: &str, codings: &str| {
            let answer = ask(&files, name, &[(header::ACCEPT_ENCODING, codings)]).unwrap();
            (answer.headers().get(header::CONTENT_ENCODING).cloned(), answer.into_body())
        };
        for coding in ["gzip", "deflate"] {
            let (named, first) = body("a.js", coding);
            assert_eq!(named.unwrap(), coding);
            assert!(first.len() < 500);
            assert_eq!(first.as_ptr(), body("a.js", coding).1.as_ptr(), "kept");
        }
        assert_eq!(body("a.js", "br").1.len(), 50_000);
        assert_eq!(body("short.js", "gzip"), (None, Bytes::from_static(b"b")));
        let fields = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"))]);
        assert_eq!(files.answer(&Method::GET, "a.js", &fields, None).unwrap().body().len(), 50_000);
    }
}
