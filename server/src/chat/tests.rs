//! The chat on a bench without sockets: a fake clock, and sessions that record what they are sent.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    rc::Rc,
};

use engineio::{CloseReason, Handler as _, Message, Outbox, SendError, SharedFrame, session::Transport, slab::Slab};

use super::*;
use crate::{
    auth::{TokenRequest, sign},
    config::{Environment, Source},
};

/// The engine.
struct Engine {
    now: Instant,
    entropy: u8,
    conns: Slab<()>,
    sent: HashMap<ConnKey, Vec<String>>,
    closing: Vec<ConnKey>,
}

impl Outbox for Engine {
    fn now(&self) -> Instant {
        self.now
    }

    fn shard(&self) -> u16 {
        0
    }

    fn shards(&self) -> u16 {
        1
    }

    fn post(&mut self, shard: u16, _: engineio::Remote) {
        unreachable!("there is no shard {shard}");
    }

    fn fill_random(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.entropy = self.entropy.wrapping_mul(5).wrapping_add(3);
            *byte = self.entropy;
        }
    }

    fn send(&mut self, conn: ConnKey, frame: &SharedFrame) -> Result<(), SendError> {
        let sent = self.sent.get_mut(&conn).ok_or(SendError::Closed)?;
        sent.push(String::from_utf8(frame.polling().to_vec()).unwrap());
        Ok(())
    }

    fn is_writable(&self, conn: ConnKey) -> bool {
        self.sent.contains_key(&conn)
    }

    fn close(&mut self, conn: ConnKey, _: CloseReason) {
        self.closing.push(conn);
    }
}

/// The chat as both the server and the test hold it.
#[derive(Clone)]
struct Shared(Rc<RefCell<Chat>>);

impl Handler for Shared {
    type Admission = Claims;

    fn on_handshake(&mut self, now: Instant, handshake: &Handshake<'_>) -> Result<(), Refusal> {
        self.0.borrow_mut().on_handshake(now, handshake)
    }

    fn on_open(&mut self, io: &mut Io<'_>, conn: ConnKey, handshake: &Handshake<'_>) {
        self.0.borrow_mut().on_open(io, conn, handshake);
    }

    fn on_close(&mut self, io: &mut Io<'_>, conn: ConnKey) {
        self.0.borrow_mut().on_close(io, conn);
    }

    fn authorize(&mut self, io: &mut Io<'_>, request: &ConnectRequest<'_>) -> Result<Claims, ConnectError> {
        self.0.borrow_mut().authorize(io, request)
    }

    fn on_connect(&mut self, io: &mut Io<'_>, socket: SocketKey, claims: Claims) {
        self.0.borrow_mut().on_connect(io, socket, claims);
    }

    fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
        self.0.borrow_mut().on_event(io, socket, event, ack);
    }

    fn on_disconnect(&mut self, io: &mut Io<'_>, socket: SocketKey, reason: DisconnectReason) {
        self.0.borrow_mut().on_disconnect(io, socket, reason);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.borrow().poll_timeout()
    }

    fn on_timeout(&mut self, io: &mut Io<'_>) {
        self.0.borrow_mut().on_timeout(io);
    }
}

/// A server with its engine.
struct Bench {
    server: socketio::Server<Shared>,
    chat: Shared,
    engine: Engine,
}

impl Bench {
    /// Without rates and strikes, and with these keys.
    fn with(keys: &[(&str, &str)]) -> Self {
        let free = [("limits.message_rate", "0"), ("limits.typing_rate", "0"), ("limits.connect_rate", "0")];
        let secret = [("auth.jwt_secret", "a secret of thirty-two bytes, at least"), ("limits.strikes", "0")];
        let assignment = |(key, text): &(&str, &str)| crate::config::Assignment {
            key: (*key).to_owned(),
            text: (*text).to_owned(),
            source: Source::Set,
        };
        let keys = secret.iter().chain(&free).filter(|(key, _)| keys.iter().all(|(of, _)| of != key)).chain(keys);
        let config = crate::config::load(None, keys.map(assignment).collect(), Environment::default()).unwrap();
        let chat = Shared(Rc::new(RefCell::new(Chat::new(Arc::new(config)))));
        let engine = Engine {
            now: Instant::now(),
            entropy: 0,
            conns: Slab::default(),
            sent: HashMap::new(),
            closing: Vec::new(),
        };
        Self { server: socketio::Server::new(socketio::Config::default(), chat.clone()), chat, engine }
    }

