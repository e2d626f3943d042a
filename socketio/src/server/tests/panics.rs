//! A panic of the application costs the session it was called for, and no call that is owed.

use super::*;
use crate::adapter::{Adapter, Operation, Replies};

/// Panics whenever `when` says so.
fn panicking(bench: &mut Bench, when: impl Fn(Call<'_>) -> bool + 'static) {
    bench.hook(move |_, call| assert!(!when(call), "as the test wants"));
}

#[test]
fn a_panic_in_an_event_disconnects_the_socket_in_order() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.join();
    bench.io(|io| io.join(socket, "a"));
    panicking(&mut bench, |call| matches!(call, Call::Event(..)));
    bench.text(conn, r#"2["x"]"#);
    assert_eq!(bench.calls(), ["event 0 x()", "disconnect 0 internal error", "close 0"]);
    bench.assert_empty();
}

#[test]
fn a_panic_on_admitting_or_connecting_leaves_nothing() {
    let mut bench = Bench::new();
    panicking(&mut bench, |call| matches!(call, Call::Authorize(_)));
    let conn = bench.open();
    bench.text(conn, "0");
    assert_eq!((bench.sent(conn), bench.calls()), (vec![], vec!["close 0".to_owned()]));
    panicking(&mut bench, |call| matches!(call, Call::Connect(_)));
    let conn = bench.open();
    bench.text(conn, "0");
    assert_eq!(bench.calls(), ["connect 0 / none", "disconnect 0 internal error", "close 0"]);
    bench.assert_empty();
}

#[test]
fn a_panic_after_putting_another_socket_out_does_not_lose_its_disconnect() {
    let mut bench = Bench::new();
    let (_, victim) = bench.join();
    let (conn, _) = bench.join();
    bench.hook(move |io, call| {
        if let Call::Event(..) = call {
            io.disconnect(victim, false);
            panic!("as the test wants");
        }
    });
    let guarded = catch_unwind(AssertUnwindSafe(|| {
        bench.call(|server, engine| server.on_message(engine, conn, Message::Text(r#"2["x"]"#.into())));
    }));
    assert!(guarded.is_err());
    assert_eq!(bench.calls(), ["event 1 x()", "disconnect 0 server namespace disconnect"]);
}

#[test]
fn a_panic_on_a_lost_acknowledgement_does_not_lose_the_disconnect() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.join();
    bench.connect(conn, "/chat");
    for _ in 0..2 {
        bench.io(|io| io.emit_with_ack(socket, "ask", "", &[], Duration::from_secs(9))).unwrap();
    }
    panicking(&mut bench, |call| matches!(call, Call::Ack(..) | Call::Disconnect(_)));
    bench.close(conn, CloseReason::TransportClose);
    assert_eq!(
        bench.calls(),
        [
            "ack 0 0 socket has been disconnected",
            "ack 0 1 socket has been disconnected",
            "disconnect 0 transport close",
            "disconnect 1 transport close",
            "close 0",
        ]
    );
    bench.assert_empty();
}

#[test]
fn a_panic_on_a_disconnect_spares_whoever_caused_it() {
    let mut bench = Bench::new();
    let (victim_conn, victim) = bench.join();
    let (conn, _) = bench.join();
    bench.hook(move |io, call| match call {
        Call::Event(..) => io.disconnect(victim, false),
        Call::Disconnect(_) => panic!("as the test wants"),
        _ => {}
    });
    bench.text(conn, r#"2["x"]"#);
    assert!(bench.is_closed(victim_conn) && !bench.is_closed(conn));
    assert_eq!(bench.calls(), ["event 1 x()", "disconnect 0 server namespace disconnect", "close 0"]);
}

#[test]
fn a_panic_on_an_acknowledgement_that_timed_out_ends_that_session_only() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.join();
    let (other, other_socket) = bench.join();
    for socket in [socket, other_socket] {
        bench.io(|io| io.emit_with_ack(socket, "ask", "", &[], Duration::from_millis(100))).unwrap();
    }
    panicking(&mut bench, move |call| matches!(call, Call::Ack(of, _) if of == socket));
    bench.advance(100);
    assert!(bench.is_closed(conn) && !bench.is_closed(other));
    assert_eq!(
        bench.calls(),
        [
            "ack 0 0 operation has timed out",
            "ack 1 1 operation has timed out",
            "disconnect 0 internal error",
            "close 0",
        ]
    );
}

/// Wants to hear of rooms, and panics then.
#[derive(Debug)]
struct PanickingAdapter;

impl Adapter for PanickingAdapter {
    fn send(&self, _: Operation, _: Option<Replies>) {}

    fn wants_rooms(&self) -> bool {
        true
    }

    fn room_created(&self, _: u16, _: &str, _: &str) {
        panic!("as the test wants");
    }

    fn room_deleted(&self, _: u16, _: &str, _: &str) {
        panic!("as the test wants");
    }
}

#[test]
fn a_panic_of_the_adapter_about_a_room_does_not_break_the_shard() {
    let mut bench = Bench::with(|config| config.adapter = Some(Arc::new(PanickingAdapter)));
    let [(conn, socket), (other, _)] = [bench.join(), bench.join()];
    bench.io(|io| io.emit_with_ack(socket, "x", "", &[], Duration::from_millis(50)).unwrap());
    bench.hook(|io, call| {
        if let Call::Ack(socket, _) = call {
            io.join(socket, "late");
        }
    });
    // A timer: of whatever panics here, the engine does not know for whom it was.
    bench.advance(100);
    assert!(bench.is_closed(conn) && !bench.is_closed(other));
    bench.close(other, CloseReason::TransportClose);
    bench.assert_empty();
}
