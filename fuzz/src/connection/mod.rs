//! Whole connections without sockets: WebSocket bytes, packets, sessions, and `socketio::Server` with an application on
//! top, which does whatever its clients say.
//!
//! The bytes are operations on up to four clients: see [`World::step`]. At the end all clients go, time passes, and all
//! that was promised must have come: one `on_disconnect` a socket, one `on_ack` a question, nothing after a close. What
//! was sent is then read by other implementations, tungstenite and serde_json.

mod app;
mod engine;
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
    slab::Slab,
    ws::{Decoder, Item, deflate::Deflate, header::MAX_CONTROL_PAYLOAD},
};
use http::{HeaderMap, Uri};
use socketio::{Config, Server};

use crate::{input::Input, wire};
use app::{App, Book};
use engine::{Engine, Link};
use sent::reads_well;

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
