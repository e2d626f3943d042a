//! Several shards as one server: requests that come to a shard without their session, messages between handlers, and
//! limits and a shutdown that apply to all shards.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use engineio::{CloseReason, ConnKey, Handler, Handshake, Outbox, ShardMessage, Sid, net::Server};
use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message;

use super::support::{Http, TestServer, frame, next_text, post_request, request, sid_of, soon, upgrade_request};

const UNKNOWN: &str = r#"{"code":1,"message":"Session ID unknown"}"#;

fn polling(sid: &str) -> String {
    format!("EIO=4&transport=polling&sid={sid}")
}

fn websocket(sid: &str) -> String {
    format!("EIO=4&transport=websocket&sid={sid}")
}

fn shard_of(sid: &str) -> u16 {
    Sid::parse(sid).expect("a sid").shard()
}

/// Opens one polling session on every shard.
async fn session_of_each(server: &TestServer, shards: u16) -> Vec<String> {
    let mut sids: Vec<Option<String>> = vec![None; usize::from(shards)];
    // Shards with equal counts take turns, so this many are enough.
    for _ in 0..shards * 2 {
        let sid = server.open().await;
        let place = usize::from(shard_of(&sid));
        sids[place] = Some(sid);
    }
    sids.into_iter().map(|sid| sid.expect("connections come to every shard")).collect()
}

/// Opens one connection to every shard, and keeps it there.
async fn connection_to_each(server: &TestServer, shards: u16) -> Vec<Http> {
    let mut connections = Vec::new();
    for _ in 0..shards {
        let mut http = server.connect().await;
        http.stay_here().await;
        connections.push(http);
    }
    connections
}

#[tokio::test]
async fn every_shard_answers_for_the_sessions_of_all() {
    for shards in [1, 2, 4] {
        let server = TestServer::start_shards(shards, |_| {});
        let sids = session_of_each(&server, shards).await;
        for http in &mut connection_to_each(&server, shards).await {
            for sid in &sids {
                let query = polling(sid);
                assert_eq!(http.post(&query, "4a\x1ebAQID").await.body, "ok");
                assert_eq!(http.get(&query).await.body, "4a\x1ebAQID");
                // A poll that waits, and whose answer a request on another connection causes.
                http.send(request("GET", &query, "", "").as_bytes()).await;
                assert_eq!(server.post(&query, "4b").await.body, "ok");
                assert_eq!(http.response().await.body, "4b");
                http.send(request("PUT", &query, "", "").as_bytes()).await;
                let refused = http.response().await;
                assert_eq!((refused.status, refused.body.as_str()), (400, ""));
            }
        }
        for sid in &sids {
            assert_eq!(server.post(&polling(sid), "4c").await.body, "ok", "a fresh connection");
            assert_eq!(server.get(&polling(sid)).await.body, "4c");
        }
    }
}

#[tokio::test]
async fn requests_for_different_shards_may_follow_each_other_in_one_segment() {
    let server = TestServer::start_shards(4, |_| {});
    let sids = session_of_each(&server, 4).await;
    let pair = |sid: &String| [post_request(&polling(sid), "4a"), request("GET", &polling(sid), "", "")].concat();
    let pipeline: String = sids.iter().map(pair).collect();
    // On a connection that goes to the shard of the first session, and on one that stays.
    for stays in [false, true] {
        let mut http = server.connect().await;
        if stays {
            http.stay_here().await;
        }
        http.send(pipeline.as_bytes()).await;
        for _ in &sids {
            assert_eq!(http.response().await.body, "ok");
            assert_eq!(http.response().await.body, "4a");
        }
    }
}

#[tokio::test]
async fn an_upgrade_ends_up_on_the_shard_of_its_session() {
    for shards in [1, 2, 4] {
        let server = TestServer::start_shards(shards, |_| {});
        for stays in [false, true] {
            let sids = session_of_each(&server, shards).await;
            let mut connections = connection_to_each(&server, shards).await;
            // Each connection's session is on the next shard, so all but one shard must pass their connection on.
            connections.rotate_left(1);
            for (mut http, sid) in connections.into_iter().zip(&sids) {
                if !stays {
                    http = server.connect().await;
                }
                // Everything at once: the bytes that were read after the handshake must be passed on too.
                let upgrade = upgrade_request(&websocket(sid)).into_bytes();
                http.send(&[upgrade, frame(0x81, b"2probe"), frame(0x81, b"5"), frame(0x81, b"4a")].concat()).await;
                assert_eq!(http.response().await.status, 101);
                assert_eq!(http.frame().await.1, b"3probe");
                assert_eq!(http.frame().await.1, b"4a");
                http.send(&frame(0x81, b"4b")).await;
                assert_eq!(http.frame().await.1, b"4b");
                // A second WebSocket for the session.
                let mut second = server.connect().await;
                second.send(upgrade_request(&websocket(sid)).as_bytes()).await;
                assert_eq!(second.response().await.status, 101);
                assert_eq!(second.frame().await, (8, vec![]));
                http.send(&frame(0x81, b"4c")).await;
                assert_eq!(http.frame().await.1, b"4c");
            }
        }
    }
}

