//! How sockets go: by whom, for what reason, in what order, and that nothing of them stays.

use super::*;

#[test]
fn a_socket_put_out_of_its_namespace_leaves_the_others_alone() {
    let mut bench = Bench::new();
    let (conn, main) = bench.join();
    let chat = bench.connect(conn, "/chat");
    bench.io(|io| io.disconnect(chat, false));
    assert_eq!(bench.sent(conn), ["41/chat,"]);
    assert_eq!(bench.calls(), ["disconnect 1 server namespace disconnect"]);
    assert!(!bench.is_closed(conn));
    assert_eq!(bench.io(|io| io.emit(chat, "x", "", &[])), Err(EmitError::Disconnected));
    assert_eq!(bench.io(|io| io.emit(main, "x", "", &[])), Ok(()));
    bench.io(|io| io.disconnect(chat, false));
    assert_eq!((bench.sent(conn), bench.calls()), (vec![r#"42["x"]"#.to_owned()], vec![]));
    bench.connect(conn, "/chat");
}

#[test]
fn a_client_put_out_altogether_hears_it_for_each_namespace_before_the_end() {
    let mut bench = Bench::new();
    let (conn, _) = bench.join();
    let chat = bench.connect(conn, "/chat");
    bench.io(|io| {
        io.disconnect(chat, true);
        io.disconnect(chat, true);
    });
    assert_eq!(bench.sent(conn), ["41", "41/chat,"]);
    assert_eq!(
        bench.calls(),
        ["disconnect 0 server namespace disconnect", "disconnect 1 server namespace disconnect", "close 0",]
    );
    assert!(bench.is_closed(conn));
    bench.assert_empty();
}

#[test]
fn the_sockets_of_a_session_that_ended_go_in_the_order_they_came_then_the_session() {
    let reasons = [
        (CloseReason::TransportClose, "transport close"),
        (CloseReason::TransportError, "transport error"),
        (CloseReason::PingTimeout, "ping timeout"),
        (CloseReason::ServerShuttingDown, "server shutting down"),
        (CloseReason::ForcedClose, "forced close"),
    ];
    for (reason, text) in reasons {
        let mut bench = Bench::new();
        let (conn, _) = bench.join();
        bench.connect(conn, "/chat");
        bench.close(conn, reason);
        assert_eq!(
            bench.calls(),
            [format!("disconnect 0 {text}"), format!("disconnect 1 {text}"), "close 0".to_owned()]
        );
        assert_eq!(bench.sent(conn), [""; 0]);
        bench.assert_empty();
    }
}

#[test]
fn a_socket_has_left_its_rooms_when_the_application_hears_of_it() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.join();
    let (other, _) = bench.join();
    bench.io(|io| io.join(socket, "a"));
    bench.hook(move |io, call| {
        if call == Call::Disconnect(socket) {
            assert_eq!((io.id(socket), io.members("/", "a").len(), io.rooms(socket).count()), (None, 0, 0));
            assert_eq!(io.of("/").emit("left", "", &[]), Ok(1));
        }
    });
    bench.close(conn, CloseReason::TransportClose);
    assert_eq!(bench.calls(), ["disconnect 0 transport close", "close 0"]);
    assert_eq!(bench.sent(other), [r#"42["left"]"#]);
}

#[test]
fn the_application_may_put_sockets_out_whatever_it_is_called_for() {
    let mut bench = Bench::new();
    let (first, victim) = bench.join();
    let (second, _) = bench.join();
    bench.hook(move |io, call| match call {
        // Itself, in an event; another one, while that one leaves.
        Call::Event(socket, "quit", _) => io.disconnect(socket, false),
        Call::Disconnect(socket) if socket != victim => io.disconnect(victim, true),
        _ => {}
    });
    bench.text(second, r#"29["quit"]"#);
    assert_eq!((bench.sent(first), bench.sent(second)), (vec!["41".to_owned()], vec!["41".to_owned()]));
    assert_eq!(
        bench.calls(),
        [
            "event 1 quit() ack 9",
            "disconnect 1 server namespace disconnect",
            "disconnect 0 server namespace disconnect",
            "close 0",
        ]
    );
}

#[test]
fn a_socket_put_out_on_connecting_is_told_of_once() {
    for close in [false, true] {
        let mut bench = Bench::new();
        bench.hook(move |io, call| {
            if let Call::Connect(socket) = call {
                io.disconnect(socket, close);
            }
        });
        let conn = bench.open();
        bench.text(conn, "0");
        assert_eq!(bench.sent(conn).last().unwrap(), "41");
        let calls = bench.calls();
        assert_eq!(calls[..2], ["connect 0 / none", "disconnect 0 server namespace disconnect"]);
        bench.advance(1_000);
        assert!(bench.is_closed(conn));
        bench.assert_empty();
    }
}

#[test]
fn a_session_closed_while_it_is_being_admitted_joins_nothing() {
    let mut bench = Bench::new();
    let (conn, main) = bench.join();
    bench.hook(move |io, call| {
        if let Call::Authorize("/chat") = call {
            io.disconnect(main, true);
        }
    });
    bench.text(conn, "0/chat,");
    assert_eq!(bench.sent(conn), ["41"]);
    assert_eq!(bench.calls(), ["disconnect 0 server namespace disconnect", "close 0"]);
    bench.assert_empty();
}

#[test]
fn nothing_stays_of_a_session_that_waited_for_attachments_and_answers() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.join();
    bench.io(|io| {
        io.join(socket, "a");
        io.emit_with_ack(socket, "ask", "", &[], Duration::from_secs(9)).unwrap();
    });
    bench.text(conn, r#"51-["a",{"_placeholder":true,"num":0}]"#);
    bench.close(conn, CloseReason::TransportClose);
    bench.assert_empty();
    bench.calls();
    bench.advance(20_000);
    assert_eq!((bench.calls(), bench.handler.poll_timeout()), (vec![], None));
}
