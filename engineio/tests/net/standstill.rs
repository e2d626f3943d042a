//! A process that stood still (stopped, or its machine asleep) longer than its peers have time: what they sent in time is
//! heard, although it is read late.

use std::{
    sync::{Mutex, mpsc},
    time::Duration,
};

use bytes::Bytes;
use engineio::{Config, hooks::Outcome};
use http::{Response, StatusCode};

use super::support::{Http, TestServer, post_request, request};

const LIMIT: Duration = Duration::from_millis(300);
const OPEN: &str = "EIO=4&transport=polling";

/// A server whose only shard can be made to stand still.
struct Still {
    server: TestServer,
    begun: tokio::sync::mpsc::UnboundedReceiver<()>,
    sent: mpsc::Sender<()>,
}

impl Still {
    fn start(configure: impl FnOnce(&mut Config)) -> Self {
        let (begins, begun) = tokio::sync::mpsc::unbounded_channel();
        let (sent, was_sent) = mpsc::channel();
        let was_sent = Mutex::new(was_sent);
        let stand_still = move || {
            let _ = begins.send(());
            let _ = was_sent.lock().map(|was_sent| was_sent.recv());
            // Whatever was due when it began, or comes due with what was sent, is long due then.
            std::thread::sleep(2 * LIMIT);
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NOT_FOUND;
            Outcome::Ready(response)
        };
        let server = TestServer::start_server(1, configure, |server| server.fallback(move |_| stand_still()));
        Self { server, begun, sent }
    }

    /// Makes it stand still; the connection that did it.
    async fn begin(&mut self) -> Http {
        let mut http = self.server.connect().await;
        http.send(b"GET /still HTTP/1.1\r\nHost: l\r\n\r\n").await;
        self.begun.recv().await.unwrap();
        http
    }

    /// Lets it go on, when twice [`LIMIT`] have passed.
    async fn end(&mut self, mut http: Http) {
        self.sent.send(()).unwrap();
        assert_eq!(http.response().await.status, 404);
    }
}

#[tokio::test]
async fn a_request_that_came_in_time_is_served() {
    let mut still = Still::start(|config| config.head_timeout = LIMIT);
    let whole = request("GET", OPEN, "", "");
    for sent_before in [0, 20] {
        let (early, late) = whole.split_at(sent_before);
        let mut http = still.server.connect().await;
        assert_eq!(http.get(OPEN).await.status, 200);
        http.send(early.as_bytes()).await;
        let standstill = still.begin().await;
        http.send(late.as_bytes()).await;
        still.end(standstill).await;
        assert_eq!(http.response().await.status, 200, "{sent_before}");
    }
}

#[tokio::test]
async fn a_pong_that_came_in_time_is_heard() {
    let mut still = Still::start(|config| {
        config.ping_interval = Duration::from_millis(50);
        config.ping_timeout = LIMIT;
    });
    let query = format!("{OPEN}&sid={}", still.server.open().await);
    assert_eq!(still.server.get(&query).await.body, "2");
    let standstill = still.begin().await;
    // On a connection that is accepted, and so read, only after deadlines were looked at.
    let mut http = still.server.connect().await;
    http.send(post_request(&query, "3").as_bytes()).await;
    still.end(standstill).await;
    assert_eq!(http.response().await.status, 200);
}
