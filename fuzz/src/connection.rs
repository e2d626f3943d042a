//! Whole connections without sockets: WebSocket bytes, packets, sessions, and `socketio::Server` with an application on
//! top, which does whatever its clients say.
//!
//! The bytes are operations on up to four clients: see [`World::step`]. At the end all clients go, time passes, and all
//! that was promised must have come: one `on_disconnect` a socket, one `on_ack` a question, nothing after a close. What
//! was sent is then read by other implementations, tungstenite and serde_json.

use std::{
    borrow::Cow,
    cell::RefCell,
    collections::{HashMap, HashSet},
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use engineio::{
    CloseReason, ConnKey, Handler as _, Handshake, Outbox, Protocol, SendError, SharedFrame, Wire,
    packet::{Inbound, Outbound},
    session::{Event as SessionEvent, Intervals, Session, Transport},
    slab::Slab,
    ws::{
        Decoder, Item,
        deflate::Deflate,
        header::{self, MAX_CONTROL_PAYLOAD, Opcode},
    },
};
use http::{HeaderMap, Uri};
use serde_json::value::RawValue;
use socketio::{
    AckError, AckId, Args, Config, ConnectError, ConnectRequest, DisconnectReason, Event, Handler, Io, Server,
    SocketKey,
};
use tokio_tungstenite::tungstenite::{Message, protocol::Role};

use crate::{input::Input, wire, ws_deflate};

const CLIENTS: usize = 4;
const MAX_MESSAGE: usize = 600;
const SOFT: usize = 1_000;
const HARD: usize = 4_000;
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
const INTERVALS: Intervals =
    Intervals { ping_interval: Duration::from_secs(25), ping_timeout: Duration::from_secs(20) };

/// See the module.
pub fn connection(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new();
    while !input.is_empty() {
        world.step(&mut input);
        world.check();
    }
    world.finish();
}

/// What the application was told, and what it may be told next.
#[derive(Debug, Default)]
struct Book {
    sockets: HashMap<SocketKey, ConnKey>,
    asked: HashSet<(SocketKey, AckId)>,
    opened: HashSet<ConnKey>,
    closed: HashSet<ConnKey>,
}

/// One client's side of the engine.
struct Link {
    decoder: Decoder,
    session: Session,
    /// The revision, base64, compression.
    wire: Wire,
    /// Until a close, after which nothing comes and nothing goes.
    open: bool,
    queued: usize,
    /// All that was ever sent.
    sent: Vec<u8>,
}

/// The engine's part: what `engineio::net` does with sockets.
struct Engine {
    now: Instant,
    random: u8,
    links: Slab<Link>,
    /// Closed, and the server above is still to be told.
    closing: Vec<(ConnKey, CloseReason)>,
    keys: HashMap<ConnKey, engineio::slab::Key>,
    book: Rc<RefCell<Book>>,
}

impl Engine {
    fn link(&mut self, conn: ConnKey) -> Option<&mut Link> {
        let key = self.keys.get(&conn)?;
        self.links.get_mut(*key).filter(|link| link.open)
    }

    fn end(&mut self, conn: ConnKey, reason: CloseReason, goodbye: Option<&SharedFrame>) {
        let Some(link) = self.link(conn) else { return };
        link.sent.extend_from_slice(goodbye.map_or(&[], SharedFrame::websocket));
        link.open = false;
        self.closing.push((conn, reason));
        self.book.borrow_mut().closed.insert(conn);
    }
}

impl Outbox for Engine {
    fn now(&self) -> Instant {
        self.now
    }

    fn shard(&self) -> u16 {
        7
    }

    fn shards(&self) -> u16 {
        1
    }

    fn post(&mut self, shard: u16, _: engineio::Remote) {
        unreachable!("there is no shard {shard}");
    }

    fn fill_random(&mut self, bytes: &mut [u8]) {
        self.random = self.random.wrapping_add(1);
        bytes.fill(self.random);
    }

    fn send(&mut self, conn: ConnKey, frame: &SharedFrame) -> Result<(), SendError> {
        let link = self.link(conn).ok_or(SendError::Closed)?;
        if link.queued > HARD {
            self.end(conn, CloseReason::SlowConsumer, None);
            return Err(SendError::Full);
        }
        let frame = frame.adapt(link.wire);
        link.queued += frame.websocket().len();
        link.sent.extend_from_slice(frame.websocket());
        Ok(())
    }

    fn is_writable(&self, conn: ConnKey) -> bool {
        let link = self.keys.get(&conn).and_then(|key| self.links.get(*key));
        link.is_some_and(|link| link.open && link.queued <= SOFT)
    }

    fn close(&mut self, conn: ConnKey, reason: CloseReason) {
        self.end(conn, reason, Some(&SharedFrame::close(None)));
    }
}

/// An application that does what its clients say, and compares what it is told with its book.
struct App(Rc<RefCell<Book>>);

impl App {
    /// Whoever acts must be there, and its connection open.
    fn is_live(&self, io: &Io<'_>, socket: SocketKey) {
        let book = self.0.borrow();
        let conn = book.sockets.get(&socket).expect("a socket that was connected");
        assert_eq!(io.conn(socket), Some(*conn));
        assert!(!book.closed.contains(conn), "a closed connection delivers nothing more");
    }
}

impl Handler for App {
    type Admission = ();

    fn on_open(&mut self, _: &mut Io<'_>, conn: ConnKey, _: &Handshake<'_>) {
        assert!(self.0.borrow_mut().opened.insert(conn), "opened once");
    }

    fn on_close(&mut self, _: &mut Io<'_>, conn: ConnKey) {
        let mut book = self.0.borrow_mut();
        assert!(book.opened.remove(&conn), "closed once, after it was opened");
        assert!(book.sockets.values().all(|of| *of != conn), "its sockets were disconnected before");
    }

    fn authorize(&mut self, _: &mut Io<'_>, request: &ConnectRequest<'_>) -> Result<(), ConnectError> {
        let book = self.0.borrow();
        assert!(book.opened.contains(&request.conn) && !book.closed.contains(&request.conn));
        match request.auth {
            Some(auth) if auth.contains("no") => {
                Err(ConnectError { message: auth.to_owned(), data: Some(auth.to_owned()) })
            }
            _ => Ok(()),
        }
    }

    fn on_connect(&mut self, io: &mut Io<'_>, socket: SocketKey, (): ()) {
        let conn = io.conn(socket).expect("connected");
        assert_eq!(self.0.borrow_mut().sockets.insert(socket, conn), None, "connected once");
        let id = io.id(socket).expect("connected").to_string();
        io.join(socket, "all");
        // Full or closed is no fault here, or below.
        let _ = io.of("/").to("all").except(&id).emit("joined", "1", &[]);
    }

    fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
        self.is_live(io, socket);
        let (raw, attachments) = (event.args.raw(), event.args.attachments());
        let nsp = io.nsp(socket).expect("connected").to_owned();
        let room = event.args.get(0).unwrap_or("all");
        let _ = match &*event.name {
            "join" => Ok(usize::from(io.join(socket, room))),
            "leave" => Ok(usize::from(io.leave(socket, room))),
            "say" => io.of(&nsp).to(room).to("all").except_socket(socket).emit("said", raw, attachments),
            "room" => io.of(&nsp).to(room).emit("said", raw, attachments),
            "cry" => io.of(&nsp).except(room).volatile().emit("cried", raw, attachments),
            "ask" => io.emit_with_ack(socket, "asked", raw, attachments, ASK_TIMEOUT).map(|id| {
                assert!(self.0.borrow_mut().asked.insert((socket, id)), "an id is given once");
                1
            }),
            "bye" => {
                io.disconnect(socket, false);
                Ok(0)
            }
            "kill" => {
                io.disconnect(socket, true);
                Ok(0)
            }
            name => io.emit(socket, name, raw, attachments).map(|()| 1),
        };
        assert!(io.rooms(socket).count() <= 1 + MAX_MESSAGE);
        if let Some(id) = ack {
            let _ = io.ack(socket, id, raw, attachments);
        }
    }

    fn on_ack(&mut self, io: &mut Io<'_>, socket: SocketKey, id: AckId, answer: Result<&Args<'_>, AckError>) {
        assert!(self.0.borrow_mut().asked.remove(&(socket, id)), "one answer a question");
        match answer {
            Ok(args) => {
                self.is_live(io, socket);
                let _ = io.emit(socket, "answered", args.raw(), args.attachments());
            }
            Err(AckError::Disconnected) => assert_eq!(io.conn(socket), None),
            Err(_) => assert!(io.conn(socket).is_some()),
        }
    }

    fn on_disconnect(&mut self, io: &mut Io<'_>, socket: SocketKey, _: DisconnectReason) {
        let mut book = self.0.borrow_mut();
        assert!(book.sockets.remove(&socket).is_some(), "disconnected once, after it was connected");
        assert!(book.asked.iter().all(|(of, _)| *of != socket), "its questions were answered before");
        assert_eq!((io.conn(socket), io.rooms(socket).count()), (None, 0));
        assert!(io.members("/", "all").all(|member| member != socket));
    }
}

