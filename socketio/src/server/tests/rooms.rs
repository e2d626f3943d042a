//! Rooms and broadcasts: who is reached, and that each is reached once.

use super::*;

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
    let gone = SocketId::new(7, 99, [0; 15]).to_string();
    let mut check = |expected: &str, send: &dyn Fn(&mut Io<'_>) -> Result<usize, EmitError>| {
        assert_eq!(reached(&mut bench, conns, |io| send(io)), expected);
    };
    check("0123", &|io| io.of("/").emit("x", "", &[]));
    check("0", &|io| io.of("/chat").emit("x", "", &[]));
    check("", &|io| io.of("/nope").emit("x", "", &[]));
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
    bench.engine.sessions.get_mut(&conns[1]).unwrap().unwritable = true;
    assert_eq!(reached(&mut bench, conns, |io| io.of("/").to("a").volatile().emit("x", "", &[])), "0");
    assert_eq!(reached(&mut bench, conns, |io| io.of("/").to("a").to("b").volatile().emit("x", "", &[])), "02");
    assert_eq!(reached(&mut bench, conns, |io| io.of("/").volatile().emit("x", "", &[])), "023");
    assert_eq!(reached(&mut bench, conns, |io| io.of("/").to("a").emit("x", "", &[])), "01");
}

#[test]
fn a_broadcast_goes_on_past_a_session_that_is_closing_or_full() {
    let (mut bench, conns, sockets) = four();
    bench.engine.sessions.get_mut(&conns[1]).unwrap().full = true;
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
    let nsp = bench.server.state.namespaces.find("/chat").unwrap();
    let chat = bench.server.state.client(conns[0]).unwrap().socket_of(nsp).unwrap();
    bench.io(|io| io.join(chat, "b"));
    assert_eq!(reached(&mut bench, conns, |io| io.of("/chat").to("b").emit("x", "", &[])), "0");
    assert_eq!(reached(&mut bench, conns, |io| io.of("/").to("b").emit("x", "", &[])), "12");
    bench.text(conns[0], "1");
    assert_eq!(reached(&mut bench, conns, |io| io.of("/chat").to("b").emit("x", "", &[])), "0");
    assert_eq!(reached(&mut bench, conns, |io| io.of("/").except_socket(sockets[0]).emit("x", "", &[])), "123");
}

#[test]
fn a_room_that_is_known_is_found_again_and_a_stale_place_leads_to_nobody_else() {
    let (mut bench, conns, sockets) = four();
    let mut place = None;
    let mut check = |bench: &mut Bench, expected: &str, room: &str, nsp: &str| {
        let found = reached(bench, conns, |io| io.of(nsp).to_known(room, &mut place).emit("x", "", &[]));
        assert_eq!(found, expected, "{room}");
        place
    };
    let first = check(&mut bench, "01", "a", "/");
    assert!(first.is_some());
    assert_eq!(check(&mut bench, "01", "a", "/"), first);
    // Its slot is another room's now.
    bench.io(|io| {
        assert!(io.leave(sockets[0], "a") && io.leave(sockets[1], "a"));
        assert!(io.join(sockets[3], "c"));
    });
    assert_eq!(check(&mut bench, "", "a", "/"), None);
    bench.io(|io| assert!(io.join(sockets[2], "a")));
    assert!(check(&mut bench, "2", "a", "/").is_some_and(|place| Some(place) != first));
    // Of another namespace, where no room has the name.
    assert_eq!(check(&mut bench, "", "a", "/chat"), None);
    // A socket's id stands for the socket, and is looked up each time.
    let id = bench.io(|io| io.id(sockets[3]).unwrap().to_string());
    assert_eq!(check(&mut bench, "3", &id, "/"), None);
}
