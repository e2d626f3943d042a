//! What rooms hold back until the end of a turn must look, to every client, like a queue for each member.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const CLIENTS: usize = 6;
const ROOMS: usize = 3;

#[derive(Debug, Clone)]
enum Operation {
    Join { client: usize, room: usize },
    Leave { client: usize, room: usize },
    ToRoom { room: usize },
    ToRooms { rooms: [usize; 2], except: usize },
    Volatile { room: usize },
    Direct { client: usize },
    Large { room: usize },
    Kick { client: usize },
    Flush,
}

fn operation() -> impl Strategy<Value = Operation> {
    let (client, room) = (0..CLIENTS, 0..ROOMS);
    prop_oneof![
        4 => (client.clone(), room.clone()).prop_map(|(client, room)| Operation::Join { client, room }),
        1 => (client.clone(), room.clone()).prop_map(|(client, room)| Operation::Leave { client, room }),
        8 => room.clone().prop_map(|room| Operation::ToRoom { room }),
        1 => ([room.clone(), room.clone()], client.clone())
            .prop_map(|(rooms, except)| Operation::ToRooms { rooms, except }),
        1 => room.clone().prop_map(|room| Operation::Volatile { room }),
        2 => client.clone().prop_map(|client| Operation::Direct { client }),
        1 => room.prop_map(|room| Operation::Large { room }),
        1 => client.prop_map(|client| Operation::Kick { client }),
        2 => Just(Operation::Flush),
    ]
}

/// A client, the rooms it is in, and what it must have been sent.
struct Client {
    conn: ConnKey,
    socket: SocketKey,
    rooms: BTreeSet<usize>,
    expected: Vec<String>,
    kicked: bool,
}

fn room_name(room: usize) -> String {
    format!("room {room}")
}

/// What the model says, and does to the server. `number` tells the emits apart.
fn run(bench: &mut Bench, clients: &mut [Client], operation: &Operation, number: usize) {
    let text = format!("42[\"e\",{number}]");
    let args = number.to_string();
    let expect = |clients: &mut [Client], text: &str, reached: &dyn Fn(usize, &Client) -> bool| {
        for (index, client) in clients.iter_mut().enumerate() {
            if !client.kicked && reached(index, client) {
                client.expected.push(text.to_owned());
            }
        }
    };
    match *operation {
        Operation::Join { client, room } => {
            bench.io(|io| io.join(clients[client].socket, &room_name(room)));
            clients[client].rooms.insert(room);
        }
        Operation::Leave { client, room } => {
            bench.io(|io| io.leave(clients[client].socket, &room_name(room)));
            clients[client].rooms.remove(&room);
        }
        Operation::ToRoom { room } => {
            bench.io(|io| io.of("/").to(&room_name(room)).emit("e", &args, &[])).unwrap();
            expect(clients, &text, &|_, client| client.rooms.contains(&room));
        }
        Operation::ToRooms { rooms, except } => {
            let left_out = clients[except].socket;
            bench
                .io(|io| {
                    let broadcast = io.of("/").to(&room_name(rooms[0])).to(&room_name(rooms[1]));
                    broadcast.except_socket(left_out).emit("e", &args, &[])
                })
                .unwrap();
            expect(clients, &text, &|index, client| {
                index != except && rooms.iter().any(|room| client.rooms.contains(room))
            });
        }
        Operation::Volatile { room } => {
            bench.io(|io| io.of("/").to(&room_name(room)).volatile().emit("e", &args, &[])).unwrap();
            expect(clients, &text, &|_, client| client.rooms.contains(&room));
        }
        Operation::Direct { client } => {
            let sent = bench.io(|io| io.emit(clients[client].socket, "e", &args, &[]));
            assert_eq!(sent.is_ok(), !clients[client].kicked);
            expect(clients, &text, &|index, _| index == client);
        }
        Operation::Large { room } => {
            let args = format!("\"{number}{}\"", "x".repeat(20_000));
            bench.io(|io| io.of("/").to(&room_name(room)).emit("e", &args, &[])).unwrap();
            expect(clients, &format!("42[\"e\",{args}]"), &|_, client| client.rooms.contains(&room));
        }
        Operation::Kick { client } => {
            bench.io(|io| io.disconnect(clients[client].socket, false));
            expect(clients, "41", &|index, _| index == client);
            clients[client].kicked = true;
        }
        Operation::Flush => bench.end_turn(),
    }
}

proptest! {
    #[test]
    fn every_client_sees_what_a_queue_of_its_own_would_have_shown(
        operations in prop::collection::vec(operation(), 0..120)
    ) {
        let mut bench = Bench::new();
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| {
            let (conn, socket) = bench.join();
            Client { conn, socket, rooms: BTreeSet::new(), expected: Vec::new(), kicked: false }
        }).collect();
        for (number, operation) in operations.iter().enumerate() {
            run(&mut bench, &mut clients, operation, number);
        }
        for client in &mut clients {
            prop_assert_eq!(&bench.sent(client.conn), &client.expected);
            client.expected.clear();
        }
        for client in &clients {
            bench.close(client.conn, CloseReason::TransportClose);
        }
        bench.assert_empty();
    }
}

#[test]
fn a_full_batch_does_not_wait_for_the_end_of_the_turn() {
    let mut bench = Bench::new();
    let members: Vec<_> = (0..3).map(|_| bench.join()).collect();
    for (_, socket) in &members {
        bench.io(|io| io.join(*socket, "r"));
    }
    let args = format!("\"{}\"", "x".repeat(10_000));
    for _ in 0..27 {
        bench.io(|io| io.of("/").to("r").emit("e", &args, &[])).unwrap();
    }
    let before_the_end = bench.engine.sent(members[0].0).len();
    assert!((26..=27).contains(&before_the_end), "{before_the_end}");
    assert_eq!(bench.sent(members[2].0).len(), 27);
}