struct World {
    engine: Engine,
    server: Server<App>,
    clients: [Option<ConnKey>; CLIENTS],
}

impl World {
    fn new() -> Self {
        let book = Rc::new(RefCell::new(Book::default()));
        let mut config = Config::default();
        config.namespaces.push("/chat".to_owned());
        config.acks_per_socket = 3;
        let now = Instant::now();
        let engine = Engine {
            now,
            random: 0,
            links: Slab::default(),
            closing: Vec::new(),
            keys: HashMap::new(),
            book: Rc::clone(&book),
        };
        Self { engine, server: Server::new(config, App(book)), clients: [None; CLIENTS] }
    }

    /// One operation: a byte says which and for whom; of a connection that opens also how it speaks, see [`wire_of`].
    fn step(&mut self, input: &mut Input<'_>) {
        let choice = input.byte();
        let slot = usize::from(choice >> 4) % CLIENTS;
        match choice % 8 {
            0 => self.open(slot, wire_of(choice)),
            // Text or binary, whole, masked; a packet of Engine.IO may be in it or not.
            1 => self.frame(slot, 0x81, input.record()),
            2 => self.frame(slot, 0x82, input.record()),
            3 => {
                let first = input.byte();
                self.frame(slot, first, input.record());
            }
            4 => self.bytes(slot, input.record().to_vec()),
            5 => {
                let tenths = u64::from(input.byte());
                self.pass(Duration::from_millis(100 * tenths));
            }
            6 => {
                if let Some(link) = self.clients[slot].and_then(|conn| self.engine.link(conn)) {
                    link.queued = 0;
                }
            }
            _ => {
                if let Some(conn) = self.clients[slot] {
                    self.engine.end(conn, CloseReason::TransportClose, None);
                    self.settle();
                }
            }
        }
    }

