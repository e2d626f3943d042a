//! [`Sockets`] by itself: what it asks of homes, and what it makes of their answers.

use std::time::Duration;

use super::{
    super::{
        shard_message::{HomeRequest, RoomQuery},
        *,
    },
    bench::config,
    part::Part,
};
use crate::{
    auth::{TokenRequest, sign},
    clock::wall_clock,
    room::Room,
    store::Position,
};

/// The sockets of the first of so many shards.
struct Shard {
    part: Part<Sockets>,
    shared: Shared,
}

impl Shard {
    fn new(shards: u16, keys: &[(&str, &str)]) -> Self {
        let shared = Shared::new(Arc::new(config(keys)), usize::from(shards), None);
        let (config, accounts) = (shared.config.load_full(), Arc::clone(&shared.accounts));
        let verifier = Arc::clone(&shared.verifier);
        let sockets = Sockets::new(config, accounts, Arc::default(), shared.homes.clone(), verifier, None);
        Self { part: Part::new(shards, sockets), shared }
    }

    /// A user's socket.
    fn connect(&mut self, sub: &str, rooms: Option<&[String]>) -> SocketKey {
        let request = TokenRequest { sub, name: None, rooms, lifetime: Duration::from_secs(1000) };
        let token = sign(&self.shared.config.load().auth, &request, wall_clock()).unwrap();
        let socket = self.part.socket();
        self.part.with(move |sockets, io| {
            let admission = sockets.authorize(io, Some(&token), false).unwrap();
            sockets.connect(io, socket, admission);
        });
        socket
    }

