//! Other threads and shards: the handle, jobs, answers that come later, a shard that breaks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use engineio::{
    CloseReason, Config, ConnKey, Handler, Handshake, Job, JobId, Message, Outbox, ShardMessage,
    hooks::Outcome,
    job::{JobPanicked, TooManyJobs},
    net::{BrokenShard, Handle, Reply, Running, Server, ShardGone, TrySendError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc as channel, oneshot},
};

use super::support::{Http, sid_of};

/// What the test asks the handler to do.
enum Ask {
    /// Answers with the shard's number.
    Number(Reply<u16>),
    /// Drops the reply.
    Nothing(Reply<()>),
    /// Stalls the shard: it says that it has begun, and goes on when the test says so.
    Stall(mpsc::Sender<()>, mpsc::Receiver<()>),
    /// One of many, numbered in order.
    Count(usize),
    Start(Vec<Job>, Reply<Vec<Result<JobId, TooManyJobs>>>),
    /// Makes the timer panic, at once.
    BreakTimer,
    /// Makes the flush panic.
    BreakFlush,
}

#[derive(Debug, PartialEq)]
enum Received {
    Count(usize),
    Job(JobId, Result<String, JobPanicked>),
}

struct Asked {
    events: channel::UnboundedSender<Received>,
    timer: Option<Instant>,
    flush: bool,
}

