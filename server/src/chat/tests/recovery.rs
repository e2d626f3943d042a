//! Connection state recovery: whatever breaks, a recovered client has every message of its rooms once, in the order of the history.

use std::collections::{HashMap, HashSet};

use super::bench::{Bench, Conn};

/// A client that comes back as the official one does.
struct Client {
    user: String,
    conn: Option<Conn>,
    /// Whether its CONNECT was answered. Before that the official client sends nothing.
    connected: bool,
    pid: Option<String>,
    offset: Option<String>,
    /// How often it came back and had its socket again, and how often not.
    recovered: usize,
    anew: usize,
    /// What it has of each room that it knows to be in, since it came in: without a gap, or nothing is known any more.
    rooms: HashMap<String, Vec<String>>,
    /// Where its `join` was acknowledged. No other rooms are promised after the server was killed.
    joined: HashSet<String>,
    acks: u64,
    /// The rooms that it asked to be in, by the number of the acknowledgement.
    asked: HashMap<u64, String>,
    /// The rooms that it left. What still comes of them is none of its business.
    left: HashSet<String>,
    /// The rooms that its token opens.
    access: HashSet<String>,
    /// Events that came before the answer to CONNECT. The official client keeps them, whatever becomes of the connection, and hears of
    /// them after an answer.
    buffered: Vec<String>,
    /// Its session, which it has ended. Nobody gets that back.
    over: Option<String>,
    /// All connections that it opened in this run.
    conns: Vec<Conn>,
}

