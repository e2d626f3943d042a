//! Clients of version 2 (protocol v4 of Socket.IO), on sessions of Engine.IO v3.

use engineio::{
    Protocol,
    session::Transport,
    sid::{IssuedSid, SidPart},
    testing::Shards,
};
use http::{HeaderMap, Uri};

use super::*;
use crate::recovery::{Recovered, Recovery};

impl Bench {
    /// A client of version 2. It is connected to `/` at once.
    fn open_v4(&mut self) -> ConnKey {
        self.open_protocol(Protocol::V3)
    }

    fn socket_of(&mut self, conn: ConnKey, nsp: &str) -> SocketKey {
        socket_of(&mut self.0, conn, nsp)
    }
}

fn socket_of(shard: &mut Shard<Server<App>>, conn: ConnKey, nsp: &str) -> SocketKey {
    let state = &mut shard.handler.state;
    let nsp = state.namespaces.find(nsp).unwrap();
    state.client(conn).unwrap().socket_of(nsp).unwrap()
}

/// The session id that the test kit gives a session.
fn sid_of(conn: ConnKey) -> String {
    IssuedSid::random(0, conn.index(), [0xa5; 15]).to_string()
}

#[test]
fn a_client_is_connected_to_the_main_namespace_when_it_opens() {
    let mut bench = Bench::new();
    bench.hook(|io, call| {
        if let Call::Connect(socket) = call {
            io.emit(socket, "hello", "1", &[]).unwrap();
        }
    });
    let conn = bench.open_v4();
    assert_eq!(bench.calls(), ["connect 0 / none"]);
    assert_eq!(bench.sent(conn), ["40", r#"42["hello",1]"#]);
    bench.text(conn, r#"27["a",{"b":[]}]"#);
    assert_eq!(bench.calls(), [r#"event 0 a({"b":[]}) ack 7"#]);
    // Others are served as before.
    bench.hook(|_, _| ());
    bench.join();
    bench.close(conn, CloseReason::TransportClose);
}

#[test]
fn the_query_of_a_name_is_the_auth_payload() {
    for (packet, answer, call) in [
        ("0/chat,", "40/chat,", "connect 1 /chat none"),
        ("0/chat?,", "40/chat,", "connect 1 /chat none"),
        ("0/chat?token=abc&n=%C3%A9,", "40/chat,", r#"connect 1 /chat {"token":"abc","n":"é"}"#),
        // A payload, which such clients do not send, has no effect, as in Node.
        (r#"0/chat?a=1,{"b":2}"#, "40/chat,", r#"connect 1 /chat {"a":"1"}"#),
    ] {
        let mut bench = Bench::new();
        let conn = bench.open_v4();
        bench.calls();
        bench.sent(conn);
        bench.text(conn, packet);
        assert_eq!(bench.sent(conn), [answer], "{packet}");
        assert_eq!(bench.calls(), [call], "{packet}");
        // A query does not matter in other packets either.
        bench.text(conn, r#"2/chat,["a"]"#);
        bench.text(conn, r#"2/chat?x=1,["b"]"#);
        bench.text(conn, r#"51-/chat?x=1,["c",{"_placeholder":true,"num":0}]"#);
        bench.binary(conn, b"x");
        bench.text(conn, "1/chat?x=1,");
        let placeholder = r#"{"_placeholder":true,"num":0}"#;
        let expected = [
            "event 1 a()".to_owned(),
            "event 1 b()".to_owned(),
            format!(r#"event 1 c({placeholder}) [b"x"]"#),
            "disconnect 1 client namespace disconnect".to_owned(),
        ];
        assert_eq!(bench.calls(), expected);
        assert!(!bench.is_closed(conn));
    }
}

#[test]
fn a_token_in_a_query_may_be_longer_than_a_name() {
    let mut bench = Bench::new();
    let conn = bench.open_v4();
    bench.sent(conn);
    bench.text(conn, &format!("0/chat?token={},", "x".repeat(4000)));
    assert_eq!(bench.sent(conn), ["40/chat,"]);
    bench.text(conn, &format!("0/{}?a=1,", "x".repeat(256)));
    assert!(bench.is_closed(conn));
}

#[test]
fn refusals_are_data_or_a_message_without_an_object() {
    let mut bench = Bench::new();
    for (data, expected) in [(None, r#""no \"entry\"""#), (Some(r#"{"code":1}"#), r#"{"code":1}"#)] {
        let error = ConnectError { message: "no \"entry\"".to_owned(), data: data.map(str::to_owned) };
        bench.handler.handler.refuse = Some(error.clone());
        let conn = bench.open_v4();
        assert_eq!(bench.sent(conn), [format!("44{expected}")]);
        bench.text(conn, "0/chat?a=1,");
        assert_eq!(bench.sent(conn), [format!("44/chat,{expected}")]);
        // It may try again, by a packet that official clients do not send.
        bench.handler.handler.decide_later = true;
        bench.text(conn, "0");
        let pending = bench.handler.handler.pending.take().unwrap();
        assert!(bench.io(|io| io.refuse(pending, &error)));
        assert_eq!(bench.sent(conn), [format!("44{expected}")]);
        bench.text(conn, "0/nope,");
        assert_eq!(bench.sent(conn), [r#"44/nope,{"message":"Invalid namespace"}"#]);
        assert!(!bench.is_closed(conn));
    }
}

#[test]
fn a_decision_may_come_later_and_an_event_before_it_closes() {
    let mut bench = Bench::new();
    bench.handler.handler.decide_later = true;
    let conn = bench.open_v4();
    assert_eq!(bench.sent(conn), [""; 0]);
    let pending = bench.handler.handler.pending.take().unwrap();
    let socket = bench.io(|io| io.admit(pending)).unwrap();
    assert_eq!(bench.sent(conn), ["40"]);
    assert_eq!(bench.socket_of(conn, "/"), socket);

    bench.handler.handler.decide_later = true;
    let conn = bench.open_v4();
    bench.text(conn, r#"2["early"]"#);
    assert!(bench.is_closed(conn));
    let pending = bench.handler.handler.pending.take().unwrap();
    assert_eq!(bench.io(|io| io.admit(pending)), None);
}

#[test]
fn leaving_and_connecting_twice_are_as_in_protocol_v5() {
    let mut bench = Bench::new();
    let conn = bench.open_v4();
    bench.sent(conn);
    bench.text(conn, "1");
    assert_eq!(bench.calls(), ["connect 0 / none", "disconnect 0 client namespace disconnect"]);
    assert!(bench.handler.state.v4_ids.is_empty());
    bench.text(conn, "0");
    assert_eq!(bench.sent(conn), ["40"]);
    bench.text(conn, "0");
    assert!(bench.is_closed(conn));
    bench.calls();
    bench.assert_empty();
}

#[test]
fn a_session_that_the_application_closes_when_it_opens_asks_for_nothing() {
    struct Closes(u32);
    impl Handler for Closes {
        type Admission = ();
        fn on_open(&mut self, io: &mut Io<'_>, conn: ConnKey, _: &Handshake<'_>) {
            io.close(conn);
        }
        fn authorize(&mut self, _: &mut Io<'_>, _: &ConnectRequest<'_>) -> Decision<()> {
            self.0 += 1;
            Decision::Admit(())
        }
        fn on_connect(&mut self, _: &mut Io<'_>, _: SocketKey, (): ()) {}
        fn on_event(&mut self, _: &mut Io<'_>, _: SocketKey, _: &Event<'_>, _: Option<AckId>) {}
        fn on_disconnect(&mut self, _: &mut Io<'_>, _: SocketKey, _: DisconnectReason) {}
    }
    let mut shard = Shard::new(Server::new(Config::default(), Closes(0)));
    let conn = shard.open_protocol(Protocol::V3);
    assert_eq!((shard.sent(conn), shard.handler.handler.0), (vec![], 0));
}

#[test]
fn an_id_is_what_the_client_makes_of_the_session_id_and_reaches_its_socket() {
    let mut bench = Bench::new();
    let [conn, other] = [bench.open_v4(), bench.open_v4()];
    bench.text(conn, "0/chat?a=1,");
    bench.text(other, "0/chat,");
    let (main, chat) = (bench.socket_of(conn, "/"), bench.socket_of(conn, "/chat"));
    bench.sent(conn);
    bench.sent(other);
    let ids = bench.io(|io| [main, chat].map(|socket| io.id(socket).unwrap()));
    let texts = [sid_of(conn), format!("/chat#{}", sid_of(conn))];
    assert_eq!(ids.clone().map(|id| id.to_string()), texts);
    for (id, text) in ids.iter().zip(&texts) {
        assert_eq!((SocketId::parse(text).as_ref(), id.shard()), (Some(id), 0));
    }
    for (nsp, to, reached) in [
        ("/", &texts[0], 1),
        ("/chat", &texts[1], 1),
        // The id of a socket in another namespace names nobody.
        ("/chat", &texts[0], 0),
        ("/", &texts[1], 0),
    ] {
        assert_eq!(bench.io(|io| io.of(nsp).to(to).emit("a", "", &[])), Ok(reached), "{nsp} {to}");
    }
    assert_eq!(bench.io(|io| io.of("/chat").except(&texts[1]).emit("b", "", &[])), Ok(1));
    assert_eq!(bench.sent(conn), [r#"42["a"]"#, r#"42/chat,["a"]"#]);
    assert_eq!(bench.sent(other), [r#"42/chat,["b"]"#]);
    for conn in [conn, other] {
        bench.close(conn, CloseReason::TransportClose);
    }
    bench.calls();
    bench.assert_empty();
}

#[test]
fn an_id_with_a_part_that_the_application_chose_reaches_its_socket() {
    let mut bench = Bench::new();
    let sid = IssuedSid::chosen(0, 0, SidPart::new("alice").unwrap());
    let handshake = Handshake {
        transport: Transport::Polling,
        protocol: Protocol::V3,
        sid: Some(&sid),
        uri: &Uri::from_static("/socket.io/?EIO=3"),
        headers: &HeaderMap::new(),
        remote: ([127, 0, 0, 1], 1).into(),
        client: None,
    };
    let conn = bench.open_with(&handshake).unwrap();
    let id = bench.socket_of(conn, "/");
    let id = bench.io(|io| io.id(id)).unwrap();
    assert_eq!((id.to_string(), id.shard()), (sid.to_string(), 0));
    assert_eq!(bench.io(|io| io.of("/").to(&sid.to_string()).emit("a", "", &[])), Ok(1));
}

#[test]
fn an_id_is_found_from_another_shard() {
    let mut shards = Shards::new(2, |_| server(|_| ()));
    let conn = shards[1].open_protocol(Protocol::V3);
    shards[1].text(conn, "0/chat,");
    shards[1].sent(conn);
    let socket = socket_of(&mut shards[1], conn, "/chat");
    let id = io(&mut shards[1], |io| io.id(socket)).unwrap();
    assert_eq!(id.shard(), 1);
    io(&mut shards[0], |io| io.of("/chat").to(&id.to_string()).emit("a", "", &[])).unwrap();
    assert_eq!(shards.in_flight().into_iter().collect::<Vec<_>>(), [(0, 1)]);
    shards.deliver_all();
    assert_eq!(shards[1].sent(conn), [r#"42/chat,["a"]"#]);
}

#[test]
fn a_client_that_gets_its_id_back_is_found_by_it_when_its_old_connection_has_ended() {
    let mut bench = Bench::with(|config| config.recovery = Some(Recovery::by_application()));
    let old = bench.open_v4();
    let socket = bench.socket_of(old, "/");
    let id = bench.io(|io| io.id(socket).unwrap());
    let recovered = Recovered { id: id.clone(), rooms: Vec::new(), missed: Vec::new() };
    bench.handler.handler.admit_as = Some(Admission { pid: None, recovered: Some(recovered) });
    let new = bench.open_v4();
    assert!(bench.is_closed(old));
    bench.sent(new);
    assert_eq!(bench.io(|io| io.of("/").to(&id.to_string()).emit("x", "1", &[])), Ok(1));
    assert_eq!(bench.sent(new), [r#"42["x",1]"#]);
    bench.close(new, CloseReason::TransportClose);
    bench.assert_empty();
}
