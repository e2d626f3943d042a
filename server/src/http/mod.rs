//! HTTP beside the socket: the page (`page`), signing in by a name in development mode (`sign_in`), whether the server lives and is
//! ready (`health`), what it has counted (`metrics`), and the API for an application's servers (`api`).

mod api;
mod health;
mod measures;
mod metrics;
mod page;
mod response;
mod sign_in;

use std::sync::Arc;

use bytes::Bytes;
use engineio::{
    hooks::Outcome,
    net::{Handle, OtherRequest},
};
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};

pub(crate) use api::Api;
pub(crate) use health::Readiness;
use metrics::Sources;
use page::Page;
use response::text;
use sign_in::SignIn;

use crate::{chat::Shared, webhooks::Webhooks};

/// What answers.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    readiness: Readiness,
    chat: Arc<Shared>,
    api: Api,
    webhooks: Webhooks,
    page: Page,
    /// `None` outside development mode.
    sign_in: Option<SignIn>,
}

impl Site {
    /// Of a server with this chat, whose configuration may be replaced.
    pub(crate) fn new(readiness: Readiness, chat: Arc<Shared>, api: Api, webhooks: Webhooks) -> Self {
        let (page, sign_in) = (Page::new(chat.config()), SignIn::new(&chat.config().load()));
        Self { readiness, chat, api, webhooks, page, sign_in }
    }

    /// What `/metrics` tells of, beside the shards.
    fn sources(&self) -> Sources {
        Sources {
            readiness: self.readiness.clone(),
            chat: Arc::clone(&self.chat),
            api: self.api.clone(),
            webhooks: self.webhooks.clone(),
        }
    }
}

/// Which of the paths a port serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// All of them: there is no other port.
    Only,
    /// Those of the clients.
    Public,
    /// Those of the operator: `http.admin_listen`.
    Admin,
}

impl Port {
    /// Whether this path is one of its own.
    fn serves(self, path: &str) -> bool {
        let is_admin = matches!(path, "/healthz" | "/readyz" | "/metrics" | "/api") || path.starts_with("/api/");
        match self {
            Self::Only => true,
            Self::Public => !is_admin,
            Self::Admin => is_admin,
        }
    }
}

/// Answers a request for a path that is not the engine's.
pub(crate) fn answer(request: &OtherRequest<'_>, site: &Site, port: Port) -> Outcome<Response<Bytes>> {
    let Parts { method, uri, .. } = request.parts;
    if !port.serves(uri.path()) {
        return Outcome::Ready(text(StatusCode::NOT_FOUND, "not found\n"));
    }
    if uri.path().starts_with(api::PREFIX) {
        return site.api.answer(request);
    }
    match (method, uri.path(), &site.sign_in) {
        (&Method::GET | &Method::HEAD, path, _) => resource(path, request.handle, site),
        // Some load balancers check a server with OPTIONS (HAProxy: `OPTIONS /`). They get the status that GET gets.
        (&Method::OPTIONS, path, _) => match resource(path, request.handle, site) {
            Outcome::Ready(response) => Outcome::Ready(methods_of(&response)),
            Outcome::Pending(response) => Outcome::pending(async { methods_of(&response.await) }),
        },
        (&Method::POST, sign_in::PATH, Some(sign_in)) => Outcome::Ready(sign_in.answer(request)),
        _ => {
            let refusal = text(StatusCode::METHOD_NOT_ALLOWED, "only GET, HEAD and OPTIONS are answered here\n");
            Outcome::Ready(with_methods(refusal))
        }
    }
}

/// The answer to OPTIONS for a resource whose answer to GET is this one.
fn methods_of(response: &Response<Bytes>) -> Response<Bytes> {
    let status = response.status();
    with_methods(text(if status == StatusCode::OK { StatusCode::NO_CONTENT } else { status }, ""))
}

fn with_methods(mut response: Response<Bytes>) -> Response<Bytes> {
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}

