//! Events and acknowledgements both ways, and what closes.

use super::*;

fn ask(bench: &mut Bench, socket: SocketKey, ms: u64) -> Result<AckId, EmitError> {
    bench.io(|io| io.emit_with_ack(socket, "ask", "1", &[], Duration::from_millis(ms)))
}

#[test]
fn events_reach_the_application_and_its_answers_the_client() {
    let mut bench = Bench::new();
    bench.hook(|io, call| {
        if let Call::Event(socket, _, Some(ack)) = call {
            io.ack(socket, ack, "true,null", &[]).unwrap();
        }
    });
    let (conn, socket) = bench.join();
    bench.text(conn, r#"2["say","hi", {"a":1}]"#);
    bench.text(conn, r#"218446744073709551615["a\u0041"]"#);
    bench.text(conn, r#"2007["error"]"#);
    let expected = [r#"event 0 say("hi", {"a":1})"#, "event 0 aA() ack 18446744073709551615", "event 0 error() ack 7"];
    assert_eq!(bench.calls(), expected);
    assert_eq!(bench.sent(conn), ["4318446744073709551615[true,null]", "437[true,null]"]);
    bench.io(|io| io.emit(socket, "a \"b\"", "", &[])).unwrap();
    bench.io(|io| io.ack(socket, AckId(3), "", &[])).unwrap();
    assert_eq!(bench.sent(conn), [r#"42["a \"b\""]"#, "433[]"]);
}

#[test]
fn protocol_violations_close() {
    let attachment = r#"{"_placeholder":true,"num":0}"#;
    let joined = [
        "",
        "9",
        "7",
        "x",
        "2",
        "2{}",
        "2[]",
        "2[null]",
        "2[1]",
        r#"2["a""#,
        r#"2["a"]x"#,
        r#"2abc["a"]"#,
        r#"2-1["a"]"#,
        r#"299999999999999999999["a"]"#,
        r#"2["connect"]"#,
        r#"2["disconnect"]"#,
        r#"2["connect_error"]"#,
        r#"2["disconnecting"]"#,
        r#"2["newListener"]"#,
        r#"2["removeListener"]"#,
        r#"2["dis\u0063onnect"]"#,
        r#"2/chat,["a"]"#,
        r#"2/nope,["a"]"#,
        "3/chat,0[]",
        "3[]",
        "30{}",
        "1{}",
        "1/chat,",
        "4",
        r#"4{"message":"x"}"#,
        "0",
        r#"0/chat,[]"#,
        r#"0/chat,"x""#,
        "0/chat,null",
        "0/chat,{",
        "5",
        "5-[\"a\"]",
        "50-[\"a\"]",
        "511-[]",
        "599999999999999999999999-[\"a\"]",
        "51e1-[\"a\"]",
        "5+1-[\"a\"]",
        "5 1-[\"a\"]",
        r#"51["a"]"#,
        "51-1[]",
        "61-[]",
        r#"51-["a",{"_placeholder":true,"num":1}]"#,
        r#"51-["a",{"_placeholder":true,"num":"splice"}]"#,
    ];
    for text in joined.map(str::to_owned).into_iter().chain([
        format!("0/{}", "a".repeat(300)),
        format!("51-/chat,[\"a\",{attachment}]"),
        format!("31[{}{}]", "[".repeat(5000), "]".repeat(5000)),
    ]) {
        let mut bench = Bench::new();
        let (conn, _) = bench.join();
        bench.text(conn, &text);
        assert!(bench.is_closed(conn), "{text}");
        assert_eq!(
            (bench.sent(conn), bench.calls()),
            (vec![], vec!["disconnect 0 parse error".to_owned(), "close 0".to_owned(),]),
            "{text}"
        );
        bench.assert_empty();
    }
}

#[test]
fn nothing_but_connect_is_allowed_before_connect() {
    for text in [r#"2["a"]"#, "30[]", "1", r#"51-["a",{"_placeholder":true,"num":0}]"#, "61-0[]", "4"] {
        let mut bench = Bench::new();
        let conn = bench.open();
        bench.text(conn, text);
        assert!(bench.is_closed(conn), "{text}");
        assert_eq!(bench.calls(), ["close 0"], "{text}");
    }
}

#[test]
fn reserved_names_are_not_emitted() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.join();
    for name in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"] {
        assert_eq!(bench.io(|io| io.emit(socket, name, "", &[])), Err(EmitError::ReservedName));
        assert_eq!(bench.io(|io| io.of("/").emit(name, "", &[])), Err(EmitError::ReservedName));
        let asked = bench.io(|io| io.emit_with_ack(socket, name, "", &[], Duration::ZERO));
        assert_eq!(asked, Err(EmitError::ReservedName));
    }
    assert_eq!(bench.sent(conn), [""; 0]);
    bench.advance(1_000);
    assert_eq!(bench.handler.poll_timeout(), None);
}

#[test]
fn an_acknowledgement_is_given_once_to_whom_it_belongs() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.join();
    let (other_conn, _) = bench.join();
    bench.connect(conn, "/chat");
    let first = ask(&mut bench, socket, 500).unwrap();
    let second = ask(&mut bench, socket, 500).unwrap();
    assert_eq!(bench.sent(conn), [format!("42{first}[\"ask\",1]"), format!("42{second}[\"ask\",1]")]);
    // Of another client, another namespace, and one that was never asked for.
    bench.text(other_conn, &format!("3{first}[]"));
    bench.text(conn, &format!("3/chat,{first}[]"));
    bench.text(conn, "3999[]");
    assert_eq!(bench.calls(), [""; 0]);
    bench.text(conn, &format!("3{second}[\"yes\",2]"));
    bench.text(conn, &format!("3{second}[\"again\"]"));
    assert_eq!(bench.calls(), [format!("ack 0 {second} (\"yes\",2)")]);
    bench.advance(499);
    assert_eq!(bench.calls(), [""; 0]);
    bench.advance(1);
    assert_eq!(bench.calls(), [format!("ack 0 {first} operation has timed out")]);
    bench.text(conn, &format!("3{first}[\"late\"]"));
    bench.advance(10_000);
    assert_eq!(bench.calls(), [""; 0]);
    assert!(!bench.is_closed(conn) && !bench.is_closed(other_conn));
}

#[test]
fn acknowledgements_time_out_in_the_order_of_their_deadlines() {
    let mut bench = Bench::new();
    let (_, socket) = bench.join();
    for ms in [300, 100, 200, 100] {
        ask(&mut bench, socket, ms).unwrap();
    }
    bench.advance(1_000);
    assert_eq!(bench.calls(), [1, 3, 2, 0].map(|id| format!("ack 0 {id} operation has timed out")));
}

#[test]
fn owed_acknowledgements_end_with_the_socket_before_it_does() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.join();
    ask(&mut bench, socket, 500).unwrap();
    ask(&mut bench, socket, 500).unwrap();
    bench.text(conn, "1");
    assert_eq!(
        bench.calls(),
        [
            "ack 0 0 socket has been disconnected",
            "ack 0 1 socket has been disconnected",
            "disconnect 0 client namespace disconnect",
        ]
    );
    assert_eq!(ask(&mut bench, socket, 500), Err(EmitError::Disconnected));
    assert_eq!(bench.sent(conn).len(), 2, "the questions");
    bench.connect(conn, "/");
    bench.text(conn, "30[]");
    bench.advance(5_000);
    assert_eq!(bench.calls(), [""; 0]);
    assert!(!bench.is_closed(conn));
}

#[test]
fn a_socket_owes_a_limited_number_of_acknowledgements() {
    let mut bench = Bench::with(|config| config.acks_per_socket = 2);
    let (conn, socket) = bench.join();
    let first = ask(&mut bench, socket, 500).unwrap();
    ask(&mut bench, socket, 600).unwrap();
    assert_eq!(ask(&mut bench, socket, 500), Err(EmitError::TooManyAcks));
    assert_eq!(bench.sent(conn).len(), 2);
    bench.text(conn, &format!("3{first}[]"));
    ask(&mut bench, socket, 500).unwrap();
    bench.advance(600);
    ask(&mut bench, socket, 500).unwrap();
}

#[test]
fn an_answered_question_leaves_no_deadline() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.join();
    bench.advance(1_000);
    for _ in 0..1000 {
        let id = ask(&mut bench, socket, 3_600_000).unwrap();
        bench.text(conn, &format!("3{id}[]"));
    }
    assert_eq!(bench.handler.poll_timeout(), None);
    ask(&mut bench, socket, 3_600_000).unwrap();
    bench.text(conn, "1");
    assert_eq!(bench.sent(conn).len(), 1001, "the questions");
    bench.connect(conn, "/");
    bench.advance(2_000);
    assert_eq!(bench.handler.poll_timeout(), None);
}

#[test]
fn a_question_without_a_time_limit_waits_for_ever() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.join();
    let id = bench.io(|io| io.emit_with_ack(socket, "ask", "", &[], Duration::MAX)).unwrap();
    bench.advance(1_000_000);
    bench.text(conn, &format!("3{id}[]"));
    assert_eq!(bench.calls(), [format!("ack 0 {id} ()")]);
}

