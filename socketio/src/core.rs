//! [`Core`]: the clients, sockets and rooms of one shard, and the deadlines they have.

use std::{collections::VecDeque, time::Instant};

use engineio::{ConnKey, Outbox, slab::Slab};

use crate::{
    client::Client,
    config::Config,
    deadlines::Deadlines,
    error::DisconnectReason,
    gather::{Gathering, Rooms},
    namespace::{Namespaces, NspIndex},
    packet::AckId,
    room::Member,
    socket::{Socket, SocketId, SocketKey},
};

/// A socket that left.
#[derive(Debug)]
pub(crate) struct Departed {
    pub(crate) socket: SocketKey,
    pub(crate) conn: ConnKey,
    pub(crate) reason: DisconnectReason,
    /// The acknowledgements it owed.
    pub(crate) acks: Vec<AckId>,
}

/// The state of all clients, sockets and rooms of one shard.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) namespaces: Namespaces,
    /// By the connection's index.
    pub(crate) clients: Vec<Option<Client>>,
    pub(crate) sockets: Slab<Socket>,
    pub(crate) deadlines: Deadlines,
    /// Sockets that left, of which the handler is to be told as soon as it is not being called.
    pub(crate) departed: VecDeque<Departed>,
    pub(crate) gathering: Gathering,
    /// The id of the next acknowledgement that is asked for.
    pub(crate) next_ack: u64,
}

impl Core {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            namespaces: Namespaces::new(&config.namespaces),
            config,
            clients: Vec::new(),
            sockets: Slab::default(),
            deadlines: Deadlines::default(),
            departed: VecDeque::new(),
            gathering: Gathering::default(),
            next_ack: 0,
        }
    }

    pub(crate) fn client(&mut self, conn: ConnKey) -> Option<&mut Client> {
        self.clients.get_mut(conn.index() as usize)?.as_mut().filter(|client| client.conn == conn)
    }

    pub(crate) fn socket(&self, key: SocketKey) -> Option<&Socket> {
        self.sockets.get(key.0)
    }

    /// The rooms, for broadcasts through `outbox`.
    pub(crate) fn rooms<'a>(&'a mut self, outbox: &'a mut dyn Outbox) -> Rooms<'a> {
        let Self { gathering, namespaces, sockets, .. } = self;
        Rooms { gathering, namespaces, sockets, outbox }
    }

    /// Takes a socket out of its rooms and of its client; the handler is told later.
    pub(crate) fn detach(&mut self, key: SocketKey, reason: DisconnectReason, now: Instant) {
        let Some(nsp) = self.socket(key).map(|socket| socket.nsp) else { return };
        if let Some(nsp) = self.namespaces.get_mut(nsp) {
            nsp.rooms.leave_all(&mut self.sockets, key);
        }
        let Some(socket) = self.sockets.remove(key.0) else { return };
        if let Some(client) = self.client(socket.conn) {
            client.sockets.retain(|(_, of)| *of != key);
            if client.sockets.is_empty() {
                client.idle_since = Some(now);
                self.watch_idle(socket.conn, now);
            }
        }
        let acks = socket.acks.into_iter().map(|(id, deadline)| {
            self.deadlines.forget_ack(id, deadline);
            id
        });
        self.departed.push_back(Departed { socket: key, conn: socket.conn, reason, acks: acks.collect() });
    }

    /// Adds a socket; its client exists.
    pub(crate) fn attach(&mut self, socket: Socket) -> Option<SocketKey> {
        let (conn, nsp) = (socket.conn, socket.nsp);
        self.client(conn)?;
        let key = SocketKey(self.sockets.insert(socket));
        let client = self.client(conn)?;
        client.sockets.push((nsp, key));
        client.idle_since = None;
        Some(key)
    }

    /// Whether the socket owed this acknowledgement; it does no longer.
    pub(crate) fn settle_ack(&mut self, key: SocketKey, id: AckId) -> bool {
        let Some(socket) = self.sockets.get_mut(key.0) else { return false };
        let Some(place) = socket.acks.iter().position(|(owed, _)| *owed == id) else { return false };
        let (_, deadline) = socket.acks.remove(place);
        self.deadlines.forget_ack(id, deadline);
        true
    }

    /// Sees to it that a client without a namespace is looked at when its time is up.
    pub(crate) fn watch_idle(&mut self, conn: ConnKey, since: Instant) {
        // Out of the clock's range means never.
        let Some(deadline) = since.checked_add(self.config.connect_timeout) else { return };
        if let Some(client) = self.client(conn)
            && !std::mem::replace(&mut client.idle_watched, true)
        {
            self.deadlines.connects.push(deadline, conn);
        }
    }

    /// Likewise for a packet that waits for its attachments.
    pub(crate) fn watch_attachments(&mut self, conn: ConnKey, since: Instant) {
        let Some(deadline) = since.checked_add(self.config.attachment_timeout) else { return };
        if let Some(client) = self.client(conn)
            && !std::mem::replace(&mut client.awaiting_watched, true)
        {
            self.deadlines.attachments.push(deadline, conn);
        }
    }

    /// The one socket that a room named like its id stands for.
    pub(crate) fn member_by_id(&self, nsp: NspIndex, room: &str) -> Option<Member> {
        let id = SocketId::parse(room)?;
        let key = self.sockets.key_at(id.index())?;
        let socket = self.sockets.get(key).filter(|socket| socket.id == id && socket.nsp == nsp)?;
        Some(Member { socket: SocketKey(key), conn: socket.conn })
    }
}
