//! Handlers that panic, wait for ever, or do what nobody expects: what that may not do to others.

use std::{
    sync::mpsc,
    task::{Context, Waker},
    thread,
    time::Duration,
};

use tokio::sync::Semaphore;

use super::*;

/// Panics, in a way that the compiler does not see.
fn fail(name: &str) {
    assert!(name.is_empty(), "{name}");
}

/// A gate that handlers wait at.
type Gate = Arc<Semaphore>;

async fn wait(State(gate): State<Gate>) {
    gate.acquire().await.unwrap().forget();
}

fn with_gate(build: impl FnOnce(&mut Router)) -> (Bench, Gate) {
    let gate = Arc::new(Semaphore::new(0));
    let bench = Bench::new(|app| {
        app.state(Arc::clone(&gate));
        build(app);
    });
    (bench, gate)
}

#[test]
fn a_panic_in_an_event_that_waited_for_its_turn_costs_the_connection() {
    let (mut bench, gate) = with_gate(|app| {
        let nsp = app.of("/").ordered();
        nsp.on("wait", wait);
        nsp.on("fail", || fail("as it should"));
    });
    let [conn, other] = [bench.join(), bench.join()];
    bench.text(conn, r#"2["wait"]"#);
    bench.text(conn, r#"2["fail"]"#);
    gate.add_permits(1);
    assert!(bench.run_job());
    assert!(!bench.is_open(conn) && bench.is_open(other));
}

#[test]
fn a_panic_in_on_connect_costs_the_connection_also_if_the_authorisation_waited() {
    let (mut bench, gate) = with_gate(|app| {
        app.of("/").authorize(async |gate: State<Gate>| {
            wait(gate).await;
            Ok::<(), ConnectError>(())
        });
        app.of("/").on_connect(|| fail("as it should"));
    });
    let conn = bench.shard.open();
    bench.text(conn, "0");
    gate.add_permits(1);
    assert!(bench.run_job());
    assert!(!bench.is_open(conn));
}

/// Runs a test that might wait for ever.
fn within_10_s(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let test = thread::spawn(move || {
        test();
        drop(done);
    });
    assert_eq!(ended.recv_timeout(Duration::from_secs(10)), Err::<(), _>(mpsc::RecvTimeoutError::Disconnected));
    test.join().unwrap();
}

/// Tells the rooms of its socket when it is dropped.
struct Guard(Socket, Notes);

impl Drop for Guard {
    fn drop(&mut self) {
        self.1.add(format!("dropped in {:?}", self.0.rooms()));
    }
}

#[test]
fn a_value_that_another_one_replaces_is_dropped_without_a_lock() {
    within_10_s(|| {
        let mut bench = Bench::new(|app| {
            app.of("/").on("go", |socket: Socket, State(notes): State<Notes>| {
                socket.insert(Guard(socket.clone(), notes));
                socket.join("tea")
            });
        });
        let conn = bench.join();
        bench.text(conn, r#"2["go"]"#);
        bench.text(conn, r#"2["go"]"#);
        assert_eq!(bench.notes.take(), [r#"dropped in ["tea"]"#]);
    });
}

#[test]
fn an_event_that_waited_for_its_turn_and_has_no_handler_is_reported() {
    let (mut bench, gate) = with_gate(|app| {
        let nsp = app.of("/").ordered();
        nsp.on("wait", wait);
        nsp.on_error(|_, event, error, ack| ack.send(&format!("{event}: {error}")).unwrap());
    });
    let conn = bench.join();
    bench.text(conn, r#"2["wait"]"#);
    assert_eq!(bench.text(conn, r#"25["unknown"]"#), [""; 0]);
    gate.add_permits(1);
    assert!(bench.run_job());
    assert_eq!(bench.shard.sent(conn), [r#"435["unknown: no handler has this name"]"#]);
}

#[test]
fn events_behind_one_whose_handler_disconnects_are_not_handled() {
    let (mut bench, gate) = with_gate(|app| {
        let nsp = app.of("/").ordered();
        nsp.on("kick", async |socket: Socket, gate: State<Gate>| {
            wait(gate).await;
            socket.disconnect()
        });
        nsp.on("next", |State(notes): State<Notes>| notes.add("handled"));
    });
    let conn = bench.join();
    bench.text(conn, r#"2["kick"]"#);
    bench.text(conn, r#"2["next"]"#);
    gate.add_permits(1);
    assert!(bench.run_job());
    assert_eq!(bench.shard.sent(conn), ["41"]);
    assert_eq!(bench.notes.take(), [""; 0]);
}

#[test]
fn a_hook_of_outgoing_events_that_panics_keeps_no_event_back() {
    let (mut bench, gate) = with_gate(|app| {
        let nsp = app.of("/").ordered();
        nsp.on("wait", async |socket: Socket, gate: State<Gate>| {
            wait(gate).await;
            socket.emit("first", &1).unwrap();
            socket.emit("second", &2).unwrap();
        });
        nsp.on("next", |ack: Ack| ack.send("handled"));
        nsp.on_any_outgoing(|event| fail(if event.name == "first" { "as it should" } else { "" }));
    });
    let conn = bench.join();
    bench.text(conn, r#"2["wait"]"#);
    bench.text(conn, r#"25["next"]"#);
    gate.add_permits(1);
    assert!(bench.run_job());
    assert_eq!(bench.shard.sent(conn), [r#"42["first",1]"#, r#"42["second",2]"#, r#"435["handled"]"#]);
}

#[test]
fn no_client_takes_all_jobs_of_its_shard() {
    let (mut bench, gate) = with_gate(|app| {
        app.settings().waiting_handlers = 2;
        let nsp = app.of("/");
        nsp.authorize(async |gate: State<Gate>| {
            wait(gate).await;
            Ok::<(), ConnectError>(())
        });
        nsp.on("wait", wait);
        nsp.on_error(|_, event, error, ack| ack.send(&format!("{event}: {error}")).unwrap());
    });
    let [hostile, leaves, other] = [bench.shard.open(), bench.shard.open(), bench.shard.open()];
    bench.text(hostile, "0");
    gate.add_permits(1);
    assert!(bench.run_job() && bench.shard.sent(hostile)[0].starts_with("40{"));
    let refused = (0..100).map(|id| bench.text(hostile, &format!("2{id}[\"wait\"]"))).filter(|sent| !sent.is_empty());
    assert_eq!(refused.count(), 98);
    // It gives up each CONNECT at once; the authorisations wait nevertheless.
    (0..100).for_each(|_| ["0", "1"].iter().for_each(|text| bench.shard.text(leaves, text)));
    assert!(bench.is_open(hostile) && !bench.is_open(leaves));
    assert_eq!(bench.shard.engine.jobs().len(), 4);
    bench.text(other, "0");
    gate.add_permits(100);
    while bench.run_job() {}
    assert!(bench.shard.sent(other)[0].starts_with("40{"));
    assert_eq!(bench.text(hostile, r#"27["wait"]"#), [""; 0], "those that are done count no longer");
}

#[test]
fn events_that_wait_for_their_turn_are_limited_in_bytes() {
    let (mut bench, gate) = with_gate(|app| {
        app.settings().queued_bytes = 1000;
        let nsp = app.of("/").ordered();
        nsp.on("wait", wait);
        nsp.on("large", |Data(text): Data<String>, State(notes): State<Notes>| notes.add(text.len().to_string()));
        nsp.on_error(|_, event, error, ack| ack.send(&format!("{event}: {error}")).unwrap());
    });
    let large = |length: usize| format!(r#"21["large","{}"]"#, "x".repeat(length));
    let (conn, refusal) = (bench.join(), [r#"431["large: too many events are being handled"]"#]);
    bench.text(conn, r#"2["wait"]"#);
    assert_eq!(bench.text(conn, &large(5000)), [""; 0], "alone it may wait");
    assert_eq!(bench.text(conn, &large(10)), refusal);
    gate.add_permits(1);
    assert!(bench.run_job());
    bench.text(conn, r#"2["wait"]"#);
    assert_eq!(bench.text(conn, &large(400)), [""; 0]);
    assert_eq!(bench.text(conn, &large(400)), [""; 0]);
    assert_eq!(bench.text(conn, &large(400)), refusal);
    gate.add_permits(1);
    assert!(bench.run_job());
    assert_eq!(bench.notes.take(), ["5000", "400", "400"]);
}

/// Sockets that handlers keep.
type Kept = Arc<Mutex<Vec<Socket>>>;

#[test]
fn the_payload_of_a_connect_is_not_kept_longer_than_handlers_may_read_it() {
    let kept = Kept::default();
    let (mut bench, gate) = with_gate(|app| {
        app.state(Arc::clone(&kept));
        let keep = |socket: Socket, State(kept): State<Kept>| kept.lock().unwrap().push(socket);
        app.of("/").on("keep", keep);
        let nsp = app.of("/waits");
        nsp.on_connect(wait);
        nsp.on_connect(|Auth(auth): Auth<serde_json::Value>, State(notes): State<Notes>| notes.add(auth.to_string()));
        nsp.on_connect(keep);
    });
    let conn = bench.shard.open();
    bench.text(conn, r#"0{"a":1}"#);
    bench.text(conn, r#"2["keep"]"#);
    bench.text(conn, r#"0/waits,{"b":2}"#);
    gate.add_permits(1);
    assert!(bench.run_job());
    assert_eq!(bench.notes.take(), [r#"{"b":2}"#]);
    let kept = kept.lock().unwrap();
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|socket| socket.auth().is_none()));
}

#[test]
fn the_sockets_of_a_shard_that_broke_are_not_connected() {
    let kept = Kept::default();
    let mut bench = Bench::new(|app| {
        app.state(Arc::clone(&kept));
        app.of("/").on_connect(|socket: Socket, State(kept): State<Kept>| kept.lock().unwrap().push(socket));
    });
    bench.join();
    let socket = kept.lock().unwrap().pop().unwrap();
    let mut ended = Box::pin(socket.disconnected());
    let mut is_over = || ended.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
    assert!(socket.is_connected() && !is_over());
    // It reports no ends.
    drop(bench);
    assert!(!socket.is_connected() && is_over());
}
