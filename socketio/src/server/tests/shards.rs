//! Several shards: what they send each other is delivered when the test says so.

use engineio::testing;

use super::*;

/// Two shards with two clients each; on both, the first is in `a`, the second in `a` and `b`.
pub(super) struct Shards {
    pub(super) shards: testing::Shards<Server<App>>,
    pub(super) clients: [[(ConnKey, SocketKey); 2]; 2],
}

impl Shards {
    pub(super) fn new(change: impl Fn(&mut Config)) -> Self {
        let mut shards = testing::Shards::new(2, |_| server(&change));
        let clients = [0, 1].map(|shard| {
            let shard = &mut shards[shard];
            let clients = [(); 2].map(|()| {
                let conn = shard.open();
                (conn, connect(shard, conn, "/"))
            });
            io(shard, |io| {
                for (client, room) in [(0, "a"), (1, "a"), (1, "b")] {
                    assert!(io.join(clients[client].1, room));
                }
            });
            clients
        });
        Self { shards, clients }
    }

    /// The application of a shard does something by itself.
    fn io<R>(&mut self, shard: u16, act: impl FnOnce(&mut Io<'_>) -> R) -> R {
        io(&mut self.shards[shard], act)
    }

    /// What a broadcast of the first shard brought to the clients 0 and 1 there, and 2 and 3 on the other.
    fn reached(&mut self, send: impl FnOnce(&mut Io<'_>) -> Result<usize, EmitError>) -> (usize, String) {
        let count = self.io(0, send).unwrap();
        self.shards.deliver_all();
        let mut reached = String::new();
        for (shard, clients) in (0..).zip(self.clients) {
            for (client, (conn, _)) in (0..).zip(clients) {
                let times = self.shards[shard].sent(conn).len();
                reached.push_str(&(2 * shard + client).to_string().repeat(times));
            }
        }
        (count, reached)
    }

    pub(super) fn id(&mut self, shard: u16, client: usize) -> String {
        let socket = self.clients[usize::from(shard)][client].1;
        self.io(shard, |io| io.id(socket).unwrap().to_string())
    }
}

#[test]
fn a_broadcast_reaches_the_sockets_of_every_shard_once() {
    let mut shards = Shards::new(|_| ());
    let here = shards.id(0, 1);
    let there = shards.id(1, 0);
    let room = shards.io(0, |io| io.room("/", "b")).unwrap();
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
    let mut shards = Shards::new(|_| ());
    let here = shards.id(0, 1);
    shards.io(0, |io| io.of("/").to(&here).emit("x", "", &[])).unwrap();
    assert!(shards.shards.in_flight().is_empty());
    let there = shards.id(1, 1);
    shards.io(0, |io| io.of("/").to(&there).emit("x", "", &[])).unwrap();
    assert_eq!(Vec::from_iter(shards.shards.in_flight()), [(0, 1)]);
}

#[test]
fn a_volatile_broadcast_leaves_out_full_sockets_of_other_shards_too() {
    let mut shards = Shards::new(|_| ());
    let (conn, _) = shards.clients[1][0];
    shards.shards[1].engine.set_queued(conn, SOFT);
    assert_eq!(shards.reached(|io| io.of("/").volatile().emit("x", "", &[])), (2, "013".to_owned()));
}

#[test]
fn messages_and_broadcasts_to_a_shard_keep_their_order() {
    let mut shards = Shards::new(|_| ());
    let (conn, socket) = shards.clients[1][0];
    shards.shards[1].handler.handler.hook = Box::new(move |io, call| {
        if call == Call::ShardMessage {
            io.emit(socket, "message", "", &[]).unwrap();
        }
    });
    shards.io(0, |io| {
        io.of("/").to("a").emit("first", "", &[]).unwrap();
        io.send_to_shard(1, ShardMessage::new("hello"));
        io.of("/").to("a").emit("last", "", &[]).unwrap();
    });
    shards.shards.deliver_all();
    let shard = &mut shards.shards[1];
    assert_eq!(shard.sent(conn), [r#"42["first"]"#, r#"42["message"]"#, r#"42["last"]"#]);
    assert_eq!(shard.handler.handler.calls.last().unwrap(), "shard message hello");
}
