//! A client of the tests that comes back as the official one does.

use std::collections::{HashMap, HashSet};

use super::bench::{Bench, Conn};

/// The rooms that it may be in.
pub(super) const ROOMS: [&str; 3] = ["a", "b", "c"];

/// A client that comes back as the official one does.
pub(super) struct Client {
    pub(super) user: String,
    pub(super) conn: Option<Conn>,
    /// Whether its CONNECT was answered. Before that the official client sends nothing.
    pub(super) connected: bool,
    pub(super) pid: Option<String>,
    pub(super) offset: Option<String>,
    /// How often it came back and had its socket again, and how often not.
    pub(super) recovered: usize,
    pub(super) anew: usize,
    /// What it has of each room that it knows to be in, since it came in: without a gap, or nothing is known any more.
    pub(super) rooms: HashMap<String, Vec<String>>,
    /// Messages that it was told are deleted. It shows none of them, though a page that it asked for before may have one.
    pub(super) deleted: HashSet<String>,
    /// Where its `join` was acknowledged. No other rooms are promised after the server was killed.
    pub(super) joined: HashSet<String>,
    pub(super) acks: u64,
    /// The rooms that it asked to be in, by the number of the acknowledgement.
    pub(super) asked: HashMap<u64, String>,
    /// The rooms that it left. What still comes of them is none of its business.
    pub(super) left: HashSet<String>,
    /// The rooms that its token opens.
    pub(super) access: HashSet<String>,
    /// Events that came before the answer to CONNECT. The official client keeps them, whatever becomes of the connection, and hears of
    /// them after an answer.
    pub(super) buffered: Vec<String>,
    /// Its session, which it has ended. Nobody gets that back.
    pub(super) over: Option<String>,
    /// All connections that it opened in this run.
    pub(super) conns: Vec<Conn>,
}

/// The id of the message in an event, and of others in an answer.
fn ids(packet: &str) -> Vec<String> {
    packet.split(r#"{"id":""#).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

fn room_of(packet: &str) -> String {
    packet.split(r#""roomId":""#).nth(1).map_or("lobby", |rest| rest.split('"').next().unwrap()).to_owned()
}

impl Client {
    pub(super) fn new(user: &str) -> Self {
        Self {
            user: user.to_owned(),
            conn: None,
            connected: false,
            pid: None,
            offset: None,
            recovered: 0,
            anew: 0,
            rooms: HashMap::new(),
            deleted: HashSet::new(),
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

    pub(super) fn token(&self, bench: &Bench) -> String {
        if self.access.len() == ROOMS.len() {
            return bench.token(&self.user, 1_000_000);
        }
        let rooms: Vec<&str> = self.access.iter().map(String::as_str).collect();
        bench.token_for(&self.user, Some(&rooms), 1_000_000, 0)
    }

    /// Opens a connection, and asks for its session.
    pub(super) fn come(&mut self, bench: &mut Bench) {
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
    pub(super) fn lose(&mut self, bench: &mut Bench) -> Option<Conn> {
        let conn = self.conn.take()?;
        let mut sent = bench.sent(conn);
        sent.truncate(bench.roll(sent.len() + 1));
        self.receive(sent);
        Some(conn)
    }

    /// Takes what it was sent.
    pub(super) fn take(&mut self, bench: &mut Bench) {
        if let Some(conn) = self.conn {
            let sent = bench.sent(conn);
            self.receive(sent);
        }
    }

    pub(super) fn receive(&mut self, sent: Vec<String>) {
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

    pub(super) fn hear(&mut self, packet: &str) {
        let json = &packet[packet.find('[').unwrap()..];
        assert!(serde_json::from_str::<serde_json::Value>(json).is_ok(), "a client would close for {packet}");
        if packet.starts_with(r#"42["message""#) {
            let (event, offset) = packet.strip_suffix(r#""]"#).unwrap().rsplit_once(r#",""#).unwrap();
            self.offset = Some(offset.to_owned());
            let room = room_of(event);
            if !self.left.contains(&room) || self.asked.values().any(|of| *of == room) {
                self.rooms.entry(room).or_default().extend(ids(event));
            }
        } else if packet.starts_with(r#"42["messageDeleted""#) {
            for id in ids(packet) {
                self.rooms.entry(room_of(packet)).and_modify(|of| of.retain(|known| *known != id));
                self.deleted.insert(id);
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
                // What is older and not on it was deleted while the client was not in the room, between a `leave` and this answer.
                let newest = page.last().cloned().unwrap_or_default();
                let later = got.into_iter().filter(|id| *id > newest).collect::<Vec<_>>();
                page.extend(later);
                page.retain(|id| !self.deleted.contains(id));
                self.left.remove(&room);
                self.joined.insert(room.clone());
                self.rooms.insert(room, page);
            }
        }
    }

    /// It wants to hear nothing more of a room.
    pub(super) fn forget(&mut self, room: &str) {
        self.rooms.remove(room);
        self.joined.remove(room);
        self.left.insert(room.to_owned());
    }

    pub(super) fn leave(&mut self, bench: &mut Bench, room: &str) {
        self.emit(bench, &format!(r#"["leave",{{"roomId":"{room}"}}]"#));
        self.forget(room);
    }

    /// Its token opens other rooms now.
    pub(super) fn refresh(&mut self, bench: &mut Bench) {
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

    pub(super) fn emit(&mut self, bench: &mut Bench, event: &str) -> u64 {
        self.acks += 1;
        if let Some(conn) = self.conn {
            bench.say(conn, &format!("2{}{event}", self.acks));
        }
        self.acks
    }

    pub(super) fn join(&mut self, bench: &mut Bench, room: &str) {
        let ack = self.emit(bench, &format!(r#"["join",{{"roomId":"{room}","history":200}}]"#));
        self.asked.insert(ack, room.to_owned());
    }

    pub(super) fn say(&mut self, bench: &mut Bench, room: &str) {
        self.emit(bench, &format!(r#"["message",{{"message":"x","context":{{"roomId":"{room}"}}}}]"#));
    }
}
