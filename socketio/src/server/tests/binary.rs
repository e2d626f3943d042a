//! Packets with attachments.

use bytes::Bytes;

use super::*;

const EVENT: &str = r#"52-["up",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#;

#[test]
fn an_event_waits_for_all_its_attachments() {
    let mut bench = Bench::new();
    let (conn, _) = bench.join();
    bench.text(conn, EVENT);
    bench.binary(conn, &[1]);
    assert_eq!(bench.calls(), [""; 0]);
    bench.binary(conn, b"");
    let args = r#"{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}"#;
    assert_eq!(bench.calls(), [format!(r#"event 0 up({args}) [b"\x01", b""]"#)]);
    bench.advance(10_000);
    assert!(!bench.is_closed(conn));
}

#[test]
fn text_and_attachments_leave_in_one_frame() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.join();
    let chat = bench.connect(conn, "/chat");
    let (args, attachments) = (r#"{"_placeholder":true,"num":0}"#, [Bytes::from_static(&[1, 2, 3])]);
    bench.io(|io| io.emit(socket, "down", args, &attachments)).unwrap();
    bench.io(|io| io.ack(chat, AckId(5), args, &attachments)).unwrap();
    assert_eq!(bench.io(|io| io.of("/").emit("all", args, &attachments)), Ok(1));
    bench.io(|io| io.emit_with_ack(socket, "ask", args, &attachments, Duration::ZERO)).unwrap();
    let sent = bench.sent(conn);
    assert_eq!(
        sent,
        [
            format!("451-[\"down\",{args}]\x1ebAQID"),
            format!("461-/chat,5[{args}]\x1ebAQID"),
            format!("451-[\"all\",{args}]\x1ebAQID"),
            format!("451-0[\"ask\",{args}]\x1ebAQID"),
        ]
    );
}

#[test]
fn an_answer_may_have_attachments() {
    let mut bench = Bench::new();
    let (conn, socket) = bench.join();
    bench.io(|io| io.emit_with_ack(socket, "ask", "", &[], Duration::from_secs(1))).unwrap();
    bench.text(conn, r#"61-0[{"_placeholder":true,"num":0}]"#);
    bench.binary(conn, b"x");
    assert_eq!(bench.calls(), [r#"ack 0 0 ({"_placeholder":true,"num":0}) [b"x"]"#]);
}

#[test]
fn what_disturbs_a_packet_with_attachments_closes() {
    for disturb in [
        |bench: &mut Bench, conn: ConnKey| bench.binary(conn, b"stray"),
        |bench: &mut Bench, conn: ConnKey| {
            bench.text(conn, EVENT);
            bench.text(conn, r#"2["between"]"#);
        },
        |bench: &mut Bench, conn: ConnKey| {
            bench.text(conn, EVENT);
            bench.text(conn, "1");
        },
        |bench: &mut Bench, conn: ConnKey| {
            bench.text(conn, EVENT);
            bench.binary(conn, b"1");
            bench.binary(conn, b"2");
            bench.calls();
            bench.binary(conn, b"3");
        },
    ] {
        let mut bench = Bench::new();
        let (conn, _) = bench.join();
        disturb(&mut bench, conn);
        assert!(bench.is_closed(conn));
        assert_eq!(bench.calls(), ["disconnect 0 parse error", "close 0"]);
        bench.assert_empty();
    }
}

#[test]
fn attachments_that_do_not_come_in_time_close() {
    let mut bench = Bench::new();
    let (conn, _) = bench.join();
    bench.text(conn, EVENT);
    bench.advance(200);
    // Only the whole packet ends the waiting.
    bench.binary(conn, b"1");
    bench.advance(99);
    assert!(!bench.is_closed(conn));
    bench.advance(1);
    assert!(bench.is_closed(conn));
}

#[test]
fn each_packet_has_the_whole_time_for_its_attachments() {
    let mut bench = Bench::new();
    let (conn, _) = bench.join();
    for _ in 0..5 {
        bench.text(conn, EVENT);
        bench.binary(conn, b"1");
        bench.advance(200);
        bench.binary(conn, b"2");
    }
    assert!(!bench.is_closed(conn));
    let (other, _) = bench.join();
    bench.text(conn, EVENT);
    bench.advance(250);
    bench.text(other, EVENT);
    bench.advance(50);
    assert!(bench.is_closed(conn) && !bench.is_closed(other));
}

#[test]
fn packets_with_attachments_set_one_deadline() {
    let mut bench = Bench::new();
    let (conn, _) = bench.join();
    for _ in 0..1000 {
        bench.text(conn, EVENT);
        bench.binary(conn, b"1");
        bench.binary(conn, b"2");
    }
    let far = bench.engine.now() + Duration::from_secs(3600);
    assert_eq!(std::iter::from_fn(|| bench.handler.state.deadlines.attachments.pop_due(far)).count(), 1);
}

/// Sends an event that exceeds a limit.
type Oversize = fn(&mut Bench, ConnKey);

const OVERSIZE: [(Oversize, &str); 4] = [
    (
        |bench, conn| bench.text(conn, &format!("27[\"up\",{}", "[".repeat(200))),
        "oversize 0 up Some(AckId(7)): nested too deeply, 208 bytes",
    ),
    (
        |bench, conn| bench.text(conn, &format!("2[\"up\",{}]", "1".repeat(41))),
        "oversize 0 up None: a number is too long, 49 bytes",
    ),
    (
        |bench, conn| {
            bench.text(conn, "511-[\"up\"]");
            (0..11).for_each(|_| bench.binary(conn, b"x"));
        },
        "oversize 0 up None: too many attachments, 10 bytes",
    ),
    (
        |bench, conn| {
            bench.text(conn, "53-[\"up\"]");
            (0..3).for_each(|_| bench.binary(conn, &[0; 3 << 20]));
        },
        "oversize 0 up None: attachments too large, 6291465 bytes",
    ),
];

#[test]
fn an_event_that_exceeds_a_limit_closes_unless_the_application_deals_with_it() {
    for (send, call) in OVERSIZE {
        let mut bench = Bench::new();
        let (conn, _) = bench.join();
        send(&mut bench, conn);
        assert!(bench.is_closed(conn), "{call}");
        assert_eq!(bench.calls(), [call, "disconnect 0 parse error", "close 0"]);
        bench.assert_empty();

        let mut bench = Bench::new();
        bench.handler.handler.takes_oversize = true;
        let (conn, _) = bench.join();
        send(&mut bench, conn);
        bench.text(conn, "2[\"next\"]");
        bench.advance(10_000);
        assert!(!bench.is_closed(conn), "{call}");
        assert_eq!(bench.calls(), [call, "event 0 next()"]);
    }
}

#[test]
fn attachments_that_are_skipped_must_come_in_time_too() {
    let mut bench = Bench::new();
    bench.handler.handler.takes_oversize = true;
    let (conn, _) = bench.join();
    bench.text(conn, "511-[\"up\"]");
    bench.advance(200);
    (0..10).for_each(|_| bench.binary(conn, b"x"));
    bench.advance(99);
    assert!(!bench.is_closed(conn));
    bench.advance(1);
    assert!(bench.is_closed(conn));
}

#[test]
fn an_event_that_exceeds_a_limit_needs_its_namespace() {
    let mut bench = Bench::new();
    bench.handler.handler.takes_oversize = true;
    let (conn, _) = bench.join();
    bench.text(conn, &format!("2/chat,[\"up\",{}", "[".repeat(200)));
    assert!(bench.is_closed(conn));
    assert_eq!(bench.calls(), ["disconnect 0 parse error", "close 0"]);
}