    fn settle(&mut self) {
        while let Some(conn) = self.engine.closing.pop() {
            if self.engine.sent.remove(&conn).is_some() {
                self.server.on_close(&mut self.engine, conn, CloseReason::TransportClose);
                let key = self.engine.conns.key_at(conn.index()).unwrap();
                self.engine.conns.remove(key);
            }
        }
    }

    fn open(&mut self) -> ConnKey {
        let conn = ConnKey::new(self.engine.conns.insert(()));
        self.engine.sent.insert(conn, Vec::new());
        let (uri, headers) = (http::Uri::from_static("/socket.io/?EIO=4"), http::HeaderMap::new());
        let remote = SocketAddr::from(([127, 0, 0, 1], 9));
        let handshake = Handshake { transport: Transport::WebSocket, uri: &uri, headers: &headers, remote };
        self.server.on_open(&mut self.engine, conn, &handshake);
        self.settle();
        conn
    }

    fn token(&self, sub: &str, lifetime: u64) -> String {
        let config = Arc::clone(&self.chat.0.borrow().config);
        let lifetime = Duration::from_secs(lifetime);
        sign(&config.auth, &TokenRequest { sub, name: None, rooms: None, lifetime }, wall_clock()).unwrap()
    }

    fn connect(&mut self, conn: ConnKey, sub: &str) {
        let token = self.token(sub, 1_000_000);
        self.text(conn, &format!(r#"0{{"token":"{token}"}}"#));
    }

    /// A user's socket; what it was sent at connect is forgotten.
    fn join(&mut self, sub: &str) -> ConnKey {
        let conn = self.open();
        self.connect(conn, sub);
        assert!(self.sent(conn).iter().any(|sent| sent.starts_with("40")), "{sub}");
        conn
    }

    fn text(&mut self, conn: ConnKey, text: &str) {
        self.server.on_message(&mut self.engine, conn, Message::Text(text.into()));
        self.settle();
    }

    fn close(&mut self, conn: ConnKey) {
        self.engine.closing.push(conn);
        self.settle();
    }

    /// Lets time pass, stopping at each deadline.
    fn advance(&mut self, ms: u64) {
        let until = self.engine.now + Duration::from_millis(ms);
        while let Some(next) = self.server.poll_timeout().filter(|next| *next <= until) {
            self.engine.now = self.engine.now.max(next);
            self.server.on_timeout(&mut self.engine);
            self.settle();
        }
        self.engine.now = until;
    }

    /// What was sent to a session since the last question.
    fn sent(&mut self, conn: ConnKey) -> Vec<String> {
        // The end of the turn.
        self.server.on_flush(&mut self.engine);
        self.engine.sent.get_mut(&conn).map(std::mem::take).unwrap_or_default()
    }

    fn is_open(&self, conn: ConnKey) -> bool {
        self.engine.sent.contains_key(&conn)
    }

    /// How many entries each collection has that must be empty without a client.
    fn into_kept(self) -> BTreeMap<&'static str, usize> {
        let mut chat = self.chat.0.borrow_mut();
        let Chat { peers, members, users, occupancy, idle, expiry, typing, grace, .. } = &mut *chat;
        let never = self.engine.now + Duration::from_secs(1 << 31);
        BTreeMap::from([
            ("peers", peers.iter().flatten().count()),
            ("members", members.iter().flatten().count()),
            ("users", users.len()),
            ("occupancy", occupancy.len()),
            ("idle", std::iter::from_fn(|| idle.pop_due(never)).count()),
            ("expiry", std::iter::from_fn(|| expiry.pop_due(never)).count()),
            ("typing", std::iter::from_fn(|| typing.pop_due(never)).count()),
            ("grace", std::iter::from_fn(|| grace.pop_due(never)).count()),
        ])
    }
}

#[test]
fn connecting_and_disconnecting_in_a_row_piles_nothing_up() {
    let mut bench = Bench::with(&[]);
    let conn = bench.open();
    for n in 0..1000 {
        bench.connect(conn, "alice");
        bench.text(conn, r#"2["typing",true]"#);
        bench.text(conn, &format!(r#"2["join",{{"roomId":"{n}"}}]"#));
        bench.text(conn, r#"2["typing",true,{"roomId":"lobby"}]"#);
        bench.text(conn, "1");
    }
    bench.connect(conn, "alice");
    let token = bench.token("alice", 500_000);
    for _ in 0..1000 {
        bench.text(conn, &format!(r#"2["refresh",{{"token":"{token}"}}]"#));
    }
    let kept = bench.into_kept();
    assert!(kept.values().all(|kept| *kept <= 2), "{kept:?}");
}

#[test]
fn nothing_is_kept_of_clients_that_are_gone() {
    let mut bench = Bench::with(&[("limits.sockets_per_user", "0")]);
    for round in 0..5 {
        let conns: Vec<ConnKey> = (0..100).map(|n| bench.join(&format!("user {}", n % 40 + round))).collect();
        for (n, conn) in (0..).zip(&conns) {
            for event in
                [r#"["typing",true]"#, r#"["nonsense"]"#, r#"["message",{"message":"x","context":{"clientId":"a"}}]"#]
            {
                bench.text(*conn, &format!("2{event}"));
            }
            for room in 0..5 {
                bench.text(*conn, &format!(r#"2["join",{{"roomId":"{}"}}]"#, n + room));
                bench.text(*conn, &format!(r#"2["typing",true,{{"roomId":"{}"}}]"#, n + room));
            }
            bench.text(*conn, &format!(r#"2["leave",{{"roomId":"{n}"}}]"#));
        }
        bench.advance(500);
        conns.into_iter().for_each(|conn| bench.close(conn));
        bench.advance(500);
    }
    bench.advance(24 * 3600 * 1000);
    let kept = bench.into_kept();
    assert!(kept.values().all(|kept| *kept == 0), "{kept:?}");
}

#[test]
fn idleness_ends_a_socket_at_its_own_time_whenever_others_came() {
    let mut bench = Bench::with(&[("limits.idle_timeout", "10s")]);
    let alice = bench.join("alice");
    bench.advance(1000);
    bench.text(alice, r#"2["typing",false]"#);
    bench.advance(8000);
    let bob = bench.join("bob");
    bench.advance(1999);
    assert!(bench.is_open(alice));
    bench.advance(1);
    assert!(!bench.is_open(alice));
    bench.advance(7999);
    assert!(bench.is_open(bob));
    bench.advance(1);
    assert!(!bench.is_open(bob));
}

#[test]
fn typing_everywhere_ends_in_a_room_that_is_left() {
    let mut bench = Bench::with(&[("rooms.lobby", "false")]);
    let [alice, bob] = ["alice", "bob"].map(|sub| bench.join(sub));
    for conn in [alice, bob] {
        bench.text(conn, r#"2["join",{"roomId":"r"}]"#);
    }
    bench.text(alice, r#"2["typing",true]"#);
    bench.text(alice, r#"2["leave",{"roomId":"r"}]"#);
    bench.advance(20_000);
    let told = bench.sent(bob).into_iter().filter(|sent| sent.contains("userTyping")).collect::<Vec<_>>();
    let typing = |is| format!(r#"42["userTyping",{{"userId":"alice","username":"alice","isTyping":{is}}}]"#);
    assert_eq!(told, [typing(true), typing(false)]);
}

#[test]
fn whoever_left_the_lobby_hears_the_message_sent_to_it() {
    let mut bench = Bench::with(&[]);
    let alice = bench.join("alice");
    bench.text(alice, r#"2["leave",{"roomId":"lobby"}]"#);
    bench.text(alice, r#"2["message",{"message":"back"}]"#);
    let sent = bench.sent(alice);
    assert!(matches!(&*sent, [message] if message.starts_with(r#"42["message","#)), "{sent:?}");
}

#[test]
fn history_ends_at_max_age_without_a_new_message() {
    let mut bench = Bench::with(&[("store.max_age", "5s")]);
    let alice = bench.join("alice");
    bench.text(alice, r#"2["message",{"message":"old"}]"#);
    bench.sent(alice);
    bench.advance(6000);
    bench.text(alice, r#"27["history",{}]"#);
    assert_eq!(bench.sent(alice), [r#"437[{"ok":true,"messages":[],"more":false}]"#]);
    bench.text(alice, r#"28["join",{"roomId":"lobby","history":5}]"#);
    assert_eq!(bench.sent(alice), [r#"438[{"ok":true,"roomId":"lobby","members":1,"messages":[]}]"#]);
}

#[test]
fn whoever_comes_while_a_user_reloads_is_told_of_that_user() {
    let mut bench = Bench::with(&[]);
    let alice = bench.join("alice");
    bench.close(alice);
    bench.advance(500);
    let bob = bench.open();
    bench.connect(bob, "bob");
    bench.join("alice");
    bench.advance(10_000);
    let online = r#"42["userStatus",{"userId":"alice","username":"alice","isOnline":true}]"#;
    let sent = bench.sent(bob);
    assert_eq!(sent.iter().filter(|sent| *sent == online).count(), 1, "{sent:?}");
    // And of the end, when there is no coming back.
    let carol = bench.join("carol");
    bench.close(carol);
    let dave = bench.open();
    bench.connect(dave, "dave");
    bench.advance(10_000);
    let sent = bench.sent(dave).join("\n");
    assert!(sent.contains(r#"{"userId":"carol","username":"carol","isOnline":true}"#), "{sent}");
    assert!(sent.contains(r#"{"userId":"carol","username":"carol","isOnline":false"#), "{sent}");
}

#[test]
fn the_lobby_is_none_of_the_rooms_a_socket_may_have() {
    let mut bench = Bench::with(&[("limits.rooms_per_socket", "2")]);
    let alice = bench.join("alice");
    for room in ["a", "b", "c"] {
        bench.text(alice, &format!(r#"2["join",{{"roomId":"{room}"}}]"#));
    }
    let sent = bench.sent(alice);
    assert!(matches!(&*sent, [error] if error.contains("too_many_rooms")), "{sent:?}");
    bench.text(alice, r#"2["leave",{"roomId":"lobby"}]"#);
    bench.text(alice, r#"2["message",{"message":"back"}]"#);
    assert!(bench.sent(alice).join("").contains(r#""message":"back""#));
}

#[test]
fn rooms_that_were_left_do_not_displace_one_that_awaits_the_end() {
    let mut bench = Bench::with(&[]);
    let bob = bench.join("bob");
    bench.text(bob, r#"2["join",{"roomId":"shared"}]"#);
    let [tab, other] = ["alice", "alice"].map(|sub| bench.join(sub));
    bench.text(tab, r#"2["join",{"roomId":"shared"}]"#);
    bench.text(bob, r#"2["leave",{"roomId":"lobby"}]"#);
    bench.close(tab);
    for room in 0..1500 {
        bench.text(other, &format!(r#"2["join",{{"roomId":"{room}"}}]"#));
        bench.text(other, &format!(r#"2["leave",{{"roomId":"{room}"}}]"#));
        bench.advance(10);
    }
    bench.sent(bob);
    bench.close(other);
    bench.advance(10_000);
    let sent = bench.sent(bob);
    assert!(matches!(&*sent, [offline] if offline.contains(r#""isOnline":false"#)), "{sent:?}");
}

#[test]
fn whoever_comes_while_another_tab_was_closed_is_told_of_its_user() {
    let mut bench = Bench::with(&[]);
    let [tab, _other] = ["alice", "alice"].map(|sub| bench.join(sub));
    bench.text(tab, r#"2["join",{"roomId":"r"}]"#);
    bench.close(tab);
    let bob = bench.join("bob");
    bench.text(bob, r#"2["join",{"roomId":"r"}]"#);
    let tab = bench.join("alice");
    bench.text(tab, r#"2["join",{"roomId":"r"}]"#);
    let online = r#"42["userStatus",{"userId":"alice","username":"alice","isOnline":true}]"#;
    assert_eq!(bench.sent(bob), [online]);
}

#[test]
fn past_rooms_of_a_user_who_stays_are_bounded_and_leave_nothing() {
    let mut bench = Bench::with(&[]);
    let stays = bench.join("alice");
    for n in 0..15 {
        let tab = bench.join("alice");
        for room in 0..100 {
            bench.text(tab, &format!(r#"2["join",{{"roomId":"{n} {room}"}}]"#));
        }
        bench.close(tab);
        bench.advance(3000);
    }
    assert!(bench.chat.0.borrow().occupancy.len() <= 1001);
    bench.close(stays);
    bench.advance(24 * 3600 * 1000);
    let kept = bench.into_kept();
    assert!(kept.values().all(|kept| *kept == 0), "{kept:?}");
}

#[test]
fn a_fraction_of_a_second_of_leeway_counts_on_a_living_socket_too() {
    let mut bench = Bench::with(&[("auth.leeway", "1500ms")]);
    bench.join("alice");
    let chat = bench.chat.0.borrow();
    let expires = chat.members.iter().flatten().next().and_then(|member| member.expires).unwrap();
    assert_eq!(expires.subsec_millis(), 500);
}