impl Handler for Asked {
    fn on_open(&mut self, _: &mut dyn Outbox, _: ConnKey, _: &Handshake<'_>) {}
    fn on_message(&mut self, _: &mut dyn Outbox, _: ConnKey, _: Message<'_>) {}
    fn on_close(&mut self, _: &mut dyn Outbox, _: ConnKey, _: CloseReason) {}

    fn on_shard_message(&mut self, outbox: &mut dyn Outbox, message: ShardMessage) {
        match message.downcast().expect("an Ask") {
            Ask::Number(reply) => reply.send(outbox.shard()),
            Ask::Nothing(reply) => drop(reply),
            Ask::Stall(begun, go_on) => {
                begun.send(()).unwrap();
                go_on.recv().unwrap();
            }
            Ask::Count(number) => self.events.send(Received::Count(number)).unwrap(),
            Ask::Start(jobs, reply) => reply.send(jobs.into_iter().map(|job| outbox.start_job(job)).collect()),
            Ask::BreakTimer => self.timer = Some(outbox.now()),
            Ask::BreakFlush => self.flush = true,
        }
    }

    fn on_job_done(&mut self, _: &mut dyn Outbox, job: JobId, result: Result<ShardMessage, JobPanicked>) {
        let result = result.map(|message| message.downcast().expect("a text"));
        self.events.send(Received::Job(job, result)).unwrap();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.timer
    }

    fn on_timeout(&mut self, _: &mut dyn Outbox) {
        panic!("asked to panic");
    }

    fn wants_flush(&self) -> bool {
        self.flush
    }

    fn on_flush(&mut self, _: &mut dyn Outbox) {
        panic!("asked to panic");
    }
}

fn start(shards: u16, configure: impl FnOnce(&mut Config)) -> (Running, channel::UnboundedReceiver<Received>) {
    let (sender, events) = channel::unbounded_channel();
    let mut config = Config::default();
    configure(&mut config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let handler = move || Asked { events: sender.clone(), timer: None, flush: false };
    (Server::new(config).shards(shards).serve(listener, handler).unwrap(), events)
}

fn panicking() -> String {
    panic!("asked to panic")
}

fn ask(ask: Ask) -> ShardMessage {
    ShardMessage::new(ask)
}

fn end(running: Running) {
    running.shutdown(Duration::ZERO);
    running.join().unwrap();
}

/// Stalls a shard until the test uses the returned sender.
async fn stall(handle: &Handle, shard: u16) -> mpsc::Sender<()> {
    let ((begins, begun), (go_on, goes_on)) = (mpsc::channel(), mpsc::channel());
    handle.send(shard, ask(Ask::Stall(begins, goes_on))).await.unwrap();
    begun.recv().unwrap();
    go_on
}

#[tokio::test]
async fn a_handle_asks_each_shard_and_its_messages_keep_their_order() {
    let (running, mut events) = start(3, |_| {});
    let handle = running.handle();
    for shard in 0..handle.shards() {
        assert_eq!(handle.ask(shard, |reply| ask(Ask::Number(reply))).await, Ok(shard));
    }
    assert_eq!(handle.ask(3, |reply| ask(Ask::Number(reply))).await, Err(ShardGone(3)));
    assert_eq!(handle.ask(1, |reply| ask(Ask::Nothing(reply))).await, Err(ShardGone(1)));
    let sender = handle.clone();
    let sending = std::thread::spawn(move || {
        (0..5000).for_each(|number| sender.send_blocking(2, ask(Ask::Count(number))).unwrap());
    });
    for number in 0..5000 {
        assert_eq!(events.recv().await, Some(Received::Count(number)));
    }
    sending.join().unwrap();
    handle.send_all(|shard| ask(Ask::Count(usize::from(shard)))).await.unwrap();
    let mut all = [events.recv().await, events.recv().await, events.recv().await]
        .map(|event| if let Some(Received::Count(shard)) = event { shard } else { panic!("{event:?}") });
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2]);
    end(running);
}

#[tokio::test]
async fn a_shard_with_too_much_to_do_refuses_or_waits_and_loses_nothing() {
    let (running, mut events) = start(2, |_| {});
    let handle = running.handle();
    let go_on = stall(&handle, 1).await;
    let mut sent = 0;
    let refused = loop {
        match handle.try_send(1, ask(Ask::Count(sent)).with_weight(64 * 1024)) {
            Ok(()) => sent += 1,
            Err(TrySendError::Full(refused)) => break refused,
            Err(gone) => panic!("{gone}"),
        }
    };
    assert!((50..=70).contains(&sent), "4 MiB of 64 KiB each: {sent}");
    let (waiting, other) = (handle.clone(), handle.clone());
    let waits = tokio::spawn(async move { waiting.send(1, refused).await });
    // Another shard goes on meanwhile.
    assert_eq!(other.ask(0, |reply| ask(Ask::Number(reply))).await, Ok(0));
    assert!(!waits.is_finished());
    go_on.send(()).unwrap();
    waits.await.unwrap().unwrap();
    for number in 0..=sent {
        assert_eq!(events.recv().await, Some(Received::Count(number)));
    }
    end(running);
}

#[tokio::test]
async fn a_sender_that_waits_for_a_shard_learns_that_it_is_gone() {
    let (running, _events) = start(1, |_| {});
    let handle = running.handle();
    let go_on = stall(&handle, 0).await;
    while handle.try_send(0, ask(Ask::Count(0)).with_weight(1 << 20)).is_ok() {}
    let (asking, sending) = (handle.clone(), handle.clone());
    let asks = tokio::spawn(async move { asking.ask(0, |reply| ask(Ask::Number(reply))).await });
    let blocks = std::thread::spawn(move || sending.send_blocking(0, ask(Ask::Count(1))));
    running.shutdown(Duration::ZERO);
    drop(running);
    drop(handle);
    go_on.send(()).unwrap();
    // They may get in before the end or not, so the answer is one or the other; but it comes.
    assert!(matches!(asks.await.unwrap(), Ok(0) | Err(ShardGone(0))));
    let _ = blocks.join().unwrap();
}

#[tokio::test]
async fn jobs_come_back_as_events_and_a_panic_costs_only_the_result() {
    let (running, mut events) = start(2, |config| config.max_jobs = 3);
    let handle = running.handle();
    let (open, gate) = oneshot::channel::<&str>();
    let jobs = vec![
        Job::blocking(|| "blocking".to_owned()),
        Job::future(async { gate.await.unwrap().to_owned() }),
        Job::blocking(panicking),
        Job::blocking(|| "one too many".to_owned()),
    ];
    let ids = handle.ask(1, |reply| ask(Ask::Start(jobs, reply))).await.unwrap();
    let [Ok(blocking), Ok(future), Ok(panics), Err(TooManyJobs)] = ids[..] else { panic!("{ids:?}") };
    let mut first = [events.recv().await.unwrap(), events.recv().await.unwrap()];
    if first[0] == Received::Job(panics, Err(JobPanicked)) {
        first.reverse();
    }
    assert_eq!(first, [Received::Job(blocking, Ok("blocking".to_owned())), Received::Job(panics, Err(JobPanicked))]);
    open.send("later").unwrap();
    assert_eq!(events.recv().await, Some(Received::Job(future, Ok("later".to_owned()))));
    // Finished jobs no longer count, and ids are not used twice.
    let more = || Job::future(async { panicking() });
    let ids = handle.ask(1, |reply| ask(Ask::Start(vec![more(), more(), more()], reply))).await.unwrap();
    for id in ids {
        let id = id.unwrap();
        assert!(id > panics);
        assert_eq!(events.recv().await, Some(Received::Job(id, Err(JobPanicked))));
    }
    end(running);
}

#[tokio::test]
async fn a_job_that_blocks_does_not_hold_up_the_end() {
    let (running, _events) = start(1, |_| {});
    let ((begins, begun), (_go_on, goes_on)) = (mpsc::channel(), mpsc::channel::<()>());
    let job = Job::blocking(move || {
        begins.send(()).unwrap();
        let _ = goes_on.recv();
    });
    running.handle().ask(0, |reply| ask(Ask::Start(vec![job], reply))).await.unwrap();
    begun.recv().unwrap();
    end(running);
}

#[tokio::test]
async fn a_panic_outside_any_connection_breaks_its_shard_and_nothing_else() {
    for (name, breaks) in [("timer", Ask::BreakTimer), ("flush", Ask::BreakFlush)] {
        let (running, _events) = start(2, |_| {});
        let (handle, addr) = (running.handle(), running.local_addr());
        let broken = tokio::task::spawn_blocking(move || running.join());
        handle.send(1, ask(breaks)).await.unwrap();
        assert_eq!(broken.await.unwrap(), Err(BrokenShard { shard: 1 }), "{name}");
        // The process lives, and so does the other shard; new connections go there.
        assert_eq!(handle.ask(1, |reply| ask(Ask::Number(reply))).await, Err(ShardGone(1)));
        assert!(matches!(handle.try_send(1, ask(Ask::Count(0))), Err(TrySendError::Gone(ShardGone(1)))));
        assert_eq!(handle.ask(0, |reply| ask(Ask::Number(reply))).await, Ok(0));
        for _ in 0..4 {
            let mut http = Http::of(TcpStream::connect(addr).await.unwrap());
            assert_eq!(http.get("EIO=4&transport=polling").await.status, 200, "{name}");
        }
        handle.shutdown(Duration::ZERO);
    }
}

#[tokio::test]
async fn an_answer_outside_the_engines_path_may_ask_the_shards_and_come_later() {
    let (sender, _events) = channel::unbounded_channel();
    let handler = move || Asked { events: sender.clone(), timer: None, flush: false };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let running = Server::new(Config::default())
        .shards(3)
        .fallback(|request| {
            let (handle, path) = (request.handle.clone(), request.parts.uri.path().to_owned());
            Outcome::pending(async move {
                let mut numbers = Vec::new();
                for shard in 0..handle.shards() {
                    numbers.push(handle.ask(shard, |reply| ask(Ask::Number(reply))).await.unwrap());
                }
                http::Response::new(Bytes::from(format!("{path} {numbers:?}")))
            })
        })
        .serve(listener, handler)
        .unwrap();
    let mut http = Http::of(TcpStream::connect(running.local_addr()).await.unwrap());
    for path in ["/shards", "/again"] {
        http.send(format!("GET {path} HTTP/1.1\r\nHost: l\r\n\r\n").as_bytes()).await;
        assert_eq!(http.response().await.body, format!("{path} [0, 1, 2]"));
    }
    end(running);
}

#[tokio::test]
async fn an_application_reads_the_body_of_a_request_that_it_answers_within_its_bound() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (told, mut config) = (Arc::default(), Config::default());
    config.body_timeout = Duration::from_millis(200);
    let running = Server::new(config)
        .fallback(|request| {
            let (body, again) = (request.body.read(8), request.body.read(8));
            Outcome::pending(async move {
                let body = format!("{:?} {:?}", body.await, again.await.unwrap_err());
                http::Response::new(Bytes::from(body))
            })
        })
        .serve(listener, move || PanicsWhenTold(Arc::clone(&told)))
        .unwrap();
    let mut http = Http::of(TcpStream::connect(running.local_addr()).await.unwrap());
    for (request, expected) in [
        ("content-length: 5\r\n\r\nhello", "Ok(b\"hello\")"),
        ("\r\n", "Ok(b\"\")"),
        ("transfer-encoding: chunked\r\n\r\n3\r\nhel\r\n5\r\nlo 12\r\n0\r\n\r\n", "Ok(b\"hello 12\")"),
    ] {
        http.send(format!("POST /other HTTP/1.1\r\nHost: l\r\n{request}").as_bytes()).await;
        assert_eq!(http.response().await.body, format!("{expected} Incomplete"), "{request}");
    }
    for (request, expected) in [
        ("content-length: 9\r\n\r\nhello", "Err(TooLarge)"),
        ("transfer-encoding: chunked\r\n\r\n9\r\nhello 123\r\n", "Err(TooLarge)"),
        ("content-length: 8\r\n\r\nhello", "Err(TimedOut)"),
    ] {
        let mut http = Http::of(TcpStream::connect(running.local_addr()).await.unwrap());
        http.send(format!("POST /other HTTP/1.1\r\nHost: l\r\n{request}").as_bytes()).await;
        assert_eq!(http.response().await.body, format!("{expected} Incomplete"), "{request}");
    }
    end(running);
}

