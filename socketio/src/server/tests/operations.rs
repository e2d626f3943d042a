//! What is done to many sockets at once, over two shards.

use std::sync::Mutex;

use super::{shards::Shards, *};
use crate::adapter::{
    Action, Adapter, Answers, EventData, Flags, Operation, RemoteSocket, Replies, Reply, Sockets, Source, Targets,
};

const SECOND: Duration = Duration::from_secs(1);

impl Shards {
    /// The first shard's application does something, and every shard does what that causes.
    fn act<R>(&mut self, act: impl FnOnce(&mut Io<'_>) -> R) -> R {
        let result = io(&mut self.shards[0], act);
        self.shards.deliver_all();
        result
    }

    /// Who is in a room: clients 0 and 1 of the first shard, 2 and 3 of the second.
    fn members(&mut self, room: &str) -> String {
        let mut members = String::new();
        for (shard, clients) in (0..).zip(self.clients) {
            let found: Vec<_> = io(&mut self.shards[shard], |io| io.members("/", room).collect());
            for (client, (_, socket)) in (0..).zip(clients) {
                if found.contains(&socket) {
                    members.push_str(&(2 * shard + client).to_string());
                }
            }
        }
        members
    }

    /// The reply to the only request of the first shard, if it is there.
    fn reply(&mut self) -> Option<Reply> {
        let job = self.shards[0].engine.jobs().next().unwrap();
        self.shards[0].run_job(job).then(|| self.shards[0].handler.handler.replies.pop().unwrap().1)
    }

    /// A client answers the question that it was sent last.
    fn answer(&mut self, shard: u16, client: usize, args: &str) {
        let (conn, _) = self.clients[usize::from(shard)][client];
        let event = self.shards[shard].sent(conn).pop().unwrap();
        let id: String = event.chars().skip(2).take_while(char::is_ascii_digit).collect();
        self.shards[shard].text(conn, &format!("3{id}[{args}]"));
    }

    fn answers(&mut self) -> Answers {
        let Some(Reply::Answers(answers)) = self.reply() else { panic!("no answers") };
        answers
    }
}

#[test]
fn sockets_of_all_shards_join_and_leave_rooms() {
    let mut shards = Shards::new(|_| ());
    shards.act(|io| io.of("/").to("b").sockets_join(["c", "d"])).unwrap();
    assert_eq!((shards.members("c"), shards.members("d")), ("13".to_owned(), "13".to_owned()));
    shards.act(|io| io.of("/").except("b").sockets_join(["e"])).unwrap();
    assert_eq!(shards.members("e"), "02");
    let id = shards.id(1, 1);
    shards.act(|io| io.of("/").to(&id).sockets_leave(["c", "a"])).unwrap();
    assert_eq!((shards.members("c"), shards.members("a")), ("1".to_owned(), "012".to_owned()));
    shards.act(|io| io.of("/").local().sockets_leave(["a"])).unwrap();
    assert_eq!(shards.members("a"), "2");
    shards.act(|io| io.of("/").to_all(["b", "e"]).except_all(["c", "d"]).sockets_join(["f"])).unwrap();
    assert_eq!(shards.members("f"), "02");
    shards.act(|io| io.of("/").to_all::<&str>([]).sockets_join(["g"])).unwrap();
    assert_eq!(shards.members("g"), "");
    assert_eq!(shards.act(|io| io.of("/typo").sockets_join(["a"])), Err(EmitError::UnknownNamespace));
}

#[test]
fn sockets_of_all_shards_are_disconnected() {
    for close in [false, true] {
        let mut shards = Shards::new(|_| ());
        shards.act(|io| io.of("/").to("b").disconnect_sockets(close)).unwrap();
        for (shard, clients) in (0..).zip(shards.clients) {
            let shard = &mut shards.shards[shard];
            assert!(shard.sent(clients[0].0).is_empty());
            assert_eq!(shard.sent(clients[1].0), ["41"]);
            assert_eq!(shard.engine.is_open(clients[1].0), !close);
            assert_eq!(shard.handler.handler.calls.remove(0), "disconnect 1 server namespace disconnect");
        }
    }
}

#[test]
fn sockets_of_all_shards_are_fetched_with_rooms_and_data() {
    let mut shards = Shards::new(|_| ());
    let request = shards.act(|io| io.of("/").to("b").fetch_sockets(SECOND)).unwrap();
    let Some(Reply::Sockets(Sockets { mut sockets, missing })) = shards.reply() else { panic!("no sockets") };
    assert!(missing.is_empty());
    sockets.sort_by_key(|socket| socket.shard);
    let ids = [shards.id(0, 1), shards.id(1, 1)];
    for (shard, socket) in (0..).zip(&mut sockets) {
        socket.rooms.sort();
        let expected = RemoteSocket {
            rooms: vec!["a".into(), "b".into()],
            data: Some("1".to_owned()),
            shard: Some(shard),
            ..RemoteSocket::new(&ids[usize::from(shard)], "/")
        };
        assert_eq!(*socket, expected);
    }
    let next = shards.act(|io| io.of("/").to("nobody").fetch_sockets(SECOND)).unwrap();
    assert_ne!(request, next);
    assert_eq!(shards.reply(), Some(Reply::Sockets(Sockets::default())));
    assert!(shards.shards[0].handler.state.deadlines.requests.is_empty());
}

#[test]
fn a_shard_that_does_not_answer_in_time_is_missing() {
    let mut shards = Shards::new(|_| ());
    io(&mut shards.shards[0], |io| io.of("/").fetch_sockets(SECOND)).unwrap();
    assert_eq!(shards.reply(), None);
    shards.shards[0].advance(SECOND);
    let Some(Reply::Sockets(Sockets { sockets, missing })) = shards.reply() else { panic!("no sockets") };
    assert_eq!((sockets.len(), missing), (2, vec![Source::Shard(1)]));
    // A message that is dropped, as when a shard breaks, keeps nobody waiting.
    shards.shards.deliver_all();
    io(&mut shards.shards[0], |io| io.of("/").fetch_sockets(Duration::MAX)).unwrap();
    drop(shards.shards[0].engine.take_shard_messages());
    let Some(Reply::Sockets(Sockets { missing, .. })) = shards.reply() else { panic!("no sockets") };
    assert_eq!(missing, [Source::Shard(1)]);
}

#[test]
fn all_answers_to_a_broadcast_are_gathered() {
    let mut shards = Shards::new(|_| ());
    shards.act(|io| io.of("/").to("a").emit_with_ack("ask", "7", &[], SECOND)).unwrap();
    for (shard, client, args) in [(1, 0, "1,[2]"), (0, 0, ""), (0, 1, r#""x""#)] {
        assert!(shards.reply().is_none());
        shards.answer(shard, client, args);
    }
    let (conn, _) = shards.clients[1][1];
    let event = shards.shards[1].engine.take_sent_text(conn).pop().unwrap();
    let id = event.strip_prefix("42").and_then(|rest| rest.strip_suffix(r#"["ask",7]"#)).unwrap();
    for _ in 0..2 {
        // The second time nobody waits for it.
        shards.shards[1].text(conn, &format!("3{id}[4]"));
    }
    let answers = shards.answers();
    assert!(answers.is_complete() && answers.unanswered.is_empty());
    let raw: Vec<_> = answers.answers.iter().map(|answer| answer.args.raw()).collect();
    assert_eq!((answers.recipients, raw), (4, vec!["1,[2]".into(), String::new(), r#""x""#.into(), "4".into()]));
    assert_eq!(answers.answers[0].args.first(), Some("1"));
    assert_eq!(answers.answers[0].socket, Some(shards.id(1, 0)));
    for shard in shards.shards.iter_mut() {
        assert!(shard.handler.state.questions.is_empty());
        assert!(!shard.handler.handler.calls.iter().any(|call| call.starts_with("ack")));
    }
}

#[test]
fn sockets_that_leave_or_are_late_have_not_answered() {
    let mut shards = Shards::new(|_| ());
    shards.act(|io| io.of("/").to("a").emit_with_ack("ask", "", &[], SECOND)).unwrap();
    let mut expected = vec![shards.id(1, 0), shards.id(1, 1), shards.id(0, 0)];
    shards.answer(0, 1, "1");
    let (gone, _) = shards.clients[1][1];
    shards.shards[1].text(gone, "1");
    shards.shards.advance(SECOND);
    let mut answers = shards.answers();
    expected.sort();
    answers.unanswered.sort();
    assert_eq!((answers.recipients, answers.unanswered, answers.missing), (4, expected, vec![]));
    assert_eq!(answers.answers.len(), 1);
    // What comes late is ignored, and owed no more.
    shards.answer(1, 0, "1");
    for (shard, clients) in (0..).zip(shards.clients) {
        let state = &shards.shards[shard].handler.state;
        assert!(state.questions.is_empty());
        assert!(clients.iter().all(|(_, key)| state.socket(*key).is_none_or(|socket| socket.acks.is_empty())));
    }
}

#[test]
fn a_broadcast_to_nobody_is_answered_at_once() {
    let mut shards = Shards::new(|_| ());
    shards.act(|io| io.of("/").to("nobody").emit_with_ack("ask", "", &[], Duration::MAX)).unwrap();
    assert_eq!(shards.answers(), Answers::default());
    shards.act(|io| io.of("/").server_side_emit_with_ack("ask", "", &[], SECOND)).unwrap();
    assert_eq!(shards.reply(), Some(Reply::Servers(Default::default())));
    let error = shards.act(|io| io.of("/").emit_with_ack("connect", "", &[], SECOND));
    assert_eq!(error, Err(EmitError::ReservedName));
}

#[test]
fn answers_and_what_sockets_owe_are_limited() {
    let mut shards = Shards::new(|config| {
        config.acks_per_socket = 1;
        config.broadcast_answers = 6;
    });
    let owes = shards.clients[0][0].1;
    shards.act(|io| io.emit_with_ack(owes, "first", "", &[], SECOND)).unwrap();
    shards.act(|io| io.of("/").to("a").emit_with_ack("ask", "", &[], SECOND)).unwrap();
    shards.answer(0, 1, r#""abc""#);
    shards.answer(1, 0, "12");
    shards.answer(1, 1, "1");
    let mut answers = shards.answers();
    let mut expected = vec![shards.id(0, 0), shards.id(1, 0)];
    expected.sort();
    answers.unanswered.sort();
    assert_eq!((answers.recipients, answers.answers.len(), answers.unanswered), (4, 2, expected));
}

#[test]
fn changes_of_rooms_are_reported_in_their_order_if_the_application_wants_them() {
    let mut bench = Bench::with(|config| config.room_events = true);
    let [first, second] = [bench.join(), bench.join()];
    bench.io(|io| {
        assert!(io.join(first.1, "a") && !io.join(first.1, "a") && io.join(second.1, "a"));
        io.of("/").sockets_join(["b"]).unwrap();
        assert!(io.leave(first.1, "a") && !io.leave(first.1, "a"));
    });
    let joined = ["Created / a 0", "Joined / a 0", "Joined / a 1", "Created / b 0", "Joined / b 0", "Joined / b 1"];
    assert_eq!(bench.calls(), [&joined[..], &["Left / a 0"]].concat());
    bench.text(second.0, "1");
    let left = ["Left / a 1", "Deleted / a 1", "Left / b 1", "disconnect 1 client namespace disconnect"];
    assert_eq!(bench.calls(), left);
    // What the application does meanwhile is reported too, and a panic ends the session that the change is about.
    bench.hook(|io, call| {
        if let Call::Room(socket) = call {
            assert!(io.leave(socket, "b"), "the second time it is not there");
        }
    });
    bench.io(|io| io.join(first.1, "c"));
    assert!(bench.is_closed(first.0));
    assert_eq!(bench.calls()[..4], ["Created / c 0", "Joined / c 0", "Left / b 0", "Deleted / b 0"]);
}

/// Keeps what it gets.
#[derive(Debug, Default)]
struct Recorder {
    sent: Mutex<Vec<Operation>>,
    rooms: Mutex<Vec<String>>,
}

impl Adapter for Recorder {
    fn send(&self, operation: Operation, replies: Option<Replies>) {
        let asks = matches!(operation.action, Action::FetchSockets { .. } | Action::EmitWithAck { .. });
        assert_eq!(asks, replies.is_some());
        self.sent.lock().unwrap().push(operation);
    }

    fn wants_rooms(&self) -> bool {
        true
    }

    fn room_created(&self, shard: u16, nsp: &str, room: &str) {
        self.rooms.lock().unwrap().push(format!("+{shard}{nsp}{room}"));
    }

    fn room_deleted(&self, shard: u16, nsp: &str, room: &str) {
        self.rooms.lock().unwrap().push(format!("-{shard}{nsp}{room}"));
    }
}

#[test]
fn an_adapter_gets_what_other_servers_must_hear_as_names_and_data() {
    let recorder = Arc::new(Recorder::default());
    let mut shards = Shards::new(|config| config.adapter = Some(recorder.clone()));
    let (first, second) = (shards.clients[0][0].1, shards.clients[1][1].1);
    io(&mut shards.shards[1], |io| io.leave(second, "b"));
    assert_eq!(*recorder.rooms.lock().unwrap(), ["+0/a", "+0/b", "+1/a", "+1/b", "-1/b"]);
    let all = |rooms: Option<&[&str]>| Targets {
        rooms: rooms.map(|rooms| rooms.iter().map(|room| Arc::from(*room)).collect()),
        ..Targets::everyone("/")
    };
    let event = EventData::new("x", "1", &[]);
    let mut check = |expected: Option<(Targets, Action)>, act: &dyn Fn(&mut Io<'_>)| {
        shards.act(|io| act(io));
        let expected = expected.map(|(targets, action)| Operation { targets, action });
        assert_eq!(recorder.sent.lock().unwrap().drain(..).collect::<Vec<_>>(), Vec::from_iter(expected));
    };
    let flags = Flags { volatile: true, compress: false };
    let targets = Targets { except: vec!["b".into()], ..all(Some(&["a", "c"])) };
    check(Some((targets, Action::Emit { event: event.clone(), flags })), &|io| {
        let broadcast = io.of("/").to("a").to("c").except("b").except_socket(first);
        broadcast.volatile().compress(false).emit("x", "1", &[]).unwrap();
    });
    check(None, &|io| {
        io.of("/").local().emit("x", "1", &[]).unwrap();
    });
    check(None, &|io| {
        io.of("/").this_server().emit("x", "1", &[]).unwrap();
    });
    check(None, &|io| {
        io.of("/").to_all::<&str>([]).emit("x", "1", &[]).unwrap();
    });
    check(Some((all(None), Action::Join { rooms: vec!["r".into()] })), &|io| {
        io.of("/").sockets_join(["r"]).unwrap();
    });
    check(Some((all(Some(&["a"])), Action::FetchSockets { timeout: SECOND })), &|io| {
        io.of("/").to("a").fetch_sockets(SECOND).unwrap();
    });
    let flags = Flags::default();
    let ask = Action::EmitWithAck { event: event.clone(), flags, timeout: SECOND };
    check(Some((all(None), ask)), &|io| {
        io.of("/").emit_with_ack("x", "1", &[], SECOND).unwrap();
    });
    check(Some((all(None), Action::ServerSideEmit { event })), &|io| {
        io.of("/").server_side_emit("x", "1", &[]).unwrap();
    });
    // It did not say which other servers there are.
    let Some(Reply::Sockets(sockets)) = shards.reply() else { panic!("no sockets") };
    assert_eq!((sockets.sockets.len(), sockets.missing), (4, vec![Source::OtherServers]));
}

#[test]
fn a_shard_whose_application_panics_about_a_socket_is_missing() {
    let mut shards = Shards::new(|_| ());
    shards.shards[1].handler.handler.panics_about_data = true;
    shards.act(|io| io.of("/").fetch_sockets(Duration::MAX)).unwrap();
    let Some(Reply::Sockets(Sockets { sockets, missing })) = shards.reply() else { panic!("no sockets") };
    assert_eq!((sockets.len(), missing), (2, vec![Source::Shard(1)]));
}
