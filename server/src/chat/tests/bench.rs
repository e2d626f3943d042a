//! A bench without sockets: shards on one fake clock, whose posts are carried by hand, and sessions that record what they
//! are sent.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap, VecDeque},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use engineio::{CloseReason, Handler as _, Message, Outbox, SendError, SharedFrame, session::Transport, slab::Slab};

use super::super::*;
use crate::{
    auth::{TokenRequest, sign},
    clock::wall_clock,
    config::{Environment, Source},
    room::Room,
};

/// The engine of one shard.
pub(super) struct Engine {
    now: Instant,
    entropy: u8,
    shard: u16,
    shards: u16,
    posted: Vec<(u16, ShardMessage)>,
    conns: Slab<()>,
    sent: HashMap<ConnKey, Vec<String>>,
    closing: Vec<ConnKey>,
}

impl Engine {
    /// The engine of one of so many shards.
    pub(super) fn of_shard(shard: u16, shards: u16) -> Self {
        Self {
            now: Instant::now(),
            entropy: 0,
            shard,
            shards,
            posted: Vec::new(),
            conns: Slab::default(),
            sent: HashMap::new(),
            closing: Vec::new(),
        }
    }

    /// A session.
    pub(super) fn open(&mut self) -> ConnKey {
        let conn = ConnKey::new(self.conns.insert(()));
        self.sent.insert(conn, Vec::new());
        conn
    }

    /// What was sent to other shards' handlers since the last question.
    pub(super) fn take_shard_messages(&mut self) -> Vec<(u16, ShardMessage)> {
        std::mem::take(&mut self.posted)
    }
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

    fn send_to_shard(&mut self, shard: u16, message: ShardMessage) {
        assert!(shard < self.shards);
        self.posted.push((shard, message));
    }