/// The id of the message in an event, and of others in an answer.
fn ids(packet: &str) -> Vec<String> {
    packet.split(r#"{"id":""#).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

fn room_of(packet: &str) -> String {
    packet.split(r#""roomId":""#).nth(1).map_or("lobby", |rest| rest.split('"').next().unwrap()).to_owned()
}

impl Client {
    fn new(user: &str) -> Self {
        Self {
            user: user.to_owned(),
            conn: None,
            connected: false,
            pid: None,
            offset: None,
            recovered: 0,
            anew: 0,
            rooms: HashMap::new(),
            joined: HashSet::new(),
            acks: 0,
            asked: HashMap::new(),
            left: HashSet::new(),
            access: ROOMS.map(str::to_owned).into(),
            buffered: Vec::new(),
            over: None,
            conns: Vec::new(),
        }
    }

    fn token(&self, bench: &Bench) -> String {
        if self.access.len() == ROOMS.len() {
            return bench.token(&self.user, 1_000_000);
        }
        let rooms: Vec<&str> = self.access.iter().map(String::as_str).collect();
        bench.token_for(&self.user, Some(&rooms), 1_000_000, 0)
    }

    /// Opens a connection, and asks for its session.
    fn come(&mut self, bench: &mut Bench) {
        let conn = bench.open();
        let mut auth = format!(r#"{{"token":"{}""#, self.token(bench));
        for (key, value) in [("pid", &self.pid), ("offset", &self.offset)] {
            if let Some(value) = value {
                auth.push_str(&format!(r#","{key}":"{value}""#));
            }
        }
        bench.say(conn, &format!("0{auth}}}"));
        (self.conn, self.connected) = (Some(conn), false);
        self.conns.push(conn);
        self.asked.clear();
        // Whether it is back there, it does not know.
        self.rooms.retain(|room, _| !self.left.contains(room));
    }

    /// Its connection is gone: it took this many of the packets that it was sent.
    fn lose(&mut self, bench: &mut Bench) -> Option<Conn> {
        let conn = self.conn.take()?;
        let mut sent = bench.sent(conn);
        sent.truncate(bench.roll(sent.len() + 1));
        self.receive(sent);
        Some(conn)
    }

    /// Takes what it was sent.
    fn take(&mut self, bench: &mut Bench) {
        if let Some(conn) = self.conn {
            let sent = bench.sent(conn);
            self.receive(sent);
        }
    }

    fn receive(&mut self, sent: Vec<String>) {
        for packet in sent {
            if packet.starts_with("40") {
                self.connected = true;
                let pid = packet.split(r#""pid":""#).nth(1).unwrap().split('"').next().unwrap().to_owned();
                assert_ne!(self.over.as_ref(), Some(&pid), "{} has ended this session", self.user);
                if self.pid.as_ref() == Some(&pid) {
                    self.recovered += 1;
                } else {
                    self.anew += usize::from(self.pid.is_some() && self.over.take().is_none());
                    self.rooms.clear();
                    self.joined.clear();
                    self.left.clear();
                    self.offset = None;
                }
                self.pid = Some(pid);
                std::mem::take(&mut self.buffered).iter().for_each(|packet| self.hear(packet));
            } else if self.connected {
                self.hear(&packet);
            } else {
                self.buffered.push(packet);
            }
        }
    }

    fn hear(&mut self, packet: &str) {
        let json = &packet[packet.find('[').unwrap()..];
        assert!(serde_json::from_str::<serde_json::Value>(json).is_ok(), "a client would close for {packet}");
        if packet.starts_with(r#"42["message""#) {
            let (event, offset) = packet.strip_suffix(r#""]"#).unwrap().rsplit_once(r#",""#).unwrap();
            self.offset = Some(offset.to_owned());
            let room = room_of(event);
            if !self.left.contains(&room) || self.asked.values().any(|of| *of == room) {
                self.rooms.entry(room).or_default().extend(ids(event));
            }
        } else if let Some(ack) = packet.strip_prefix("43") {
            let (number, answer) = ack.split_once('[').unwrap();
            if let Some(room) = self.asked.remove(&number.parse().unwrap()) {
                if !answer.contains(r#""ok":true"#) {
                    assert!(answer.contains("store_unavailable"), "{answer}");
                    return;
                }
                let mut page = ids(answer);
                // What came before the page is on it, if the client was in the room already, or comes after it.
                let got = self.rooms.remove(&room).unwrap_or_default();
                let later = got.into_iter().filter(|id| !page.contains(id)).collect::<Vec<_>>();
                page.extend(later);
                self.left.remove(&room);
                self.joined.insert(room.clone());
                self.rooms.insert(room, page);
            }
        }
    }

    /// It wants to hear nothing more of a room.
    fn forget(&mut self, room: &str) {
        self.rooms.remove(room);
        self.joined.remove(room);
        self.left.insert(room.to_owned());
    }

    fn leave(&mut self, bench: &mut Bench, room: &str) {
        self.emit(bench, &format!(r#"["leave",{{"roomId":"{room}"}}]"#));
        self.forget(room);
    }

    /// Its token opens other rooms now.
    fn refresh(&mut self, bench: &mut Bench) {
        for room in ROOMS {
            if bench.roll(3) == 0 {
                self.access.remove(room);
                self.forget(room);
            } else {
                self.access.insert(room.to_owned());
            }
        }
        let token = self.token(bench);
        self.emit(bench, &format!(r#"["refresh",{{"token":"{token}"}}]"#));
    }

    fn emit(&mut self, bench: &mut Bench, event: &str) -> u64 {
        self.acks += 1;
        if let Some(conn) = self.conn {
            bench.say(conn, &format!("2{}{event}", self.acks));
        }
        self.acks
    }

    fn join(&mut self, bench: &mut Bench, room: &str) {
        let ack = self.emit(bench, &format!(r#"["join",{{"roomId":"{room}","history":200}}]"#));
        self.asked.insert(ack, room.to_owned());
    }

    fn say(&mut self, bench: &mut Bench, room: &str) {
        self.emit(bench, &format!(r#"["message",{{"message":"x","context":{{"roomId":"{room}"}}}}]"#));
    }
}

const ROOMS: [&str; 3] = ["a", "b", "c"];

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
        match bench.roll(15) {
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
