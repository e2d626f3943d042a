//! A bench without sockets: an engine on a fake clock with deterministic entropy, whose sessions record what is sent.
//!
//! It keeps the engine's promises: closes are settled after the call, a closed session gets no message, a panic of the
//! handler ends the session it was called for.

mod binary;
mod connect;
mod events;
mod gather;
mod leaving;
mod model;
mod panics;
mod rooms;
mod shards;

use std::{
    collections::HashMap,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use engineio::{Handler as _, SendError, SharedFrame, session::Transport, slab::Slab};

use super::*;
use crate::{
    error::{ConnectError, EmitError},
    packet::Args,
    state::ids::SocketId,
};

/// What the engine knows of one session.
#[derive(Default)]
struct Session {
    sent: Vec<String>,
    unwritable: bool,
    full: bool,
    closing: bool,
}

/// The engine.
struct Engine {
    now: Instant,
    entropy: u8,
    conns: Slab<()>,
    sessions: HashMap<ConnKey, Session>,
    closing: Vec<(ConnKey, CloseReason)>,
    shard: u16,
    shards: u16,
    posted: Vec<(u16, ShardMessage)>,
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
        assert!(shard < self.shards, "there is no shard {shard}");
        self.posted.push((shard, message));
    }

    fn start_job(&mut self, _: engineio::Job) -> Result<JobId, engineio::job::TooManyJobs> {
        Err(engineio::job::TooManyJobs)
    }

    fn fill_random(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.entropy = self.entropy.wrapping_mul(5).wrapping_add(3);
            *byte = self.entropy;
        }
    }

    fn send(&mut self, conn: ConnKey, frame: &SharedFrame) -> Result<(), SendError> {
        let session = self.sessions.get_mut(&conn).filter(|session| !session.closing).ok_or(SendError::Closed)?;
        if session.full {
            self.close(conn, CloseReason::SlowConsumer);
            return Err(SendError::Full);
        }
        // The polling form, because it shows a frame's packets as text.
        session.sent.push(String::from_utf8(frame.polling().to_vec()).unwrap());
        Ok(())
    }

    fn is_writable(&self, conn: ConnKey) -> bool {
        self.sessions.get(&conn).is_some_and(|session| !session.closing && !session.unwritable)
    }

    fn close(&mut self, conn: ConnKey, reason: CloseReason) {
        if let Some(session) = self.sessions.get_mut(&conn)
            && !std::mem::replace(&mut session.closing, true)
        {
            self.closing.push((conn, reason));
        }
    }
}

/// What the application was called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call<'a> {
    Authorize(&'a str),
    Connect(SocketKey),
    Event(SocketKey, &'a str, Option<AckId>),
    Ack(SocketKey, AckId),
    Disconnect(SocketKey),
    Close(ConnKey),
    ShardMessage,
    Timeout,
}

type Hook = Box<dyn FnMut(&mut Io<'_>, Call<'_>)>;

/// An application that writes down its calls and does in each what the test says.
struct App {
    calls: Vec<String>,
    refuse: Option<ConnectError>,
    hook: Hook,
    wake: Option<Instant>,
}

impl App {
    fn note(&mut self, io: &mut Io<'_>, call: Call<'_>, text: String) {
        self.calls.push(text);
        (self.hook)(io, call);
    }
}

impl Handler for App {
    type Admission = String;

    fn on_close(&mut self, io: &mut Io<'_>, conn: ConnKey) {
        self.note(io, Call::Close(conn), format!("close {}", conn.index()));
    }

    fn authorize(&mut self, io: &mut Io<'_>, request: &ConnectRequest<'_>) -> Result<String, ConnectError> {
        (self.hook)(io, Call::Authorize(request.nsp));
        self.refuse.clone().map_or_else(|| Ok(request.auth.unwrap_or("none").to_owned()), Err)
    }

    fn on_connect(&mut self, io: &mut Io<'_>, socket: SocketKey, auth: String) {
        let nsp = io.nsp(socket).unwrap_or("gone").to_owned();
        self.note(io, Call::Connect(socket), format!("connect {} {nsp} {auth}", socket.index()));
    }

    fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
        let ack_text = ack.map(|id| format!(" ack {id}")).unwrap_or_default();
        let (args, attachments) = (event.args.raw(), event.args.attachments());
        let attachments = if attachments.is_empty() { String::new() } else { format!(" {attachments:?}") };
        let text = format!("event {} {}({args}){attachments}{ack_text}", socket.index(), event.name);
        self.note(io, Call::Event(socket, &event.name, ack), text);
    }

    fn on_ack(&mut self, io: &mut Io<'_>, socket: SocketKey, id: AckId, answer: Result<&Args<'_>, AckError>) {
        let answer = match answer {
            Ok(args) if args.attachments().is_empty() => format!("({})", args.raw()),
            Ok(args) => format!("({}) {:?}", args.raw(), args.attachments()),
            Err(error) => error.to_string(),
        };
        self.note(io, Call::Ack(socket, id), format!("ack {} {id} {answer}", socket.index()));
    }

    fn on_disconnect(&mut self, io: &mut Io<'_>, socket: SocketKey, reason: DisconnectReason) {
        self.note(io, Call::Disconnect(socket), format!("disconnect {} {reason}", socket.index()));
    }

    fn on_shard_message(&mut self, io: &mut Io<'_>, message: ShardMessage) {
        let text = message.downcast::<&str>().unwrap();
        self.note(io, Call::ShardMessage, format!("remote {text}"));
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.wake
    }

    fn on_timeout(&mut self, io: &mut Io<'_>) {
        self.wake = None;
        self.note(io, Call::Timeout, "timeout".to_owned());
    }
}

