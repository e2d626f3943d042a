//! A process that stalled (it was stopped, or its machine slept) for longer than its peers may take: what they sent in
//! time counts, although it is read late.

use std::{
    sync::{Mutex, mpsc},
    time::Duration,
};

use bytes::Bytes;
use engineio::{Config, hooks::Outcome};
use http::{Response, StatusCode};

use super::support::{Http, TestServer, post_request, request, soon};

const LIMIT: Duration = Duration::from_millis(300);
const OPEN: &str = "EIO=4&transport=polling";

/// A server whose only shard can be made to stall.
struct Stalling {
    server: TestServer,
    begun: tokio::sync::mpsc::UnboundedReceiver<()>,
    sent: mpsc::Sender<()>,
}

impl Stalling {
    fn start(configure: impl FnOnce(&mut Config)) -> Self {
        let (begins, begun) = tokio::sync::mpsc::unbounded_channel();
        let (sent, was_sent) = mpsc::channel();
        let was_sent = Mutex::new(was_sent);
        let stall = move || {
            let _ = begins.send(());
            let _ = was_sent.lock().map(|was_sent| was_sent.recv());
            // Deadlines that were due when the stall began, or that come from what was sent meanwhile, are long past
            // then.
            std::thread::sleep(2 * LIMIT);
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NOT_FOUND;
            Outcome::Ready(response)
        };
        let server = TestServer::start_server(1, configure, |server| server.fallback(move |_| stall()));
        Self { server, begun, sent }
    }

    /// Makes the shard stall. Returns the connection that did it.
    async fn begin(&mut self) -> Http {
        let mut http = self.server.connect().await;
        http.send(b"GET /stall HTTP/1.1\r\nHost: l\r\n\r\n").await;
        self.begun.recv().await.unwrap();
        http
    }

    /// Ends the stall after twice [`LIMIT`].
    async fn end(&mut self, mut http: Http) {
        self.sent.send(()).unwrap();
        assert_eq!(http.response().await.status, 404);
    }
}

#[tokio::test]
async fn a_request_that_came_in_time_is_served() {
    let mut stalling = Stalling::start(|config| (config.head_timeout, config.keep_alive) = (LIMIT, LIMIT));
    let whole = request("GET", OPEN, "", "");
    for sent_before in [0, 20] {
        let (early, late) = whole.split_at(sent_before);
        let mut http = stalling.server.connect().await;
        assert_eq!(http.get(OPEN).await.status, 200);
        http.send(early.as_bytes()).await;
        let stall = stalling.begin().await;
        http.send(late.as_bytes()).await;
        stalling.end(stall).await;
        assert_eq!(http.response().await.status, 200, "{sent_before}");
    }
}

#[tokio::test]
async fn a_pong_that_came_in_time_counts() {
    let mut stalling = Stalling::start(|config| {
        config.ping_interval = Duration::from_millis(50);
        config.ping_timeout = LIMIT;
    });
    let query = format!("{OPEN}&sid={}", stalling.server.open().await);
    assert_eq!(stalling.server.get(&query).await.body, "2");
    let stall = stalling.begin().await;
    // On a connection that is accepted, and so read, only after deadlines were checked.
    let mut http = stalling.server.connect().await;
    http.send(post_request(&query, "3").as_bytes()).await;
    stalling.end(stall).await;
    assert_eq!(http.response().await.status, 200);
}

#[tokio::test]
async fn the_lag_of_a_shard_shows_how_long_it_stood_still() {
    let mut stalling = Stalling::start(|_| {});
    let stall = stalling.begin().await;
    stalling.end(stall).await;
    // A sample is due every 250 ms, and so came at least this late.
    let least = 2 * LIMIT - Duration::from_millis(250);
    // It is taken by the turn after the stall, maybe after that of this question.
    let stats = soon(async {
        loop {
            let stats = stalling.server.stats().await;
            if stats.lag.sum() >= least {
                return stats;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let late = stats.lag.buckets().filter(|(bound, _)| bound.is_none_or(|bound| bound >= least));
    assert!(late.map(|(_, count)| count).sum::<u64>() >= 1, "{stats:?}");
    assert!(stats.busy > Duration::ZERO);
}
