//! A server whose packets are MessagePack.

use bytes::Bytes;
use engineio::Protocol;

use super::*;
use crate::parser::{Encoder, Parser};

const ENCODER: Encoder = Encoder::new(Parser::Msgpack);
const CONNECT: &[u8] = b"\x82\xa4type\x00\xa3nsp\xa1/";

fn bench() -> Bench {
    Bench::with(|config| config.parser = Parser::Msgpack)
}

/// The frames that were sent, for comparison.
fn sent(bench: &mut Bench, conn: ConnKey) -> Vec<Vec<u8>> {
    bench.end_turn();
    bench.engine.take_sent(conn).iter().map(|frame| frame.websocket().to_vec()).collect()
}

#[track_caller]
fn assert_sent(bench: &mut Bench, conn: ConnKey, expected: &[SharedFrame]) {
    assert_eq!(sent(bench, conn), expected.iter().map(|frame| frame.websocket().to_vec()).collect::<Vec<_>>());
}

fn join(bench: &mut Bench) -> (ConnKey, SocketKey) {
    let conn = bench.open();
    bench.binary(conn, CONNECT);
    let state = &mut bench.handler.state;
    let nsp = state.namespaces.find("/").unwrap();
    let socket = state.client(conn).unwrap().socket_of(nsp).unwrap();
    let id = bench.io(|io| io.id(socket)).unwrap().to_string();
    assert_sent(bench, conn, &[ENCODER.connect("/", Some(&id), None)]);
    bench.calls();
    (conn, socket)
}

#[test]
fn everything_is_sent_in_that_format() {
    let mut bench = bench();
    let (conn, socket) = join(&mut bench);
    let (args, bytes) = (r#"1,{"_placeholder":true,"num":0}"#, [Bytes::from_static(b"x")]);
    bench.io(|io| io.emit(socket, "a", args, &bytes)).unwrap();
    let id = bench.io(|io| io.emit_with_ack(socket, "b", "", &[], Duration::MAX)).unwrap();
    bench.io(|io| io.ack(socket, AckId(7), args, &bytes)).unwrap();
    bench.io(|io| io.of("/").emit("c", args, &bytes)).unwrap();
    bench.io(|io| {
        let frame = io.encoder().event("/", None, "d", "", &[]);
        io.of("/").emit_frame(&frame);
        io.disconnect(socket, false);
    });
    let expected = [
        ENCODER.event("/", None, "a", args, &bytes),
        ENCODER.event("/", Some(id), "b", "", &[]),
        ENCODER.ack("/", AckId(7), args, &bytes),
        ENCODER.event("/", None, "c", args, &bytes),
        ENCODER.event("/", None, "d", "", &[]),
        ENCODER.disconnect("/"),
    ];
    assert_sent(&mut bench, conn, &expected);
}

#[test]
fn packets_of_clients_are_read() {
    let mut bench = bench();
    let (conn, socket) = join(&mut bench);
    let id = bench.io(|io| io.emit_with_ack(socket, "b", "", &[], Duration::MAX)).unwrap();
    bench.binary(conn, b"\x84\xa4type\x02\xa3nsp\xa1/\xa2id\x05\xa4data\x93\xa1a\x01\xc4\x01x");
    bench.binary(conn, b"\x84\xa4type\x03\xa3nsp\xa1/\xa2id\x00\xa4data\x91\xa2hi");
    bench.binary(conn, b"\x82\xa4type\x01\xa3nsp\xa1/");
    let expected = [
        r#"event 0 a(1,{"_placeholder":true,"num":0}) [b"x"] ack 5"#.to_owned(),
        format!(r#"ack 0 {id} ("hi")"#),
        "disconnect 0 client namespace disconnect".to_owned(),
    ];
    assert_eq!(bench.calls(), expected);
    assert!(!bench.is_closed(conn));
}

#[test]
fn refusals() {
    let mut bench = bench();
    let conn = bench.open();
    bench.binary(conn, b"\x82\xa4type\x00\xa3nsp\xa5/nope");
    assert_sent(&mut bench, conn, &[ENCODER.connect_error("/nope", "Invalid namespace", None)]);
    let error = ConnectError { message: "no".to_owned(), data: Some("[1]".to_owned()) };
    bench.handler.handler.refuse = Some(error);
    bench.binary(conn, CONNECT);
    assert_sent(&mut bench, conn, &[ENCODER.connect_error("/", "no", Some("[1]"))]);
    let old = bench.open_protocol(Protocol::V3);
    assert_sent(&mut bench, old, &[ENCODER.connect_error_v4("/", "no", Some("[1]"))]);
}

#[test]
fn clients_of_version_2_are_served() {
    let mut bench = bench();
    let conn = bench.open_protocol(Protocol::V3);
    assert_sent(&mut bench, conn, &[ENCODER.connect("/", None, None)]);
    bench.binary(conn, b"\x82\xa4type\x00\xa3nsp\xa9/chat?a=1");
    assert_sent(&mut bench, conn, &[ENCODER.connect("/chat", None, None)]);
    assert_eq!(bench.calls(), ["connect 0 / none", r#"connect 1 /chat {"a":"1"}"#]);
}

#[test]
fn text_and_what_is_no_packet_close() {
    for message in [Message::Text("0".into()), Message::Text("2[\"a\"]".into()), Message::Binary(b"\xc1".into())] {
        let mut bench = bench();
        let (conn, _) = join(&mut bench);
        bench.message(conn, message);
        assert!(bench.is_closed(conn));
        assert_eq!(bench.calls(), ["disconnect 0 parse error", "close 0"]);
        bench.assert_empty();
    }
}