/// A server, its engine and its application.
struct Bench {
    server: Server<App>,
    engine: Engine,
}

impl Bench {
    /// Namespaces `/` and `/chat`, and short times: 1 s to connect, 300 ms for attachments.
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config {
            namespaces: vec!["/".to_owned(), "/chat".to_owned()],
            connect_timeout: Duration::from_secs(1),
            attachment_timeout: Duration::from_millis(300),
            ..Config::default()
        };
        change(&mut config);
        let app = App { calls: Vec::new(), refuse: None, hook: Box::new(|_, _| ()), wake: None };
        let engine = Engine {
            now: Instant::now(),
            entropy: 0,
            conns: Slab::default(),
            sessions: HashMap::new(),
            closing: Vec::new(),
            shard: 7,
            shards: 1,
            posted: Vec::new(),
        };
        Self { server: Server::new(config, app), engine }
    }

    fn hook(&mut self, hook: impl FnMut(&mut Io<'_>, Call<'_>) + 'static) {
        self.server.handler.hook = Box::new(hook);
    }

    /// One call of the engine for `conn`, guarded as the engine does.
    fn guarded(&mut self, conn: ConnKey, call: impl FnOnce(&mut Server<App>, &mut Engine)) {
        let Self { server, engine } = self;
        if catch_unwind(AssertUnwindSafe(|| call(server, engine))).is_err() {
            engine.close(conn, CloseReason::Internal);
        }
    }

    fn settle(&mut self) {
        while let Some((conn, reason)) = self.engine.closing.pop() {
            self.guarded(conn, |server, engine| server.on_close(engine, conn, reason));
            self.engine.conns.remove(self.engine_key(conn));
        }
    }

    fn engine_key(&self, conn: ConnKey) -> engineio::slab::Key {
        self.engine.conns.key_at(conn.index()).unwrap()
    }

    fn open(&mut self) -> ConnKey {
        let conn = ConnKey::new(self.engine.conns.insert(()));
        self.engine.sessions.insert(conn, Session::default());
        let (uri, headers) = (http::Uri::from_static("/socket.io/?EIO=4"), http::HeaderMap::new());
        let remote = SocketAddr::from(([127, 0, 0, 1], 9));
        let handshake = Handshake { transport: Transport::WebSocket, uri: &uri, headers: &headers, remote };
        self.guarded(conn, |server, engine| server.on_open(engine, conn, &handshake));
        self.settle();
        conn
    }

    /// A client that joined `/`, and its socket. Its answer is taken from the wire, its calls from the record.
    fn join(&mut self) -> (ConnKey, SocketKey) {
        let conn = self.open();
        (conn, self.connect(conn, "/"))
    }

    fn connect(&mut self, conn: ConnKey, nsp: &str) -> SocketKey {
        let calls = self.calls();
        self.text(conn, &if nsp == "/" { "0".to_owned() } else { format!("0{nsp},") });
        self.engine.sessions.get_mut(&conn).unwrap().sent.pop().filter(|sent| sent.starts_with("40")).unwrap();
        self.server.handler.calls = calls;
        let nsp = self.server.state.namespaces.find(nsp).unwrap();
        self.server.state.client(conn).unwrap().socket_of(nsp).unwrap()
    }

    fn message(&mut self, conn: ConnKey, message: Message<'_>) {
        if !self.is_closed(conn) {
            self.guarded(conn, |server, engine| server.on_message(engine, conn, message));
            self.settle();
        }
    }

    fn text(&mut self, conn: ConnKey, text: &str) {
        self.message(conn, Message::Text(text.into()));
    }

    fn binary(&mut self, conn: ConnKey, bytes: &[u8]) {
        self.message(conn, Message::Binary(bytes.to_vec().into()));
    }

    /// The engine ends a session by itself.
    fn close(&mut self, conn: ConnKey, reason: CloseReason) {
        self.engine.close(conn, reason);
        self.settle();
    }

    /// The application does something by itself.
    fn io<R>(&mut self, act: impl FnOnce(&mut Io<'_>) -> R) -> R {
        let result = self.server.call(&mut self.engine, |_, io| act(io));
        self.settle();
        result
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

    fn is_closed(&self, conn: ConnKey) -> bool {
        self.engine.sessions[&conn].closing
    }

    /// The end of a turn.
    fn flush(&mut self) {
        if self.server.wants_flush() {
            self.server.on_flush(&mut self.engine);
            self.settle();
        }
        assert!(!self.server.wants_flush());
    }

    /// Ends the turn. What was sent to a client since the last question; one item a frame.
    fn sent(&mut self, conn: ConnKey) -> Vec<String> {
        self.flush();
        std::mem::take(&mut self.engine.sessions.get_mut(&conn).unwrap().sent)
    }

    /// What the application was called for since the last question.
    fn calls(&mut self) -> Vec<String> {
        std::mem::take(&mut self.server.handler.calls)
    }

    /// Nothing is kept once every session has ended.
    #[track_caller]
    fn assert_empty(&self) {
        let state = &self.server.state;
        assert!(state.sockets.is_empty(), "sockets");
        assert!(state.clients.iter().all(Option::is_none), "clients");
        assert!(state.namespaces.iter().all(|nsp| nsp.rooms.is_empty()), "rooms");
        assert!(state.deadlines.acks.is_empty(), "acks");
        assert!(state.departed.is_empty(), "departed");
    }
}