#[tokio::test]
async fn a_stale_sid_and_a_sid_of_no_shard_are_unknown_on_every_shard() {
    let mut server = TestServer::start_shards(2, |_| {});
    let mut sids: Vec<String> = [2, 3, u16::MAX].map(|shard| Sid::new(shard, 0, [0; 15]).to_string()).into();
    sids.extend([0, 1].map(|shard| Sid::new(shard, 0, [0; 15]).to_string()));
    for sid in session_of_each(&server, 2).await {
        assert_eq!(server.post(&polling(&sid), "1").await.body, "ok");
        server.closed().await;
        assert_eq!(server.get(&polling(&sid)).await.body, "6", "the noop after the close");
        sids.push(sid);
    }
    let mut stays = connection_to_each(&server, 2).await;
    for sid in &sids {
        for http in stays.iter_mut().chain([&mut server.connect().await]) {
            assert_eq!(http.get(&polling(sid)).await.body, UNKNOWN);
            assert_eq!(http.post(&polling(sid), "4a").await.body, UNKNOWN);
        }
        for stays in [false, true] {
            let mut http = server.connect().await;
            if stays {
                http.stay_here().await;
            }
            http.send(upgrade_request(&websocket(sid)).as_bytes()).await;
            assert_eq!(http.response().await.body, "Session ID unknown");
        }
    }
}

#[tokio::test]
async fn connections_are_spread_evenly_over_the_shards() {
    let server = TestServer::start_shards(4, |_| {});
    let mut held = Vec::new();
    let mut counts = [0; 4];
    for _ in 0..12 {
        let mut http = server.connect().await;
        http.send(upgrade_request("EIO=4&transport=websocket").as_bytes()).await;
        assert_eq!(http.response().await.status, 101);
        let open = String::from_utf8(http.frame().await.1).unwrap();
        counts[usize::from(shard_of(&sid_of(&open)))] += 1;
        held.push(http);
    }
    assert_eq!(counts, [3; 4]);
}

#[tokio::test]
async fn shard_messages_arrive_in_order_also_those_to_the_same_shard() {
    for shards in [1, 2, 4] {
        let server = TestServer::start_shards(shards, |_| {});
        let mut sockets = Vec::new();
        for _ in 0..shards {
            sockets.push(server.websocket().await);
        }
        for sender in 0..usize::from(shards) {
            for target in 0..shards {
                for n in 0..200 {
                    sockets[sender].feed(Message::text(format!("4post {target} {sender} {n}"))).await.unwrap();
                }
            }
            soon(sockets[sender].flush()).await.unwrap();
            for socket in &mut sockets {
                for n in 0..200 {
                    assert_eq!(next_text(socket).await, format!("4{sender} {n}"));
                }
            }
        }
    }
}

#[tokio::test]
async fn only_a_message_that_panics_or_has_no_target_is_lost() {
    let server = TestServer::start_shards(2, |_| {});
    let mut sockets = [server.websocket().await, server.websocket().await];
    for text in ["4post 0 panic", "4post 1 panic", "4post 2 nobody", "4post 65535 nobody", "4post 0 a", "4post 1 a"] {
        sockets[0].send(Message::text(text)).await.unwrap();
    }
    for socket in &mut sockets {
        assert_eq!(next_text(socket).await, "4a");
    }
}

#[tokio::test]
async fn max_sessions_counts_over_all_shards() {
    let mut server = TestServer::start_shards(4, |config| config.max_sessions = 6);
    let mut held = Vec::new();
    for n in 0..6 {
        match n % 2 {
            0 => held.push(server.websocket().await),
            _ => drop(server.open().await),
        }
    }
    for _ in 0..8 {
        assert_eq!(server.get("EIO=4&transport=polling").await.status, 503);
        let mut http = server.connect().await;
        http.send(upgrade_request("EIO=4&transport=websocket").as_bytes()).await;
        assert_eq!(http.response().await.status, 503);
    }
    held.pop();
    server.closed().await;
    // The handler is told of a close just before the session stops counting, and another shard may answer this request.
    soon(async { while server.get("EIO=4&transport=polling").await.status == 503 {} }).await;
    assert_eq!(server.get("EIO=4&transport=polling").await.status, 503);
}

