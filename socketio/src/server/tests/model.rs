//! Random operations of several clients against a plain model: who is reached must agree, and nothing may stay.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const CLIENTS: usize = 4;
const NSPS: [&str; 2] = ["/", "/chat"];
const ROOMS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Operation {
    /// The client's.
    Connect {
        client: usize,
        nsp: usize,
    },
    Leave {
        client: usize,
        nsp: usize,
    },
    Gone {
        client: usize,
    },
    /// The application's.
    Join {
        client: usize,
        nsp: usize,
        room: usize,
    },
    Part {
        client: usize,
        nsp: usize,
        room: usize,
    },
    Disconnect {
        client: usize,
        nsp: usize,
        close: bool,
    },
    Ask {
        client: usize,
        nsp: usize,
        ms: u64,
    },
    Wait {
        ms: u64,
    },
    Broadcast {
        nsp: usize,
        to: Vec<Name>,
        except: Vec<Name>,
        except_socket: Option<usize>,
        volatile: bool,
    },
    Writable {
        client: usize,
        writable: bool,
    },
}

/// A room, or the id of a client's socket.
#[derive(Debug, Clone, Copy)]
enum Name {
    Room(usize),
    Id(usize),
}

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![3 => (0..ROOMS.len()).prop_map(Name::Room), 1 => (0..CLIENTS).prop_map(Name::Id)]
}

fn operation() -> impl Strategy<Value = Operation> {
    let (client, nsp, room) = (0..CLIENTS, 0..NSPS.len(), 0..ROOMS.len());
    let socket = (client.clone(), nsp.clone());
    let names = || prop::collection::vec(name(), 0..3);
    prop_oneof![
        4 => socket.clone().prop_map(|(client, nsp)| Operation::Connect { client, nsp }),
        1 => socket.clone().prop_map(|(client, nsp)| Operation::Leave { client, nsp }),
        1 => client.clone().prop_map(|client| Operation::Gone { client }),
        6 => (socket.clone(), room.clone()).prop_map(|((client, nsp), room)| Operation::Join { client, nsp, room }),
        2 => (socket.clone(), room).prop_map(|((client, nsp), room)| Operation::Part { client, nsp, room }),
        1 => (socket.clone(), any::<bool>())
            .prop_map(|((client, nsp), close)| Operation::Disconnect { client, nsp, close }),
        2 => (socket, 0..2_000u64).prop_map(|((client, nsp), ms)| Operation::Ask { client, nsp, ms }),
        1 => (0..700u64).prop_map(|ms| Operation::Wait { ms }),
        6 => (nsp, names(), names(), prop::option::of(client.clone()), any::<bool>()).prop_map(
            |(nsp, to, except, except_socket, volatile)| Operation::Broadcast { nsp, to, except, except_socket, volatile }
        ),
        1 => (client, any::<bool>()).prop_map(|(client, writable)| Operation::Writable { client, writable }),
    ]
}

/// One socket of the model.
struct Joined {
    key: SocketKey,
    id: String,
    rooms: BTreeSet<usize>,
    asked: usize,
}

#[derive(Default)]
struct Client {
    conn: Option<ConnKey>,
    unwritable: bool,
    joined: BTreeMap<usize, Joined>,
    idle_since: u64,
}

struct World {
    bench: Bench,
    clients: [Client; CLIENTS],
    clock: u64,
    /// Ids of sockets that are gone, so that a broadcast to one reaches nobody.
    connects: usize,
    disconnects: usize,
    asked: usize,
    answered: usize,
}

impl World {
    fn new() -> Self {
        let clients = [(); CLIENTS].map(|()| Client::default());
        Self { bench: Bench::new(), clients, clock: 0, connects: 0, disconnects: 0, asked: 0, answered: 0 }
    }

    fn key(&self, client: usize, nsp: usize) -> Option<SocketKey> {
        self.clients[client].joined.get(&nsp).map(|joined| joined.key)
    }

    fn forget(&mut self, client: usize, nsp: usize) {
        let clock = self.clock;
        let client = &mut self.clients[client];
        if let Some(joined) = client.joined.remove(&nsp) {
            self.disconnects += 1;
            self.answered += joined.asked;
            if client.joined.is_empty() {
                client.idle_since = clock;
            }
        }
    }

    fn forget_client(&mut self, client: usize) {
        for nsp in 0..NSPS.len() {
            self.forget(client, nsp);
        }
        self.clients[client] = Client::default();
    }

