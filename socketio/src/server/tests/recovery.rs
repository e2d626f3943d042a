//! Connection state recovery, on one shard and on two.

use bytes::Bytes;
use engineio::testing;
use serde_json::Value;

use super::*;
use crate::{
    adapter::EventData,
    recovery::{Admission, Options, Recovered, Recovery},
};

fn recovering(change: impl FnOnce(&mut Options)) -> Bench {
    let mut options = Options::default();
    change(&mut options);
    Bench::with(|config| config.recovery = Some(Recovery::new(options)))
}

fn two_shards() -> testing::Shards<Server<App>> {
    let recovery = Recovery::new(Options::default());
    testing::Shards::new(2, |_| server(|config| config.recovery = Some(recovery.clone())))
}

/// The answer to a CONNECT to `/`: the socket's id and private id.
fn answer(frame: &str) -> (String, String) {
    let answer: Value = serde_json::from_str(frame.strip_prefix("40").unwrap()).unwrap();
    assert_eq!(answer.as_object().unwrap().keys().collect::<Vec<_>>(), ["pid", "sid"]);
    (answer["sid"].as_str().unwrap().to_owned(), answer["pid"].as_str().unwrap().to_owned())
}

/// The name and the last argument of each event.
fn events(frames: &[String]) -> Vec<(String, String)> {
    let event = |frame: &String| {
        let json = frame.split('\u{1e}').next().unwrap().trim_start_matches(|first| "45-12".contains(first));
        let event: Vec<Value> = serde_json::from_str(json).unwrap();
        (event[0].as_str().unwrap().to_owned(), event.last().unwrap().as_str().unwrap().to_owned())
    };
    frames.iter().map(event).collect()
}

fn names(frames: &[String]) -> Vec<String> {
    events(frames).into_iter().map(|(name, _)| name).collect()
}

/// A client of `/`, and what it knows.
struct Client {
    conn: ConnKey,
    sid: String,
    pid: String,
}

fn join(shard: &mut Shard<Server<App>>) -> Client {
    let conn = shard.open();
    shard.text(conn, "0");
    let (sid, pid) = answer(&shard.sent(conn)[0]);
    Client { conn, sid, pid }
}