    fn open(&mut self, slot: usize, wire: Wire) {
        if self.clients[slot].is_some_and(|conn| self.engine.link(conn).is_some()) {
            return;
        }
        let link = Link {
            decoder: if wire.deflate.is_some() { Decoder::with_deflate } else { Decoder::new }(MAX_MESSAGE),
            session: Session::with_protocol(self.engine.now, Transport::WebSocket, INTERVALS, wire.protocol),
            wire,
            open: true,
            queued: 0,
            sent: Vec::new(),
        };
        let key = self.engine.links.insert(link);
        let conn = ConnKey::new(key);
        self.engine.keys.insert(conn, key);
        self.clients[slot] = Some(conn);
        let handshake = Handshake {
            transport: Transport::WebSocket,
            uri: &Uri::from_static("/socket.io/?EIO=4&transport=websocket"),
            headers: &HeaderMap::new(),
            remote: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        };
        self.server.on_open(&mut self.engine, conn, &handshake);
        self.settle();
    }

    fn frame(&mut self, slot: usize, first: u8, payload: &[u8]) {
        let mut bytes = Vec::new();
        wire::client_frame(first, [1, 2, 3, first], payload, &mut bytes);
        self.bytes(slot, bytes);
    }

    /// Bytes arrive: the read loop of one socket.
    fn bytes(&mut self, slot: usize, mut bytes: Vec<u8>) {
        let Some(conn) = self.clients[slot] else { return };
        let mut rest = bytes.as_mut_slice();
        while let Some(link) = self.engine.link(conn) {
            match link.decoder.decode(&mut rest) {
                Ok(Some(item)) => self.item(conn, item),
                Ok(None) => break,
                Err(error) => {
                    let goodbye = SharedFrame::close(Some(error.close_code()));
                    self.engine.end(conn, CloseReason::TransportError, Some(&goodbye));
                }
            }
            self.settle();
        }
        self.settle();
    }