    fn start_job(&mut self, _: engineio::Job) -> Result<engineio::JobId, engineio::job::TooManyJobs> {
        Err(engineio::job::TooManyJobs)
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
pub(super) struct Held(pub(super) Rc<RefCell<Chat>>);

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

    fn on_shard_message(&mut self, io: &mut Io<'_>, message: ShardMessage) {
        self.0.borrow_mut().on_shard_message(io, message);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.borrow().poll_timeout()
    }

    fn on_timeout(&mut self, io: &mut Io<'_>) {
        self.0.borrow_mut().on_timeout(io);
    }
}

/// A shard with its engine.
pub(super) struct Shard {
    server: socketio::Server<Held>,
    pub(super) chat: Held,
    engine: Engine,
}

/// A session: its shard, and its key there.
pub(super) type Conn = (usize, ConnKey);

/// A server. Sessions are opened on its shards in turn.
pub(super) struct Bench {
    pub(super) shards: Vec<Shard>,
    shared: Shared,
    pub(super) opened: usize,
    /// What is under way, by the shards it goes from and to.
    mail: BTreeMap<(usize, usize), VecDeque<ShardMessage>>,
    /// From where to where each piece of mail goes, in the order in which it was posted.
    in_order: VecDeque<(usize, usize)>,
    /// Chooses whose mail arrives next.
    pub(super) dice: u64,
}

/// Runs a test with one shard and with three: without rates and strikes, and with these keys.
pub(super) fn with(keys: &[(&str, &str)], test: impl Fn(Bench)) {
    for shards in [1, 3] {
        test(Bench::with(shards, keys));
    }
}

/// Lends the handshake of a WebSocket.
pub(super) fn handshake(lend: impl FnOnce(&Handshake<'_>)) {
    let (uri, headers) = (http::Uri::from_static("/socket.io/?EIO=4"), http::HeaderMap::new());
    let remote = SocketAddr::from(([127, 0, 0, 1], 9));
    lend(&Handshake { transport: Transport::WebSocket, uri: &uri, headers: &headers, remote });
}

/// A configuration without rates and strikes, and with these keys.
pub(super) fn config(keys: &[(&str, &str)]) -> Config {
    let free = [("limits.message_rate", "0"), ("limits.typing_rate", "0"), ("limits.connect_rate", "0")];
    let secret = [("auth.jwt_secret", "a secret of thirty-two bytes, at least"), ("limits.strikes", "0")];
    let assignment = |(key, text): &(&str, &str)| crate::config::Assignment {
        key: (*key).to_owned(),
        text: (*text).to_owned(),
        source: Source::Set,
    };
    let keys = secret.iter().chain(&free).filter(|(key, _)| keys.iter().all(|(of, _)| of != key)).chain(keys);
    crate::config::load(None, keys.map(assignment).collect(), Environment::default()).unwrap()
}

impl Bench {
    pub(super) fn with(shards: usize, keys: &[(&str, &str)]) -> Self {
        let shared = Shared::new(Arc::new(config(keys)), shards);
        let (now, count) = (Instant::now(), u16::try_from(shards).unwrap());
        let shard = |shard| {
            let chat = Held(Rc::new(RefCell::new(Chat::new(&shared))));
            let engine = Engine { now, ..Engine::of_shard(shard, count) };
            Shard { server: socketio::Server::new(socketio::Config::default(), chat.clone()), chat, engine }
        };
        Self {
            shards: (0..count).map(shard).collect(),
            shared,
            opened: 0,
            mail: BTreeMap::new(),
            in_order: VecDeque::new(),
            dice: 1,
        }
    }

    pub(super) fn roll(&mut self, sides: usize) -> usize {
        // Knuth's MMIX generator; the high bits are the good ones.
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) as usize % sides
    }

    /// Takes what shards posted to the mail.
    pub(super) fn collect(&mut self) {
        for (from, shard) in self.shards.iter_mut().enumerate() {
            for (to, remote) in shard.engine.posted.drain(..) {
                self.mail.entry((from, usize::from(to))).or_default().push_back(remote);
                self.in_order.push_back((from, usize::from(to)));
            }
        }
    }

    /// Carries one piece of mail, any that is first between its two shards; `false` when there is none.
    pub(super) fn carry_one(&mut self) -> bool {
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

    /// Whether a shard is to get mail.
    pub(super) fn awaits_mail(&self, shard: usize) -> bool {
        self.mail.keys().any(|(_, to)| *to == shard)
    }

    /// Carries what is under way from one shard to another now.
    pub(super) fn carry_between(&mut self, from: usize, to: usize) {
        for remote in self.mail.remove(&(from, to)).unwrap_or_default() {
            self.hand(to, remote);
        }
        self.collect();
    }

    /// The home of a room.
    pub(super) fn home(&self, room: &str) -> usize {
        usize::from(self.shared.homes.of(&Room::new(room), self.shards.len() as u16))
    }

    /// Carries all mail, and what comes of it, to each shard in the order in which it was handed over.
    pub(super) fn carry_in_order(&mut self) {
        self.collect();
        while let Some(to) = self.in_order.pop_front() {
            let Some(remote) = self.mail.get_mut(&to).and_then(VecDeque::pop_front) else { continue };
            self.mail.retain(|_, remotes| !remotes.is_empty());
            self.hand(to.1, remote);
            self.collect();
        }
    }

    pub(super) fn hand(&mut self, to: usize, message: ShardMessage) {
        let Shard { server, engine, .. } = &mut self.shards[to];
        server.on_shard_message(engine, message);
        self.settle(to);
    }

    /// Carries all mail, and what comes of it.
    pub(super) fn carry(&mut self) {
        while self.carry_one() {}
        self.in_order.clear();
    }

    pub(super) fn settle(&mut self, shard: usize) {
        let Shard { server, engine, .. } = &mut self.shards[shard];
        while let Some(conn) = engine.closing.pop() {
            if engine.sent.remove(&conn).is_some() {
                server.on_close(engine, conn, CloseReason::TransportClose);
                let key = engine.conns.key_at(conn.index()).unwrap();
                engine.conns.remove(key);
            }
        }
    }

    pub(super) fn open(&mut self) -> Conn {
        let place = self.opened % self.shards.len();
        self.opened += 1;
        let Shard { server, engine, .. } = &mut self.shards[place];
        let conn = engine.open();
        handshake(|handshake| server.on_open(engine, conn, handshake));
        self.settle(place);
        (place, conn)
    }

    pub(super) fn token(&self, sub: &str, lifetime: u64) -> String {
        let lifetime = Duration::from_secs(lifetime);
        sign(&self.shared.config.auth, &TokenRequest { sub, name: None, rooms: None, lifetime }, wall_clock()).unwrap()
    }

    pub(super) fn connect(&mut self, conn: Conn, sub: &str) {
        let token = self.token(sub, 1_000_000);
        self.text(conn, &format!(r#"0{{"token":"{token}"}}"#));
    }

    /// A user's socket; what it was sent at connect is forgotten.
    pub(super) fn join(&mut self, sub: &str) -> Conn {
        let conn = self.open();
        self.connect(conn, sub);
        assert!(self.sent(conn).iter().any(|sent| sent.starts_with("40")), "{sub}");
        conn
    }

    /// A client sends this, and all that comes of it happens.
    pub(super) fn text(&mut self, conn: Conn, text: &str) {
        self.say(conn, text);
        self.carry();
    }

    /// A client sends this; what its shard posts stays under way.
    pub(super) fn say(&mut self, (shard, conn): Conn, text: &str) {
        let Shard { server, engine, .. } = &mut self.shards[shard];
        server.on_message(engine, conn, Message::Text(text.into()));
        self.settle(shard);
        self.collect();
    }

    pub(super) fn close(&mut self, (shard, conn): Conn) {
        self.shards[shard].engine.closing.push(conn);
        self.settle(shard);
        self.carry();
    }

    /// Lets time pass, stopping at each deadline.
    pub(super) fn advance(&mut self, ms: u64) {
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
    pub(super) fn sent(&mut self, (shard, conn): Conn) -> Vec<String> {
        // The end of the turn.
        let Shard { server, engine, .. } = &mut self.shards[shard];
        server.on_flush(engine);
        engine.sent.get_mut(&conn).map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn is_open(&self, (shard, conn): Conn) -> bool {
        self.shards[shard].engine.sent.contains_key(&conn)
    }

    pub(super) fn homes(&self) -> usize {
        self.shards.iter().map(|shard| shard.chat.0.borrow().homes.len()).sum()
    }

    /// How many entries each collection has that must be empty without a client.
    pub(super) fn into_kept(self) -> BTreeMap<&'static str, usize> {
        let mut kept = BTreeMap::from([("accounts", self.shared.accounts.len())]);
        for Shard { chat, engine, .. } in self.shards {
            let mut chat = chat.0.borrow_mut();
            let Chat { connections, sockets, homes } = &mut *chat;
            let never = engine.now + Duration::from_secs(1 << 31);
            let counts = [("connections", connections.len()), ("homes", homes.len())];
            for (what, count) in counts.into_iter().chain(sockets.count_kept(never)) {
                *kept.entry(what).or_default() += count;
            }
        }
        kept
    }
}
