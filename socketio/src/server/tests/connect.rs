//! Joining namespaces, being refused, and joining none in time.

use engineio::testing::Engine;

use super::*;

/// How many deadlines are set for clients without a namespace.
fn watched(bench: &mut Bench) -> usize {
    let far = bench.engine.now() + Duration::from_secs(3600);
    std::iter::from_fn(|| bench.handler.state.deadlines.connects.pop_due(far)).count()
}

#[test]
fn a_connect_is_answered_with_the_id_of_the_socket() {
    for (text, nsp, auth) in [
        ("0", "/", "none"),
        ("0{}", "/", "{}"),
        (r#"0{"token":"é"}"#, "/", r#"{"token":"é"}"#),
        ("0/chat,", "/chat", "none"),
        ("0/chat", "/chat", "none"),
        (r#"0/chat,{"a":[1]}"#, "/chat", r#"{"a":[1]}"#),
    ] {
        // The id names the shard.
        let engine = Engine::of_shard(7, 8);
        let mut bench = Bench(Shard::with_engine(server(|_| ()), engine));
        let conn = bench.open();
        bench.text(conn, text);
        let nsp_index = bench.handler.state.namespaces.find(nsp).unwrap();
        let socket = bench.handler.state.client(conn).unwrap().socket_of(nsp_index).unwrap();
        let id = bench.io(|io| io.id(socket)).unwrap();
        let head = if nsp == "/" { "40".to_owned() } else { format!("40{nsp},") };
        assert_eq!(bench.sent(conn), [format!(r#"{head}{{"sid":"{id}"}}"#)], "{text}");
        assert_eq!(bench.calls(), [format!("connect 0 {nsp} {auth}")], "{text}");
        assert_eq!((id.shard(), SocketId::parse(&id.to_string())), (7, Some(id)));
    }
}

#[test]
fn what_is_emitted_on_connecting_follows_the_answer() {
    let mut bench = Bench::new();
    bench.hook(|io, call| {
        if let Call::Connect(socket) = call {
            io.emit(socket, "hello", "1", &[]).unwrap();
            io.of("/").emit("all", "", &[]).unwrap();
        }
    });
    let conn = bench.open();
    bench.text(conn, "0");
    let sent = bench.sent(conn);
    assert!(sent[0].starts_with(r#"40{"sid":"#), "{sent:?}");
    assert_eq!(sent[1..], [r#"42["hello",1]"#, r#"42["all"]"#]);
}

#[test]
fn namespaces_are_joined_apart_with_ids_of_their_own() {
    let mut bench = Bench::new();
    let (conn, main) = bench.join();
    let chat = bench.connect(conn, "/chat");
    let ids = bench.io(|io| (io.id(main).unwrap(), io.id(chat).unwrap()));
    assert_ne!(ids.0, ids.1);
    bench.text(conn, r#"2/chat,["a"]"#);
    bench.text(conn, r#"2["b"]"#);
    bench.text(conn, "1/chat,");
    bench.text(conn, r#"2["c"]"#);
    let expected = ["event 1 a()", "event 0 b()", "disconnect 1 client namespace disconnect", "event 0 c()"];
    assert_eq!(bench.calls(), expected);
    assert!(!bench.is_closed(conn));
    // It may come back.
    bench.connect(conn, "/chat");
}

#[test]
fn an_unknown_namespace_is_refused_and_the_session_lives_on() {
    let mut bench = Bench::new();
    let conn = bench.open();
    let names = ["/nope", "/../admin", "/%63hat", "//", "/chat/", "/chat?x=1", "/__proto__", "/CHAT", "/ü"];
    for name in names {
        bench.text(conn, &format!("0{name},"));
        assert_eq!(bench.sent(conn), [format!(r#"44{name},{{"message":"Invalid namespace"}}"#)]);
    }
    assert_eq!(bench.calls(), [""; 0]);
    bench.connect(conn, "/");
}

#[test]
fn a_refusal_carries_its_data_and_may_be_retried() {
    let mut bench = Bench::new();
    let conn = bench.open();
    for (data, expected) in [
        (None, r#"44{"message":"no \"entry\""}"#),
        (Some(r#"{"code":1}"#), r#"44{"message":"no \"entry\"","data":{"code":1}}"#),
    ] {
        let message = "no \"entry\"".to_owned();
        bench.handler.handler.refuse = Some(ConnectError { message, data: data.map(str::to_owned) });
        bench.text(conn, "0");
        assert_eq!(bench.sent(conn), [expected]);
    }
    bench.text(conn, "0/chat,");
    assert!(bench.sent(conn)[0].starts_with(r#"44/chat,{"message":"#));
    assert_eq!(bench.calls(), [""; 0]);
    bench.handler.handler.refuse = None;
    bench.connect(conn, "/");
}

#[test]
fn a_second_connect_closes() {
    let mut bench = Bench::new();
    let (conn, _) = bench.join();
    bench.text(conn, "0");
    assert!(bench.is_closed(conn));
    assert_eq!(bench.calls(), ["disconnect 0 parse error", "close 0"]);
    bench.assert_empty();
}

#[test]
fn more_namespaces_than_the_limit_close() {
    let mut bench = Bench::with(|config| {
        config.namespaces = ["/", "/1", "/2"].map(str::to_owned).to_vec();
        config.namespaces_per_client = 2;
    });
    let (conn, _) = bench.join();
    bench.connect(conn, "/1");
    // Leaving one makes room.
    bench.text(conn, "1/1,");
    bench.connect(conn, "/2");
    bench.text(conn, "0/1,");
    assert!(bench.is_closed(conn));
}

#[test]
fn a_client_without_a_namespace_is_closed_in_time_and_without_a_packet() {
    let mut bench = Bench::new();
    let idle = bench.open();
    let refused = bench.open();
    bench.text(refused, "0/nope,");
    bench.sent(refused);
    let (connected, _) = bench.join();
    bench.advance(999);
    assert!(!bench.is_closed(idle) && !bench.is_closed(refused));
    bench.advance(1);
    assert!(bench.is_closed(idle) && bench.is_closed(refused));
    assert_eq!((bench.sent(idle), bench.sent(refused)), (vec![], vec![]));
    bench.advance(10_000);
    assert!(!bench.is_closed(connected));
    assert_eq!(bench.handler.poll_timeout(), None);
}

#[test]
fn the_time_starts_again_with_leaving_the_last_namespace() {
    let mut bench = Bench::new();
    let (conn, _) = bench.join();
    bench.connect(conn, "/chat");
    bench.advance(600);
    bench.text(conn, "1");
    bench.advance(5_000);
    assert!(!bench.is_closed(conn), "it is in /chat");
    bench.text(conn, "1/chat,");
    bench.advance(999);
    assert!(!bench.is_closed(conn));
    bench.advance(1);
    assert!(bench.is_closed(conn));
}

#[test]
fn connecting_and_leaving_again_and_again_sets_one_deadline() {
    let mut bench = Bench::new();
    let (conn, _) = bench.join();
    for _ in 0..1000 {
        bench.text(conn, "1");
        bench.connect(conn, "/");
        bench.text(conn, "0/nope,");
        assert_eq!(bench.sent(conn).len(), 1, "the refusal");
    }
    assert_eq!(watched(&mut bench), 1);
}

#[test]
fn a_deadline_of_a_session_that_is_gone_spares_the_next_one_in_its_slot() {
    let mut bench = Bench::new();
    let first = bench.open();
    bench.advance(900);
    bench.close(first, CloseReason::TransportClose);
    let second = bench.open();
    assert_eq!(first.index(), second.index());
    bench.advance(999);
    assert!(!bench.is_closed(second));
    bench.advance(1);
    assert!(bench.is_closed(second));
}

#[test]
fn a_client_that_left_its_namespace_is_closed_in_time_however_many_connect_after_it() {
    let mut bench = Bench::new();
    let (conn, _) = bench.join();
    bench.advance(500);
    bench.text(conn, "1");
    bench.advance(400);
    let later = bench.open();
    // At 1500, although the deadline of `later`, at 1900, was set first.
    bench.advance(599);
    assert!(!bench.is_closed(conn));
    bench.advance(1);
    assert!(bench.is_closed(conn) && !bench.is_closed(later));
}

/// Names like `/orders-7` are dynamic.
fn with_orders() -> Bench {
    Bench::with(|config| {
        config.dynamic_namespaces = Some(DynamicNamespaces::new(|name| name.starts_with("/orders-")));
    })
}

#[test]
fn a_dynamic_namespace_exists_while_someone_is_in_it() {
    let mut bench = with_orders();
    let [a, b] = [bench.open(), bench.open()];
    bench.connect(a, "/orders-7");
    bench.connect(b, "/orders-7");
    assert_eq!(bench.io(|io| io.of("/orders-7").emit("news", "1", &[])), Ok(2));
    assert_eq!(bench.sent(b), [r#"42/orders-7,["news",1]"#]);
    bench.text(a, "1/orders-7,");
    assert_eq!(bench.io(|io| io.of("/orders-7").emit("news", "2", &[])), Ok(1));
    bench.close(b, CloseReason::TransportClose);
    assert_eq!(bench.io(|io| io.of("/orders-7").emit("news", "3", &[])), Ok(0));
    bench.close(a, CloseReason::TransportClose);
    bench.assert_empty();
}

#[test]
fn names_that_no_rule_allows_are_refused_and_cannot_be_sent_to() {
    let mut bench = with_orders();
    let conn = bench.open();
    bench.text(conn, "0/order-7,");
    assert_eq!(bench.sent(conn), [r#"44/order-7,{"message":"Invalid namespace"}"#]);
    assert_eq!(bench.io(|io| io.of("/order-7").emit("news", "", &[])), Err(EmitError::UnknownNamespace));
    // Nobody is there, but somebody may be.
    assert_eq!(bench.io(|io| io.of("/orders-7").emit("news", "", &[])), Ok(0));
}

#[test]
fn a_refused_client_leaves_no_dynamic_namespace() {
    let mut bench = with_orders();
    let conn = bench.open();
    bench.handler.handler.refuse = Some(ConnectError { message: "no".to_owned(), data: None });
    bench.text(conn, "0/orders-7,");
    assert_eq!(bench.sent(conn), [r#"44/orders-7,{"message":"no"}"#]);
    bench.assert_nothing_waits();
}

#[test]
fn a_decision_may_come_later() {
    let mut bench = with_orders();
    for nsp in ["/", "/orders-7"] {
        let conn = bench.open();
        bench.handler.handler.decide_later = true;
        bench.text(conn, &format!("0{nsp},"));
        // A second CONNECT waits with the first.
        bench.text(conn, &format!("0{nsp},"));
        assert_eq!(bench.sent(conn), [""; 0]);
        let pending = bench.handler.handler.pending.take().unwrap();
        let socket = bench.io(|io| io.admit(pending)).unwrap();
        let id = bench.io(|io| io.id(socket)).unwrap();
        let head = if nsp == "/" { "40".to_owned() } else { format!("40{nsp},") };
        assert_eq!(bench.sent(conn), [format!(r#"{head}{{"sid":"{id}"}}"#)]);
        // It is decided once.
        assert_eq!(bench.io(|io| io.admit(pending)), None);
        let error = ConnectError { message: "no".to_owned(), data: None };
        assert!(!bench.io(|io| io.refuse(pending, &error)));
        bench.close(conn, CloseReason::TransportClose);
        bench.calls();
        bench.assert_empty();
    }
}

#[test]
fn a_later_refusal_is_told_and_the_client_may_try_again() {
    let mut bench = with_orders();
    let conn = bench.open();
    bench.handler.handler.decide_later = true;
    bench.text(conn, "0/orders-7,");
    let pending = bench.handler.handler.pending.take().unwrap();
    let error = ConnectError { message: "no".to_owned(), data: Some("[1]".to_owned()) };
    assert!(bench.io(|io| io.refuse(pending, &error)));
    assert_eq!(bench.sent(conn), [r#"44/orders-7,{"message":"no","data":[1]}"#]);
    bench.assert_nothing_waits();
    bench.connect(conn, "/orders-7");
}

#[test]
fn a_client_that_is_gone_is_not_admitted() {
    let mut bench = with_orders();
    let conn = bench.open();
    bench.handler.handler.decide_later = true;
    bench.text(conn, "0/orders-7,");
    let pending = bench.handler.handler.pending.take().unwrap();
    bench.close(conn, CloseReason::TransportClose);
    bench.assert_empty();
    assert_eq!(bench.io(|io| io.admit(pending)), None);
}

#[test]
fn a_client_that_leaves_while_it_waits_is_not_admitted() {
    let mut bench = with_orders();
    let conn = bench.open();
    bench.handler.handler.decide_later = true;
    bench.text(conn, "0/orders-7,");
    let pending = bench.handler.handler.pending.take().unwrap();
    bench.text(conn, "1/orders-7,");
    assert!(!bench.is_closed(conn));
    assert_eq!(bench.io(|io| io.admit(pending)), None);
    bench.assert_nothing_waits();
}

#[test]
fn an_event_before_the_decision_closes() {
    let mut bench = with_orders();
    let conn = bench.open();
    bench.handler.handler.decide_later = true;
    bench.text(conn, "0/orders-7,");
    bench.text(conn, r#"2/orders-7,["a"]"#);
    assert!(bench.is_closed(conn));
    bench.calls();
    bench.assert_empty();
}

#[test]
fn a_client_that_waits_is_in_no_namespace_so_its_time_runs_out() {
    let mut bench = with_orders();
    let conn = bench.open();
    bench.handler.handler.decide_later = true;
    bench.text(conn, "0/orders-7,");
    bench.advance(1001);
    assert!(bench.is_closed(conn));
    bench.calls();
    bench.assert_empty();
}