    fn item(&mut self, conn: ConnKey, item: Item<'_>) {
        let Some(protocol) = self.engine.link(conn).map(|link| link.wire.protocol) else { return };
        let packet = match &item {
            Item::Text(text) => protocol.decode_text(text),
            Item::Binary(bytes) => protocol.decode_binary(bytes),
            _ => return self.control(conn, item),
        };
        match packet {
            Ok(packet) => self.packet(conn, packet),
            Err(_) => self.engine.end(conn, CloseReason::ParseError, Some(&SharedFrame::close(None))),
        }
    }

    fn control(&mut self, conn: ConnKey, item: Item<'_>) {
        match item {
            Item::Ping(payload) => {
                let _ = self.engine.send(conn, &SharedFrame::websocket_pong(&payload));
            }
            Item::Text(_) | Item::Binary(_) | Item::Pong => {}
            Item::Close(frame) => {
                let goodbye = SharedFrame::close(frame.map(|(code, _)| code));
                self.engine.end(conn, CloseReason::TransportClose, Some(&goodbye));
            }
        }
    }

    fn packet(&mut self, conn: ConnKey, packet: Inbound<'_>) {
        let now = self.engine.now;
        let Some(link) = self.engine.link(conn) else { return };
        match link.session.handle_packet(now, packet) {
            Ok(Some(SessionEvent::Message(message))) => self.server.on_message(&mut self.engine, conn, message),
            Ok(Some(SessionEvent::Pong) | None) => {}
            Ok(Some(SessionEvent::Answer(data))) => {
                let _ = self.engine.send(conn, &SharedFrame::packet(&Outbound::Pong(data)));
            }
            Ok(Some(event)) => panic!("no packet brings {event:?}"),
            Err(reason) => self.engine.end(conn, reason, Some(&SharedFrame::close(None))),
        }
    }

    /// Tells the server of all that was closed meanwhile.
    fn settle(&mut self) {
        while let Some((conn, reason)) = self.engine.closing.pop() {
            self.server.on_close(&mut self.engine, conn, reason);
            let link = self.engine.keys.remove(&conn).and_then(|key| self.engine.links.remove(key));
            let link = link.expect("closed once");
            reads_well(&link.sent, link.wire);
        }
    }

    /// Time passes, and all that is due happens.
    fn pass(&mut self, time: Duration) {
        self.engine.now += time;
        let now = self.engine.now;
        for conn in self.clients.into_iter().flatten() {
            // At most a ping and its time-out, when time passed in one leap.
            while let Some(link) = self.engine.link(conn) {
                match link.session.handle_timeout(now) {
                    Ok(Some(SessionEvent::Ping)) => {
                        let _ = self.engine.send(conn, &SharedFrame::packet(&Outbound::Ping));
                    }
                    Ok(Some(event)) => panic!("no upgrade, but {event:?}"),
                    Ok(None) => {
                        assert!(link.session.poll_timeout() > now, "due and not done");
                        break;
                    }
                    Err(reason) => self.engine.end(conn, reason, Some(&SharedFrame::close(None))),
                }
            }
        }
        self.settle();
        if self.server.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.server.on_timeout(&mut self.engine);
            self.settle();
        }
        assert!(self.server.poll_timeout().is_none_or(|deadline| deadline > now), "due and not done");
    }

    /// What holds between any two operations.
    fn check(&self) {
        for (_, link) in self.engine.links.iter() {
            assert!(link.open, "what is closed is gone");
            assert!(link.decoder.buffered() <= 2 * (MAX_MESSAGE + MAX_CONTROL_PAYLOAD) + 256);
        }
        let book = self.engine.book.borrow();
        assert_eq!(book.opened.len(), self.engine.links.len());
        assert!(book.sockets.len() <= 2 * book.opened.len(), "one socket a client and namespace");
        assert!(book.asked.len() <= 3 * book.sockets.len(), "as many questions as a socket may owe");
    }

    fn finish(mut self) {
        for slot in 0..CLIENTS {
            if let Some(conn) = self.clients[slot] {
                self.engine.end(conn, CloseReason::ServerShuttingDown, Some(&SharedFrame::close(Some(1001))));
            }
        }
        self.settle();
        self.check();
        let book = self.engine.book.borrow();
        assert!(book.sockets.is_empty() && book.asked.is_empty() && book.opened.is_empty());
        drop(book);
        // No deadline outlives those it was for by more than its own length, late queues included.
        for _ in 0..2 {
            self.pass(Duration::from_secs(100));
        }
        assert_eq!(self.server.poll_timeout(), None);
    }
}

