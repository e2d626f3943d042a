//! A Socket.IO server on connections in memory: everything from a message's text to the outbox, without sockets.
//!
//! The outbox only counts what is queued, so `socketio` and the engine's frames are measured. The end-to-end benchmarks
//! measure the queues, writes and heartbeats of `engineio::net`.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::Instant;

use engineio::testing::Engine;
use engineio::{
    CloseReason, ConnKey, Handler as _, Handshake, Job, JobId, Message, Outbox, Protocol, SendError, ShardMessage,
    SharedFrame, job::TooManyJobs, session::Transport, slab::Slab,
};
use socketio::{AckId, Config, ConnectRequest, Decision, DisconnectReason, Event, Io, Server, SocketKey, json};

/// What was queued for one connection.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    /// Calls of [`Outbox::send`].
    pub frames: u64,
    /// Their bytes in the WebSocket form.
    pub bytes: u64,
}

/// The engine's test kit, except for sessions and sent frames, which are only counted for each connection. The kit
/// records each session and frame, and its memory and look-ups would be measured together with the server's.
#[derive(Debug, Default)]
struct Counter {
    engine: Engine,
    queued: Vec<Queued>,
    closed: u64,
}

impl Outbox for Counter {
    fn now(&self) -> Instant {
        self.engine.now()
    }

    fn shard(&self) -> u16 {
        self.engine.shard()
    }

    fn shards(&self) -> u16 {
        self.engine.shards()
    }

    fn send_to_shard(&mut self, shard: u16, message: ShardMessage) {
        self.engine.send_to_shard(shard, message);
    }

    fn start_job(&mut self, job: Job) -> Result<JobId, TooManyJobs> {
        self.engine.start_job(job)
    }

    fn fill_random(&mut self, bytes: &mut [u8]) {
        self.engine.fill_random(bytes);
    }

    fn send(&mut self, conn: ConnKey, frame: &SharedFrame) -> Result<(), SendError> {
        let queued = self.queued.get_mut(conn.index() as usize).ok_or(SendError::Closed)?;
        queued.frames += 1;
        queued.bytes += frame.websocket().len() as u64;
        Ok(())
    }

    fn is_writable(&self, _: ConnKey) -> bool {
        true
    }

    fn close(&mut self, _: ConnKey, _: CloseReason) {
        self.closed += 1;
    }
}

/// The application: `join` and `leave` take a room's name, `message` is sent to [`ROOM`] unchanged, anything else is
/// ignored.
#[derive(Debug)]
struct App;

/// The room that every client of a [`MemoryServer`] is in.
pub const ROOM: &str = "room-1";

impl socketio::Handler for App {
    type Admission = ();

    fn authorize(&mut self, _: &mut Io<'_>, _: &ConnectRequest<'_>) -> Decision<()> {
        Decision::Admit(())
    }

    fn on_connect(&mut self, io: &mut Io<'_>, socket: SocketKey, (): ()) {
        io.join(socket, ROOM);
    }

    fn on_event(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &Event<'_>, _: Option<AckId>) {
        match &*event.name {
            "message" => {
                let sent = io.of("/").to(ROOM).emit("message", event.args.raw(), event.args.attachments());
                debug_assert!(sent.is_ok(), "the name is not reserved");
            }
            "join" => _ = io.join(socket, &room_name(event)),
            "leave" => _ = io.leave(socket, &room_name(event)),
            _ => {}
        }
    }

    fn on_disconnect(&mut self, _: &mut Io<'_>, _: SocketKey, _: DisconnectReason) {}
}

fn room_name<'a>(event: &Event<'a>) -> Cow<'a, str> {
    event.args.get(0).and_then(|raw| json::unquote(raw).ok()).unwrap_or_default()
}

/// A server, and the engine's side of its clients.
#[derive(Debug)]
pub struct MemoryServer {
    server: Server<App>,
    keys: Slab<()>,
    conns: Vec<ConnKey>,
    outbox: Counter,
}

impl MemoryServer {
    /// A server with `clients` connected to `/` and joined to [`ROOM`].
    #[must_use]
    pub fn new(clients: usize) -> Self {
        Self::with_config(clients, Config::default())
    }

