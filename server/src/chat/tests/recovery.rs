//! Connection state recovery: whatever breaks, a recovered client has every message of its rooms once, in the order of the history.

use uuid::Uuid;

use super::{
    bench::{Bench, Conn},
    recovery_client::{Client, ROOMS},
};

/// What happens beside connections that break.
#[derive(Debug, Clone, Copy, Default)]
struct Trouble {
    /// Messages are in a store that answers later.
    later: bool,
    /// The server is killed at any moment.
    restarts: bool,
    /// Commits fail for a while.
    faults: bool,
}

/// Random clients, connections that break at any moment, and more trouble. Returns how often clients were recovered, and how often not.
fn run(seed: u64, shards: u16, trouble: Trouble) -> (usize, usize) {
    let context = format!("seed {seed}, {shards} shards, {trouble:?}");
    let keys = [("rooms.lobby", "false"), ("limits.sockets_per_user", "0"), ("presence.snapshot", "1")];
    let mut bench = Bench::with_store(shards, &keys, trouble.later);
    bench.dice = seed;
    let mut clients: Vec<Client> = (0..5).map(|n| Client::new(&format!("user {}", n / 2))).collect();
    for client in &mut clients {
        client.come(&mut bench);
    }
    bench.carry();
    for _ in 0..200 {
        let dice = bench.roll(clients.len());
        let client = &mut clients[dice];
        if client.conn.is_some_and(|conn| !bench.is_open(conn)) {
            client.lose(&mut bench);
        }
        let room = ROOMS[bench.roll(ROOMS.len())];
        let is_member = client.rooms.contains_key(room);
        let can_speak = client.connected && client.conn.is_some() && client.access.contains(room);
        match bench.roll(17) {
            0 | 1 if can_speak && !is_member && client.asked.is_empty() => {
                client.join(&mut bench, room);
                // The answer must be seen before the room can be joined again, or its connection be cut.
                for _ in 0..bench.roll(30) {
                    bench.carry_one();
                }
            }
            2..=5 if can_speak && is_member => (0..1 + bench.roll(3)).for_each(|_| client.say(&mut bench, room)),
            6 if client.conn.is_some() => {
                if let Some(conn) = client.lose(&mut bench) {
                    bench.cut(conn);
                }
            }
            // It notices before the server does.
            7 if client.conn.is_some() => {
                client.lose(&mut bench);
                client.come(&mut bench);
            }
            8 | 9 if client.conn.is_none() => client.come(&mut bench),
            10 if trouble.restarts && bench.roll(4) == 0 => {
                let shards = 1 + bench.roll(3) as u16;
                // What is void is known until the process ends, so it must be removed before.
                bench.store.iter().for_each(|store| store.set_failing(false));
                for client in &mut clients {
                    client.lose(&mut bench);
                    client.conns.clear();
                    // The store may not have heard of it.
                    client.over = None;
                    client.rooms.retain(|room, _| client.joined.contains(room));
                }
                bench.restart(shards);
            }
            11 if can_speak && is_member && client.asked.is_empty() => client.leave(&mut bench, room),
            // Whoever speaks in a room enters it.
            12 if can_speak && client.asked.is_empty() => client.say(&mut bench, room),
            13 if can_speak && client.asked.is_empty() && bench.roll(3) == 0 => client.refresh(&mut bench),
            // By its own wish, with a room that it may be about to enter.
            13 if can_speak && bench.roll(3) == 0 => {
                client.say(&mut bench, room);
                if let Some(conn) = client.conn.take() {
                    bench.say(conn, "1");
                    bench.cut(conn);
                }
                client.over.clone_from(&client.pid);
            }
            // Of a room that nobody is about to enter again: whoever left it is told of no deletion.
            15 | 16 if clients.iter().all(|client| !client.left.contains(room)) => {
                let client = &clients[dice];
                let known = client.rooms.get(room).filter(|known| !known.is_empty()).cloned().unwrap_or_default();
                if let Some(id) = known.get(bench.roll(known.len().max(1))) {
                    bench.delete(room, id.parse().unwrap());
                }
            }
            14 if trouble.faults => {
                if let Some(store) = bench.store.clone() {
                    store.set_failing(bench.roll(3) == 0);
                    store.set_busy(bench.roll(3) == 0);
                }
            }
            _ => (0..bench.roll(8)).for_each(|_| {
                bench.carry_one();
            }),
        }
        for client in &mut clients {
            if bench.roll(3) == 0 {
                client.take(&mut bench);
            }
        }
    }
    if let Some(store) = &bench.store {
        store.set_failing(false);
        store.set_busy(false);
    }
    bench.carry();
    for client in &mut clients {
        if client.conn.is_none_or(|conn| !bench.is_open(conn)) {
            client.lose(&mut bench);
            client.come(&mut bench);
            bench.carry();
        }
        client.take(&mut bench);
    }
    let mut readers = Vec::new();
    for room in ROOMS {
        let mut reader = Client::new("reader");
        reader.come(&mut bench);
        bench.carry();
        reader.take(&mut bench);
        reader.join(&mut bench, room);
        bench.carry();
        reader.take(&mut bench);
        let history = &reader.rooms[room];
        for client in &clients {
            let Some(got) = client.rooms.get(room) else { continue };
            // One that only heard of the room before it asked has it from some message on.
            let from = history.len().saturating_sub(got.len());
            assert_eq!(got, &history[from..], "{context}, {} in {room}", client.user);
        }
        readers.push(reader);
    }
    let readers = readers.iter().flat_map(|reader| reader.conns.clone()).collect();
    check_ends(bench, &clients, readers, &context);
    clients.iter().fold((0, 0), |(recovered, anew), client| (recovered + client.recovered, anew + client.anew))
}