/// A handler whose `wants_flush` panics as soon as it is told to.
struct PanicsWhenTold(Arc<AtomicBool>);

impl Handler for PanicsWhenTold {
    fn on_open(&mut self, _: &mut dyn Outbox, _: ConnKey, _: &Handshake<'_>) {}
    fn on_message(&mut self, _: &mut dyn Outbox, _: ConnKey, _: Message<'_>) {}
    fn on_close(&mut self, _: &mut dyn Outbox, _: ConnKey, _: CloseReason) {}

    fn wants_flush(&self) -> bool {
        assert!(!self.0.load(Ordering::SeqCst), "told to panic");
        false
    }
}

/// Cleaning up after one panic meets another one: a destructor that unwinds as well would end the process.
#[tokio::test]
async fn a_shard_that_breaks_while_a_request_unwinds_is_reported() {
    let told = Arc::new(AtomicBool::new(false));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (handlers, requests) = (Arc::clone(&told), told);
    let running = Server::new(Config::default())
        .fallback(move |_| {
            let told = Arc::clone(&requests);
            Outcome::pending(async move {
                tokio::task::yield_now().await;
                told.store(true, Ordering::SeqCst);
                panic!("the answer panics");
            })
        })
        .serve(listener, move || PanicsWhenTold(Arc::clone(&handlers)))
        .unwrap();
    let mut http = TcpStream::connect(running.local_addr()).await.unwrap();
    http.write_all(b"GET /other HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let ended = tokio::task::spawn_blocking(|| running.join()).await.unwrap();
    assert_eq!(ended, Err(BrokenShard { shard: 0 }));
}

/// Takes its time to go.
struct Slow(Arc<AtomicBool>);

impl Drop for Slow {
    fn drop(&mut self) {
        std::thread::sleep(Duration::from_millis(200));
        self.0.store(true, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn nothing_of_the_application_is_left_after_the_last_shard() {
    let gone = Arc::new(AtomicBool::new(false));
    let slow = Slow(Arc::clone(&gone));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let told = Arc::default();
    let factory = move || {
        let _ = &slow;
        PanicsWhenTold(Arc::clone(&told))
    };
    let running = Server::new(Config::default()).shards(2).serve(listener, factory).unwrap();
    end(running);
    assert!(gone.load(Ordering::SeqCst), "a thread still had the factory");
}

#[tokio::test]
async fn a_shutdown_may_take_for_ever() {
    let (running, _hears) = start(2, |_| {});
    running.shutdown(Duration::MAX);
    assert_eq!(running.join(), Ok(()));
}

/// Tells when it is dropped.
struct Tells(Option<oneshot::Sender<()>>);

impl Drop for Tells {
    fn drop(&mut self) {
        let _ = self.0.take().unwrap().send(());
    }
}

/// A request outside the engine's path whose answer is still to come.
struct Waits {
    /// Lets the answer go.
    go_on: oneshot::Sender<&'static str>,
    /// Tells that the request is over.
    ends: oneshot::Receiver<()>,
}

/// A server whose answers outside the engine's path wait until they are let go.
fn waiting(shards: u16) -> (Running, channel::UnboundedReceiver<Waits>) {
    let (waits, waiting) = channel::unbounded_channel();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let told = Arc::default();
    let running = Server::new(Config::default())
        .shards(shards)
        .fallback(move |_| {
            let ((go_on, goes_on), (ended, ends)) = (oneshot::channel::<&str>(), oneshot::channel());
            assert!(waits.send(Waits { go_on, ends }).is_ok());
            let tells = Tells(Some(ended));
            Outcome::pending(async move {
                let _tells = tells;
                let answer = goes_on.await.expect("an answer");
                http::Response::new(Bytes::from_static(answer.as_bytes()))
            })
        })
        .serve(listener, move || PanicsWhenTold(Arc::clone(&told)))
        .unwrap();
    (running, waiting)
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_any_more_is_dropped() {
    let (running, mut waits) = waiting(3);
    for _ in 0..3 {
        let mut http = TcpStream::connect(running.local_addr()).await.unwrap();
        http.write_all(b"GET /other HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let Waits { go_on: _go_on, ends } = waits.recv().await.unwrap();
        drop(http);
        ends.await.unwrap();
    }
    // So is one whose answer panics, and nothing else.
    let mut http = Http::of(TcpStream::connect(running.local_addr()).await.unwrap());
    let mut other = TcpStream::connect(running.local_addr()).await.unwrap();
    http.send(b"HEAD /other HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let Waits { go_on, ends: _ends } = waits.recv().await.unwrap();
    other.write_all(b"GET /other HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let Waits { go_on: panics, ends } = waits.recv().await.unwrap();
    drop(panics);
    ends.await.unwrap();
    assert_eq!(other.read(&mut [0; 10]).await.unwrap(), 0);
    go_on.send("no body").unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert_ne!(http.stream.read_buf(&mut head).await.unwrap(), 0);
    }
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"));
    end(running);
}

#[tokio::test]
async fn a_shutdown_waits_for_an_answer_as_long_as_it_may() {
    let (running, mut waits) = waiting(2);
    let mut http = Http::of(TcpStream::connect(running.local_addr()).await.unwrap());
    http.send(b"GET /other HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let Waits { go_on, ends: _ends } = waits.recv().await.unwrap();
    running.shutdown(Duration::from_secs(3600));
    let joined = tokio::task::spawn_blocking(|| running.join());
    go_on.send("late").unwrap();
    assert_eq!(http.response().await.body, "late");
    assert_eq!(joined.await.unwrap(), Ok(()));

    let (running, mut waits) = waiting(2);
    let mut http = Http::of(TcpStream::connect(running.local_addr()).await.unwrap());
    http.send(b"GET /other HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let Waits { go_on: _go_on, ends } = waits.recv().await.unwrap();
    running.shutdown(Duration::from_millis(1));
    assert_eq!(tokio::task::spawn_blocking(|| running.join()).await.unwrap(), Ok(()));
    ends.await.unwrap();
}

#[tokio::test]
async fn sessions_of_a_broken_shard_are_unknown_on_the_others() {
    let (running, _hears) = start(2, |_| {});
    let (handle, addr) = (running.handle(), running.local_addr());
    // New connections take turns: the second one is on the other shard.
    let mut sids = Vec::new();
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut http = Http::of(TcpStream::connect(addr).await.unwrap());
        let body = http.get("EIO=4&transport=polling").await.body;
        sids.push(sid_of(&body));
        open.push(http);
    }
    handle.send(1, ask(Ask::BreakFlush)).await.unwrap();
    assert_eq!(tokio::task::spawn_blocking(|| running.join()).await.unwrap(), Err(BrokenShard { shard: 1 }));
    let mut statuses = Vec::new();
    for sid in &sids {
        let mut http = Http::of(TcpStream::connect(addr).await.unwrap());
        let query = format!("EIO=4&transport=polling&sid={sid}");
        let answer = http.post(&query, "4hi").await;
        statuses.push((answer.status, answer.body.contains("Session ID unknown")));
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [(200, false), (400, true)]);
    handle.shutdown(Duration::ZERO);
}

/// Most of them find the shard full, and wait: a wake that is missed holds one up for ever.
#[tokio::test]
async fn many_senders_that_wait_all_get_in_and_each_in_its_order() {
    const EACH: usize = 300;
    let (running, mut hears) = start(2, |_| {});
    let send = |sender: usize| {
        let handle = running.handle();
        move |number| (handle.clone(), ask(Ask::Count(sender * EACH + number)).with_weight(1 << 20))
    };
    let threads: Vec<_> = (0..6).map(|sender| (sender, send(sender))).collect();
    for (sender, message) in threads {
        if sender % 2 == 0 {
            std::thread::spawn(move || {
                for number in 0..EACH {
                    let (handle, message) = message(number);
                    handle.send_blocking(1, message).unwrap();
                }
            });
        } else {
            tokio::spawn(async move {
                for number in 0..EACH {
                    let (handle, message) = message(number);
                    handle.send(1, message).await.unwrap();
                }
            });
        }
    }
    let mut next = [0; 6];
    for _ in 0..6 * EACH {
        let heard = tokio::time::timeout(Duration::from_secs(20), hears.recv()).await.expect("the next message");
        let Some(Received::Count(count)) = heard else { panic!("{heard:?}") };
        assert_eq!(count % EACH, next[count / EACH]);
        next[count / EACH] += 1;
    }
    end(running);
}