fn claim(shard: &mut Shard<Server<App>>, pid: &str, offset: Option<&str>) -> ConnKey {
    let conn = shard.open();
    let offset = offset.map(|offset| format!(r#","offset":"{offset}""#)).unwrap_or_default();
    shard.text(conn, &format!(r#"0{{"pid":"{pid}"{offset}}}"#));
    conn
}

impl Bench {
    fn socket_in_main(&mut self, conn: ConnKey) -> SocketKey {
        let nsp = self.handler.state.namespaces.find("/").unwrap();
        self.handler.state.client(conn).unwrap().socket_of(nsp).unwrap()
    }
}

#[test]
fn the_answer_has_a_pid_and_events_end_with_their_offset() {
    let mut bench = recovering(|_| ());
    let Client { conn, sid, pid } = join(&mut bench);
    let socket = bench.socket_in_main(conn);
    assert_ne!(sid, pid);
    bench.io(|io| {
        io.emit(socket, "direct", "", &[]).unwrap();
        io.of("/").emit("all", r#"1,"x""#, &[]).unwrap();
        io.of("/").volatile().emit("volatile", r#""x""#, &[]).unwrap();
        io.of("/").to(&sid).emit("by id", "", &[]).unwrap();
        io.of("/").local().emit("local", "", &[]).unwrap();
        io.emit_with_ack(socket, "asks", r#""x""#, &[], Duration::MAX).unwrap();
        io.of("/").emit_frame(&Encoder::new(Parser::Json).event("/", None, "frame", "1", &[]));
        io.of("/").emit("binary", r#"{"_placeholder":true,"num":0}"#, &[Bytes::from_static(b"x")]).unwrap();
    });
    let sent = bench.sent(conn);
    let (offset, _) =
        events(&sent[..1])[0].1.rsplit_once('.').map(|(head, tail)| (head.to_owned(), tail.to_owned())).unwrap();
    assert_eq!(sent[0], format!(r#"42["direct","{offset}.1"]"#));
    assert_eq!(sent[1], format!(r#"42["all",1,"x","{offset}.2"]"#));
    assert_eq!(sent[2], format!(r#"42["volatile","x","{offset}.3"]"#));
    assert_eq!(sent[3], format!(r#"42["by id","{offset}.4"]"#));
    assert_eq!(sent[4], format!(r#"42["local","{offset}.5"]"#));
    assert_eq!(sent[5], r#"420["asks","x"]"#);
    assert_eq!(sent[6], r#"42["frame",1]"#);
    assert!(
        sent[7].starts_with(&format!(r#"451-["binary",{{"_placeholder":true,"num":0}},"{offset}.6"]"#)),
        "{}",
        sent[7]
    );
}

#[test]
fn a_client_gets_its_socket_and_what_it_missed_back() {
    let mut bench = recovering(|_| ());
    let Client { conn, sid, pid } = join(&mut bench);
    let socket = bench.socket_in_main(conn);
    bench.io(|io| {
        io.join(socket, "tea");
        io.of("/").emit("first", "", &[]).unwrap();
    });
    let offset = events(&bench.sent(conn))[0].1.clone();
    bench.io(|io| io.of("/").to("tea").emit("unread", "", &[]).unwrap());
    bench.close(conn, CloseReason::TransportError);
    bench.io(|io| {
        io.of("/").to("tea").emit("a", "1", &[]).unwrap();
        io.of("/").to("coffee").emit("not its room", "", &[]).unwrap();
        io.of("/").to("tea").volatile().emit("volatile", "", &[]).unwrap();
        io.of("/chat").emit("elsewhere", "", &[]).unwrap();
        io.of("/").to(&sid).emit("b", r#"{"_placeholder":true,"num":0}"#, &[Bytes::from_static(b"x")]).unwrap();
    });
    bench.calls();
    bench.hook(|io, call| {
        if let Call::Connect(socket) = call {
            assert!(io.is_recovered(socket));
            io.emit(socket, "hello", "", &[]).unwrap();
        }
    });
    let conn = claim(&mut bench, &pid, Some(&offset));
    let sent = bench.sent(conn);
    assert_eq!(names(&sent[..3]), ["unread", "a", "b"]);
    assert!(sent[2].ends_with("\u{1e}beA=="), "its attachment: {}", sent[2]);
    assert_eq!(answer(&sent[3]), (sid.clone(), pid.clone()));
    assert_eq!(names(&sent[4..]), ["hello"]);
    assert_eq!(bench.calls(), ["connect 0 / readmitted 0"]);
    let socket = bench.socket_in_main(conn);
    bench.io(|io| {
        assert_eq!(io.rooms(socket).collect::<Vec<_>>(), ["tea"]);
        assert_eq!(io.id(socket).unwrap().to_string(), sid);
        assert_eq!(io.of("/").to("tea").to(&sid).emit("later", "", &[]), Ok(1));
    });
    assert_eq!(names(&bench.sent(conn)), ["later"]);
    // Once more, from the offset of a missed event.
    bench.close(conn, CloseReason::PingTimeout);
    let offset = events(&sent[1..2])[0].1.clone();
    let conn = claim(&mut bench, &pid, Some(&offset));
    let sent = bench.sent(conn);
    assert_eq!(names(&sent[..3]), ["b", "hello", "later"]);
    bench.text(conn, "1");
    bench.close(conn, CloseReason::TransportClose);
    bench.assert_empty();
    assert!(bench.handler.state.moved.is_empty());
}

#[test]
fn a_client_that_saw_no_event_is_recovered_from_its_connect_on() {
    let mut bench = recovering(|_| ());
    bench.io(|io| io.of("/").emit("before", "", &[]).unwrap());
    let Client { conn, sid, pid } = join(&mut bench);
    bench.io(|io| io.of("/").emit("lost", "", &[]).unwrap());
    bench.close(conn, CloseReason::TransportClose);
    // Its last offset is of another run of the server.
    let conn = claim(&mut bench, &pid, Some("another0.7"));
    let sent = bench.sent(conn);
    assert_eq!((names(&sent[..1]), answer(&sent[1])), (vec!["lost".to_owned()], (sid, pid)));
}

#[test]
fn an_old_connection_that_seems_to_live_ends_when_its_client_comes_back() {
    let mut bench = recovering(|_| ());
    let Client { conn: old, sid, pid } = join(&mut bench);
    let chat = bench.connect_chat(old);
    bench.io(|io| io.of("/").emit("lost", "", &[]).unwrap());
    bench.calls();
    let conn = claim(&mut bench, &pid, None);
    let sent = bench.sent(conn);
    assert_eq!((names(&sent[..1]), answer(&sent[1])), (vec!["lost".to_owned()], (sid, pid)));
    assert!(bench.is_closed(old));
    assert_eq!(
        bench.calls(),
        ["disconnect 0 forced close", "connect 0 / readmitted 0", "disconnect 1 forced close", "close 0"]
    );
    bench.text(conn, &format!(r#"0/chat,{{"pid":"{chat}"}}"#));
    assert!(bench.sent(conn)[0].contains(&chat));
}

impl Bench {
    /// Joins `/chat`; the private id.
    fn connect_chat(&mut self, conn: ConnKey) -> String {
        self.text(conn, "0/chat,");
        let sent = self.sent(conn);
        answer(&sent[0].replace("/chat,", "")).1
    }
}

#[test]
fn ends_for_good_are_not_recovered() {
    type End = fn(&mut Bench, ConnKey);
    let ends: [(End, bool); 8] = [
        (|bench, conn| bench.text(conn, "1"), false),
        (|bench, conn| bench.text(conn, "nonsense"), false),
        (|bench, conn| bench.close(conn, CloseReason::SlowConsumer), false),
        (
            |bench, conn| {
                let socket = bench.socket_in_main(conn);
                bench.io(|io| io.disconnect(socket, false));
            },
            false,
        ),
        (
            |bench, conn| {
                let socket = bench.socket_in_main(conn);
                bench.io(|io| io.disconnect(socket, true));
            },
            false,
        ),
        (|bench, conn| bench.io(|io| io.close(conn)), true),
        (|bench, conn| bench.close(conn, CloseReason::ServerShuttingDown), true),
        (|bench, conn| bench.close(conn, CloseReason::PingTimeout), true),
    ];
    for (index, (end, recovers)) in ends.into_iter().enumerate() {
        let mut bench = recovering(|_| ());
        let Client { conn, sid, pid } = join(&mut bench);
        end(&mut bench, conn);
        bench.calls();
        let conn = claim(&mut bench, &pid, None);
        let (new_sid, new_pid) = answer(bench.sent(conn).last().unwrap());
        assert_eq!((new_sid == sid, new_pid == pid), (recovers, recovers), "{index}");
    }
}

#[test]
fn whatever_names_no_session_gets_a_new_one() {
    let mut bench = recovering(|_| ());
    let gone = join(&mut bench);
    bench.close(gone.conn, CloseReason::TransportClose);
    let pid = gone.pid;
    let auths = [
        r#"{"pid":7}"#.to_owned(),
        r#"{"pid":"__proto__"}"#.to_owned(),
        format!(r#"{{"pid":"{}"}}"#, gone.sid),
        format!(r#"{{"pid":"{pid}","offset":7}}"#),
        format!(r#"{{"pid":"{pid}","offset":"hello"}}"#),
        format!(r#"{{"pid":["{pid}"]}}"#),
    ];
    for auth in auths {
        let conn = bench.open();
        bench.calls();
        bench.text(conn, &format!("0{auth}"));
        let (sid, new_pid) = answer(&bench.sent(conn)[0]);
        assert!(sid != gone.sid && new_pid != pid, "{auth}");
        assert_eq!(bench.calls(), [format!("connect {} / {auth}", bench.socket_in_main(conn).index())]);
    }
    // A pid of another namespace is not used up by that.
    let conn = bench.open();
    bench.text(conn, &format!(r#"0/chat,{{"pid":"{pid}"}}"#));
    assert!(!bench.sent(conn)[0].contains(&pid));
    let conn = claim(&mut bench, &pid, None);
    assert_eq!(answer(&bench.sent(conn)[0]).0, gone.sid);
    // It can be used once.
    bench.text(conn, "1");
    let conn = claim(&mut bench, &pid, None);
    assert_ne!(answer(&bench.sent(conn)[0]).0, gone.sid);
}

#[test]
fn the_application_may_be_asked_first_and_may_say_no() {
    let mut bench = recovering(|options| options.skip_middlewares = false);
    let Client { conn, sid, pid } = join(&mut bench);
    bench.close(conn, CloseReason::TransportClose);
    bench.calls();
    bench.handler.handler.refuse = Some(ConnectError { message: "no".to_owned(), data: None });
    let conn = claim(&mut bench, &pid, None);
    assert_eq!(bench.sent(conn), [r#"44{"message":"no"}"#]);
    bench.handler.handler.refuse = None;
    let conn = claim(&mut bench, &pid, None);
    assert_eq!(answer(&bench.sent(conn)[0]).0, sid);
    assert_eq!(bench.calls(), [format!(r#"connect 0 / {{"pid":"{pid}"}}"#)]);
}

#[test]
fn an_application_that_does_not_readmit_has_new_clients_only() {
    let mut bench = recovering(|_| ());
    bench.handler.handler.readmits = false;
    let Client { conn, sid, pid } = join(&mut bench);
    bench.io(|io| io.of("/").emit("lost", "", &[]).unwrap());
    bench.close(conn, CloseReason::TransportClose);
    let conn = claim(&mut bench, &pid, None);
    let sent = bench.sent(conn);
    assert_eq!(sent.len(), 1);
    assert_ne!(answer(&sent[0]).0, sid);
    let socket = bench.socket_in_main(conn);
    assert!(bench.io(|io| !io.is_recovered(socket)));
}

#[test]
fn a_panic_while_a_client_is_readmitted_ends_its_connection() {
    let mut bench = recovering(|_| ());
    let Client { conn, pid, .. } = join(&mut bench);
    bench.close(conn, CloseReason::TransportClose);
    bench.hook(|_, call| assert!(!matches!(call, Call::Readmit(_)), "boom"));
    let conn = claim(&mut bench, &pid, None);
    assert!(bench.is_closed(conn));
    bench.assert_empty();
}

#[test]
fn more_than_may_be_queued_gets_a_new_socket() {
    let mut bench = recovering(|_| ());
    let Client { conn, sid, pid } = join(&mut bench);
    bench.close(conn, CloseReason::TransportClose);
    let text = format!("\"{}\"", "x".repeat(HARD / 2));
    bench.io(|io| {
        io.of("/").emit("large", &text, &[]).unwrap();
        io.of("/").emit("large", &text, &[]).unwrap();
    });
    let conn = claim(&mut bench, &pid, None);
    let sent = bench.sent(conn);
    assert_eq!(sent.len(), 1);
    assert_ne!(answer(&sent[0]).0, sid);
    assert!(!bench.is_closed(conn));
}

/// What rooms hold back until the end of the turn is in the log, and must not come twice.
#[test]
fn what_a_room_holds_back_comes_once() {
    let mut bench = recovering(|_| ());
    let mut clients: Vec<_> = (0..4).map(|_| join(&mut bench)).collect();
    for client in &clients {
        let socket = bench.socket_in_main(client.conn);
        bench.io(|io| io.join(socket, "tea"));
    }
    let back = clients.remove(0);
    bench.close(back.conn, CloseReason::TransportClose);
    bench.io(|io| io.of("/").to("tea").emit("held back", "", &[]).unwrap());
    let conn = claim(&mut bench, &back.pid, None);
    bench.io(|io| io.of("/").to("tea").emit("next", "", &[]).unwrap());
    let sent = bench.sent(conn);
    assert_eq!((names(&sent[..1]), names(&sent[2..])), (vec!["held back".to_owned()], vec!["next".to_owned()]));
    assert_eq!(names(&bench.sent(clients[0].conn)), ["held back", "next"]);
}

#[test]
fn a_client_may_come_back_on_another_shard() {
    let mut shards = two_shards();
    let Client { conn, sid, pid } = join(&mut shards[0]);
    let nsp = shards[0].handler.state.namespaces.find("/").unwrap();
    let socket = shards[0].handler.state.client(conn).unwrap().socket_of(nsp).unwrap();
    io(&mut shards[0], |io| {
        io.join(socket, "tea");
        // It is not sent to the other shard, and may have been lost.
        io.emit(socket, "direct", "", &[]).unwrap();
        io.of("/").to("tea").emit("on its way", "", &[]).unwrap();
    });
    // Its old connection seems to live.
    let back = claim(&mut shards[1], &pid, None);
    assert_eq!(shards[1].sent(back), [""; 0], "shard 0 is asked first");
    shards.deliver_all();
    let sent = shards[1].sent(back);
    assert_eq!(
        (names(&sent[..2]), answer(&sent[2])),
        (vec!["direct".to_owned(), "on its way".to_owned()], (sid.clone(), pid))
    );
    assert!(!shards[0].engine.is_open(conn));
    // Whoever names it reaches it there.
    for shard in [0, 1] {
        io(&mut shards[shard], |io| {
            io.of("/").to(&sid).emit("by id", "", &[]).unwrap();
            io.of("/").to("tea").except(&sid).emit("not for it", "", &[]).unwrap();
            io.of("/").to(&sid).sockets_join([format!("of {shard}")]).unwrap();
        });
        shards.deliver_all();
        assert_eq!(names(&shards[1].sent(back)), ["by id"]);
    }
    let socket = shards[1].handler.state.member_by_id(nsp, &sid).unwrap().socket;
    assert_eq!(io(&mut shards[1], |io| io.rooms(socket).count()), 3);
    assert_eq!(shards[1].handler.state.moved.len(), 1);
    shards[1].text(back, "1");
    assert!(shards[1].handler.state.moved.is_empty());
}

/// Otherwise whoever is in it would get what is meant for a socket of another shard.
#[test]
fn a_room_named_like_a_socket_of_another_shard_gets_nothing_of_it() {
    let mut shards = two_shards();
    let victim = join(&mut shards[0]);
    let thief = join(&mut shards[1]);
    let nsp = shards[1].handler.state.namespaces.find("/").unwrap();
    let socket = shards[1].handler.state.client(thief.conn).unwrap().socket_of(nsp).unwrap();
    io(&mut shards[1], |io| io.join(socket, &victim.sid));
    for shard in [0, 1] {
        io(&mut shards[shard], |io| io.of("/").to(&victim.sid).emit("secret", "", &[]).unwrap());
        shards.deliver_all();
        assert_eq!(names(&shards[0].sent(victim.conn)), ["secret"]);
        assert_eq!(shards[1].sent(thief.conn), [""; 0]);
    }
}

#[test]
fn a_client_that_goes_while_other_shards_are_asked_leaves_nothing() {
    for ends in [true, false] {
        let mut shards = two_shards();
        let Client { conn, sid, pid } = join(&mut shards[0]);
        let back = claim(&mut shards[1], &pid, None);
        assert_eq!(shards[1].handler.claims.len(), 1);
        if ends {
            shards[1].close(back, CloseReason::TransportClose);
        } else {
            shards[1].text(back, "1");
        }
        assert!(shards[1].handler.claims.is_empty() && shards[1].handler.state.pending.is_empty());
        shards.deliver_all();
        assert!(!shards[0].engine.is_open(conn));
        // The session is still there.
        let back = claim(&mut shards[1], &pid, None);
        shards.deliver_all();
        assert_eq!(answer(&shards[1].sent(back)[0]).0, sid);
    }
}

#[test]
fn other_threads_emit_by_one_shard() {
    use crate::{
        adapter::{Flags, Targets},
        recovery::event::RecoveryMessage,
    };
    let mut shards = two_shards();
    let clients = [0, 1].map(|shard| join(&mut shards[shard]));
    let (event, flags) = (EventData::new("outside", "", &[]), Flags::default());
    let message = RecoveryMessage::Emit { targets: Targets::everyone("/"), event, flags };
    shards[0].receive(ShardMessage::new(message));
    shards.deliver_all();
    for (shard, client) in (0..).zip(&clients) {
        assert_eq!(names(&shards[shard].sent(client.conn)), ["outside"]);
    }
}

/// An application with a store of its own.
mod of_the_application {
    use super::*;

    fn by_application() -> Bench {
        Bench::with(|config| config.recovery = Some(Recovery::by_application()))
    }

    fn recovered(id: SocketId, missed: &[&str]) -> Admission {
        let missed = missed.iter().map(|name| EventData::new(name, r#""7""#, &[])).collect();
        let recovered = Recovered { id, rooms: vec!["tea".to_owned()], missed };
        Admission { pid: Some("p".to_owned()), recovered: Some(recovered) }
    }

    #[test]
    fn a_decision_may_say_which_socket_a_client_was() {
        let mut bench = by_application();
        let id = SocketId::new(9, 77, [3; 15]);
        bench.handler.handler.admit_as = Some(recovered(id.clone(), &["a", "b"]));
        let conn = bench.open();
        bench.text(conn, r#"0{"pid":"p","offset":"6"}"#);
        let sent = bench.sent(conn);
        // A client that hears of an event has its offset, wherever the connection breaks.
        assert_eq!(sent[0], format!(r#"40{{"sid":"{id}","pid":"p"}}"#));
        assert_eq!(sent[1..], [r#"42["a","7"]"#, r#"42["b","7"]"#]);
        assert_eq!(bench.calls(), [r#"connect 0 / {"pid":"p","offset":"6"}"#]);
        let socket = bench.socket_in_main(conn);
        bench.io(|io| {
            assert!(io.is_recovered(socket));
            assert_eq!(io.of("/").to(&id.to_string()).emit("x", "1", &[]), Ok(1));
        });
        assert_eq!(bench.sent(conn), [r#"42["x",1]"#], "its events get no offset");
        // The same id again: the old connection ends.
        let again = bench.open();
        bench.text(again, "0");
        assert!(bench.is_closed(conn) && !bench.is_closed(again));
        assert_eq!(bench.calls(), ["disconnect 0 forced close", "connect 1 / none", "close 0"]);
        bench.text(again, "1");
        bench.close(again, CloseReason::TransportClose);
        bench.assert_empty();
        assert!(bench.handler.state.moved.is_empty());
    }

    #[test]
    fn so_may_a_decision_that_comes_later() {
        let mut bench = by_application();
        let id = SocketId::new(9, 77, [3; 15]);
        let large = "x".repeat(HARD);
        for (admission, expected) in [
            (Admission { pid: Some("p".to_owned()), recovered: None }, false),
            (recovered(id.clone(), &["a"]), true),
            (recovered(id.clone(), &[&large]), false),
        ] {
            bench.handler.handler.decide_later = true;
            let conn = bench.open();
            bench.text(conn, "0");
            let pending = bench.handler.handler.pending.take().unwrap();
            let admitted = bench.io(|io| io.admit_as(pending, &admission)).unwrap();
            assert_eq!(admitted.recovered, expected);
            let sent = bench.sent(conn);
            let (sid, pid) = answer(&sent[0]);
            assert_eq!((sid == id.to_string(), &*pid, sent.len()), (expected, "p", 1 + usize::from(expected)));
            assert_eq!(bench.io(|io| io.rooms(admitted.socket).count()), usize::from(expected));
            assert_eq!(bench.io(|io| io.admit_as(pending, &admission)), None);
        }
    }

    #[test]
    fn what_the_client_says_is_read_without_a_store_too() {
        let mut bench = Bench::new();
        let asked = Rc::new(RefCell::new(String::new()));
        bench.handler.handler.asked = Rc::clone(&asked);
        let conn = bench.open();
        bench.text(conn, r#"0{"pid":"p\n","offset":"6"}"#);
        assert_eq!(*asked.borrow(), r#"Some(RecoveryRequest { pid: "p\n", offset: Some("6") })"#);
    }
}
