//! Whole connections without sockets: WebSocket bytes, packets, sessions, and `socketio::Server` with an application
//! that does what its clients say.
//!
//! The bytes are operations on up to four clients: see [`World::step`]. At the end all clients disconnect and time
//! passes. Then every promise must be kept: one `on_disconnect` for each socket, one `on_ack` for each question,
//! nothing after a close. Everything that was sent is then read by other implementations, tungstenite and serde_json.

mod app;
mod sent;

use std::{
    cell::RefCell,
    collections::HashMap,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use engineio::{
    CloseReason, ConnKey, Handler as _, Handshake, Outbox as _, Protocol, SharedFrame, Wire,
    packet::{Inbound, Outbound},
    session::{Intervals, Session, SessionEvent, Transport},
    sid::{IssuedSid, RANDOM_LEN},
    testing::{Engine, Shard},
    ws::{Decoder, Item, deflate::Deflate, header::MAX_CONTROL_PAYLOAD},
};
use http::{HeaderMap, Uri};
use socketio::{Config, Server};

use crate::{input::Input, wire};
use app::{App, Book};
use sent::reads_well;

const CLIENTS: usize = 4;
const MAX_MESSAGE: usize = 600;
const SOFT: usize = 1_000;
const HARD: usize = 4_000;
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
const INTERVALS: Intervals =
    Intervals { ping_interval: Duration::from_secs(25), ping_timeout: Duration::from_secs(20) };

/// Runs the target. See the module.
pub fn connection(data: &[u8]) {
    let mut input = Input::new(data);
    let mut world = World::new();
    while !input.is_empty() {
        world.step(&mut input);
        world.check();
    }
    world.finish();
}

/// What `engineio::net` keeps for each connection, in addition to what the test kit keeps.
struct Link {
    decoder: Decoder,
    session: Session,
    /// The protocol revision, base64, compression.
    wire: Wire,
    /// The last frame, if it is not the usual one.
    last_frame: Option<SharedFrame>,
}

struct World {
    shard: Shard<Server<App>>,
    /// One for each open session.
    links: HashMap<ConnKey, Link>,
    book: Rc<RefCell<Book>>,
    clients: [Option<ConnKey>; CLIENTS],
}

impl World {
    fn new() -> Self {
        let book = Rc::new(RefCell::new(Book::default()));
        let mut config = Config::default();
        config.namespaces.push("/chat".to_owned());
        config.acks_per_socket = 3;
        let mut limits = engineio::Config::default();
        (limits.outbound_soft, limits.outbound_hard) = (SOFT, HARD);
        let mut engine = Engine::new().with_limits_of(&limits);
        engine.watch_closes({
            let book = Rc::clone(&book);
            move |conn, reason| assert_eq!(book.borrow_mut().closed.insert(conn, reason), None, "closed once")
        });
        let shard = Shard::with_engine(Server::new(config, App(Rc::clone(&book))), engine);
        Self { shard, links: HashMap::new(), book, clients: [None; CLIENTS] }
    }

    /// Runs one operation. A byte says which one and for whom; for a connection that opens, also its form, see
    /// [`wire_of`].
    fn step(&mut self, input: &mut Input<'_>) {
        let choice = input.byte();
        let slot = usize::from(choice >> 4) % CLIENTS;
        match choice % 8 {
            0 => self.open(slot, wire_of(choice)),
            // Text or binary, complete, masked. The payload may or may not be an Engine.IO packet.
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
                if let Some(conn) = self.clients[slot] {
                    self.shard.engine.set_queued(conn, 0);
                }
            }
            _ => {
                if let Some(conn) = self.clients[slot] {
                    self.shard.close(conn, CloseReason::TransportClose);
                }
            }
        }
        self.shard.end_turn();
        self.forget_closed();
    }

    fn open(&mut self, slot: usize, wire: Wire) {
        if self.clients[slot].is_some_and(|conn| self.shard.engine.is_open(conn)) {
            return;
        }
        let (shard, slot_number) = (self.shard.engine.shard(), self.links.len() as u32);
        let sid = IssuedSid::random(shard, slot_number, [7; RANDOM_LEN]);
        let handshake = Handshake {
            transport: Transport::WebSocket,
            protocol: wire.protocol,
            sid: Some(&sid),
            uri: &Uri::from_static("/socket.io/?EIO=4&transport=websocket"),
            headers: &HeaderMap::new(),
            remote: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            client: Some(Ipv4Addr::LOCALHOST.into()),
        };
        let conn = self.shard.call(|server, engine| {
            let conn = engine.open();
            engine.set_wire(conn, wire);
            engine.stop_reading(conn);
            server.on_open(engine, conn, &handshake);
            conn
        });
        let link = Link {
            decoder: if wire.deflate.is_some() { Decoder::with_deflate } else { Decoder::new }(MAX_MESSAGE),
            session: Session::with_protocol(self.now(), Transport::WebSocket, INTERVALS, wire.protocol),
            wire,
            last_frame: None,
        };
        self.links.insert(conn, link);
        self.clients[slot] = Some(conn);
    }

    fn now(&self) -> Instant {
        self.shard.engine.now()
    }

    /// What the engine keeps for an open session.
    fn link(&mut self, conn: ConnKey) -> Option<&mut Link> {
        self.links.get_mut(&conn).filter(|_| self.shard.engine.is_open(conn))
    }

    /// The engine ends a session with this frame as its last.
    fn end(&mut self, conn: ConnKey, reason: CloseReason, last_frame: SharedFrame) {
        if let Some(link) = self.link(conn) {
            link.last_frame = Some(last_frame);
            self.shard.close(conn, reason);
        }
    }

    /// The engine itself sends a frame.
    fn send(&mut self, conn: ConnKey, frame: &SharedFrame) {
        // A session that is closing or full needs none.
        let _ = self.shard.engine.send(conn, frame);
        self.shard.report_closed();
    }

    fn frame(&mut self, slot: usize, first: u8, payload: &[u8]) {
        let mut bytes = Vec::new();
        wire::client_frame(first, [1, 2, 3, first], payload, &mut bytes);
        self.bytes(slot, bytes);
    }

    /// Bytes arrive: what the read loop of one socket does.
    fn bytes(&mut self, slot: usize, mut bytes: Vec<u8>) {
        let Some(conn) = self.clients[slot] else { return };
        let mut rest = bytes.as_mut_slice();
        while let Some(link) = self.link(conn) {
            match link.decoder.decode(&mut rest) {
                Ok(Some(item)) => self.item(conn, item),
                Ok(None) => break,
                Err(error) => {
                    let last_frame = SharedFrame::close(Some(error.close_code()));
                    self.end(conn, CloseReason::TransportError, last_frame);
                }
            }
        }
    }

    fn item(&mut self, conn: ConnKey, item: Item<'_>) {
        let Some(protocol) = self.link(conn).map(|link| link.wire.protocol) else { return };
        let packet = match &item {
            Item::Text(text) => protocol.decode_text(text),
            Item::Binary(bytes) => protocol.decode_binary(bytes),
            _ => return self.control(conn, item),
        };
        match packet {
            Ok(packet) => self.packet(conn, packet),
            Err(_) => self.end(conn, CloseReason::ParseError, SharedFrame::close(None)),
        }
    }

    fn control(&mut self, conn: ConnKey, item: Item<'_>) {
        match item {
            Item::Ping(payload) => self.send(conn, &SharedFrame::websocket_pong(&payload)),
            Item::Text(_) | Item::Binary(_) | Item::Pong => {}
            Item::Close(frame) => {
                self.end(conn, CloseReason::TransportClose, SharedFrame::close(frame.map(|(code, _)| code)));
            }
        }
    }

    fn packet(&mut self, conn: ConnKey, packet: Inbound<'_>) {
        let now = self.now();
        let Some(link) = self.link(conn) else { return };
        match link.session.handle_packet(now, packet) {
            Ok(Some(SessionEvent::Message(message))) => self.shard.message(conn, message),
            Ok(Some(SessionEvent::Pong) | None) => {}
            Ok(Some(SessionEvent::Answer(data))) => self.send(conn, &SharedFrame::packet(&Outbound::Pong(data))),
            Ok(Some(event)) => panic!("no packet brings {event:?}"),
            Err(reason) => self.end(conn, reason, SharedFrame::close(None)),
        }
    }

    /// Forgets the sessions that were closed meanwhile, and reads everything that was sent to each.
    fn forget_closed(&mut self) {
        let Self { shard, links, book, .. } = self;
        links.retain(|conn, link| {
            let Some(reason) = book.borrow().closed.get(conn).copied() else { return true };
            let mut sent: Vec<u8> =
                shard.engine.take_sent(*conn).iter().flat_map(|frame| frame.websocket().to_vec()).collect();
            match (&link.last_frame, reason) {
                (Some(last_frame), _) => sent.extend_from_slice(last_frame.websocket()),
                // Reset, or disconnected.
                (None, CloseReason::SlowConsumer | CloseReason::TransportClose) => {}
                (None, _) => sent.extend_from_slice(SharedFrame::close(None).websocket()),
            }
            reads_well(&sent, link.wire);
            false
        });
    }

    /// Time passes, and every deadline that comes is handled.
    fn pass(&mut self, time: Duration) {
        self.shard.engine.advance(time);
        let now = self.now();
        for conn in self.clients.into_iter().flatten() {
            // Each time at most a ping and its time-out, if time passed in one leap.
            while let Some(link) = self.link(conn) {
                match link.session.handle_timeout(now) {
                    Ok(Some(SessionEvent::Ping)) => self.send(conn, &SharedFrame::packet(&Outbound::Ping)),
                    Ok(Some(event)) => panic!("no upgrade, but {event:?}"),
                    Ok(None) => {
                        assert!(link.session.poll_timeout() > now, "due, but not handled");
                        break;
                    }
                    Err(reason) => self.end(conn, reason, SharedFrame::close(None)),
                }
            }
        }
        let due = |server: &Server<App>| server.poll_timeout().is_some_and(|deadline| deadline <= now);
        if due(&self.shard.handler) {
            self.shard.call(|server, engine| server.on_timeout(engine));
        }
        assert!(!due(&self.shard.handler), "due, but not handled");
    }

    /// What must hold between any two operations.
    fn check(&self) {
        for (conn, link) in &self.links {
            assert!(self.shard.engine.is_open(*conn), "a closed session is not in the book");
            assert!(link.decoder.buffered() <= 2 * (MAX_MESSAGE + MAX_CONTROL_PAYLOAD) + 256);
        }
        let book = self.book.borrow();
        assert_eq!((book.opened.len(), self.shard.engine.sessions()), (self.links.len(), self.links.len()));
        assert!(book.sockets.len() <= 2 * book.opened.len(), "one socket for each client and namespace");
        assert!(book.asked.len() <= 3 * book.sockets.len(), "no more questions than a socket may owe answers");
    }

    fn finish(mut self) {
        for conn in self.clients.into_iter().flatten() {
            self.end(conn, CloseReason::ServerShuttingDown, SharedFrame::close(Some(1001)));
        }
        self.forget_closed();
        self.check();
        let book = self.book.borrow();
        assert!(book.sockets.is_empty() && book.asked.is_empty() && book.opened.is_empty());
        drop(book);
        // No deadline outlives its subject by more than its own length, even in queues that run late.
        for _ in 0..2 {
            self.pass(Duration::from_secs(100));
        }
        assert_eq!(self.shard.handler.poll_timeout(), None);
    }
}

/// The form of a connection's packets: revision 3 or 4, binary as it is or as base64, compressed or not.
fn wire_of(choice: u8) -> Wire {
    let protocol = if choice & 0x40 == 0 { Protocol::V4 } else { Protocol::V3 };
    let deflate = (choice & 0x80 != 0).then_some(Deflate { window_bits: 15, threshold: 20, level: 6 });
    Wire { protocol, base64: choice & 8 != 0, deflate }
}