    fn run(&mut self, operation: Operation) {
        match operation {
            Operation::Connect { client, nsp } => self.connect(client, nsp),
            Operation::Leave { client, nsp } => {
                if self.key(client, nsp).is_some() {
                    let conn = self.clients[client].conn.unwrap();
                    self.bench.text(conn, &format!("1{},", NSPS[nsp]));
                    self.forget(client, nsp);
                }
            }
            Operation::Gone { client } => {
                if let Some(conn) = self.clients[client].conn {
                    self.bench.close(conn, CloseReason::TransportClose);
                    self.forget_client(client);
                }
            }
            Operation::Join { client, nsp, room } => {
                if let Some(joined) = self.clients[client].joined.get_mut(&nsp) {
                    let fresh = joined.rooms.insert(room);
                    assert_eq!(self.bench.io(|io| io.join(joined.key, ROOMS[room])), fresh);
                }
            }
            Operation::Part { client, nsp, room } => {
                if let Some(joined) = self.clients[client].joined.get_mut(&nsp) {
                    let there = joined.rooms.remove(&room);
                    assert_eq!(self.bench.io(|io| io.leave(joined.key, ROOMS[room])), there);
                }
            }
            Operation::Disconnect { client, nsp, close } => {
                if let Some(key) = self.key(client, nsp) {
                    self.bench.io(|io| io.disconnect(key, close));
                    if close { self.forget_client(client) } else { self.forget(client, nsp) }
                }
            }
            Operation::Ask { client, nsp, ms } => {
                if let Some(joined) = self.clients[client].joined.get_mut(&nsp) {
                    let time = Duration::from_millis(10_000 + ms);
                    self.bench.io(|io| io.emit_with_ack(joined.key, "ask", "", &[], time)).unwrap();
                    joined.asked += 1;
                    self.asked += 1;
                }
            }
            Operation::Wait { ms } => {
                self.bench.advance(ms);
                self.clock += ms;
                for client in 0..CLIENTS {
                    let Client { conn, joined, idle_since, .. } = &self.clients[client];
                    if conn.is_some() && joined.is_empty() && idle_since + 1_000 <= self.clock {
                        assert!(self.bench.is_closed(conn.unwrap()));
                        self.forget_client(client);
                    }
                }
            }
            Operation::Broadcast { nsp, to, except, except_socket, volatile } => {
                self.broadcast(nsp, &to, &except, except_socket, volatile);
            }
            Operation::Writable { client, writable } => {
                if let Some(conn) = self.clients[client].conn {
                    self.clients[client].unwritable = !writable;
                    if writable {
                        self.bench.engine.resume_reading(conn);
                    } else {
                        self.bench.engine.set_queued(conn, SOFT);
                    }
                }
            }
        }
        for client in &self.clients {
            if let Some(conn) = client.conn {
                self.bench.sent(conn);
                assert!(!self.bench.is_closed(conn));
            }
        }
    }

    fn connect(&mut self, client: usize, nsp: usize) {
        if self.key(client, nsp).is_some() {
            return;
        }
        let conn = *self.clients[client].conn.get_or_insert_with(|| self.bench.open());
        let key = self.bench.connect(conn, NSPS[nsp]);
        let id = self.bench.io(|io| io.id(key).unwrap().to_string());
        self.clients[client].joined.insert(nsp, Joined { key, id, rooms: BTreeSet::new(), asked: 0 });
        self.connects += 1;
    }

    /// The clients a name stands for, by the model.
    fn named(&self, nsp: usize, name: Name) -> BTreeSet<usize> {
        let joined = |client: &usize| self.clients[*client].joined.get(&nsp);
        match name {
            Name::Room(room) => {
                (0..CLIENTS).filter(|client| joined(client).is_some_and(|of| of.rooms.contains(&room))).collect()
            }
            Name::Id(client) => joined(&client).map(|_| client).into_iter().collect(),
        }
    }

    fn text(&self, nsp: usize, name: Name) -> String {
        match name {
            Name::Room(room) => ROOMS[room].to_owned(),
            Name::Id(client) => self.clients[client].joined.get(&nsp).map_or_else(String::new, |of| of.id.clone()),
        }
    }

