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
        let user = user.to_owned();
        let (rooms, joined, asked) = (HashMap::new(), HashSet::new(), HashMap::new());
        Self {
            user,
            conn: None,
            connected: false,
            pid: None,
            offset: None,
            recovered: 0,
            anew: 0,
            rooms,
            joined,
            acks: 0,
            asked,
        }
    }

    /// Opens a connection, and asks for its session.
    fn come(&mut self, bench: &mut Bench) {
        let conn = bench.open();
        let mut auth = format!(r#"{{"token":"{}""#, bench.token(&self.user, 1_000_000));
        for (key, value) in [("pid", &self.pid), ("offset", &self.offset)] {
            if let Some(value) = value {
                auth.push_str(&format!(r#","{key}":"{value}""#));
            }
        }
        bench.say(conn, &format!("0{auth}}}"));
        (self.conn, self.connected) = (Some(conn), false);
        self.asked.clear();
    }

    /// Takes what it was sent.
    fn take(&mut self, bench: &mut Bench) {
        let Some(conn) = self.conn else { return };
        let sent = bench.sent(conn);
        // As the official client, it deals with what comes before the answer to CONNECT after that.
        let (connect, others): (Vec<_>, Vec<_>) = sent.into_iter().partition(|packet| packet.starts_with("40"));
        for packet in connect {
            self.connected = true;
            let pid = packet.split(r#""pid":""#).nth(1).unwrap().split('"').next().unwrap().to_owned();
            if self.pid.as_ref() == Some(&pid) {
                self.recovered += 1;
            } else {
                self.anew += usize::from(self.pid.is_some());
                self.rooms.clear();
                self.joined.clear();
                self.offset = None;
            }
            self.pid = Some(pid);
        }
        for packet in others {
            let json = &packet[packet.find('[').unwrap()..];
            assert!(serde_json::from_str::<serde_json::Value>(json).is_ok(), "a client would close for {packet}");
            if packet.starts_with(r#"42["message""#) {
                let (event, offset) = packet.strip_suffix(r#""]"#).unwrap().rsplit_once(r#",""#).unwrap();
                self.offset = Some(offset.to_owned());
                self.rooms.entry(room_of(event)).or_default().extend(ids(event));
            } else if let Some(ack) = packet.strip_prefix("43") {
                let (number, answer) = ack.split_once('[').unwrap();
                if let Some(room) = self.asked.remove(&number.parse().unwrap()) {
                    assert!(answer.contains(r#""ok":true"#), "{answer}");
                    let mut page = ids(answer);
                    // What came before the page is on it, if the client was in the room already, or comes after it.
                    let got = self.rooms.remove(&room).unwrap_or_default();
                    let later = got.into_iter().filter(|id| !page.contains(id)).collect::<Vec<_>>();
                    page.extend(later);
                    self.joined.insert(room.clone());
                    self.rooms.insert(room, page);
                }
            }
        }
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

/// Random clients, connections that break at any moment, and with `restarts` a server that is killed at any moment. Returns how often
/// clients were recovered, and how often not.
fn run(seed: u64, shards: u16, later: bool, restarts: bool) -> (usize, usize) {
    let keys = [("rooms.lobby", "false"), ("limits.sockets_per_user", "0"), ("presence.snapshot", "1")];
    let mut bench = Bench::with_store(shards, &keys, later);
    bench.dice = seed;
    let mut clients: Vec<Client> = (0..5).map(|n| Client::new(&format!("user {}", n / 2))).collect();
    for client in &mut clients {
        client.come(&mut bench);
    }
    bench.carry();
    for _ in 0..200 {
        let dice = bench.roll(clients.len());
        let client = &mut clients[dice];
        let room = ROOMS[bench.roll(ROOMS.len())];
        let is_member = client.rooms.contains_key(room);
        match bench.roll(12) {
            0 | 1 if client.connected && client.conn.is_some() && !is_member && client.asked.is_empty() => {
                client.join(&mut bench, room);
                // The answer must be seen before the room can be joined again, or its connection be cut.
                for _ in 0..bench.roll(30) {
                    bench.carry_one();
                }
            }
            2..=5 if is_member && client.connected => (0..1 + bench.roll(3)).for_each(|_| client.say(&mut bench, room)),
            6 if client.conn.is_some() => {
                // What it was sent in this turn may not have reached it.
                if bench.roll(2) == 0 {
                    client.take(&mut bench);
                }
                bench.cut(client.conn.take().unwrap());
            }
            // It notices before the server does.
            7 if client.conn.is_some() => {
                client.conn = None;
                client.come(&mut bench);
            }
            8 | 9 if client.conn.is_none() => client.come(&mut bench),
            10 if restarts && bench.roll(4) == 0 => {
                let shards = 1 + bench.roll(3) as u16;
                for client in &mut clients {
                    if client.conn.is_some() && bench.roll(2) == 0 {
                        client.take(&mut bench);
                    }
                    client.conn = None;
                    client.rooms.retain(|room, _| client.joined.contains(room));
                }
                bench.restart(shards);
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
    bench.carry();
    for client in &mut clients {
        if client.conn.is_none() {
            client.come(&mut bench);
            bench.carry();
        }
        client.take(&mut bench);
    }
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
            assert_eq!(got, &history[from..], "seed {seed}, {shards} shards, later {later}, {} in {room}", client.user);
        }
    }
    clients.iter().fold((0, 0), |(recovered, anew), client| (recovered + client.recovered, anew + client.anew))
}

#[test]
fn a_recovered_client_has_every_message_once_and_in_order() {
    for shards in [1, 2, 3] {
        for later in [false, true] {
            let (mut recovered, mut anew) = (0, 0);
            for seed in 1..40 {
                let (of, new) = run(seed, shards, later, false);
                (recovered, anew) = (recovered + of, anew + new);
            }
            assert!(recovered > 10 * anew, "{recovered} recovered and {anew} not, {shards} shards, later {later}");
        }
    }
}

#[test]
fn a_recovered_client_has_every_message_once_and_in_order_whenever_the_server_is_killed() {
    let (mut recovered, mut anew) = (0, 0);
    for seed in 1..200 {
        let (of, new) = run(seed, 1 + seed as u16 % 3, true, true);
        (recovered, anew) = (recovered + of, anew + new);
    }
    assert!(recovered > anew, "{recovered} recovered and {anew} not");
}
