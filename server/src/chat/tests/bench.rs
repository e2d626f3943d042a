//! The chat on the engine's test kit: shards on one clock, whose messages to each other are delivered in an order that the test
//! chooses.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    rc::Rc,
    time::Duration,
};

use engineio::{CloseReason, net::Reply, testing::Shards};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    super::{
        api_request::{ApiRequest, Doomed},
        *,
    },
    later_store::LaterStore,
};
use crate::{
    auth::{TokenRequest, sign},
    clock::wall_clock,
    config::{Environment, Source},
    room::Room,
    store::Change,
};

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

    fn authorize(&mut self, io: &mut Io<'_>, request: &ConnectRequest<'_>) -> Decision<Admission> {
        self.0.borrow_mut().authorize(io, request)
    }

    fn refuse_long(&mut self, conn: ConnKey) -> Option<ConnectError> {
        self.0.borrow_mut().refuse_long(conn)
    }

    fn on_connect(&mut self, io: &mut Io<'_>, socket: SocketKey, admission: Admission) {
        self.0.borrow_mut().on_connect(io, socket, admission);
    }

    fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
        self.0.borrow_mut().on_event(io, socket, event, ack);
    }

    fn on_oversize_event(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        event: &OversizeEvent<'_>,
        ack: Option<AckId>,
    ) -> bool {
        self.0.borrow_mut().on_oversize_event(io, socket, event, ack)
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

/// A session: its shard, and its key there.
pub(super) type Conn = (u16, ConnKey);

/// A server. Sessions are opened on its shards in turn.
pub(super) struct Bench {
    shards: Shards<socketio::Server<Held>>,
    /// Of each shard.
    pub(super) chats: Vec<Held>,
    shared: Shared,
    /// The store that answers later, if messages are not in memory.
    pub(super) store: Option<Arc<LaterStore>>,
    started: Instant,
    /// Rooms whose homes are still to hear of messages that were deleted.
    deleted: VecDeque<(Room, Uuid)>,
    pub(super) opened: u16,
    /// Chooses whose message arrives next.
    pub(super) dice: u64,
}

/// Runs a test with one shard and with three, with messages in memory and in a store that answers later: without rates and strikes,
/// and with these keys.
pub(super) fn with(keys: &[(&str, &str)], test: impl Fn(Bench)) {
    for shards in [1, 3] {
        test(Bench::with(shards, keys));
        test(Bench::with_store(shards, keys, true));
    }
}

/// Runs a test with one shard and with three, with a store that answers later.
pub(super) fn with_later(keys: &[(&str, &str)], test: impl Fn(Bench)) {
    for shards in [1, 3] {
        test(Bench::with_store(shards, keys, true));
    }
}

/// A configuration without rates and strikes, and with these keys.
pub(super) fn config(keys: &[(&str, &str)]) -> Config {
    let free =
        ["message_rate", "message_bytes_rate", "typing_rate", "question_rate", "connect_rate", "connect_user_rate"]
            .map(|rate| (["limits.", rate].concat(), "0"));
    let free: Vec<(&str, &str)> = free.iter().map(|(key, value)| (key.as_str(), *value)).collect();
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
    pub(super) fn with(shards: u16, keys: &[(&str, &str)]) -> Self {
        Self::with_store(shards, keys, false)
    }

    pub(super) fn with_store(shards: u16, keys: &[(&str, &str)], later: bool) -> Self {
        let config = Arc::new(config(keys));
        let store = later.then(|| Arc::new(LaterStore::new(config.store.max_age)));
        Self::start(shards, config, store)
    }

    fn start(shards: u16, config: Arc<Config>, store: Option<Arc<LaterStore>>) -> Self {
        let shared = store.clone().map(|store| store as Arc<dyn Store>);
        let shared = Shared::new(config, usize::from(shards), shared);
        let chats: Vec<_> = (0..shards).map(|_| Held(Rc::new(RefCell::new(Chat::new(&shared))))).collect();
        let mut config = socketio::Config::default();
        config.recovery = Some(socketio::recovery::Recovery::by_application());
        let server = |shard| socketio::Server::new(config.clone(), chats[usize::from(shard)].clone());
        let shards = Shards::new(shards, server);
        Self { started: shards.now(), shards, chats, shared, store, deleted: VecDeque::new(), opened: 0, dice: 1 }
    }

    /// The token in the handshake of a client of version 2, whose session ended before it was connected.
    pub(super) fn leave_query_token(&mut self, (shard, conn): Conn, token: String) {
        self.chats[usize::from(shard)].0.borrow_mut().query_token = Some(QueryToken { conn, token });
    }

    /// A reload: these keys count from now on.
    pub(super) fn renew(&mut self, keys: &[(&str, &str)]) {
        let config = Arc::new(config(keys));
        self.shared.renew(&config);
        for shard in self.shards.iter_mut() {
            shard.receive(ShardMessage::new(Renewed(Arc::clone(&config))));
        }
        self.carry();
    }

    /// The server is killed, and started again with so many shards. All connections are gone, and what was not committed.
    pub(super) fn restart(&mut self, shards: u16) {
        let store = self.store.as_ref().map(|store| Arc::new(store.reopen()));
        let mut next = Self::start(shards, self.shared.config.load_full(), store);
        // No id of the last run comes again.
        for shard in 0..shards {
            let seed = self.roll(usize::MAX) as u64;
            next.shards[shard].engine.seed(seed);
        }
        *self = Self { dice: self.dice, opened: self.opened, ..next };
    }

    pub(super) fn roll(&mut self, sides: usize) -> usize {
        // Knuth's MMIX generator; the high bits are the good ones.
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) as usize % sides
    }

    /// Delivers one message, any that is first between its two shards, or has the store do something; `false` when there is nothing.
    pub(super) fn carry_one(&mut self) -> bool {
        let in_flight = Vec::from_iter(self.shards.in_flight());
        if (in_flight.is_empty() || self.roll(3) == 0) && (self.carry_store() || self.carry_deleted()) {
            return true;
        }
        if in_flight.is_empty() {
            return false;
        }
        let (from, to) = in_flight[self.roll(in_flight.len())];
        self.shards.deliver(from, to)
    }

    /// Has the store commit, read or answer, whatever the dice choose; `false` when it has nothing to do.
    pub(super) fn carry_store(&mut self) -> bool {
        let Some(store) = self.store.clone() else { return false };
        store.set_elapsed(self.shards.now() - self.started);
        let first = self.roll(3);
        (first..first + 3).any(|what| match what % 3 {
            0 => store.commit(),
            1 => store.read_one(),
            _ => store.take_answer().is_some_and(|(shard, answer)| {
                self.shards[shard].receive(ShardMessage::new(answer));
                true
            }),
        })
    }

    /// The API deletes a message. With a store that answers later, the home of its room hears of it later.
    pub(super) fn delete(&mut self, room: &str, id: Uuid) {
        let room = Room::new(room);
        if let Some(store) = &self.store {
            let change = Change::Delete { room: room.clone(), ids: vec![id], answer: oneshot::channel().0 };
            store.change(change).unwrap();
            self.deleted.push_back((room, id));
            return;
        }
        let home = self.home(room.id());
        let which = Doomed::Message(id, Some(room));
        self.shards[home].receive(ApiRequest::Delete { which, from: 0, reply: Reply::to_nobody() }.into());
    }

    /// The home of a room hears that a message was deleted; `false` when there is none.
    fn carry_deleted(&mut self) -> bool {
        let Some((room, id)) = self.deleted.pop_front() else { return false };
        let home = self.home(room.id());
        let request = ApiRequest::Deleted { room, ids: vec![id], reply: Reply::to_nobody() };
        self.shards[home].receive(request.into());
        true
    }

    /// Delivers all messages, and what the store reads. It commits nothing.
    pub(super) fn carry_without_commits(&mut self) {
        let Some(store) = self.store.clone() else { return };
        loop {
            self.shards.deliver_all();
            match store.take_answer() {
                Some((shard, answer)) => self.shards[shard].receive(ShardMessage::new(answer)),
                None if store.read_one() => {}
                None => return,
            }
        }
    }

    /// Whether a message for a shard is in flight.
    pub(super) fn awaits_message(&self, shard: u16) -> bool {
        self.shards.in_flight().iter().any(|(_, to)| *to == shard)
    }

    /// Delivers what is in flight from one shard to another now.
    pub(super) fn carry_between(&mut self, from: u16, to: u16) {
        while self.shards.deliver(from, to) {}
    }

    /// The home of a room.
    pub(super) fn home(&self, room: &str) -> u16 {
        self.shared.homes.of(&Room::new(room), self.shards.len() as u16)
    }

    /// Delivers all messages, and what comes of them, to each shard in the order in which they were sent.
    pub(super) fn carry_in_order(&mut self) {
        self.shards.deliver_all();
        while self.carry_store() {
            self.shards.deliver_all();
        }
    }

    /// Delivers all messages, and what comes of them, in an order of the dice's choice.
    pub(super) fn carry(&mut self) {
        while self.carry_one() {}
    }

    pub(super) fn open(&mut self) -> Conn {
        let shard = self.opened % self.shards.len() as u16;
        self.opened += 1;
        (shard, self.shards[shard].open())
    }

    pub(super) fn token(&self, sub: &str, lifetime: u64) -> String {
        self.token_for(sub, None, lifetime, 0)
    }

    /// A token that opens these rooms, issued so many seconds ago.
    pub(super) fn token_for(&self, sub: &str, rooms: Option<&[&str]>, lifetime: u64, ago: u64) -> String {
        let rooms: Option<Vec<String>> = rooms.map(|rooms| rooms.iter().map(|room| (*room).to_owned()).collect());
        let (lifetime, ago) = (Duration::from_secs(lifetime + ago), Duration::from_secs(ago));
        let request = TokenRequest { sub, name: None, rooms: rooms.as_deref(), lifetime };
        sign(&self.shared.config.load().auth, &request, wall_clock() - ago).unwrap()
    }

    /// A token with this payload.
    pub(super) fn token_of(&self, payload: &str) -> String {
        let payload: serde_json::Value = serde_json::from_str(payload).unwrap();
        let config = self.shared.config.load();
        let key = jsonwebtoken::EncodingKey::from_secret(config.auth.jwt_secret.as_ref().unwrap().expose());
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &payload, &key).unwrap()
    }

    /// A user's socket, with this token; what it was sent at connect is returned.
    pub(super) fn join_with(&mut self, token: &str) -> (Conn, Vec<String>) {
        let conn = self.open();
        self.text(conn, &format!(r#"0{{"token":"{token}"}}"#));
        let sent = self.sent(conn);
        assert!(sent.iter().any(|sent| sent.starts_with("40")), "{sent:?}");
        (conn, sent)
    }

    /// The client reads nothing from now on, or again what it is sent.
    pub(super) fn set_reading(&mut self, (shard, conn): Conn, reads: bool) {
        let engine = &mut self.shards[shard].engine;
        if reads { engine.resume_reading(conn) } else { engine.stop_reading(conn) }
    }

    /// The client answers a ping.
    pub(super) fn beat(&mut self, (shard, conn): Conn) {
        self.shards[shard].engine.beat(conn);
    }

    /// How many bytes messages between shards weigh that are in flight.
    pub(super) fn take_weights(&mut self) -> Vec<usize> {
        let messages = (0..self.chats.len() as u16).flat_map(|shard| self.shards[shard].engine.take_shard_messages());
        messages.collect::<Vec<_>>().iter().map(|(_, message)| message.weight()).collect()
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

    /// A client sends this; what its shard sends to others stays in flight.
    pub(super) fn say(&mut self, (shard, conn): Conn, text: &str) {
        self.shards[shard].text(conn, text);
    }

    pub(super) fn close(&mut self, (shard, conn): Conn) {
        self.shards[shard].close(conn, CloseReason::TransportClose);
        self.carry();
    }

    /// The connection breaks, as far as the server knows. What comes of it stays in flight.
    pub(super) fn cut(&mut self, (shard, conn): Conn) {
        self.shards[shard].close(conn, CloseReason::TransportError);
    }

    /// Lets time pass, stopping at each deadline.
    pub(super) fn advance(&mut self, ms: u64) {
        let until = self.shards.now() + Duration::from_millis(ms);
        while self.shards.advance_to_deadline(until) {
            self.carry();
        }
    }

    /// Ends the turn. What was sent to a session since the last question.
    pub(super) fn sent(&mut self, (shard, conn): Conn) -> Vec<String> {
        self.shards[shard].sent(conn)
    }

    pub(super) fn is_open(&self, (shard, conn): Conn) -> bool {
        self.shards[shard].engine.is_open(conn)
    }

    pub(super) fn homes(&self) -> usize {
        self.chats.iter().map(|chat| chat.0.borrow().homes.len()).sum()
    }

    /// The users who are in a room, as its home says.
    pub(super) fn said_to_be_in(&self, room: &str) -> Vec<String> {
        let chat = self.chats[usize::from(self.home(room))].0.borrow();
        let mut users = chat.homes.users_in(&Room::new(room));
        users.sort();
        users
    }

    /// The users who have a socket in a room.
    pub(super) fn members_of(&self, room: &str) -> Vec<String> {
        let mut users: Vec<_> =
            self.chats.iter().flat_map(|chat| chat.0.borrow().sockets.users_in(&Room::new(room))).collect();
        users.sort();
        users.dedup();
        users
    }

    /// How many entries each collection has that must be empty without a client.
    pub(super) fn into_kept(self) -> BTreeMap<&'static str, usize> {
        let mut kept = BTreeMap::from([("accounts", self.shared.accounts.len())]);
        let never = self.shards.now() + Duration::from_secs(1 << 31);
        for chat in self.chats {
            let mut chat = chat.0.borrow_mut();
            let Chat { connections, query_token, sockets, homes } = &mut *chat;
            let counts = [
                ("connections", connections.len()),
                ("homes", homes.len()),
                ("awaited", homes.awaited()),
                ("query token", usize::from(query_token.is_some())),
            ];
            for (what, count) in counts.into_iter().chain(sockets.count_kept(never)) {
                *kept.entry(what).or_default() += count;
            }
        }
        kept
    }
}