/// How a connection speaks: revision 3 or 4, binary as it is or as base64, compressed or not.
fn wire_of(choice: u8) -> Wire {
    let protocol = if choice & 0x40 == 0 { Protocol::V4 } else { Protocol::V3 };
    let deflate = (choice & 0x80 != 0).then_some(Deflate { window_bits: 15, threshold: 20, level: 6 });
    Wire { protocol, base64: choice & 8 != 0, deflate }
}

/// All that was sent to a client is whole packets; a packet's attachments follow it at once.
fn reads_well(sent: &[u8], wire: Wire) {
    let (messages, error) = wire::tungstenite(Role::Client, usize::MAX, &inflated(sent, wire.deflate.is_some()));
    assert_eq!(error, None);
    let mut due = 0;
    let mut over = false;
    for message in messages {
        assert!(!over, "nothing comes after a close frame");
        if is_attachment(&message, wire) {
            assert!(due > 0, "an attachment that no packet announced");
            due -= 1;
            continue;
        }
        assert_eq!(due, 0, "something between a packet and its attachments");
        match message {
            Message::Text(text) => due = attachments_of(&text, wire.protocol),
            Message::Close(_) => over = true,
            Message::Pong(_) => {}
            other => panic!("a server sends no {other:?}"),
        }
    }
    assert_eq!(due, 0, "an attachment is missing");
}

/// The frames without the extension, which tungstenite does not speak.
fn inflated(sent: &[u8], agreed: bool) -> Vec<u8> {
    let mut plain = Vec::with_capacity(sent.len());
    for (first, payload) in wire::server_frames(sent) {
        let payload = if first & 0x40 == 0 {
            Cow::Borrowed(payload)
        } else {
            assert!(agreed, "compressed, and nobody asked for it");
            Cow::Owned(ws_deflate::inflate_by_steps(payload, 15))
        };
        let start = plain.len();
        plain.extend_from_slice(&header::encode(Opcode::Text, payload.len()));
        plain[start] = first & !0x40;
        plain.extend_from_slice(&payload);
    }
    plain
}

/// Whether this is a binary packet in the form that the client takes.
fn is_attachment(message: &Message, Wire { protocol, base64, .. }: Wire) -> bool {
    match message {
        Message::Binary(bytes) => {
            assert!(!base64 && (protocol == Protocol::V4 || bytes.first() == Some(&4)), "{bytes:?}");
            true
        }
        Message::Text(text) if text.starts_with('b') => {
            assert!(base64 && protocol.decode_text(text).is_ok(), "{text}");
            true
        }
        _ => false,
    }
}

/// How many attachments must follow a text, which must be a packet of both protocols.
fn attachments_of(text: &str, protocol: Protocol) -> usize {
    let heartbeat = match protocol {
        Protocol::V3 => text.starts_with('3'),
        Protocol::V4 => text == "2",
    };
    if heartbeat {
        return 0;
    }
    let packet = text.strip_prefix('4').expect("a heartbeat or a message");
    let (kind, rest) = packet.split_at(1);
    let (count, rest) = match kind {
        "5" | "6" => {
            rest.split_once('-').map(|(count, rest)| (count.parse().expect("a number"), rest)).expect("a dash")
        }
        _ => (0, rest),
    };
    let (nsp, rest) = if rest.starts_with('/') { rest.split_once(',').expect("a comma") } else { ("/", rest) };
    assert!(nsp == "/chat" || nsp == "/" || kind == "4", "{text}");
    let json = rest.trim_start_matches(|character: char| character.is_ascii_digit());
    assert_eq!(json.len() < rest.len(), kind == "3" || kind == "6" || json.starts_with("[\"asked\""), "{text}");
    match kind {
        "1" => assert_eq!(json, ""),
        _ => assert!(serde_json::from_str::<&RawValue>(json).is_ok(), "{text}"),
    }
    count
}
