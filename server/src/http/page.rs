//! The page at `/`: its files, which the binary holds, and what the page has to know of the configuration.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use super::response::{text, with_type};
use crate::config::Config;

/// A file of the page: path, content type, content.
type File = (&'static str, &'static str, &'static str);

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The document. Its scripts and styles carry [`NONCE`] in the place of the nonce of each answer.
const DOCUMENT: &str = include_str!("../page/index.html");

/// What stands in the document for the nonce.
const NONCE: &str = "{nonce}";

/// What the document loads.
const FILES: [File; 23] = [
    ("/page/theme.css", CSS, include_str!("../page/theme.css")),
    ("/page/layout.css", CSS, include_str!("../page/layout.css")),
    ("/page/messages.css", CSS, include_str!("../page/messages.css")),
    ("/page/attachments.js", SCRIPT, include_str!("../page/attachments.js")),
    ("/page/chat.js", SCRIPT, include_str!("../page/chat.js")),
    ("/page/composer-view.js", SCRIPT, include_str!("../page/composer-view.js")),
    ("/page/connection-view.js", SCRIPT, include_str!("../page/connection-view.js")),
    ("/page/dom.js", SCRIPT, include_str!("../page/dom.js")),
    ("/page/emitter.js", SCRIPT, include_str!("../page/emitter.js")),
    ("/page/log-view.js", SCRIPT, include_str!("../page/log-view.js")),
    ("/page/main.js", SCRIPT, include_str!("../page/main.js")),
    ("/page/message-view.js", SCRIPT, include_str!("../page/message-view.js")),
    ("/page/outbox.js", SCRIPT, include_str!("../page/outbox.js")),
    ("/page/pane-view.js", SCRIPT, include_str!("../page/pane-view.js")),
    ("/page/people-view.js", SCRIPT, include_str!("../page/people-view.js")),
    ("/page/problems.js", SCRIPT, include_str!("../page/problems.js")),
    ("/page/protocol.js", SCRIPT, include_str!("../page/protocol.js")),
    ("/page/room.js", SCRIPT, include_str!("../page/room.js")),
    ("/page/rooms-view.js", SCRIPT, include_str!("../page/rooms-view.js")),
    ("/page/session.js", SCRIPT, include_str!("../page/session.js")),
    ("/page/sign-in-view.js", SCRIPT, include_str!("../page/sign-in-view.js")),
    ("/page/socket.js", SCRIPT, include_str!("../page/socket.js")),
    ("/page/icon.svg", "image/svg+xml", include_str!("../page/icon.svg")),
];

/// No script and no style but those that the document names by its nonce, and what these import. No connection but to this server.
/// Images also from memory, for attachments. Nothing that takes text for markup or for a script runs at all (Trusted Types without
/// any policy): what a message holds can never run.
const POLICY: &str = "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
                      img-src 'self' blob:; require-trusted-types-for 'script'; trusted-types 'none'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

/// What else keeps other pages away from this one.
const HEADERS: [(HeaderName, &str); 3] = [
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// The page of one server.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    config: Arc<ArcSwap<Config>>,
}

impl Page {
    /// Of a server with this configuration.
    pub(crate) const fn new(config: Arc<ArcSwap<Config>>) -> Self {
        Self { config }
    }

    /// The answer to GET, if the path is one of the page's.
    pub(super) fn answer(&self, path: &str) -> Option<Response<Bytes>> {
        let mut response = match path {
            "/" => document(),
            "/page/settings.json" => with_type(StatusCode::OK, "application/json", settings(&self.config.load())),
            path => {
                let (_, content_type, content) = FILES.iter().find(|(of, ..)| *of == path)?;
                with_type(StatusCode::OK, content_type, *content)
            }
        };
        for (name, value) in HEADERS {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        Some(response)
    }
}

/// The document, with a nonce that nobody can have guessed.
fn document() -> Response<Bytes> {
    let mut random = [0; 16];
    if getrandom::fill(&mut random).is_err() {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "the operating system gives no random bytes\n");
    }
    let nonce = format!("{:032x}", u128::from_ne_bytes(random));
    let mut response = with_type(StatusCode::OK, HTML, DOCUMENT.replace(NONCE, &nonce));
    if let Ok(policy) = HeaderValue::try_from(POLICY.replace(NONCE, &nonce)) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    // A nonce is for one answer. `no-store` would keep browsers from going back to the page without loading it again.
    response
}

/// What the page has to know: how one signs in, and what the server would refuse. A limit that is switched off is 0.
fn settings(config: &Config) -> String {
    let limits = &config.limits;
    serde_json::json!({
        "development": config.development,
        "lobby": config.rooms.lobby,
        "messageLength": limits.message_length,
        "attachments": limits.attachments,
        "attachmentBytes": limits.attachment_bytes,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        Page::new(Arc::new(ArcSwap::from_pointee(Config::default())))
    }

    fn body(response: &Response<Bytes>) -> String {
        String::from_utf8(response.body().to_vec()).unwrap()
    }

    #[test]
    fn the_page_names_no_foreign_address_and_only_files_that_are_served() {
        let document = body(&page().answer("/").unwrap());
        let namespace = "http://www.w3.org/2000/svg";
        for (path, _, content) in FILES.into_iter().chain([("/", HTML, DOCUMENT)]) {
            let content = content.replace(namespace, "");
            assert!(!content.contains("http://") && !content.contains("https://"), "{path}");
            for import in content.lines().filter_map(|line| line.split_once(" from './")) {
                let import = format!("/page/{}", import.1.trim_end_matches("';"));
                assert!(page().answer(&import).is_some(), "{path} imports {import}");
            }
        }
        for reference in document.split('"').filter(|text| text.starts_with('/') && text.contains('.')) {
            assert!(page().answer(reference).is_some(), "{reference}");
        }
        assert!(page().answer("/page/").is_none() && page().answer("/page/../main.rs").is_none());
    }

    #[test]
    fn each_answer_has_a_nonce_of_its_own() {
        let nonce_of = |response: &Response<Bytes>| {
            let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(!policy.contains("unsafe") && policy.contains("require-trusted-types-for 'script'"), "{policy}");
            let nonce = policy.split_once("script-src 'nonce-").unwrap().1.split_once('\'').unwrap().0.to_owned();
            assert_eq!(nonce.len(), 32);
            let document = body(response);
            let elements = document.matches("<script").count() + document.matches("rel=\"stylesheet\"").count();
            assert_eq!(document.matches(&format!("nonce=\"{nonce}\"")).count(), elements);
            assert!(!document.contains(NONCE));
            nonce
        };
        let [first, second] =
            [page().answer("/").unwrap(), page().answer("/").unwrap()].map(|answer| nonce_of(&answer));
        assert_ne!(first, second);
    }

    #[test]
    fn the_page_knows_the_limits() {
        let answer = page().answer("/page/settings.json").unwrap();
        let settings: serde_json::Value = serde_json::from_str(&body(&answer)).unwrap();
        assert_eq!(settings["attachmentBytes"], 262_144);
        assert_eq!(settings["development"], true);
    }
}
