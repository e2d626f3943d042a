//! The server without sockets: on the engine's test kit, with an application that does what the test says.

mod binary;
mod connect;
mod events;
mod gather;
mod leaving;
mod model;
mod msgpack;
mod operations;
mod panics;
mod recovery;
mod recovery_model;
mod rooms;
mod shards;
mod v4;

use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::{Duration, Instant},
};

use engineio::{Handler as _, testing::Shard};

use super::*;
use crate::{
    adapter::Reply,
    config::DynamicNamespaces,
    error::{ConnectError, EmitError},
    handler::Decision,
    packet::{Args, OversizeEvent},
    recovery::Admission,
    state::ids::{PendingConnect, SocketId},
};

/// What the application was called for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call<'a> {
    Authorize(&'a str),
    Readmit(&'a str),
    Connect(SocketKey),
    Event(SocketKey, &'a str, Option<AckId>),
    Ack(SocketKey, AckId),
    Disconnect(SocketKey),
    Close(ConnKey),
    ShardMessage,
    Room(SocketKey),
    Reply,
    Timeout,
}

type Hook = Box<dyn FnMut(&mut Io<'_>, Call<'_>)>;

/// An application that writes down its calls and does in each what the test says.
struct App {
    calls: Vec<String>,
    refuse: Option<ConnectError>,
    /// Decides about the next CONNECT later; then this is what it is about.
    decide_later: bool,
    pending: Option<PendingConnect>,
    /// Whether clients may have their sockets back.
    readmits: bool,
    /// Whether it deals with events that exceed a limit.
    takes_oversize: bool,
    admit_as: Option<Admission>,
    /// What the last CONNECT said about an earlier socket.
    asked: Rc<RefCell<String>>,
    replies: Vec<(RequestId, Reply)>,
    panics_about_data: bool,
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

    fn authorize(&mut self, io: &mut Io<'_>, request: &ConnectRequest<'_>) -> Decision<String> {
        (self.hook)(io, Call::Authorize(request.nsp));
        if std::mem::take(&mut self.decide_later) {
            self.pending = Some(request.pending);
            return Decision::Later;
        }
        let admission = request.auth.unwrap_or("none").to_owned();
        *self.asked.borrow_mut() = format!("{:?}", request.recovery);
        if let Some(socket) = &self.admit_as {
            return Decision::AdmitAs(admission, Box::new(socket.clone()));
        }
        self.refuse.clone().map_or(Decision::Admit(admission), Decision::Refuse)
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

    fn on_oversize_event(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        event: &OversizeEvent<'_>,
        ack: Option<AckId>,
    ) -> bool {
        let text =
            format!("oversize {} {} {ack:?}: {}, {} bytes", socket.index(), event.name, event.excess, event.bytes);
        self.note(io, Call::Event(socket, &event.name, ack), text);
        self.takes_oversize
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

    fn on_room_event(&mut self, io: &mut Io<'_>, event: &RoomEvent) {
        let RoomEvent { nsp, room, change, socket, .. } = event;
        self.note(io, Call::Room(*socket), format!("{change:?} {nsp} {room} {}", socket.index()));
    }

    fn on_reply(&mut self, io: &mut Io<'_>, request: RequestId, reply: Reply) {
        self.replies.push((request, reply));
        self.note(io, Call::Reply, "reply".to_owned());
    }

    fn readmit(&mut self, io: &mut Io<'_>, request: &ConnectRequest<'_>, data: Option<&str>) -> Option<String> {
        (self.hook)(io, Call::Readmit(request.nsp));
        self.readmits.then(|| format!("readmitted {}", data.unwrap_or("without data")))
    }

    fn socket_data(&self, _: &Io<'_>, socket: SocketKey) -> Option<String> {
        assert!(!self.panics_about_data, "as the test says");
        Some(socket.index().to_string())
    }

    fn on_shard_message(&mut self, io: &mut Io<'_>, message: ShardMessage) {
        let text = message.downcast::<&str>().unwrap();
        self.note(io, Call::ShardMessage, format!("shard message {text}"));
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.wake
    }

    fn on_timeout(&mut self, io: &mut Io<'_>) {
        self.wake = None;
        self.note(io, Call::Timeout, "timeout".to_owned());
    }
}

/// So many bytes in its queue make a session not writable (`outbound_soft`).
const SOFT: usize = 64 * 1024;

/// With so many, the next frame closes it (`outbound_hard`).
const HARD: usize = 1024 * 1024;

/// Namespaces `/` and `/chat`, and short times: 1 s to connect, 300 ms for attachments.
fn server(change: impl FnOnce(&mut Config)) -> Server<App> {
    let mut config = Config {
        namespaces: vec!["/".to_owned(), "/chat".to_owned()],
        connect_timeout: Duration::from_secs(1),
        attachment_timeout: Duration::from_millis(300),
        ..Config::default()
    };
    change(&mut config);
    let hook: Hook = Box::new(|_, _| ());
    Server::new(
        config,
        App {
            calls: Vec::new(),
            refuse: None,
            decide_later: false,
            pending: None,
            readmits: true,
            takes_oversize: false,
            admit_as: None,
            asked: Rc::default(),
            replies: Vec::new(),
            panics_about_data: false,
            hook,
            wake: None,
        },
    )
}

/// A shard with the application, and what the tests do with it beside what the kit offers.
struct Bench(Shard<Server<App>>);

impl Deref for Bench {
    type Target = Shard<Server<App>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Bench {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self(Shard::new(server(change)).catching_panics())
    }

    fn hook(&mut self, hook: impl FnMut(&mut Io<'_>, Call<'_>) + 'static) {
        self.handler.handler.hook = Box::new(hook);
    }

    /// A client that joined `/`, and its socket. Its answer is taken from the wire, its calls from the record.
    fn join(&mut self) -> (ConnKey, SocketKey) {
        let conn = self.open();
        (conn, self.connect(conn, "/"))
    }

    fn connect(&mut self, conn: ConnKey, nsp: &str) -> SocketKey {
        connect(&mut self.0, conn, nsp)
    }

    /// The application does something by itself.
    fn io<R>(&mut self, act: impl FnOnce(&mut Io<'_>) -> R) -> R {
        io(&mut self.0, act)
    }

    /// Lets time pass, stopping at each deadline.
    fn advance(&mut self, ms: u64) {
        self.0.advance(Duration::from_millis(ms));
    }

    fn is_closed(&self, conn: ConnKey) -> bool {
        !self.engine.is_open(conn)
    }

    /// What the application was called for since the last question.
    fn calls(&mut self) -> Vec<String> {
        std::mem::take(&mut self.handler.handler.calls)
    }

    /// Nothing is kept once every session has ended.
    #[track_caller]
    fn assert_empty(&self) {
        let state = &self.handler.state;
        assert!(state.sockets.is_empty(), "sockets");
        assert!(state.v4_ids.is_empty(), "ids");
        assert!(state.clients.iter().all(Option::is_none), "clients");
        assert!(state.namespaces.iter().all(|nsp| nsp.rooms.is_empty()), "rooms");
        assert!(state.deadlines.acks.is_empty(), "acks");
        assert!(state.departed.is_empty() && state.reports.is_empty(), "departed");
        self.assert_nothing_waits();
    }

    /// Nobody waits to be admitted, and no dynamic namespace is left.
    #[track_caller]
    fn assert_nothing_waits(&self) {
        let state = &self.handler.state;
        assert!(state.pending.is_empty(), "pending");
        assert_eq!(state.namespaces.iter().count(), state.config.namespaces.len(), "dynamic namespaces");
    }
}

/// A client joins a namespace. Its answer is taken from the wire, its calls from the record.
fn connect(shard: &mut Shard<Server<App>>, conn: ConnKey, nsp: &str) -> SocketKey {
    let calls = std::mem::take(&mut shard.handler.handler.calls);
    shard.text(conn, &if nsp == "/" { "0".to_owned() } else { format!("0{nsp},") });
    let sent = shard.engine.take_sent_text(conn);
    assert!(sent.len() == 1 && sent[0].starts_with("40"), "{sent:?}");
    shard.handler.handler.calls = calls;
    let state = &mut shard.handler.state;
    let nsp = state.namespaces.find(nsp).unwrap();
    state.client(conn).unwrap().socket_of(nsp).unwrap()
}

/// The application does something by itself.
fn io<R>(shard: &mut Shard<Server<App>>, act: impl FnOnce(&mut Io<'_>) -> R) -> R {
    shard.call(|server, engine| server.call(engine, |_, io| act(io)))
}
