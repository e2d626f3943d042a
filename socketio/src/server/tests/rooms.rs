//! Rooms and broadcasts: who is reached, and that each is reached once.

use super::*;
use crate::state::{ids::RoomKey, room::handle::RoomHandle};

/// Four clients in `/`: the first in `a`, the second in `a` and `b`, the third in `b`, the fourth in none. The first is
/// in `/chat` as well.
fn four() -> (Bench, [ConnKey; 4], [SocketKey; 4]) {
    let mut bench = Bench::new();
    let clients = [(); 4].map(|()| bench.join());
    bench.connect(clients[0].0, "/chat");
    let sockets = clients.map(|(_, socket)| socket);
    bench.io(|io| {
        for (socket, room) in [(0, "a"), (1, "a"), (1, "b"), (2, "b")] {
            assert!(io.join(sockets[socket], room));
        }
    });
    (bench, clients.map(|(conn, _)| conn), sockets)
}

/// Which of the four a broadcast reached, each as often as it was.
fn reached(
    bench: &mut Bench,
    conns: [ConnKey; 4],
    send: impl FnOnce(&mut Io<'_>) -> Result<usize, EmitError>,
) -> String {
    let count = bench.io(send).unwrap();
    let reached: String = (0..4)
        .map(|index| bench.sent(conns[index]).into_iter().map(|_| index.to_string()).collect::<String>())
        .collect();
    assert_eq!(count, reached.len());
    reached
}

#[test]
fn a_broadcast_reaches_whom_it_names_once() {
    let (mut bench, conns, sockets) = four();
    let id = bench.io(|io| io.id(sockets[3]).unwrap().to_string());
    let gone = SocketId::new(0, 99, [0; 15]).to_string();
    let mut check = |expected: &str, send: &dyn Fn(&mut Io<'_>) -> Result<usize, EmitError>| {
        assert_eq!(reached(&mut bench, conns, |io| send(io)), expected);
    };
    check("0123", &|io| io.of("/").emit("x", "", &[]));
    check("0", &|io| io.of("/chat").emit("x", "", &[]));
    check("01", &|io| io.of("/").to("a").emit("x", "", &[]));
    check("01", &|io| io.of("/").to("a").to("a").emit("x", "", &[]));
    check("012", &|io| io.of("/").to("a").to("b").emit("x", "", &[]));
    check("0123", &|io| io.of("/").to("b").to(&id).to("a").to(&id).emit("x", "", &[]));
    check("3", &|io| io.of("/").to(&id).emit("x", "", &[]));
    check("", &|io| io.of("/chat").to(&id).emit("x", "", &[]));
    check("", &|io| io.of("/chat").to("a").emit("x", "", &[]));
    check("", &|io| io.of("/").to("nope").emit("x", "", &[]));
    check("", &|io| io.of("/").to(&gone).emit("x", "", &[]));
    check("", &|io| io.of("/").to("").emit("x", "", &[]));
    check("01", &|io| io.of("/").to("nope").to("a").emit("x", "", &[]));
    check("23", &|io| io.of("/").except("a").emit("x", "", &[]));
    check("3", &|io| io.of("/").except("a").except("b").emit("x", "", &[]));
    check("0", &|io| io.of("/").to("a").except("b").emit("x", "", &[]));
    check("", &|io| io.of("/").to("a").except("a").emit("x", "", &[]));
    check("012", &|io| io.of("/").except(&id).emit("x", "", &[]));
    check("0123", &|io| io.of("/").except("nope").except(&gone).emit("x", "", &[]));
    check("1", &|io| io.of("/").to("a").except_socket(sockets[0]).emit("x", "", &[]));
    check("12", &|io| io.of("/").to("a").to("b").except_socket(sockets[0]).emit("x", "", &[]));
    check("", &|io| io.of("/").to(&id).except_socket(sockets[3]).emit("x", "", &[]));
    check("", &|io| io.of("/").to(&id).except(&id).emit("x", "", &[]));
}

#[test]
fn a_broadcast_is_one_frame_with_its_namespace() {
    let (mut bench, conns, _) = four();
    bench.io(|io| io.of("/").to("a").emit("x", "1,2", &[])).unwrap();
    bench.io(|io| io.of("/chat").emit("y", "", &[])).unwrap();
    assert_eq!(bench.sent(conns[0]), [r#"42["x",1,2]"#, r#"42/chat,["y"]"#]);
}

#[test]
fn a_volatile_broadcast_leaves_out_who_does_not_read() {
    let (mut bench, conns, _) = four();
    bench.engine.set_queued(conns[1], SOFT);
    assert_eq!(reached(&mut bench, conns, |io| io.of("/").to("a").volatile().emit("x", "", &[])), "0");
    assert_eq!(reached(&mut bench, conns, |io| io.of("/").to("a").to("b").volatile().emit("x", "", &[])), "02");
    assert_eq!(reached(&mut bench, conns, |io| io.of("/").volatile().emit("x", "", &[])), "023");
    assert_eq!(reached(&mut bench, conns, |io| io.of("/").to("a").emit("x", "", &[])), "01");
}

#[test]
fn a_broadcast_goes_on_past_a_session_that_is_closing_or_full() {
    let (mut bench, conns, sockets) = four();
    bench.engine.set_queued(conns[1], HARD);
    let counts = bench.io(|io| {
        let first = io.of("/").emit("x", "", &[]).unwrap();
        // It is closing now, and still in its rooms.
        let second = io.of("/").to("a").to("b").emit("y", "", &[]).unwrap();
        io.disconnect(sockets[0], true);
        (first, second, io.of("/").emit("z", "", &[]).unwrap())
    });
    assert_eq!(counts, (3, 2, 2));
    let calls = bench.calls();
    assert!(calls.contains(&"disconnect 0 server namespace disconnect".to_owned()), "{calls:?}");
    assert!(calls.contains(&"disconnect 1 slow consumer".to_owned()), "{calls:?}");
}

#[test]
fn joining_and_leaving_tell_whether_they_did_something() {
    let (mut bench, _, sockets) = four();
    let gone = bench.join();
    bench.text(gone.0, "1");
    bench.io(|io| {
        assert!(!io.join(sockets[0], "a"));
        assert!(!io.join(gone.1, "a"));
        assert!(!io.leave(gone.1, "a"));
        assert!(!io.leave(sockets[0], "b"));
        assert!(io.leave(sockets[0], "a"));
        assert!(!io.leave(sockets[0], "a"));
        let mut rooms: Vec<_> = io.rooms(sockets[1]).collect();
        rooms.sort_unstable();
        assert_eq!(rooms, ["a", "b"]);
        assert_eq!(io.rooms(gone.1).count(), 0);
        assert_eq!(io.members("/", "a").collect::<Vec<_>>(), [sockets[1]]);
        assert_eq!(io.members("/", "b").len(), 2);
        assert_eq!(
            (io.members("/", "c").len(), io.members("/chat", "a").len(), io.members("/no", "a").len()),
            (0, 0, 0)
        );
    });
}

#[test]
fn a_room_named_like_a_socket_takes_nothing_meant_for_the_socket() {
    let (mut bench, conns, sockets) = four();
    let id = bench.io(|io| io.id(sockets[3]).unwrap().to_string());
    bench.io(|io| io.join(sockets[0], &id));
    assert_eq!(reached(&mut bench, conns, |io| io.of("/").to(&id).emit("x", "", &[])), "3");
    assert_eq!(reached(&mut bench, conns, |io| io.of("/").except(&id).emit("x", "", &[])), "012");
}

#[test]
fn sockets_of_one_client_in_two_namespaces_have_rooms_apart() {
    let (mut bench, conns, sockets) = four();
    let nsp = bench.handler.state.namespaces.find("/chat").unwrap();
    let chat = bench.handler.state.client(conns[0]).unwrap().socket_of(nsp).unwrap();
    bench.io(|io| io.join(chat, "b"));
    assert_eq!(reached(&mut bench, conns, |io| io.of("/chat").to("b").emit("x", "", &[])), "0");
    assert_eq!(reached(&mut bench, conns, |io| io.of("/").to("b").emit("x", "", &[])), "12");
    bench.text(conns[0], "1");
    assert_eq!(reached(&mut bench, conns, |io| io.of("/chat").to("b").emit("x", "", &[])), "0");
    assert_eq!(reached(&mut bench, conns, |io| io.of("/").except_socket(sockets[0]).emit("x", "", &[])), "123");
}

/// Whom a broadcast to the room of a handle reaches, and the key that the handle keeps then.
fn reached_by_handle(bench: &mut Bench, conns: [ConnKey; 4], handle: &RoomHandle) -> (String, Option<RoomKey>) {
    let reached = reached(bench, conns, |io| io.of("/").to_room(handle).emit("x", "", &[]));
    (reached, handle.key.get())
}

#[test]
fn a_handle_finds_its_room_again_when_it_was_empty_and_never_another_room() {
    let (mut bench, conns, sockets) = four();
    let handle = bench.io(|io| io.room("/", "a")).unwrap();
    assert_eq!((handle.name(), handle.key.get()), ("a", None));
    let (members, first) = reached_by_handle(&mut bench, conns, &handle);
    assert_eq!(members, "01");
    assert!(first.is_some());
    assert_eq!(reached_by_handle(&mut bench, conns, &handle), ("01".to_owned(), first));
    // The room is empty, and its slot becomes another room's.
    bench.io(|io| {
        assert!(io.leave(sockets[0], "a") && io.leave(sockets[1], "a"));
        assert!(io.join(sockets[3], "c"));
    });
    assert_eq!(reached_by_handle(&mut bench, conns, &handle), (String::new(), None));
    // It comes back under another key. A copy of the handle that knows the first key finds that too.
    let copy = handle.clone();
    copy.key.set(first);
    bench.io(|io| assert!(io.join(sockets[2], "a")));
    for handle in [&handle, &copy, &handle] {
        let (members, key) = reached_by_handle(&mut bench, conns, handle);
        assert_eq!(members, "2");
        assert!(key.is_some() && key != first);
    }
}

#[test]
fn a_handle_knows_its_room_as_soon_as_there_is_one_without_a_look_at_the_name() {
    let (mut bench, conns, sockets) = four();
    let handle = bench.io(|io| io.room("/", "later")).unwrap();
    assert_eq!(reached_by_handle(&mut bench, conns, &handle), (String::new(), None));
    bench.io(|io| assert!(io.join(sockets[1], "later")));
    let (members, key) = reached_by_handle(&mut bench, conns, &handle);
    assert_eq!(members, "1");
    // The name is not looked at: a handle with another one finds the room by the key.
    let renamed = RoomHandle::new(handle.shard, handle.nsp, "no such room");
    renamed.key.set(key);
    assert_eq!(reached_by_handle(&mut bench, conns, &renamed).0, "1");
}

#[test]
fn a_handle_is_of_one_namespace() {
    let (mut bench, conns, _) = four();
    assert!(bench.io(|io| io.room("/nope", "a")).is_none());
    let handle = bench.io(|io| io.room("/", "a")).unwrap();
    // It narrows the broadcast all the same: not everyone is reached.
    assert_eq!(reached(&mut bench, conns, |io| io.of("/chat").to_room(&handle).emit("x", "", &[])), "");
    assert_eq!(reached(&mut bench, conns, |io| io.of("/").to_room(&handle).to("b").emit("x", "", &[])), "012");
    assert_eq!(reached(&mut bench, conns, |io| io.of("/").to_room(&handle).except("b").emit("x", "", &[])), "0");
}

#[test]
fn a_handle_with_the_id_of_a_socket_stands_for_the_socket() {
    let (mut bench, conns, sockets) = four();
    let id = bench.io(|io| io.id(sockets[3]).unwrap().to_string());
    let handle = bench.io(|io| io.room("/", &id)).unwrap();
    bench.io(|io| assert!(io.join(sockets[0], &id)));
    for _ in 0..2 {
        assert_eq!(reached_by_handle(&mut bench, conns, &handle), ("3".to_owned(), None));
    }
    bench.io(|io| io.disconnect(sockets[3], false));
    bench.sent(conns[3]);
    assert_eq!(reached_by_handle(&mut bench, conns, &handle).0, "0");
}
