//! Random broadcasts of several shards, connections that break at any time, and clients that come back on any shard while messages
//! between shards are late: each client sees each event of its rooms once, and those of one shard in their order.

use std::collections::BTreeMap;

use engineio::testing::Shards;
use proptest::prelude::*;

use super::*;
use crate::recovery::{Options, Recovery};

const SHARDS: u16 = 3;
const CLIENTS: usize = 4;
/// The rooms of each client.
const ROOMS: [&[&str]; CLIENTS] = [&["a"], &["a", "b"], &["b", "c"], &[]];

#[derive(Debug, Clone)]
enum Target {
    Everyone,
    Rooms(Vec<usize>),
    /// By its id.
    Client(usize),
    /// By its key, if it is on the shard.
    Socket(usize),
}

#[derive(Debug, Clone)]
enum Step {
    Emit {
        shard: u16,
        target: Target,
        except: Option<usize>,
        volatile: bool,
    },
    Deliver {
        from: u16,
        to: u16,
    },
    EndTurn {
        shard: u16,
    },
    /// The client reads so many frames.
    Read {
        client: usize,
        frames: usize,
    },
    /// Its connection breaks, and the server notices it or not. What the client has not read is lost.
    Cut {
        client: usize,
        noticed: bool,
    },
    Connect {
        client: usize,
        shard: u16,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (shard, client) = (0..SHARDS, 0..CLIENTS);
    let target = prop_oneof![
        1 => Just(Target::Everyone),
        4 => prop::collection::vec(0..3usize, 1..3).prop_map(Target::Rooms),
        1 => client.clone().prop_map(Target::Client),
        2 => client.clone().prop_map(Target::Socket),
    ];
    prop_oneof![
        6 => (shard.clone(), target, prop::option::weighted(0.2, client.clone()), prop::bool::weighted(0.2)).prop_map(
            |(shard, target, except, volatile)| Step::Emit { shard, target, except, volatile }
        ),
        6 => (shard.clone(), shard.clone()).prop_map(|(from, to)| Step::Deliver { from, to }),
        2 => shard.clone().prop_map(|shard| Step::EndTurn { shard }),
        3 => (client.clone(), 0..6usize).prop_map(|(client, frames)| Step::Read { client, frames }),
        2 => (client.clone(), any::<bool>()).prop_map(|(client, noticed)| Step::Cut { client, noticed }),
        3 => (client, shard).prop_map(|(client, shard)| Step::Connect { client, shard }),
    ]
}

/// What the official client keeps.
#[derive(Default)]
struct Client {
    /// The connection that it uses.
    conn: Option<(u16, ConnKey)>,
    connected: bool,
    sid: String,
    pid: String,
    offset: Option<String>,
    unread: Vec<String>,
    /// Events that came before the answer to the CONNECT.
    buffered: Vec<Vec<serde_json::Value>>,
    seen: Vec<String>,
}

impl Client {
    fn read(&mut self, frame: &str) {
        if let Some(answer) = frame.strip_prefix("40") {
            let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
            let [sid, pid] = ["sid", "pid"].map(|key| answer[key].as_str().unwrap().to_owned());
            if !self.pid.is_empty() {
                assert_eq!((&sid, &pid), (&self.sid, &self.pid), "it was not recovered");
            }
            (self.sid, self.pid, self.connected) = (sid, pid, true);
            for event in std::mem::take(&mut self.buffered) {
                self.emit(&event);
            }
        } else {
            let event: Vec<serde_json::Value> = serde_json::from_str(frame.strip_prefix("42").unwrap()).unwrap();
            if self.connected { self.emit(&event) } else { self.buffered.push(event) }
        }
    }

    fn emit(&mut self, event: &[serde_json::Value]) {
        self.seen.push(event[0].as_str().unwrap().to_owned());
        if let Some(offset) = event.last().and_then(serde_json::Value::as_str).filter(|_| event.len() > 1) {
            self.offset = Some(offset.to_owned());
        }
    }

