//! The chat on a bench without sockets: shards on one fake clock, whose posts are carried by hand, and sessions that record
//! what they are sent.

mod order;

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    rc::Rc,
};

use engineio::{CloseReason, Handler as _, Message, Outbox, SendError, SharedFrame, session::Transport, slab::Slab};

use super::*;
use crate::{
    auth::{TokenRequest, sign},
    config::{Environment, Source},
};

/// The engine of one shard.
struct Engine {
    now: Instant,
    entropy: u8,
    shard: u16,
    shards: u16,
    posted: Vec<(u16, Remote)>,
    conns: Slab<()>,
    sent: HashMap<ConnKey, Vec<String>>,
    closing: Vec<ConnKey>,
}

impl Outbox for Engine {
    fn now(&self) -> Instant {
        self.now
    }

    fn shard(&self) -> u16 {
        self.shard
    }

    fn shards(&self) -> u16 {
        self.shards
    }

    fn post(&mut self, shard: u16, remote: Remote) {
        assert!(shard < self.shards);
        self.posted.push((shard, remote));
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
struct Held(Rc<RefCell<Chat>>);

impl Handler for Held {
    type Admission = Admission;

    fn on_handshake(&mut self, now: Instant, handshake: &Handshake<'_>) -> Result<(), Refusal> {
        self.0.borrow_mut().on_handshake(now, handshake)
    }

    fn on_open(&mut self, io: &mut Io<'_>, conn: ConnKey, handshake: &Handshake<'_>) {
        self.0.borrow_mut().on_open(io, conn, handshake);
    }

    fn on_close(&mut self, io: &mut Io<'_>, conn: ConnKey) {
        self.0.borrow_mut().on_close(io, conn);
    }

    fn authorize(&mut self, io: &mut Io<'_>, request: &ConnectRequest<'_>) -> Result<Admission, ConnectError> {
        self.0.borrow_mut().authorize(io, request)
    }

    fn on_connect(&mut self, io: &mut Io<'_>, socket: SocketKey, admission: Admission) {
        self.0.borrow_mut().on_connect(io, socket, admission);
    }

    fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
        self.0.borrow_mut().on_event(io, socket, event, ack);
    }

    fn on_disconnect(&mut self, io: &mut Io<'_>, socket: SocketKey, reason: DisconnectReason) {
        self.0.borrow_mut().on_disconnect(io, socket, reason);
    }

    fn on_remote(&mut self, io: &mut Io<'_>, remote: Remote) {
        self.0.borrow_mut().on_remote(io, remote);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.borrow().poll_timeout()
    }

    fn on_timeout(&mut self, io: &mut Io<'_>) {
        self.0.borrow_mut().on_timeout(io);
    }
}

/// A shard with its engine.
struct Shard {
    server: socketio::Server<Held>,
    chat: Held,
    engine: Engine,
}

/// A session: its shard, and its key there.
type Conn = (usize, ConnKey);

/// A server. Sessions are opened on its shards in turn.
struct Bench {
    shards: Vec<Shard>,
    config: Arc<Config>,
    opened: usize,
    /// What is under way, by the shards it goes from and to.
    mail: BTreeMap<(usize, usize), VecDeque<Remote>>,
    /// From where to where each piece of mail goes, in the order in which it was posted.
    in_order: VecDeque<(usize, usize)>,
    /// Chooses whose mail arrives next.
    dice: u64,
}

/// Runs a test with one shard and with three: without rates and strikes, and with these keys.
fn with(keys: &[(&str, &str)], test: impl Fn(Bench)) {
    for shards in [1, 3] {
        test(Bench::with(shards, keys));
    }
}

impl Bench {
    fn with(shards: usize, keys: &[(&str, &str)]) -> Self {
        let free = [("limits.message_rate", "0"), ("limits.typing_rate", "0"), ("limits.connect_rate", "0")];
        let secret = [("auth.jwt_secret", "a secret of thirty-two bytes, at least"), ("limits.strikes", "0")];
        let assignment = |(key, text): &(&str, &str)| crate::config::Assignment {
            key: (*key).to_owned(),
            text: (*text).to_owned(),
            source: Source::Set,
        };
        let keys = secret.iter().chain(&free).filter(|(key, _)| keys.iter().all(|(of, _)| of != key)).chain(keys);
        let config = crate::config::load(None, keys.map(assignment).collect(), Environment::default()).unwrap();
        let config = Arc::new(config);
        let shared = Arc::new(Shared::new(Arc::clone(&config), shards));
        let (now, count) = (Instant::now(), u16::try_from(shards).unwrap());
        let shard = |shard| {
            let chat = Held(Rc::new(RefCell::new(Chat::new(Arc::clone(&shared)))));
            let engine = Engine {
                now,
                entropy: 0,
                shard,
                shards: count,
                posted: Vec::new(),
                conns: Slab::default(),
                sent: HashMap::new(),
                closing: Vec::new(),
            };
            Shard { server: socketio::Server::new(socketio::Config::default(), chat.clone()), chat, engine }
        };
        Self {
            shards: (0..count).map(shard).collect(),
            config,
            opened: 0,
            mail: BTreeMap::new(),
            in_order: VecDeque::new(),
            dice: 1,
        }
    }