#[test]
fn asking_again_at_once_when_the_time_is_up_does_not_hang() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.join();
    bench.hook(|io, call| {
        if let Call::Ack(socket, _) = call {
            io.emit_with_ack(socket, "ask", "", &[], Duration::ZERO).unwrap();
        }
    });
    ask(&mut bench, socket, 0).unwrap();
    bench.sent(conn);
    bench.call(|server, engine| server.on_timeout(engine));
    assert_eq!(bench.sent(conn), [r#"421["ask"]"#]);
}

#[test]
fn nothing_is_owed_for_what_was_not_sent() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.join();
    bench.engine.set_queued(conn, HARD);
    assert_eq!(ask(&mut bench, socket, 500), Err(EmitError::Full));
    assert_eq!(bench.calls(), ["disconnect 0 slow consumer", "close 0"]);
    bench.assert_empty();
}

#[test]
fn the_application_is_woken_when_it_asked_to_be() {
    let mut bench = Bench::new();
    let (_, socket) = bench.join();
    bench.advance(2_000);
    bench.handler.handler.wake = Some(bench.engine.now() + Duration::from_millis(200));
    ask(&mut bench, socket, 100).unwrap();
    bench.advance(300);
    assert_eq!(bench.calls(), ["ack 0 0 operation has timed out", "timeout"]);
}