    fn connect_packet(&self) -> String {
        match &self.offset {
            _ if self.pid.is_empty() => "0".to_owned(),
            Some(offset) => format!(r#"0{{"pid":"{}","offset":"{offset}"}}"#, self.pid),
            None => format!(r#"0{{"pid":"{}"}}"#, self.pid),
        }
    }
}

struct World {
    shards: Shards<Server<App>>,
    clients: [Client; CLIENTS],
    /// Connections that broke without the server's noticing.
    lost: Vec<(u16, ConnKey)>,
    /// How many events were emitted.
    emitted: usize,
    /// For each client what it must see.
    expected: [Vec<String>; CLIENTS],
}

impl World {
    fn new() -> Self {
        let recovery = Recovery::new(Options::default());
        let shards = Shards::new(SHARDS, |_| server(|config| config.recovery = Some(recovery.clone())));
        let (clients, expected) = (Default::default(), Default::default());
        let mut world = Self { shards, clients, lost: Vec::new(), emitted: 0, expected };
        for (client, rooms) in ROOMS.iter().enumerate() {
            let shard = client as u16 % SHARDS;
            world.connect(client, shard);
            world.read(client, usize::MAX);
            let socket = world.socket(client, shard).unwrap();
            io(&mut world.shards[shard], |io| rooms.iter().for_each(|room| assert!(io.join(socket, room))));
        }
        world
    }

    /// A client's socket, if it is on this shard.
    fn socket(&self, client: usize, shard: u16) -> Option<SocketKey> {
        let state = &self.shards[shard].handler.state;
        let nsp = state.namespaces.find("/")?;
        state.member_by_id(nsp, &self.clients[client].sid).map(|member| member.socket)
    }

    fn connect(&mut self, client: usize, shard: u16) {
        if self.clients[client].conn.is_none() {
            let conn = self.shards[shard].open();
            self.clients[client].conn = Some((shard, conn));
            let packet = self.clients[client].connect_packet();
            self.shards[shard].text(conn, &packet);
        }
    }

    fn cut(&mut self, client: usize, noticed: bool) {
        let of = &mut self.clients[client];
        if let Some((shard, conn)) = of.conn.take() {
            of.connected = false;
            of.unread.clear();
            of.buffered.clear();
            if noticed {
                self.shards[shard].close(conn, CloseReason::TransportError);
            } else {
                self.lost.push((shard, conn));
            }
        }
    }

    fn read(&mut self, client: usize, frames: usize) {
        let of = &mut self.clients[client];
        let Some((shard, conn)) = of.conn else { return };
        let engine = &mut self.shards[shard].engine;
        of.unread.extend(engine.take_sent_text(conn));
        let frames = frames.min(of.unread.len());
        for frame in of.unread.drain(..frames).collect::<Vec<_>>() {
            of.read(&frame);
        }
    }

    fn emit(&mut self, shard: u16, target: &Target, except: Option<usize>, volatile: bool) {
        self.emitted += 1;
        // An event for one socket by its key cannot be volatile.
        let volatile = volatile && !matches!(target, Target::Socket(_));
        let name = format!("{shard} {:04}{}", self.emitted, if volatile { " volatile" } else { "" });
        let sids: Vec<_> = self.clients.iter().map(|client| client.sid.clone()).collect();
        let reached: Vec<usize> = match target {
            Target::Socket(client) => {
                let Some(socket) = self.socket(*client, shard) else { return };
                let sent = io(&mut self.shards[shard], |io| io.emit(socket, &name, "1", &[]));
                if sent.is_ok() {
                    self.expected[*client].push(name);
                }
                return;
            }
            Target::Everyone => (0..CLIENTS).collect(),
            Target::Rooms(rooms) => {
                let is_in = |client: &usize| rooms.iter().any(|room| ROOMS[*client].contains(&["a", "b", "c"][*room]));
                (0..CLIENTS).filter(is_in).collect()
            }
            Target::Client(client) => vec![*client],
        };
        io(&mut self.shards[shard], |io| {
            let mut broadcast = io.of("/");
            match target {
                Target::Rooms(rooms) => broadcast = broadcast.to_all(rooms.iter().map(|room| ["a", "b", "c"][*room])),
                Target::Client(client) => broadcast = broadcast.to(&sids[*client]),
                _ => {}
            }
            if let Some(client) = except {
                broadcast = broadcast.except(&sids[client]);
            }
            if volatile {
                broadcast = broadcast.volatile();
            }
            broadcast.emit(&name, "", &[]).unwrap();
        });
        for client in reached.into_iter().filter(|client| Some(*client) != except && !volatile) {
            self.expected[client].push(name.clone());
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Emit { shard, target, except, volatile } => self.emit(shard, &target, except, volatile),
            Step::Deliver { from, to } => {
                self.shards.deliver(from, to);
            }
            Step::EndTurn { shard } => self.shards[shard].end_turn(),
            Step::Read { client, frames } => self.read(client, frames),
            Step::Cut { client, noticed } => self.cut(client, noticed),
            Step::Connect { client, shard } => self.connect(client, shard),
        }
    }

    /// Everything arrives.
    fn end(&mut self) {
        for client in 0..CLIENTS {
            self.connect(client, 0);
        }
        self.shards.deliver_all();
        self.shards.iter_mut().for_each(|shard| shard.end_turn());
        for client in 0..CLIENTS {
            self.read(client, usize::MAX);
            let (shard, conn) = self.clients[client].conn.unwrap();
            assert!(self.clients[client].connected && self.shards[shard].engine.is_open(conn));
        }
    }

    fn assert_all_seen_once(&self) {
        for (client, expected) in self.clients.iter().zip(&self.expected) {
            let mut expected = expected.clone();
            let seen = client.seen.iter().filter(|name| !name.ends_with("volatile"));
            let mut by_origin = BTreeMap::<&str, Vec<&String>>::new();
            for name in seen.clone() {
                by_origin.entry(&name[..1]).or_default().push(name);
            }
            for names in by_origin.values() {
                assert!(names.is_sorted(), "out of order: {names:?}");
            }
            let mut seen: Vec<_> = seen.cloned().collect();
            seen.sort();
            expected.sort();
            assert_eq!(seen, expected);
            let volatile = client.seen.iter().filter(|name| name.ends_with("volatile"));
            assert_eq!(volatile.clone().collect::<std::collections::BTreeSet<_>>().len(), volatile.count());
        }
    }

    /// Nothing is left when all connections have ended for good.
    fn assert_nothing_left(&mut self) {
        for client in &self.clients {
            let (shard, conn) = client.conn.unwrap();
            self.shards[shard].text(conn, "1");
        }
        for (shard, conn) in self.lost.drain(..) {
            self.shards[shard].close(conn, CloseReason::PingTimeout);
        }
        self.shards.deliver_all();
        for shard in self.shards.iter_mut() {
            shard.advance(Duration::from_secs(2));
            let Server { state, claims, .. } = &shard.handler;
            assert!(
                state.sockets.is_empty() && state.moved.is_empty() && claims.is_empty() && state.pending.is_empty()
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_client_sees_every_event_once(steps in prop::collection::vec(step(), 0..150)) {
        let mut world = World::new();
        for step in steps {
            world.run(step);
        }
        world.end();
        world.assert_all_seen_once();
        world.assert_nothing_left();
    }
}