    fn roll(&mut self, sides: usize) -> usize {
        // Knuth's MMIX generator; the high bits are the good ones.
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) as usize % sides
    }

    /// Takes what shards posted to the mail.
    fn collect(&mut self) {
        for (from, shard) in self.shards.iter_mut().enumerate() {
            for (to, remote) in shard.engine.posted.drain(..) {
                self.mail.entry((from, usize::from(to))).or_default().push_back(remote);
                self.in_order.push_back((from, usize::from(to)));
            }
        }
    }

    /// Carries one piece of mail, any that is first between its two shards; `false` when there is none.
    fn carry_one(&mut self) -> bool {
        self.collect();
        if self.mail.is_empty() {
            return false;
        }
        let place = self.roll(self.mail.len());
        let (_, to) = *self.mail.keys().nth(place).unwrap();
        let remote = self.mail.values_mut().nth(place).and_then(VecDeque::pop_front).unwrap();
        self.mail.retain(|_, remotes| !remotes.is_empty());
        self.hand(to, remote);
        true
    }

    /// Carries all mail, and what comes of it, to each shard in the order in which it was handed over.
    fn carry_in_order(&mut self) {
        self.collect();
        while let Some(to) = self.in_order.pop_front() {
            let Some(remote) = self.mail.get_mut(&to).and_then(VecDeque::pop_front) else { continue };
            self.mail.retain(|_, remotes| !remotes.is_empty());
            self.hand(to.1, remote);
            self.collect();
        }
    }

    fn hand(&mut self, to: usize, remote: Remote) {
        let Shard { server, engine, .. } = &mut self.shards[to];
        server.on_remote(engine, remote);
        self.settle(to);
    }

    /// Carries all mail, and what comes of it.
    fn carry(&mut self) {
        while self.carry_one() {}
        self.in_order.clear();
    }

    fn settle(&mut self, shard: usize) {
        let Shard { server, engine, .. } = &mut self.shards[shard];
        while let Some(conn) = engine.closing.pop() {
            if engine.sent.remove(&conn).is_some() {
                server.on_close(engine, conn, CloseReason::TransportClose);
                let key = engine.conns.key_at(conn.index()).unwrap();
                engine.conns.remove(key);
            }
        }
    }

    fn open(&mut self) -> Conn {
        let place = self.opened % self.shards.len();
        self.opened += 1;
        let Shard { server, engine, .. } = &mut self.shards[place];
        let conn = ConnKey::new(engine.conns.insert(()));
        engine.sent.insert(conn, Vec::new());
        let (uri, headers) = (http::Uri::from_static("/socket.io/?EIO=4"), http::HeaderMap::new());
        let remote = SocketAddr::from(([127, 0, 0, 1], 9));
        let handshake = Handshake { transport: Transport::WebSocket, uri: &uri, headers: &headers, remote };
        server.on_open(engine, conn, &handshake);
        self.settle(place);
        (place, conn)
    }

    fn token(&self, sub: &str, lifetime: u64) -> String {
        let lifetime = Duration::from_secs(lifetime);
        sign(&self.config.auth, &TokenRequest { sub, name: None, rooms: None, lifetime }, wall_clock()).unwrap()
    }