    fn broadcast(&mut self, nsp: usize, to: &[Name], except: &[Name], except_socket: Option<usize>, volatile: bool) {
        let union = |names: &[Name]| names.iter().flat_map(|name| self.named(nsp, *name)).collect::<BTreeSet<_>>();
        let everyone = || (0..CLIENTS).filter(|client| self.key(*client, nsp).is_some()).collect();
        let mut expected = if to.is_empty() { everyone() } else { union(to) };
        let left_out = union(except);
        expected.retain(|client| {
            !left_out.contains(client)
                && except_socket != Some(*client)
                && !(volatile && self.clients[*client].unwritable)
        });
        let (to, except) = (to.iter(), except.iter());
        let to: Vec<_> = to.map(|name| self.text(nsp, *name)).collect();
        let except: Vec<_> = except.map(|name| self.text(nsp, *name)).collect();
        let except_socket = except_socket.and_then(|client| self.key(client, nsp));
        let count = self.bench.io(|io| {
            let mut broadcast = to.iter().fold(io.of(NSPS[nsp]), |broadcast, name| broadcast.to(name));
            broadcast = except.iter().fold(broadcast, |broadcast, name| broadcast.except(name));
            broadcast = except_socket.into_iter().fold(broadcast, |broadcast, socket| broadcast.except_socket(socket));
            if volatile { broadcast.volatile() } else { broadcast }.emit("x", "", &[]).unwrap()
        });
        assert_eq!(count, expected.len());
        for (index, client) in self.clients.iter().enumerate() {
            let sent = client.conn.map(|conn| self.bench.sent(conn)).unwrap_or_default();
            assert_eq!(sent.len(), usize::from(expected.contains(&index)), "client {index}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn who_is_reached_agrees_with_a_model_and_nothing_stays(
        operations in prop::collection::vec(operation(), 0..150)
    ) {
        let mut world = World::new();
        // `Bench::connect` takes its calls from the record, so they are counted in a hook.
        let counts = Rc::new(RefCell::new([0usize; 3]));
        let counted = Rc::clone(&counts);
        world.bench.hook(move |_, call| {
            let mut counts = counted.borrow_mut();
            match call {
                Call::Connect(_) => counts[0] += 1,
                Call::Disconnect(_) => counts[1] += 1,
                Call::Ack(..) => counts[2] += 1,
                _ => {}
            }
        });
        for operation in operations {
            // Longer than any question waits, so that an answer means a disconnect.
            if world.clock > 9_000 {
                break;
            }
            world.run(operation);
            prop_assert_eq!(*counts.borrow(), [world.connects, world.disconnects, world.answered]);
            prop_assert_eq!(world.bench.handler.state.sockets.len(), world.connects - world.disconnects);
        }
        for client in 0..CLIENTS {
            world.run(Operation::Gone { client });
        }
        prop_assert_eq!(*counts.borrow(), [world.connects, world.connects, world.asked]);
        world.bench.assert_empty();
    }
}

/// Pieces of packets, so that random rows of them are often nearly right.
const PIECES: [&str; 24] = [
    "0",
    "1",
    "2",
    "3",
    "4",
    "5",
    "6",
    "1-",
    "2-",
    "-",
    "/",
    "/chat",
    ",",
    "7",
    "[",
    "]",
    "{",
    "}",
    "\"a\"",
    "null",
    "é",
    r#"["a",1]"#,
    r#"["a",{"_placeholder":true,"num":0}]"#,
    "[]",
];

proptest! {
    #[test]
    fn no_row_of_messages_panics_or_stays(
        messages in prop::collection::vec(
            (prop::collection::vec(prop::sample::select(&PIECES[..]), 0..5), 0..4u8, any::<bool>()), 0..60
        )
    ) {
        let mut bench = Bench::new();
        bench.hook(|io, call| {
            if let Call::Event(socket, name, ack) = call {
                io.join(socket, name);
                let _ = io.of("/").to(name).emit(name, "1", &[]);
                let _ = io.emit_with_ack(socket, name, "", &[], Duration::from_millis(40));
                ack.map(|id| io.ack(socket, id, "", &[]));
            }
        });
        let (mut conn, _) = bench.join();
        for (pieces, kind, right) in messages {
            match kind {
                0 => bench.binary(conn, &[1]),
                1 if right => bench.text(conn, r#"25["a",1]"#),
                2 => bench.advance(20),
                _ => bench.text(conn, &pieces.concat()),
            }
            prop_assert!(!bench.calls().iter().any(|call| call.contains("internal error")));
            if bench.is_closed(conn) {
                bench.assert_empty();
                conn = bench.join().0;
            }
        }
        bench.close(conn, CloseReason::TransportClose);
        bench.assert_empty();
    }
}