#[tokio::test]
async fn a_shutdown_ends_the_sessions_of_all_shards_and_waits_for_the_answers_under_way() {
    let mut server = TestServer::start_shards(4, |_| {});
    let mut sockets = Vec::new();
    for _ in 0..8 {
        sockets.push(server.raw_websocket().await);
    }
    let sids = session_of_each(&server, 4).await;
    // Polls for the sessions of all shards, on connections of other shards.
    let mut polls = connection_to_each(&server, 4).await;
    polls.rotate_left(1);
    for (http, sid) in polls.iter_mut().zip(&sids) {
        http.send(request("GET", &polling(sid), "", "").as_bytes()).await;
        // The poll has been received, since it answers this one.
        assert_eq!(server.post(&polling(sid), "4a").await.body, "ok");
        assert_eq!(http.response().await.body, "4a");
        http.send(request("GET", &polling(sid), "", "").as_bytes()).await;
        assert_eq!(server.post(&polling(sid), "6").await.body, "ok");
    }
    // The last session has no poll waiting when the shutdown begins: it learns of it on its open connection.
    let late = server.open().await;
    let mut late_http = server.connect().await;
    late_http.stay_here().await;
    let clients = tokio::spawn(async move {
        for ws in &mut sockets {
            assert_eq!(ws.frame().await, (8, 1001u16.to_be_bytes().to_vec()));
        }
        drop(sockets);
        for http in &mut polls {
            assert_eq!(http.response().await.body, "1");
        }
        assert_eq!(late_http.get(&polling(&late)).await.body, "1");
        for mut http in polls.into_iter().chain([late_http]) {
            assert!(http.ended().await);
        }
    });
    let opened: HashSet<u16> = sids.iter().map(|sid| shard_of(sid)).collect();
    assert_eq!(opened.len(), 4);
    // The other sessions never poll, and are waited for as long as any closed session: 5 s.
    let took = tokio::task::spawn_blocking(move || server.shutdown(Duration::from_secs(60))).await.unwrap();
    assert!(took < Duration::from_secs(8), "{took:?}");
    clients.await.unwrap();
}

struct Deaf;