/// The answer to GET.
fn resource(path: &str, shards: &Handle, site: &Site) -> Outcome<Response<Bytes>> {
    let readiness = &site.readiness;
    match path {
        "/healthz" => Outcome::Ready(text(StatusCode::OK, "ok\n")),
        "/readyz" => Outcome::pending(readiness.clone().check(shards.clone())),
        "/metrics" => Outcome::pending(metrics::metrics(shards.clone(), site.sources())),
        path => Outcome::Ready(site.page.answer(path).unwrap_or_else(|| text(StatusCode::NOT_FOUND, "not found\n"))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use engineio::net::{OtherBody, Running, Server};

    use super::*;
    use crate::{chat::Chat, config::Environment};

    /// Answers from a server whose only shard runs a chat, and from one whose shards have ended.
    struct Answering {
        running: Option<Running>,
        handle: Handle,
        readiness: Readiness,
        site: Site,
        port: Port,
    }

    impl Answering {
        fn start() -> Self {
            let config = Arc::new(crate::config::load(None, Vec::new(), Environment(Vec::new())).unwrap());
            let shared = Arc::new(Shared::new(Arc::clone(&config), 2, None));
            let chat = Arc::clone(&shared);
            let api = Api::new(&config, shared.api());
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let running = Server::new(engineio::Config::default())
                .shards(2)
                .serve(listener, move || socketio::Server::new(socketio::Config::default(), Chat::new(&shared)))
                .unwrap();
            let readiness = Readiness::default();
            let site = Site::new(readiness.clone(), chat, api, Webhooks::default());
            Self { handle: running.handle(), running: Some(running), readiness, site, port: Port::Only }
        }

        fn get(&self, method: &str, path: &str) -> (u16, String) {
            let request = http::Request::builder().method(method).uri(path).body(()).unwrap();
            let (parts, remote) = (request.into_parts().0, "127.0.0.1:9".parse().unwrap());
            let body = OtherBody::of("");
            let request = OtherRequest { parts: &parts, remote, handle: &self.handle, body: &body };
            let outcome = answer(&request, &self.site, self.port);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let response = match outcome {
                Outcome::Ready(response) => response,
                Outcome::Pending(response) => runtime.block_on(response),
            };
            (response.status().as_u16(), String::from_utf8(response.body().to_vec()).unwrap())
        }

        fn end_shards(&mut self) {
            let running = self.running.take().unwrap();
            running.shutdown(Duration::ZERO);
            running.join().unwrap();
        }
    }

    #[test]
    fn health_readiness_and_the_rest() {
        let mut server = Answering::start();
        assert_eq!(server.get("GET", "/healthz"), (200, "ok\n".into()));
        assert_eq!(server.get("GET", "/readyz"), (200, "ready\n".into()));
        let (status, metrics) = server.get("GET", "/metrics");
        assert!(status == 200 && metrics.contains("chat_sockets 0\n") && metrics.ends_with("# EOF\n"), "{metrics}");
        assert_eq!(server.get("GET", "/../etc/passwd").0, 404);
        assert_eq!(server.get("POST", "/").0, 405);
        for path in ["/", "/healthz", "/readyz"] {
            assert_eq!(server.get("HEAD", path).0, 200, "{path}");
            assert_eq!(server.get("OPTIONS", path), (204, String::new()), "{path}");
        }
        assert_eq!(server.get("OPTIONS", "/nothing").0, 404);
        server.end_shards();
        assert_eq!(server.get("GET", "/readyz"), (503, "shard 0 does not answer\n".into()));
        assert_eq!(server.get("OPTIONS", "/readyz").0, 503);
        assert_eq!(server.get("GET", "/metrics"), (503, "shard 0 does not answer\n".into()));
        server.readiness.drain();
        assert_eq!(server.get("GET", "/readyz"), (503, "draining\n".into()));
        assert_eq!(server.get("GET", "/healthz").0, 200);
    }

    #[test]
    fn tokens_are_given_in_development_mode_only() {
        let mut server = Answering::start();
        assert_eq!(server.get("POST", "/dev/token?name=alice").0, 403, "without the header");
        assert_eq!(server.get("GET", "/dev/token?name=alice").0, 404);
        server.site.sign_in = None;
        assert_eq!(server.get("POST", "/dev/token?name=alice").0, 405);
    }

    #[test]
    fn with_two_ports_each_has_its_own_paths() {
        let mut server = Answering::start();
        for (port, admin, public) in [(Port::Only, true, true), (Port::Public, false, true), (Port::Admin, true, false)]
        {
            server.port = port;
            for (path, is_there) in [
                ("/healthz", admin),
                ("/readyz", admin),
                ("/metrics", admin),
                ("/", public),
                ("/page/theme.css", public),
                ("/metrics/", false),
                ("/nothing", false),
            ] {
                for method in ["GET", "HEAD"] {
                    assert_eq!(server.get(method, path).0 == 200, is_there, "{port:?} {method} {path}");
                }
            }
        }
        server.port = Port::Public;
        // Not even what it would say of a method tells whether there is an API.
        assert!(["/api", "/api/rooms", "/metrics"].iter().all(|path| server.get("POST", path).0 == 404));
    }
}
