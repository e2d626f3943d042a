//! What handlers may not do to each other.

use std::{
    io,
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use socketio::router::{Ack, Router, SendError, Socket};
use tokio::sync::Semaphore;
use tracing_subscriber::fmt::MakeWriter;

use crate::client::Client;

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn a_handler_that_blocks_its_shard_is_logged_with_its_event() {
    let log = Log::default();
    tracing_subscriber::fmt().with_writer(log.clone()).init();
    let mut app = Router::new();
    app.settings().blocking_after = Duration::from_millis(20);
    let nsp = app.of("/");
    nsp.on("quick", |ack: Ack| ack.send("done"));
    // It blocks: that is what is tested.
    nsp.on("slow", |ack: Ack| {
        std::thread::sleep(Duration::from_millis(30));
        ack.send("done")
    });
    nsp.on("slow later", async |ack: Ack| {
        tokio::task::yield_now().await;
        std::thread::sleep(Duration::from_millis(30));
        ack.send("done")
    });
    let running = app.serve("127.0.0.1:0").unwrap();
    let mut client = Client::connect(running.local_addr(), "").await;
    for event in ["quick", "slow", "slow later"] {
        assert_eq!(client.ask(&format!(r#"["{event}"]"#)).await, r#"["done"]"#);
    }
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let blocked: Vec<_> = log.lines().filter(|line| line.contains("blocked its shard")).collect();
    assert!(blocked.len() == 2 && blocked[0].contains("slow") && blocked[1].contains("slow later"), "{log}");
}

#[tokio::test]
async fn more_handlers_than_may_wait_are_refused_and_the_others_go_on() {
    let gate = Arc::new(Semaphore::new(0));
    let (mut app, opened) = (Router::new(), Arc::clone(&gate));
    app.engine().max_jobs = 2;
    let nsp = app.of("/");
    nsp.on("wait", move |ack: Ack| {
        let gate = Arc::clone(&opened);
        async move {
            gate.acquire().await.unwrap().forget();
            ack.send("waited")
        }
    });
    nsp.on_error(|_, event, error, ack| ack.send(&format!("{event}: {error}")).unwrap());
    let running = app.serve("127.0.0.1:0").unwrap();
    let mut client = Client::connect(running.local_addr(), "").await;
    for id in 0..3 {
        client.send(&format!(r#"42{id}["wait"]"#)).await;
    }
    assert_eq!(client.next().await, r#"432["wait: too many events are being handled"]"#);
    gate.add_permits(2);
    let mut waited = [client.next().await, client.next().await];
    waited.sort();
    assert_eq!(waited, [r#"430["waited"]"#, r#"431["waited"]"#]);
}

#[tokio::test]
async fn what_an_async_handler_does_arrives_in_the_order_in_which_it_does_it() {
    let mut app = Router::new();
    app.of("/").on("count", async |socket: Socket, ack: Ack| -> Result<(), SendError> {
        for number in 0..100 {
            socket.emit("number", &number)?;
            if number % 7 == 0 {
                tokio::task::yield_now().await;
            }
        }
        ack.send("end")
    });
    let running = app.serve("127.0.0.1:0").unwrap();
    let mut client = Client::connect(running.local_addr(), "").await;
    client.send(r#"425["count"]"#).await;
    for number in 0..100 {
        assert_eq!(client.next().await, format!(r#"42["number",{number}]"#));
    }
    assert_eq!(client.next().await, r#"435["end"]"#);
}

#[tokio::test]
async fn whoever_asks_a_shard_with_too_many_jobs_is_told_that_it_is_busy() {
    let gate = Arc::new(Semaphore::new(0));
    let (mut app, opened) = (Router::new(), Arc::clone(&gate));
    app.engine().max_jobs = 1;
    app.of("/").on("wait", move |ack: Ack| {
        let gate = Arc::clone(&opened);
        async move {
            gate.acquire().await.unwrap().forget();
            ack.send("waited")
        }
    });
    app.of("/").on("quick", |ack: Ack| ack.send("done"));
    let running = app.serve("127.0.0.1:0").unwrap();
    let mut client = Client::connect(running.local_addr(), "").await;
    client.send(r#"421["wait"]"#).await;
    assert_eq!(client.ask(r#"["quick"]"#).await, r#"["done"]"#);
    let everybody = running.io().of("/");
    let soon = Duration::from_secs(10);
    assert_eq!(everybody.fetch_sockets(soon).await.unwrap_err(), SendError::Busy);
    let error = everybody.emit_with_ack::<u8>("x", &1, soon).await.unwrap_err();
    assert_eq!(error, SendError::Busy.into());
    assert_eq!(everybody.server_side_emit_with_ack("x", &1, soon).await.unwrap_err(), SendError::Busy);
    gate.add_permits(1);
    assert_eq!(client.next().await, r#"431["waited"]"#);
    assert_eq!(everybody.fetch_sockets(soon).await.unwrap().sockets.len(), 1);
}

#[tokio::test]
async fn a_thread_that_finds_the_shard_of_a_socket_busy_hears_of_it_and_nothing_happened() {
    let kept: Arc<Mutex<Option<Socket>>> = Arc::default();
    let (mut app, keep) = (Router::new(), Arc::clone(&kept));
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    // Another test reads what this process logs of handlers that block.
    app.settings().blocking_after = Duration::MAX;
    app.of("/").on("block", move |socket: Socket, ack: Ack| {
        socket.join("coffee")?;
        *keep.lock().unwrap() = Some(socket);
        let _ = released.lock().unwrap().recv();
        ack.send("done")
    });
    let running = app.serve("127.0.0.1:0").unwrap();
    let mut client = Client::connect(running.local_addr(), "").await;
    client.send(r#"421["block"]"#).await;
    let socket = loop {
        if let Some(socket) = kept.lock().unwrap().take() {
            break socket;
        }
        tokio::task::yield_now().await;
    };
    let nobody = running.io().of("/").to("nobody");
    while nobody.emit("x", &"x".repeat(100_000)).is_ok() {}
    assert_eq!(socket.join("tea"), Err(SendError::Busy));
    assert_eq!(socket.leave("coffee"), Err(SendError::Busy));
    assert_eq!(socket.disconnect(), Err(SendError::Busy));
    assert_eq!(socket.disconnect_client(), Err(SendError::Busy));
    assert_eq!(socket.rooms(), ["coffee"]);

    release.send(()).unwrap();
    assert_eq!(client.next().await, r#"431["done"]"#);
    while socket.disconnect_client() == Err(SendError::Busy) {
        tokio::task::yield_now().await;
    }
    socket.disconnected().await;
}
