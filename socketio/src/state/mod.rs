//! [`State`]: the clients, sockets and rooms of one shard, and the deadlines they have.
//!
//! It is plain data and its rules. Nothing in here sends anything or calls the application; [`crate::io`],
//! [`crate::broadcast`] and [`crate::server`] do.

pub(crate) mod client;
pub(crate) mod deadlines;
pub(crate) mod ids;
pub(crate) mod namespace;
pub(crate) mod questions;
mod recovery;
pub(crate) mod report;
pub(crate) mod room;
pub(crate) mod socket;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use engineio::{ConnKey, slab::Slab};
use smallvec::SmallVec;

use self::{
    client::Client,
    deadlines::Deadlines,
    ids::{Member, NspKey, PendingConnect, SocketId, SocketKey},
    namespace::Namespaces,
    questions::{Questions, is_of_broadcast},
    report::{Report, RoomChange, RoomEvent},
    room::{RoomTable, gathered::GatheredRooms},
    socket::Socket,
};
use crate::{
    config::Config,
    error::DisconnectReason,
    packet::AckId,
    recovery::{Recovery, shard::ShardRecovery},
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

/// See the module.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) config: Config,
    pub(crate) namespaces: Namespaces,
    /// By the connection's index.
    pub(crate) clients: Vec<Option<Client>>,
    pub(crate) sockets: Slab<Socket>,
    /// The sockets of protocol v4, by their ids, which do not say where a socket is kept.
    pub(crate) v4_ids: HashMap<Arc<str>, SocketKey>,
    pub(crate) deadlines: Deadlines,
    /// Sockets that left, which the application hears of as soon as it is not being called.
    pub(crate) departed: VecDeque<Departed>,
    pub(crate) gathered: GatheredRooms,
    /// What else it hears of then. It is told before it hears of the sockets that left.
    pub(crate) reports: VecDeque<Report>,
    /// Whether rooms are reported.
    reports_rooms: bool,
    /// Broadcasts that wait for answers.
    pub(crate) questions: Questions,
    /// The clients whose CONNECT the application has not decided about.
    pub(crate) pending: HashMap<ConnKey, SmallVec<[PendingConnect; 1]>>,
    pending_connects: u64,
    /// The id of the next acknowledgement that is asked for.
    pub(crate) next_ack: u64,
    /// `None` unless sockets are recovered in memory.
    pub(crate) recovery: Option<ShardRecovery>,
    /// Recovered sockets that are elsewhere than their ids say.
    pub(crate) moved: HashMap<SocketId, SocketKey>,
}

impl State {
    pub(crate) fn new(config: Config) -> Self {
        let reports_rooms = config.room_events || config.adapter.as_ref().is_some_and(|adapter| adapter.wants_rooms());
        Self {
            namespaces: Namespaces::new(&config),
            recovery: config.recovery.as_ref().and_then(Recovery::store).map(ShardRecovery::new),
            moved: HashMap::new(),
            config,
            clients: Vec::new(),
            sockets: Slab::default(),
            v4_ids: HashMap::new(),
            deadlines: Deadlines::default(),
            departed: VecDeque::new(),
            gathered: GatheredRooms::default(),
            reports: VecDeque::new(),
            reports_rooms,
            questions: Questions::default(),
            pending: HashMap::new(),
            pending_connects: 0,
            next_ack: 0,
        }
    }

    pub(crate) fn client(&mut self, conn: ConnKey) -> Option<&mut Client> {
        self.clients.get_mut(conn.index() as usize)?.as_mut().filter(|client| client.conn == conn)
    }

    pub(crate) fn socket(&self, key: SocketKey) -> Option<&Socket> {
        self.sockets.get(key.0)
    }

    /// Adds a socket; its client exists.
    pub(crate) fn add_socket(&mut self, socket: Socket) -> Option<SocketKey> {
        let (conn, nsp) = (socket.conn, socket.nsp);
        let client = self.clients.get_mut(conn.index() as usize)?.as_mut().filter(|client| client.conn == conn)?;
        let v4_id = client.v4.is_some().then(|| socket.id.to_string());
        let key = SocketKey(self.sockets.insert(socket));
        if let Some(id) = v4_id {
            self.v4_ids.insert(id.into(), key);
        }
        client.sockets.push((nsp, key));
        client.idle_since = None;
        self.namespaces.count_client(nsp);
        Some(key)
    }