impl Handler for Deaf {
    fn on_open(&mut self, _: &mut dyn Outbox, _: ConnKey, _: &Handshake<'_>) {}
    fn on_message(&mut self, _: &mut dyn Outbox, _: ConnKey, _: engineio::Message<'_>) {}
    fn on_close(&mut self, _: &mut dyn Outbox, _: ConnKey, _: CloseReason) {}
}

#[tokio::test]
async fn a_shard_that_could_not_start_stops_the_others() {
    use engineio::{Config, net::Server};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let made = std::sync::atomic::AtomicUsize::new(0);
    let factory = move || {
        assert_ne!(made.fetch_add(1, std::sync::atomic::Ordering::Relaxed), 2, "asked to panic");
        Deaf
    };
    let began = tokio::task::spawn_blocking(|| Server::new(Config::default()).shards(4).serve(listener, factory));
    assert!(soon(began).await.unwrap().is_err());
}

#[tokio::test]
async fn a_poll_aborted_on_another_shard_ends_its_session() {
    let mut server = TestServer::start_shards(2, |_| {});
    for sid in session_of_each(&server, 2).await {
        for http in connection_to_each(&server, 2).await.iter_mut().rev() {
            // Both connections poll in turn; only the shard of the one that disconnects differs.
            assert_eq!(http.post(&polling(&sid), "4a").await.body, "ok");
            assert_eq!(http.get(&polling(&sid)).await.body, "4a");
        }
        let mut connections = connection_to_each(&server, 2).await;
        let foreign = usize::from(shard_of(&sid) == 0);
        connections[foreign].send(request("GET", &polling(&sid), "", "").as_bytes()).await;
        drop(connections);
        server.closed().await;
        assert_eq!(server.get(&polling(&sid)).await.body, UNKNOWN);
    }
}

/// Sends every message on to the other of two shards, and does not end its turn before that shard has it.
struct Posting {
    flush: bool,
    has_it: mpsc::Sender<()>,
    /// Receives when the other shard has it.
    waits: Arc<Mutex<mpsc::Receiver<()>>>,
    found: tokio::sync::mpsc::UnboundedSender<bool>,
}

impl Handler for Posting {
    fn on_open(&mut self, _: &mut dyn Outbox, _: ConnKey, _: &Handshake<'_>) {}

    fn on_message(&mut self, outbox: &mut dyn Outbox, _: ConnKey, _: engineio::Message<'_>) {
        outbox.send_to_shard(1 - outbox.shard(), ShardMessage::new(()));
        self.flush = true;
    }

    fn on_close(&mut self, _: &mut dyn Outbox, _: ConnKey, _: CloseReason) {}

    fn on_shard_message(&mut self, _: &mut dyn Outbox, _: ShardMessage) {
        self.has_it.send(()).unwrap();
    }

    fn wants_flush(&self) -> bool {
        self.flush
    }

    fn on_flush(&mut self, _: &mut dyn Outbox) {
        self.flush = false;
        let found = self.waits.lock().unwrap().recv_timeout(Duration::from_secs(5)).is_ok();
        self.found.send(found).unwrap();
    }
}

#[tokio::test]
async fn another_shard_has_its_messages_while_the_handler_still_flushes() {
    let ((has_it, waits), (found, mut finds)) = (mpsc::channel(), tokio::sync::mpsc::unbounded_channel());
    let waits = Arc::new(Mutex::new(waits));
    let handler =
        move || Posting { flush: false, has_it: has_it.clone(), waits: Arc::clone(&waits), found: found.clone() };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let running = Server::new(engineio::Config::default()).shards(2).serve(listener, handler).unwrap();
    let mut http = Http::of(tokio::net::TcpStream::connect(running.local_addr()).await.unwrap());
    let sid = sid_of(&http.get("EIO=4&transport=polling").await.body);
    assert_eq!(http.post(&polling(&sid), "4a").await.status, 200);
    assert!(finds.recv().await.unwrap(), "other shards before sockets");
}

/// Sends itself messages when it is told to, and at the first of them waits until something lies unread on another session.
struct Busy {
    dealt_with: usize,
    began: mpsc::Sender<()>,
    go_on: Arc<Mutex<mpsc::Receiver<()>>>,
    found: tokio::sync::mpsc::UnboundedSender<usize>,
}

/// Less than what stops a shard from reading, and more than one turn's worth.
const HEAVY: (usize, usize) = (40, 64 * 1024);

impl Handler for Busy {
    fn on_open(&mut self, _: &mut dyn Outbox, _: ConnKey, _: &Handshake<'_>) {}

    fn on_message(&mut self, outbox: &mut dyn Outbox, _: ConnKey, message: engineio::Message<'_>) {
        if matches!(&message, engineio::Message::Text(text) if text == "work") {
            let (count, weight) = HEAVY;
            (0..count).for_each(|_| outbox.send_to_shard(0, ShardMessage::new(()).with_weight(weight)));
        } else {
            self.found.send(self.dealt_with).unwrap();
        }
    }

    fn on_close(&mut self, _: &mut dyn Outbox, _: ConnKey, _: CloseReason) {}

    fn on_shard_message(&mut self, _: &mut dyn Outbox, _: ShardMessage) {
        if self.dealt_with == 0 {
            self.began.send(()).unwrap();
            self.go_on.lock().unwrap().recv_timeout(Duration::from_secs(5)).unwrap();
        }
        self.dealt_with += 1;
    }
}

#[tokio::test]
async fn a_socket_has_its_turn_before_all_messages_of_other_shards_are_dealt_with() {
    let ((began, begins), (go_on, goes_on)) = (mpsc::channel(), mpsc::channel());
    let (found, mut finds) = tokio::sync::mpsc::unbounded_channel();
    let goes_on = Arc::new(Mutex::new(goes_on));
    let handler =
        move || Busy { dealt_with: 0, began: began.clone(), go_on: Arc::clone(&goes_on), found: found.clone() };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let running = Server::new(engineio::Config::default()).serve(listener, handler).unwrap();
    let url = format!("ws://{}/engine.io/?EIO=4&transport=websocket", running.local_addr());
    let (mut busy, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    let (mut other, _) = tokio_tungstenite::connect_async(&url).await.unwrap();
    busy.send(Message::text("4work")).await.unwrap();
    tokio::task::spawn_blocking(move || begins.recv_timeout(Duration::from_secs(5))).await.unwrap().unwrap();
    other.send(Message::text("4hello")).await.unwrap();
    go_on.send(()).unwrap();
    let dealt_with = finds.recv().await.unwrap();
    assert!(dealt_with < HEAVY.0, "all {dealt_with} came before the socket");
}