    /// Likewise, with this configuration.
    #[must_use]
    pub fn with_config(clients: usize, config: Config) -> Self {
        let server = Server::new(config, App);
        let mut this = Self { server, keys: Slab::default(), conns: Vec::new(), outbox: Counter::default() };
        for _ in 0..clients {
            let conn = this.connect();
            this.conns.push(conn);
        }
        this
    }

    fn connect(&mut self) -> ConnKey {
        let conn = ConnKey::new(self.keys.insert(()));
        let places = conn.index() as usize + 1;
        if self.outbox.queued.len() < places {
            self.outbox.queued.resize(places, Queued::default());
        }
        let (uri, headers) = (http::Uri::from_static("/socket.io/?EIO=4"), http::HeaderMap::new());
        let remote = SocketAddr::from(([127, 0, 0, 1], 9));
        let handshake = Handshake {
            transport: Transport::WebSocket,
            protocol: Protocol::V4,
            sid: None,
            uri: &uri,
            headers: &headers,
            remote,
            client: Some(remote.ip()),
        };
        self.server.on_open(&mut self.outbox, conn, &handshake);
        self.server.on_message(&mut self.outbox, conn, Message::Text("0".into()));
        conn
    }

    /// A client connects, joins the namespace and [`ROOM`], and disconnects.
    pub fn connect_and_close(&mut self) {
        let conn = self.connect();
        self.server.on_close(&mut self.outbox, conn, CloseReason::TransportClose);
        if let Some(key) = self.keys.key_at(conn.index()) {
            self.keys.remove(key);
        }
    }

    /// Client number `client` (from 0) sends a Socket.IO packet, and the turn ends.
    ///
    /// # Panics
    /// If there is no such client.
    pub fn send(&mut self, client: usize, packet: &str) {
        self.server.on_message(&mut self.outbox, self.conns[client], Message::Text(packet.into()));
        self.end_turn();
    }

    /// Ends the turn: the rooms send what they held back, as the engine does when every input was handled.
    fn end_turn(&mut self) {
        if self.server.wants_flush() {
            self.server.on_flush(&mut self.outbox);
        }
    }

    /// What was queued for client number `client` since the start.
    #[must_use]
    pub fn queued(&self, client: usize) -> Queued {
        let conn = self.conns.get(client);
        conn.and_then(|conn| self.outbox.queued.get(conn.index() as usize)).copied().unwrap_or_default()
    }

    /// How many connections the server closed: none, if it understood everything it was sent.
    #[must_use]
    pub const fn closed(&self) -> u64 {
        self.outbox.closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_message_reaches_every_member() {
        let mut server = MemoryServer::new(3);
        let before: Vec<Queued> = (0..3).map(|client| server.queued(client)).collect();
        server.send(1, &samples::event_packet());
        // Two bytes of `42`, four of WebSocket header, because the text is longer than 125 bytes.
        let len = samples::message_json().len() as u64 + 2 + 4;
        for (client, before) in before.into_iter().enumerate() {
            let now = Queued { frames: before.frames + 1, bytes: before.bytes + len };
            assert_eq!(server.queued(client), now, "client {client}");
        }
        assert_eq!(server.closed(), 0);
    }

    #[test]
    fn a_client_that_left_gets_nothing_until_it_joins_again() {
        let mut server = MemoryServer::new(2);
        let frames = |server: &MemoryServer| server.queued(1).frames;
        let before = frames(&server);
        server.send(1, r#"2["leave","room-1"]"#);
        server.send(0, r#"2["message",1]"#);
        assert_eq!(frames(&server), before);
        server.send(1, r#"2["join","room-1"]"#);
        server.send(0, r#"2["message",1]"#);
        assert_eq!(frames(&server), before + 1);
    }

    #[test]
    fn clients_that_disconnect_leave_nothing_behind() {
        let mut server = MemoryServer::new(1);
        for _ in 0..3 {
            server.connect_and_close();
        }
        assert_eq!(server.keys.len(), 1);
        assert_eq!(server.outbox.queued.len(), 2);
        assert_eq!(server.closed(), 0);
    }
}