    /// The number of the next CONNECT, by which a decision that comes later finds it.
    pub(crate) const fn next_pending(&mut self, conn: ConnKey, nsp: NspKey) -> PendingConnect {
        self.pending_connects += 1;
        PendingConnect { conn, nsp, number: self.pending_connects }
    }

    /// A client waits to be admitted to a namespace, which has counted it.
    pub(crate) fn add_pending(&mut self, pending: PendingConnect) {
        self.pending.entry(pending.conn).or_default().push(pending);
    }

    /// What a client waits for.
    pub(crate) fn pending_of(&self, conn: ConnKey) -> &[PendingConnect] {
        // Mostly nobody waits, and each CONNECT asks: no key is hashed then.
        if self.pending.is_empty() {
            return &[];
        }
        self.pending.get(&conn).map_or(&[], |pending| pending)
    }

    /// A client waits no longer; `false` when it did not wait. The caller then calls `namespaces.forget_client`.
    pub(crate) fn take_pending(&mut self, pending: PendingConnect) -> bool {
        let Some(waiting) = self.pending.get_mut(&pending.conn) else { return false };
        let Some(position) = waiting.iter().position(|other| *other == pending) else { return false };
        waiting.swap_remove(position);
        if waiting.is_empty() {
            self.pending.remove(&pending.conn);
        }
        true
    }

    /// A client that is gone waits for nothing.
    pub(crate) fn forget_pending(&mut self, conn: ConnKey) {
        if self.pending.is_empty() {
            return;
        }
        for pending in self.pending.remove(&conn).into_iter().flatten() {
            self.namespaces.forget_client(pending.nsp);
        }
    }

    /// Removes a socket from its rooms and from its client. The application hears of it later.
    pub(crate) fn remove_socket(&mut self, key: SocketKey, reason: DisconnectReason, now: Instant) {
        let Some(nsp) = self.socket(key).map(|socket| socket.nsp) else { return };
        self.end_session(key, reason, now);
        let rooms = if self.reports_rooms { self.names_to_report(key) } else { Vec::new() };
        if let Some(nsp) = self.namespaces.get_mut(nsp) {
            nsp.rooms.leave_all(&mut self.sockets, key);
        }
        rooms.iter().for_each(|room| self.report_leave(key, room));
        let Some(socket) = self.sockets.remove(key.0) else { return };
        self.namespaces.forget_client(socket.nsp);
        if !self.v4_ids.is_empty() {
            let id = socket.id.to_string();
            // A socket that got this id meanwhile keeps it.
            if self.v4_ids.get(&*id) == Some(&key) {
                self.v4_ids.remove(&*id);
            }
        }
        if let Some(client) = self.client(socket.conn) {
            client.sockets.retain(|(_, of)| *of != key);
            if client.sockets.is_empty() {
                client.idle_since = Some(now);
                self.set_connect_deadline(socket.conn, now);
            }
        }
        let mut acks = Vec::new();
        for (id, deadline) in socket.acks {
            if is_of_broadcast(id) {
                self.questions.leave(id, key, &socket.id);
            } else {
                self.deadlines.forget_ack(id, deadline);
                acks.push(id);
            }
        }
        self.departed.push_back(Departed { socket: key, conn: socket.conn, reason, acks });
    }

    /// Puts a socket into a room; `false` when it was there, or is gone. What its rooms hold back is sent before.
    pub(crate) fn join(&mut self, key: SocketKey, room: &str) -> bool {
        let Some(nsp) = self.socket(key).map(|socket| socket.nsp) else { return false };
        let Some(nsp) = self.namespaces.get_mut(nsp) else { return false };
        let has_joined = nsp.rooms.join(&mut self.sockets, key, room);
        if has_joined && self.reports_rooms {
            let is_first = nsp.rooms.find(room).is_some_and(|room| nsp.rooms.members(room).len() == 1);
            let room = Arc::from(room);
            if is_first {
                self.report_room(key, &room, RoomChange::Created);
            }
            self.report_room(key, &room, RoomChange::Joined);
        }
        has_joined
    }

    /// Takes a socket out of a room; `false` when it was not there. What its rooms hold back is sent before.
    pub(crate) fn leave(&mut self, key: SocketKey, room: &str) -> bool {
        let Some(nsp) = self.socket(key).map(|socket| socket.nsp) else { return false };
        let Some(nsp) = self.namespaces.get_mut(nsp) else { return false };
        let has_left = nsp.rooms.leave(&mut self.sockets, key, room);
        if has_left && self.reports_rooms {
            self.report_leave(key, &Arc::from(room));
        }
        has_left
    }

