//! Events: arguments, acknowledgements, errors, order.

use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::*;

#[derive(Debug, Serialize, Deserialize)]
struct Chat {
    room: String,
    text: String,
}

#[test]
fn an_event_is_read_answered_and_acknowledged() {
    let mut bench = Bench::new(|app| {
        app.of("/").on("message", |socket: Socket, Data(chat): Data<Chat>, ack: Ack| -> Result<(), SendError> {
            socket.emit("echo", &chat)?;
            socket.emit_all("two", &(1, &chat.text))?;
            socket.emit_all("none", &())?;
            ack.send(&chat.room)
        });
    });
    let conn = bench.join();
    let sent = bench.text(conn, r#"27["message",{"room":"a","text":"hi"}]"#);
    let expected = [r#"42["echo",{"room":"a","text":"hi"}]"#, r#"42["two",1,"hi"]"#, r#"42["none"]"#, r#"437["a"]"#];
    assert_eq!(sent, expected);
    // Without an acknowledgement that is wanted, none is sent.
    assert_eq!(bench.text(conn, r#"2["message",{"room":"a","text":"hi"}]"#).len(), 3);
}

#[test]
fn async_handlers_that_do_not_wait_are_done_at_once() {
    let mut bench = Bench::new(|app| {
        app.of("/").on("double", async |Data(number): Data<u32>, ack: Ack| ack.send(&(number * 2)));
    });
    let conn = bench.join();
    assert_eq!(bench.text(conn, r#"20["double",21]"#), ["430[42]"]);
    assert!(!bench.run_job());
}

#[test]
fn an_async_handler_that_waits_goes_on_later() {
    let gate = Arc::new(Semaphore::new(0));
    let mut bench = Bench::new(|app| {
        app.state(Arc::clone(&gate)).of("/").on(
            "wait",
            async |socket: Socket, State(gate): State<Arc<Semaphore>>, ack: Ack| -> Result<(), BoxError> {
                socket.emit("before", &1)?;
                gate.acquire().await?.forget();
                socket.emit("after", &2)?;
                ack.send("done")?;
                Ok(())
            },
        );
    });
    let conn = bench.join();
    assert_eq!(bench.text(conn, r#"20["wait"]"#), [r#"42["before",1]"#]);
    assert!(!bench.run_job());
    gate.add_permits(1);
    assert!(bench.run_job());
    assert_eq!(bench.shard.sent(conn), [r#"42["after",2]"#, r#"430["done"]"#]);
}

#[test]
fn events_of_one_socket_overlap_unless_they_are_ordered() {
    for ordered in [false, true] {
        let gate = Arc::new(Semaphore::new(0));
        let mut bench = Bench::new(|app| {
            app.state(Arc::clone(&gate));
            let nsp = app.of("/");
            nsp.on("wait", async |State(gate): State<Arc<Semaphore>>, State(notes): State<Notes>| {
                gate.acquire().await.unwrap().forget();
                notes.add("waited");
            });
            nsp.on("quick", |State(notes): State<Notes>, Data(number): Data<u8>| notes.add(format!("quick {number}")));
            if ordered {
                nsp.ordered();
            }
        });
        let conn = bench.join();
        let other = bench.join();
        bench.text(conn, r#"2["wait"]"#);
        bench.text(conn, r#"2["quick",1]"#);
        bench.text(conn, r#"2["quick",2]"#);
        bench.text(other, r#"2["quick",3]"#);
        gate.add_permits(1);
        assert!(bench.run_job());
        let expected = if ordered {
            ["quick 3", "waited", "quick 1", "quick 2"]
        } else {
            ["quick 1", "quick 2", "quick 3", "waited"]
        };
        assert_eq!(bench.notes.take(), expected, "ordered: {ordered}");
    }
}

#[test]
fn so_many_events_of_an_ordered_socket_wait_and_no_more() {
    let gate = Arc::new(Semaphore::new(0));
    let mut bench = Bench::new(|app| {
        app.state(Arc::clone(&gate)).settings().queued_events = 2;
        let nsp = app.of("/").ordered();
        nsp.on("wait", async |State(gate): State<Arc<Semaphore>>, State(notes): State<Notes>| {
            gate.acquire().await.unwrap().forget();
            notes.add("waited");
        });
        nsp.on_error(|_, event, error, ack| ack.send(&format!("{event}: {error}")).unwrap());
    });
    let conn = bench.join();
    for _ in 0..3 {
        assert_eq!(bench.text(conn, r#"2["wait"]"#), [""; 0]);
    }
    assert_eq!(bench.text(conn, r#"25["wait"]"#), [r#"435["wait: too many events are being handled"]"#]);
    gate.add_permits(3);
    while bench.run_job() {}
    assert_eq!(bench.notes.take(), ["waited"; 3]);
}

#[test]
fn wrong_arguments_are_an_error_that_the_application_sees_and_answers() {
    let mut bench = Bench::new(|app| {
        let nsp = app.of("/");
        nsp.on("number", |_: Data<u8>| ());
        nsp.on("pair", |_: Payload<(u8, String)>| ());
        nsp.on("fails", || Err::<(), _>("no luck"));
        nsp.on("tolerant", |data: Result<Data<u8>, PayloadError>, ack: Ack| ack.send(&data.is_ok()));
        nsp.on_error(|_, event, error, ack| ack.send(&format!("{event}: {error}")).unwrap());
    });
    let conn = bench.join();
    for (event, answer) in [
        (r#"["number","x"]"#, "number: argument 1: invalid type: string \\\"x\\\", expected u8 at line 1 column 3"),
        (r#"["number"]"#, "number: argument 1 is missing"),
        (r#"["pair",1]"#, "pair: arguments: invalid length 1, expected a tuple of size 2 at line 1 column 3"),
        (r#"["fails"]"#, "fails: no luck"),
        (r#"["unknown"]"#, "unknown: no handler has this name"),
    ] {
        assert_eq!(bench.text(conn, &format!("21{event}")), [format!(r#"431["{answer}"]"#)]);
    }
    assert_eq!(bench.text(conn, r#"21["tolerant","x"]"#), ["431[false]"]);
    assert_eq!(bench.text(conn, r#"21["tolerant",3]"#), ["431[true]"]);
    assert_eq!(bench.text(conn, r#"21["number",3]"#), [""; 0]);
    assert!(bench.is_open(conn));
}

#[test]
fn binary_data_goes_both_ways() {
    #[derive(Serialize, Deserialize)]
    struct Upload {
        name: String,
        content: Binary,
    }
    let mut bench = Bench::new(|app| {
        app.of("/").on("upload", |socket: Socket, Data(upload): Data<Upload>, ack: Ack| -> Result<(), SendError> {
            assert_eq!(*upload.content, Bytes::from_static(b"abc"));
            socket.emit("stored", &HashMap::from([(upload.name, upload.content)]))?;
            ack.send(&Binary::from("ok"))
        });
    });
    let conn = bench.join();
    bench.shard.text(conn, r#"51-3["upload",{"name":"a","content":{"_placeholder":true,"num":0}}]"#);
    bench.shard.binary(conn, b"abc");
    let sent = bench.shard.sent(conn);
    // An attachment is written as polling writes it: `b` and base64.
    let expected = [
        "451-[\"stored\",{\"a\":{\"_placeholder\":true,\"num\":0}}]\u{1e}bYWJj",
        "461-3[{\"_placeholder\":true,\"num\":0}]\u{1e}bb2s=",
    ];
    assert_eq!(sent, expected);
}

#[test]
fn handlers_for_any_event_come_between_those_before_and_the_events_own() {
    let mut bench = Bench::new(|app| {
        let nsp = app.of("/");
        nsp.on("a", |State(notes): State<Notes>| notes.add("own"));
        nsp.on("a", |State(notes): State<Notes>| notes.add("own too"));
        nsp.on_any(|event: RawEvent, State(notes): State<Notes>| {
            notes.add(format!("any {}({})", event.name, event.args))
        });
        nsp.fallback(|event: RawEvent, State(notes): State<Notes>| notes.add(format!("fallback {}", event.name)));
        nsp.before(|event: RawEvent, State(notes): State<Notes>| {
            notes.add("before");
            if event.args == "\"stop\"" { Err("stopped") } else { Ok(()) }
        });
        nsp.before(async |State(notes): State<Notes>| notes.add("before too"));
    });
    let conn = bench.join();
    bench.text(conn, r#"2["a",1,2]"#);
    assert_eq!(bench.notes.take(), ["before", "before too", "any a(1,2)", "own", "own too"]);
    bench.text(conn, r#"2["b"]"#);
    assert_eq!(bench.notes.take(), ["before", "before too", "any b()", "fallback b"]);
    bench.text(conn, r#"2["a","stop"]"#);
    assert_eq!(bench.notes.take(), ["before"]);
}

#[test]
fn a_check_that_waits_comes_before_the_handler_all_the_same() {
    let gate = Arc::new(Semaphore::new(0));
    let mut bench = Bench::new(|app| {
        app.state(Arc::clone(&gate));
        let nsp = app.of("/");
        nsp.before(async |State(gate): State<Arc<Semaphore>>, Data(name): Data<String>| {
            gate.acquire().await.unwrap().forget();
            if name == "eve" { Err("no") } else { Ok(()) }
        });
        nsp.on("hello", |Data(name): Data<String>, State(notes): State<Notes>| notes.add(name));
    });
    let conn = bench.join();
    bench.text(conn, r#"2["hello","eve"]"#);
    bench.text(conn, r#"2["hello","ada"]"#);
    assert_eq!(bench.notes.take(), [""; 0]);
    gate.add_permits(2);
    while bench.run_job() {}
    assert_eq!(bench.notes.take(), ["ada"]);
}

/// Panics, in a way that the compiler does not see.
fn fail(name: &str) {
    assert!(name.is_empty(), "{name}");
}

#[test]
fn a_panic_costs_the_connection_and_what_was_sent_before_it_is_sent() {
    let gate = Arc::new(Semaphore::new(0));
    let mut bench = Bench::new(|app| {
        app.state(Arc::clone(&gate));
        let nsp = app.of("/");
        nsp.on("now", |socket: Socket| {
            socket.to("all").emit("bye", &1).unwrap();
            fail("now");
        });
        nsp.on("later", async |State(gate): State<Arc<Semaphore>>| {
            gate.acquire().await.unwrap().forget();
            fail("later");
        });
        nsp.on_connect(|socket: Socket| socket.join("all"));
        nsp.on_disconnect(|reason: DisconnectReason, State(notes): State<Notes>| notes.add(reason.as_str()));
    });
    let [now, later, other] = [bench.join(), bench.join(), bench.join()];
    bench.text(now, r#"2["now"]"#);
    assert!(!bench.is_open(now));
    assert_eq!(bench.shard.sent(other), [r#"42["bye",1]"#]);
    bench.text(later, r#"2["later"]"#);
    assert!(bench.is_open(later));
    gate.add_permits(1);
    bench.run_job();
    assert!(!bench.is_open(later) && bench.is_open(other));
    assert_eq!(bench.notes.take().len(), 2);
}

#[test]
fn what_is_sent_is_told_once_for_a_broadcast() {
    let mut bench = Bench::new(|app| {
        let notes = app.of("/").on("go", |socket: Socket| -> Result<(), SendError> {
            socket.emit("one", &1)?;
            socket.broadcast().emit_all("many", &(2, 3))
        });
        let told = Notes::default();
        notes.on_any_outgoing({
            let told = told.clone();
            move |event| told.add(format!("{}({})", event.name, event.args))
        });
        notes.on("told", move |ack: Ack| ack.send(&told.take()));
    });
    let [conn, ..] = [bench.join(), bench.join(), bench.join()];
    bench.text(conn, r#"2["go"]"#);
    assert_eq!(bench.text(conn, r#"20["told"]"#), [r#"430[["one(1)","many(2,3)"]]"#]);
}

#[test]
fn an_event_is_acknowledged_once() {
    let mut bench = Bench::new(|app| {
        let nsp = app.of("/");
        nsp.on("a", |ack: Ack| -> Result<(), BoxError> {
            ack.send("first")?;
            Err("failed after that".into())
        });
        nsp.on("a", |ack: Ack, State(notes): State<Notes>| {
            notes.add(format!("wanted: {}", ack.is_wanted()));
            ack.send("second")
        });
        nsp.on_error(|_, _, _, ack| ack.send("third").unwrap());
    });
    let conn = bench.join();
    assert_eq!(bench.text(conn, r#"20["a"]"#), [r#"430["first"]"#]);
    assert_eq!(bench.notes.take(), ["wanted: false"]);
}

#[test]
fn the_application_hears_of_every_panic() {
    let gate = Arc::new(Semaphore::new(0));
    let mut bench = Bench::new(|app| {
        app.state(Arc::clone(&gate));
        let notes = Notes::default();
        let nsp = app.of("/");
        nsp.on("sync", || fail("x"));
        nsp.on("at once", async || fail("x"));
        nsp.on("later", async |State(gate): State<Arc<Semaphore>>| {
            gate.acquire().await.unwrap().forget();
            fail("x");
        });
        let told = notes.clone();
        nsp.on_error(move |_, event, error, _| told.add(format!("{event}: {error}")));
        app.of("/told").on("told", move |ack: Ack| ack.send(&notes.take()));
    });
    let told = bench.join_nsp("/told");
    for event in ["sync", "at once", "later"] {
        let conn = bench.join();
        bench.text(conn, &format!(r#"2["{event}"]"#));
        gate.add_permits(1);
        bench.run_job();
        assert!(!bench.is_open(conn), "{event}");
        let expected = format!(r#"43/told,0[["{event}: the handler panicked"]]"#);
        assert_eq!(bench.text(told, r#"2/told,0["told"]"#), [expected]);
    }
}