    /// An event of a socket.
    fn event(&mut self, socket: SocketKey, name: &str, arg: &str) -> Result<(), Code> {
        let packet = format!(r#"2["{name}",{arg}]"#);
        self.part.with(move |sockets, io| {
            let mut decoder = socketio::parser::Decoder::default();
            let packet = decoder.decode_text(&packet, &socketio::parser::Limits::default()).unwrap();
            let Some(socketio::packet::Packet::Event { event, .. }) = packet else { panic!("no event") };
            let (args, ack) = (&event.args, Some(AckId(7)));
            let outcome = match &*event.name {
                "message" => sockets.check_message(io, socket, args, ack).map(drop),
                "typing" => sockets.on_typing(io, socket, args).map(drop),
                "join" => sockets.on_join(io, socket, args, ack).map(drop),
                "history" => sockets.on_history(io, socket, args, ack).map(drop),
                "leave" => sockets.on_leave(io, socket, args).map(drop),
                other => panic!("{other}"),
            };
            outcome.map_err(|error| error.code)
        })
    }

    /// What homes were asked since the last question, on one shard: the room and what for.
    fn asked(&mut self) -> Vec<String> {
        let messages = self.part.with(|sockets, _| std::iter::from_fn(|| sockets.next_for_home()).collect::<Vec<_>>());
        messages.iter().map(describe).collect()
    }
}

fn describe(message: &ToHome) -> String {
    let what = match &message.request {
        HomeRequest::Enter { entry, join, .. } => {
            format!("enter {}{}", entry.number, if join.is_some() { ", join" } else { "" })
        }
        HomeRequest::Readmit { .. } => "readmit".to_owned(),
        HomeRequest::Leave { left, .. } => if left.is_some() { "leave" } else { "disconnected" }.to_owned(),
        HomeRequest::Forget { .. } => "forget".to_owned(),
        HomeRequest::Query { query: RoomQuery::History { .. }, .. } => "history".to_owned(),
        HomeRequest::Query { query, .. } => format!("{query:?}"),
        HomeRequest::Publish { .. } => "publish".to_owned(),
        HomeRequest::Broadcast(broadcast) => format!("broadcast, named: {}", broadcast.named),
    };
    format!("{}: {what}", message.room.id())
}

#[test]
fn homes_are_asked_in_the_order_of_the_events() {
    let mut shard = Shard::new(1, &[]);
    let rooms = ["a".to_owned(), "*".to_owned()];
    let socket = shard.connect("alice", Some(&rooms));
    assert_eq!(shard.asked(), ["lobby: enter 1", "a: enter 2"]);
    for (name, arg) in [
        ("join", r#"{"roomId":"b"}"#),
        ("message", r#"{"message":"x","context":{"roomId":"c"}}"#),
        ("typing", r#"true,{"roomId":"b"}"#),
        ("typing", "true"),
        ("history", r#"{"roomId":"elsewhere"}"#),
        ("leave", r#"{"roomId":"b"}"#),
    ] {
        shard.event(socket, name, arg).unwrap();
    }
    let expected = [
        "b: enter 3, join",
        "c: enter 4",
        "b: broadcast, named: true",
        "lobby: broadcast, named: false",
        "elsewhere: history",
        // The typing that the room heard of ends with `leave`, and what all rooms heard of too.
        "b: broadcast, named: true",
        "lobby: broadcast, named: false",
        "b: leave",
    ];
    assert_eq!(shard.asked(), expected);
    shard.part.with(move |sockets, io| sockets.disconnect(io, socket, DisconnectReason::ClientNamespaceDisconnect));
    assert_eq!(shard.asked(), ["lobby: disconnected", "a: disconnected", "c: disconnected"]);
}

#[test]
fn with_several_shards_even_the_own_shards_homes_are_asked_by_shard_messages() {
    let mut shard = Shard::new(3, &[]);
    let socket = shard.connect("alice", None);
    let rooms: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    for room in &rooms {
        shard.event(socket, "join", &format!(r#"{{"roomId":"{room}"}}"#)).unwrap();
    }
    assert_eq!(shard.asked(), Vec::<String>::new());
    let sent = shard.part.sent();
    let sent: Vec<(u16, ToHome)> =
        sent.into_iter().map(|(to, message)| (to, message.downcast::<ToHome>().unwrap())).collect();
    assert_eq!(sent.len(), 1 + rooms.len());
    assert!(sent.iter().all(|(to, message)| *to == shard.shared.homes.of(&message.room, 3)));
    assert!(sent.iter().any(|(to, _)| *to == 0), "the own shard is a home too");
}

#[test]
fn a_socket_is_in_a_room_from_the_answer_to_its_newest_entry_on() {
    let mut shard = Shard::new(1, &[("rooms.lobby", "false")]);
    let socket = shard.connect("alice", None);
    let joined = |shard: &mut Shard, entry| {
        shard.part.with(move |sockets, io| {
            let (room, since, present) = (Room::new("a"), Position::START, Vec::new());
            sockets.receive(io, ToSocket::Entered { socket, room, entry, home: 0, since, present });
            io.rooms(socket).count() == 1
        })
    };
    shard.event(socket, "join", r#"{"roomId":"a"}"#).unwrap();
    shard.event(socket, "leave", r#"{"roomId":"a"}"#).unwrap();
    assert!(!joined(&mut shard, 1), "it left meanwhile");
    shard.event(socket, "join", r#"{"roomId":"a"}"#).unwrap();
    assert!(!joined(&mut shard, 1), "that was the answer to the first entry");
    assert!(joined(&mut shard, 2));
}

#[test]
fn what_a_socket_may_not_do_reaches_no_home() {
    let mut shard = Shard::new(1, &[("limits.rooms_per_socket", "1"), ("limits.message_rate", "1")]);
    let rooms = ["a".to_owned(), "b".to_owned()];
    let socket = shard.connect("alice", Some(&rooms));
    assert_eq!(shard.asked(), ["lobby: enter 1", "a: enter 2"], "no more rooms than it may have");
    for (name, arg, code) in [
        ("join", r#"{"roomId":"b"}"#, Code::TooManyRooms),
        ("join", r#"{"roomId":"z"}"#, Code::RoomForbidden),
        ("history", r#"{"roomId":"z"}"#, Code::RoomForbidden),
        ("typing", r#"true,{"roomId":"b"}"#, Code::RoomForbidden),
        ("leave", r#"{"roomId":"b"}"#, Code::RoomForbidden),
        ("message", r#"{"message":""}"#, Code::MessageEmpty),
    ] {
        assert_eq!(shard.event(socket, name, arg), Err(code), "{name} {arg}");
    }
    assert_eq!(shard.asked(), Vec::<String>::new());
}

#[test]
fn typing_where_presence_is_too_large_is_broadcast_only_in_a_room_that_is_named() {
    let mut shard = Shard::new(1, &[]);
    let socket = shard.connect("alice", None);
    shard.asked();
    shard.part.with(|sockets, io| sockets.receive_all(io, &ToAll::Quiet { room: Room::new("lobby"), quiet: true }));
    shard.event(socket, "typing", "true").unwrap();
    assert_eq!(shard.asked(), Vec::<String>::new());
    shard.event(socket, "typing", r#"true,{"roomId":"lobby"}"#).unwrap();
    assert_eq!(shard.asked(), ["lobby: broadcast, named: true"]);
}