    /// The rooms of a socket.
    fn names_to_report(&self, key: SocketKey) -> Vec<Arc<str>> {
        let socket = self.socket(key);
        let rooms = socket.and_then(|socket| Some((socket, &self.namespaces.get(socket.nsp)?.rooms)));
        let names = |(socket, rooms): (&Socket, &RoomTable)| {
            socket.rooms.iter().filter_map(|membership| rooms.name(membership)).map(Arc::from).collect()
        };
        rooms.map(names).unwrap_or_default()
    }

    fn report_leave(&mut self, key: SocketKey, room: &Arc<str>) {
        self.report_room(key, room, RoomChange::Left);
        let nsp = self.socket(key).and_then(|socket| self.namespaces.get(socket.nsp));
        if nsp.is_some_and(|nsp| nsp.rooms.find(room).is_none()) {
            self.report_room(key, room, RoomChange::Deleted);
        }
    }

    fn report_room(&mut self, key: SocketKey, room: &Arc<str>, change: RoomChange) {
        let Some(socket) = self.socket(key) else { return };
        let Some(nsp) = self.namespaces.get(socket.nsp).map(|nsp| Arc::clone(&nsp.name)) else { return };
        let (id, conn) = (socket.id.clone(), socket.conn);
        self.reports.push_back(Report::Room(RoomEvent { nsp, room: Arc::clone(room), change, socket: key, id, conn }));
    }

    /// Takes an acknowledgement off those that a socket owes; `false` when it did not owe this one.
    pub(crate) fn take_ack(&mut self, key: SocketKey, id: AckId) -> bool {
        let Some(socket) = self.sockets.get_mut(key.0) else { return false };
        let Some(position) = socket.acks.iter().position(|(owed, _)| *owed == id) else { return false };
        let (_, deadline) = socket.acks.remove(position);
        self.deadlines.forget_ack(id, deadline);
        true
    }

    /// Ends the broadcasts whose time is up.
    pub(crate) fn close_due_questions(&mut self, now: Instant) {
        while let Some((id, sockets, mut part)) = self.questions.pop_due(now) {
            let mut unanswered = Vec::new();
            for key in sockets {
                self.take_ack(key, id);
                unanswered.extend(self.socket(key).map(|socket| socket.id.to_string()));
            }
            part.add(|answers| answers.unanswered.extend(unanswered));
            part.done();
        }
    }

    /// Sets the deadline by which a client that is in no namespace must join one, unless it has one.
    pub(crate) fn set_connect_deadline(&mut self, conn: ConnKey, since: Instant) {
        // Out of the clock's range means never.
        let Some(deadline) = since.checked_add(self.config.connect_timeout) else { return };
        if let Some(client) = self.client(conn)
            && !std::mem::replace(&mut client.has_connect_deadline, true)
        {
            self.deadlines.connects.push(deadline, conn);
        }
    }

    /// Sets the deadline by which the attachments of a client's packet must be there, unless it has one.
    pub(crate) fn set_attachment_deadline(&mut self, conn: ConnKey, since: Instant) {
        let Some(deadline) = since.checked_add(self.config.attachment_timeout) else { return };
        if let Some(client) = self.client(conn)
            && !std::mem::replace(&mut client.has_attachment_deadline, true)
        {
            self.deadlines.attachments.push(deadline, conn);
        }
    }

    /// The socket whose id is `name`, if it is in this namespace. Every socket is the only member of a room named like its id.
    pub(crate) fn member_by_id(&self, nsp: NspKey, name: &str) -> Option<Member> {
        // Hashes only where there are such sockets.
        let v4 = if self.v4_ids.is_empty() { None } else { self.v4_ids.get(name).copied() };
        let key = v4.or_else(|| {
            let id = SocketId::parse(name)?;
            let key = self.sockets.key_at(id.index()?).map(SocketKey);
            let here = key.filter(|key| self.socket(*key).is_some_and(|socket| socket.id == id));
            here.or_else(|| self.moved.get(&id).copied())
        })?;
        let socket = self.socket(key).filter(|socket| socket.nsp == nsp)?;
        Some(Member { socket: key, conn: socket.conn })
    }
}