/// Who is said to be in a room is there, and nothing is left when everybody is gone.
fn check_ends(mut bench: Bench, clients: &[Client], readers: Vec<Conn>, context: &str) {
    for client in clients {
        for conn in &client.conns {
            if Some(*conn) != client.conn && bench.is_open(*conn) {
                bench.cut(*conn);
            }
        }
    }
    bench.carry();
    bench.advance(3_000);
    for room in ROOMS {
        assert_eq!(bench.said_to_be_in(room), bench.members_of(room), "{context}, {room}");
    }
    for conn in clients.iter().filter_map(|client| client.conn).chain(readers) {
        if bench.is_open(conn) {
            bench.cut(conn);
        }
    }
    bench.carry();
    bench.advance(200_000);
    if let Some(store) = &bench.store {
        assert_eq!(store.sessions_of_this_run(), 0, "{context}");
    }
    // Deadlines of sockets that are gone are looked at when they come.
    let waits = |what: &str| matches!(what, "idle" | "expiry");
    let kept: Vec<_> = bench.into_kept().into_iter().filter(|(what, count)| *count > 0 && !waits(what)).collect();
    assert!(kept.is_empty(), "{context}: {kept:?}");
}

/// How many seeds are tried: more when somebody asks for them.
fn seeds(few: u64) -> std::ops::Range<u64> {
    let many = std::env::var("RECOVERY_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    1..many.unwrap_or(few)
}

#[test]
fn a_recovered_client_has_every_message_once_and_in_order() {
    for shards in [1, 2, 3] {
        for later in [false, true] {
            let (mut recovered, mut anew) = (0, 0);
            for seed in seeds(40) {
                let (of, new) = run(seed, shards, Trouble { later, ..Trouble::default() });
                (recovered, anew) = (recovered + of, anew + new);
            }
            assert!(recovered > 10 * anew, "{recovered} recovered and {anew} not, {shards} shards, later {later}");
        }
    }
}

#[test]
fn a_recovered_client_has_every_message_once_and_in_order_whenever_the_server_is_killed() {
    let (mut recovered, mut anew) = (0, 0);
    for seed in seeds(200) {
        let trouble = Trouble { later: true, restarts: true, faults: false };
        let (of, new) = run(seed, 1 + seed as u16 % 3, trouble);
        (recovered, anew) = (recovered + of, anew + new);
    }
    assert!(recovered > anew, "{recovered} recovered and {anew} not");
}

#[test]
fn a_recovered_client_has_every_message_once_and_in_order_although_commits_fail() {
    for restarts in [false, true] {
        for seed in seeds(100) {
            run(seed, 1 + seed as u16 % 3, Trouble { later: true, restarts, faults: true });
        }
    }
}

/// Offsets are by homes, and with another number of shards rooms have other homes.
#[test]
fn what_a_client_has_is_known_whatever_the_number_of_shards_becomes() {
    let rooms: Vec<String> = (0..12).map(|n| n.to_string()).collect();
    let mut bench = Bench::with_store(1, &[("rooms.lobby", "false"), ("limits.sockets_per_user", "0")], true);
    let [mut alice, mut bob] = ["alice", "bob"].map(Client::new);
    for client in [&mut alice, &mut bob] {
        client.come(&mut bench);
        for room in &rooms {
            bench.carry();
            client.take(&mut bench);
            client.join(&mut bench, room);
        }
        bench.carry();
        client.take(&mut bench);
    }
    rooms.iter().for_each(|room| bob.say(&mut bench, room));
    bench.carry();
    alice.take(&mut bench);
    bench.cut(alice.conn.take().unwrap());
    bob.say(&mut bench, &rooms[0]);
    bench.carry();
    for shards in [2, 3, 2] {
        bench.restart(shards);
        alice.come(&mut bench);
        bench.carry_without_commits();
        alice.take(&mut bench);
    }
    let got: Vec<usize> = rooms.iter().map(|room| alice.rooms[room].len()).collect();
    assert_eq!((got, alice.recovered), (vec![2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], 3));
}

#[test]
fn a_claim_that_waits_ends_with_its_connection_and_the_next_one_gets_the_session() {
    for shards in [1, 3] {
        let mut bench = Bench::with_store(shards, &[], true);
        let mut clients: Vec<Client> = (0..250).map(|n| Client::new(&n.to_string())).collect();
        clients.iter_mut().for_each(|client| client.come(&mut bench));
        bench.carry();
        for client in &mut clients {
            client.take(&mut bench);
            bench.cut(client.conn.take().unwrap());
        }
        bench.carry();
        // The store takes its time, and not all of them can be asked for at once. Some lose patience.
        let store = bench.store.take();
        clients.iter_mut().for_each(|client| client.come(&mut bench));
        bench.carry();
        for client in &mut clients[200..] {
            bench.cut(client.conn.take().unwrap());
        }
        clients[200..].iter_mut().for_each(|client| client.come(&mut bench));
        bench.carry();
        bench.store = store;
        bench.carry();
        clients.iter_mut().for_each(|client| client.take(&mut bench));
        assert!(clients.iter().all(|client| (client.recovered, client.anew) == (1, 0)));
    }
}

#[test]
fn a_claim_whose_connection_is_lost_while_the_store_is_asked_costs_nothing() {
    for (shards, restarts) in [(1, false), (3, false), (1, true), (3, true)] {
        let mut bench = Bench::with_store(shards, &[], true);
        let mut alice = Client::new("alice");
        alice.come(&mut bench);
        bench.carry();
        alice.take(&mut bench);
        bench.cut(alice.conn.take().unwrap());
        bench.carry();
        if restarts {
            bench.restart(shards);
        }
        // The store takes its time; meanwhile the client tries twice more.
        let store = bench.store.take();
        for _ in 0..3 {
            alice.come(&mut bench);
            bench.carry();
        }
        bench.store = store;
        bench.carry();
        let conn = alice.conn.unwrap();
        if !bench.is_open(conn) {
            alice.come(&mut bench);
            bench.carry();
        }
        alice.take(&mut bench);
        assert_eq!((alice.recovered, alice.anew), (1, 0), "{shards} shards, restarts: {restarts}");
    }
}

#[test]
fn a_reload_changes_how_much_a_client_may_have_missed() {
    for (hard, outcome) in [("1048576", (1, 0)), ("131072", (0, 1))] {
        let mut bench = Bench::with_store(1, &[], true);
        let [mut alice, mut bob] = ["alice", "bob"].map(Client::new);
        for client in [&mut alice, &mut bob] {
            client.come(&mut bench);
            bench.carry();
            client.take(&mut bench);
        }
        bench.cut(alice.conn.take().unwrap());
        bench.renew(&[("limits.outbound_hard", hard)]);
        // 120 KB, which is less than 1 MiB and more than three quarters of 128 KiB.
        for _ in 0..30 {
            bob.emit(&mut bench, &format!(r#"["message",{{"message":"{}"}}]"#, "x".repeat(4000)));
            bench.carry();
        }
        alice.come(&mut bench);
        bench.carry();
        alice.take(&mut bench);
        assert_eq!((alice.recovered, alice.anew), outcome, "limits.outbound_hard = {hard}");
    }
}

/// Official clients stay away for good after a refusal, so nobody is refused because of the connection that it has just lost.
#[test]
fn whoever_may_have_one_socket_gets_it_back_while_the_old_connection_seems_to_live() {
    for shards in [1, 3] {
        let keys = [("limits.sockets_per_user", "1"), ("limits.sockets_per_user_policy", "refuse")];
        let mut bench = Bench::with_store(shards, &keys, true);
        let mut alice = Client::new("alice");
        alice.come(&mut bench);
        bench.carry();
        alice.take(&mut bench);
        let old = alice.conn.unwrap();
        alice.come(&mut bench);
        bench.carry();
        alice.take(&mut bench);
        assert_eq!((alice.recovered, alice.anew, bench.is_open(old)), (1, 0, false), "{shards} shards");
        // Another one of the user's clients has no such right: with a session that is none, or that has no connection.
        let refused = |bench: &mut Bench, pid: &str| {
            let mut other = Client::new("alice");
            other.pid = Some(pid.to_owned());
            other.come(bench);
            bench.carry();
            bench.sent(other.conn.unwrap()).iter().any(|sent| sent.contains("too_many_connections"))
        };
        let pid = alice.pid.clone().unwrap();
        assert!(refused(&mut bench, &format!("{}AA", &pid[..pid.len() - 2])));
        bench.cut(alice.conn.unwrap());
        bench.carry();
        let mut second = Client::new("alice");
        second.come(&mut bench);
        bench.carry();
        second.take(&mut bench);
        assert!(second.connected && refused(&mut bench, &pid));
        // The session is still there for when the place is free.
        bench.cut(second.conn.unwrap());
        bench.carry();
        alice.come(&mut bench);
        bench.carry();
        alice.take(&mut bench);
        assert_eq!((alice.recovered, alice.anew), (2, 0), "{shards} shards");
    }
}

/// What comes while a client is on its way back is held for it, and no more than it may be sent.
#[test]
fn more_deletions_than_a_client_may_be_sent_are_not_held_for_it() {
    for (deletions, outcome) in [(100, (1, 0)), (3000, (0, 1))] {
        let mut bench = Bench::with_store(1, &[("limits.outbound_hard", "131072")], true);
        let mut alice = Client::new("alice");
        alice.come(&mut bench);
        bench.carry();
        alice.take(&mut bench);
        bench.cut(alice.conn.take().unwrap());
        bench.carry();
        (0..deletions).for_each(|id| bench.delete("lobby", Uuid::from_u128(id)));
        // The store takes its time, so the client waits for what it missed.
        let store = bench.store.take();
        alice.come(&mut bench);
        bench.carry();
        bench.store = store;
        bench.carry();
        let heard = bench.sent(alice.conn.unwrap());
        let told = heard.iter().filter(|packet| packet.contains("messageDeleted")).count();
        alice.receive(heard);
        assert_eq!((alice.recovered, alice.anew), outcome, "{deletions} deletions");
        assert_eq!(told > 0, outcome == (1, 0), "{told} of {deletions}");
    }
}