    fn connect(&mut self, conn: Conn, sub: &str) {
        let token = self.token(sub, 1_000_000);
        self.text(conn, &format!(r#"0{{"token":"{token}"}}"#));
    }

    /// A user's socket; what it was sent at connect is forgotten.
    fn join(&mut self, sub: &str) -> Conn {
        let conn = self.open();
        self.connect(conn, sub);
        assert!(self.sent(conn).iter().any(|sent| sent.starts_with("40")), "{sub}");
        conn
    }

    /// A client sends this, and all that comes of it happens.
    fn text(&mut self, conn: Conn, text: &str) {
        self.say(conn, text);
        self.carry();
    }

    /// A client sends this; what its shard posts stays under way.
    fn say(&mut self, (shard, conn): Conn, text: &str) {
        let Shard { server, engine, .. } = &mut self.shards[shard];
        server.on_message(engine, conn, Message::Text(text.into()));
        self.settle(shard);
        self.collect();
    }

    fn close(&mut self, (shard, conn): Conn) {
        self.shards[shard].engine.closing.push(conn);
        self.settle(shard);
        self.carry();
    }

    /// Lets time pass, stopping at each deadline.
    fn advance(&mut self, ms: u64) {
        let until = self.shards[0].engine.now + Duration::from_millis(ms);
        let next = |(place, shard): (usize, &Shard)| shard.server.poll_timeout().map(|at| (at, place));
        while let Some((at, place)) =
            self.shards.iter().enumerate().filter_map(next).min().filter(|(at, _)| *at <= until)
        {
            for shard in &mut self.shards {
                shard.engine.now = shard.engine.now.max(at);
            }
            let Shard { server, engine, .. } = &mut self.shards[place];
            server.on_timeout(engine);
            self.settle(place);
            self.carry();
        }
        for shard in &mut self.shards {
            shard.engine.now = until;
        }
    }

    /// What was sent to a session since the last question.
    fn sent(&mut self, (shard, conn): Conn) -> Vec<String> {
        // The end of the turn.
        let Shard { server, engine, .. } = &mut self.shards[shard];
        server.on_flush(engine);
        engine.sent.get_mut(&conn).map(std::mem::take).unwrap_or_default()
    }

    fn is_open(&self, (shard, conn): Conn) -> bool {
        self.shards[shard].engine.sent.contains_key(&conn)
    }

    fn homes(&self) -> usize {
        self.shards.iter().map(|shard| shard.chat.0.borrow().homes.len()).sum()
    }

    /// How many entries each collection has that must be empty without a client.
    fn into_kept(self) -> BTreeMap<&'static str, usize> {
        let mut kept = BTreeMap::new();
        for Shard { chat, engine, .. } in self.shards {
            let mut chat = chat.0.borrow_mut();
            let Chat { peers, members, users, homes, quiet, idle, expiry, typing, grace, shared, .. } = &mut *chat;
            let never = engine.now + Duration::from_secs(1 << 31);
            kept.insert("accounts", shared.accounts.len());
            for (what, count) in [
                ("peers", peers.iter().flatten().count()),
                ("members", members.iter().flatten().count()),
                ("users", users.len()),
                ("homes", homes.len()),
                ("quiet", quiet.len()),
                ("idle", std::iter::from_fn(|| idle.pop_due(never)).count()),
                ("expiry", std::iter::from_fn(|| expiry.pop_due(never)).count()),
                ("typing", std::iter::from_fn(|| typing.pop_due(never)).count()),
                ("grace", std::iter::from_fn(|| grace.pop_due(never)).count()),
            ] {
                *kept.entry(what).or_default() += count;
            }
        }
        kept
    }
}

#[test]
fn connecting_and_disconnecting_in_a_row_piles_nothing_up() {
    with(&[], |mut bench| {
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
    });
}

#[test]
fn nothing_is_kept_of_clients_that_are_gone() {
    with(&[("limits.sockets_per_user", "0")], |mut bench| {
        for round in 0..5 {
            let conns: Vec<Conn> = (0..100).map(|n| bench.join(&format!("user {}", n % 40 + round))).collect();
            for (n, conn) in (0..).zip(&conns) {
                for event in [
                    r#"["typing",true]"#,
                    r#"["nonsense"]"#,
                    r#"["message",{"message":"x","context":{"clientId":"a"}}]"#,
                ] {
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
    });
}

#[test]
fn idleness_ends_a_socket_at_its_own_time_whenever_others_came() {
    with(&[("limits.idle_timeout", "10s")], |mut bench| {
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
    });
}

#[test]
fn typing_everywhere_ends_in_a_room_that_is_left() {
    with(&[("rooms.lobby", "false")], |mut bench| {
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
    });
}

#[test]
fn whoever_left_the_lobby_hears_the_message_sent_to_it() {
    with(&[], |mut bench| {
        let alice = bench.join("alice");
        bench.text(alice, r#"2["leave",{"roomId":"lobby"}]"#);
        bench.text(alice, r#"2["message",{"message":"back"}]"#);
        let sent = bench.sent(alice);
        assert!(matches!(&*sent, [message] if message.starts_with(r#"42["message","#)), "{sent:?}");
    });
}

#[test]
fn history_ends_at_max_age_without_a_new_message() {
    with(&[("store.max_age", "5s")], |mut bench| {
        let alice = bench.join("alice");
        bench.text(alice, r#"2["message",{"message":"old"}]"#);
        bench.sent(alice);
        bench.advance(6000);
        bench.text(alice, r#"27["history",{}]"#);
        assert_eq!(bench.sent(alice), [r#"437[{"ok":true,"messages":[],"more":false}]"#]);
        bench.text(alice, r#"28["join",{"roomId":"lobby","history":5}]"#);
        assert_eq!(bench.sent(alice), [r#"438[{"ok":true,"roomId":"lobby","members":1,"messages":[]}]"#]);
    });
}

#[test]
fn whoever_comes_while_a_user_reloads_is_told_of_that_user() {
    with(&[], |mut bench| {
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
    });
}

#[test]
fn the_lobby_is_none_of_the_rooms_a_socket_may_have() {
    with(&[("limits.rooms_per_socket", "2")], |mut bench| {
        let alice = bench.join("alice");
        for room in ["a", "b", "c"] {
            bench.text(alice, &format!(r#"2["join",{{"roomId":"{room}"}}]"#));
        }
        let sent = bench.sent(alice);
        assert!(matches!(&*sent, [error] if error.contains("too_many_rooms")), "{sent:?}");
        bench.text(alice, r#"2["leave",{"roomId":"lobby"}]"#);
        bench.text(alice, r#"2["message",{"message":"back"}]"#);
        assert!(bench.sent(alice).join("").contains(r#""message":"back""#));
    });
}

#[test]
fn rooms_that_were_left_do_not_displace_one_that_awaits_the_end() {
    with(&[], |mut bench| {
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
    });
}

#[test]
fn whoever_comes_while_another_tab_was_closed_is_told_of_its_user() {
    with(&[], |mut bench| {
        let [tab, _other] = ["alice", "alice"].map(|sub| bench.join(sub));
        bench.text(tab, r#"2["join",{"roomId":"r"}]"#);
        bench.close(tab);
        let bob = bench.join("bob");
        bench.text(bob, r#"2["join",{"roomId":"r"}]"#);
        let tab = bench.join("alice");
        bench.text(tab, r#"2["join",{"roomId":"r"}]"#);
        let online = r#"42["userStatus",{"userId":"alice","username":"alice","isOnline":true}]"#;
        assert_eq!(bench.sent(bob), [online]);
    });
}

#[test]
fn past_rooms_of_a_user_who_stays_are_bounded_and_leave_nothing() {
    with(&[], |mut bench| {
        let stays = bench.join("alice");
        for n in 0..15 {
            let tab = bench.join("alice");
            for room in 0..100 {
                bench.text(tab, &format!(r#"2["join",{{"roomId":"{n} {room}"}}]"#));
            }
            bench.close(tab);
            bench.advance(3000);
        }
        assert!(bench.homes() <= 1001);
        bench.close(stays);
        bench.advance(24 * 3600 * 1000);
        let kept = bench.into_kept();
        assert!(kept.values().all(|kept| *kept == 0), "{kept:?}");
    });
}

#[test]
fn a_fraction_of_a_second_of_leeway_counts_on_a_living_socket_too() {
    with(&[("auth.leeway", "1500ms")], |mut bench| {
        bench.join("alice");
        let chat = bench.shards[0].chat.0.borrow();
        let expires = chat.members.iter().flatten().next().and_then(|member| member.expires).unwrap();
        assert_eq!(expires.subsec_millis(), 500);
    });
}

#[test]
fn presence_and_typing_cross_shards() {
    with(&[("presence.max_room", "3")], |mut bench| {
        let [alice, bob, other] = ["alice", "bob", "alice"].map(|sub| bench.join(sub));
        let typing = |is| format!(r#"42["userTyping",{{"userId":"alice","username":"alice","isTyping":{is}}}]"#);
        bench.text(alice, r#"2["typing",true]"#);
        // The other socket's message ends it, wherever that is.
        bench.text(other, r#"2["message",{"message":"x"}]"#);
        let sent = bench.sent(bob);
        // Which comes first depends on whose shard is faster.
        assert_eq!((sent.len(), &*sent[0]), (3, &*typing(true)), "{sent:?}");
        assert!(sent.contains(&typing(false)), "{sent:?}");
        assert!(bench.sent(alice).iter().chain(&bench.sent(other)).all(|sent| !sent.contains("userTyping")));
        bench.text(bob, r#"20["presence",{}]"#);
        let users = [r#"{"userId":"alice","username":"alice","isOnline":true}"#, r#"{"userId":"bob","#].join(",");
        assert!(bench.sent(bob)[0].contains(&users));
        // A fourth socket makes the room too large for presence, on every shard.
        let carol = bench.join("carol");
        bench.text(alice, r#"2["typing",true]"#);
        assert_eq!((bench.sent(bob), bench.sent(carol)), (vec![], vec![]));
        bench.close(carol);
        bench.text(alice, r#"2["typing",false]"#);
        assert_eq!(bench.sent(bob), [typing(false)]);
    });
}

#[test]
fn a_user_has_one_rate_and_one_limit_on_all_shards() {
    with(
        &[("limits.sockets_per_user", "3"), ("limits.message_rate", "1"), ("limits.message_burst", "3")],
        |mut bench| {
            let conns = [(); 3].map(|()| bench.join("alice"));
            let fourth = bench.open();
            bench.connect(fourth, "alice");
            assert!(bench.sent(fourth).iter().any(|sent| sent.contains("too_many_connections")));
            for conn in conns.into_iter().chain([conns[0]]) {
                bench.text(conn, r#"27["message",{"message":"x"}]"#);
            }
            let answers = conns
                .map(|conn| bench.sent(conn).into_iter().filter(|sent| sent.starts_with("437")).collect::<Vec<_>>());
            let answers = answers.concat();
            assert_eq!(answers.iter().filter(|answer| answer.contains(r#""ok":true"#)).count(), 3, "{answers:?}");
            assert_eq!(answers.iter().filter(|answer| answer.contains("rate_limited")).count(), 1, "{answers:?}");
        },
    );
}

#[test]
fn a_message_sent_after_a_connect_was_answered_reaches_the_newcomer_wherever_the_home_is() {
    for shards in [2, 3] {
        let mut bench = Bench::with(shards, &[]);
        let alices: Vec<Conn> = (0..shards).map(|n| bench.join(&format!("alice {n}"))).collect();
        for alice in alices {
            let bob = bench.open();
            let token = bench.token("bob", 1000);
            // Connected, as the client knows; its way into the lobby is still a letter.
            bench.say(bob, &format!(r#"0{{"token":"{token}"}}"#));
            assert!(bench.sent(bob).iter().any(|sent| sent.starts_with("40")));
            bench.say(alice, r#"2["message",{"message":"x"}]"#);
            // Letters to one shard are read in the order in which they were handed over.
            bench.carry_in_order();
            assert_eq!(bench.sent(bob).iter().filter(|sent| sent.starts_with(r#"42["message""#)).count(), 1);
            bench.close(bob);
        }
    }
}
