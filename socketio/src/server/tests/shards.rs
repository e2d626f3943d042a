//! Several shards: a bench each, whose posts are carried by hand.

use super::*;

/// Two shards with two clients each; on both, the first is in `a`, the second in `a` and `b`.
struct Shards {
    benches: [Bench; 2],
    clients: [[(ConnKey, SocketKey); 2]; 2],
}

impl Shards {
    fn new() -> Self {
        let mut benches = [Bench::new(), Bench::new()];
        let mut number = 0;
        let clients = benches.each_mut().map(|bench| {
            (bench.engine.shard, bench.engine.shards, bench.engine.entropy) = (number, 2, 100 * number as u8);
            number += 1;
            let clients = [(); 2].map(|()| bench.join());
            bench.io(|io| {
                for (client, room) in [(0, "a"), (1, "a"), (1, "b")] {
                    assert!(io.join(clients[client].1, room));
                }
            });
            clients
        });
        Self { benches, clients }
    }

    /// Carries what was posted.
    fn carry(&mut self) {
        for from in 0..2 {
            for (shard, message) in std::mem::take(&mut self.benches[from].engine.posted) {
                let Bench { server, engine } = &mut self.benches[usize::from(shard)];
                server.on_shard_message(engine, message);
            }
        }
    }

    /// What a broadcast of the first shard brought to the clients 0 and 1 there, and 2 and 3 on the other.
    fn reached(&mut self, send: impl FnOnce(&mut Io<'_>) -> Result<usize, EmitError>) -> (usize, String) {
        let count = self.benches[0].io(send).unwrap();
        self.carry();
        let mut reached = String::new();
        for (shard, clients) in self.clients.into_iter().enumerate() {
            for (client, (conn, _)) in clients.into_iter().enumerate() {
                let times = self.benches[shard].sent(conn).len();
                reached.push_str(&(2 * shard + client).to_string().repeat(times));
            }
        }
        (count, reached)
    }

    fn id(&mut self, shard: usize, client: usize) -> String {
        let socket = self.clients[shard][client].1;
        self.benches[shard].io(|io| io.id(socket).unwrap().to_string())
    }
}

#[test]
fn a_broadcast_reaches_the_sockets_of_every_shard_once() {
    let mut shards = Shards::new();
    let here = shards.id(0, 1);
    let there = shards.id(1, 0);
    let room = shards.benches[0].io(|io| io.room("/", "b")).unwrap();
    let mut check = |expected: (usize, &str), send: &dyn Fn(&mut Io<'_>) -> Result<usize, EmitError>| {
        let (count, reached) = shards.reached(|io| send(io));
        assert_eq!((count, &*reached), expected);
    };
    check((2, "0123"), &|io| io.of("/").emit("x", "", &[]));
    check((2, "0123"), &|io| io.of("/").to("a").to("b").emit("x", "", &[]));
    check((1, "13"), &|io| io.of("/").to("b").emit("x", "", &[]));
    check((1, "13"), &|io| io.of("/").to_room(&room).emit("x", "", &[]));
    check((0, ""), &|io| io.of("/chat").to_room(&room).emit("x", "", &[]));
    check((1, "02"), &|io| io.of("/").to("a").except("b").emit("x", "", &[]));
    check((0, "2"), &|io| io.of("/").to(&there).emit("x", "", &[]));
    check((1, "1"), &|io| io.of("/").to(&here).emit("x", "", &[]));
    check((2, "013"), &|io| io.of("/").except(&there).emit("x", "", &[]));
    check((1, "123"), &|io| io.of("/").to("b").to(&there).emit("x", "", &[]));
    check((2, "01"), &|io| io.of("/").local().emit("x", "", &[]));
    check((0, ""), &|io| io.of("/chat").emit("x", "", &[]));
    check((0, ""), &|io| io.of("/").to("nope").emit("x", "", &[]));
}

#[test]
fn a_broadcast_to_a_socket_goes_to_its_shard_alone() {
    let mut shards = Shards::new();
    let here = shards.id(0, 1);
    shards.benches[0].io(|io| io.of("/").to(&here).emit("x", "", &[])).unwrap();
    assert!(shards.benches[0].engine.posted.is_empty());
}

#[test]
fn a_volatile_broadcast_leaves_out_full_sockets_of_other_shards_too() {
    let mut shards = Shards::new();
    let (conn, _) = shards.clients[1][0];
    shards.benches[1].engine.sessions.get_mut(&conn).unwrap().unwritable = true;
    assert_eq!(shards.reached(|io| io.of("/").volatile().emit("x", "", &[])), (2, "013".to_owned()));
}

#[test]
fn posts_and_broadcasts_keep_their_order() {
    let mut shards = Shards::new();
    shards.benches[1].hook({
        let (_, socket) = shards.clients[1][0];
        move |io, call| {
            if call == Call::ShardMessage {
                io.emit(socket, "posted", "", &[]).unwrap();
            }
        }
    });
    shards.benches[0].io(|io| {
        io.of("/").to("a").emit("first", "", &[]).unwrap();
        io.send_to_shard(1, ShardMessage::new("hello"));
        io.of("/").to("a").emit("last", "", &[]).unwrap();
    });
    shards.carry();
    let (conn, _) = shards.clients[1][0];
    assert_eq!(shards.benches[1].sent(conn), [r#"42["first"]"#, r#"42["posted"]"#, r#"42["last"]"#]);
    assert_eq!(shards.benches[1].calls(), ["remote hello"]);
}
