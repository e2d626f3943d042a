//! Clients become sockets: new ones, or those that they were before their connection broke.

use engineio::{CloseReason, ConnKey, SharedFrame, sid::RANDOM_LEN};

use super::Io;
use crate::{
    broadcast::one_socket,
    error::DisconnectReason,
    recovery::{Admission, Admitted, Claimed, Recovered, Session, Store, event::with_offset},
    state::{
        ids::{Member, NspKey, PendingConnect, Pid, SocketId, SocketKey},
        socket::{Socket, SocketRecovery},
    },
};

/// What each frame counts in its queue besides its bytes.
const FRAME: usize = 32;

/// Room in the queue for the answer to the CONNECT.
const ANSWER: usize = 512;

/// What a client becomes.
#[derive(Default)]
struct Opening<'a> {
    /// `None`: it gets a new id.
    id: Option<SocketId>,
    pid: Option<String>,
    session: Option<Session>,
    /// What the application said about the socket when its old connection ended.
    data: Option<Box<str>>,
    rooms: &'a [&'a str],
    missed: Vec<SharedFrame>,
    /// Whether the answer to the CONNECT comes before what was missed.
    answers_first: bool,
}

impl Io<'_> {
    /// Admits a client whose CONNECT was to be decided later. `None` when it no longer waits: it left, or was admitted or refused.
    ///
    /// [`Handler::on_connect`](crate::Handler::on_connect) is not called: the caller has the socket's key.
    pub fn admit(&mut self, pending: PendingConnect) -> Option<SocketKey> {
        self.admit_waiting(pending, Self::connect)
    }

    /// [`Io::admit`], as the socket that the client was, or with a private id of the application's.
    pub fn admit_as(&mut self, pending: PendingConnect, admission: &Admission) -> Option<Admitted> {
        self.admit_waiting(pending, |io, conn, nsp| io.connect_as(conn, nsp, admission))
    }

    fn admit_waiting<R>(
        &mut self,
        pending: PendingConnect,
        connect: impl FnOnce(&mut Self, ConnKey, NspKey) -> Option<R>,
    ) -> Option<R> {
        if !self.state.take_pending(pending) {
            return None;
        }
        let PendingConnect { conn, nsp, .. } = pending;
        // The socket counts before the waiting client no longer does, so that the namespace exists throughout.
        let admitted = connect(self, conn, nsp);
        self.state.namespaces.forget_client(nsp);
        admitted
    }

    /// Whether the socket is one that its client had before its connection broke ([`recovery`](crate::recovery)).
    #[must_use]
    pub fn is_recovered(&self, socket: SocketKey) -> bool {
        let recovery = self.state.socket(socket).and_then(|socket| socket.recovery.as_deref());
        recovery.is_some_and(|recovery| recovery.is_recovered)
    }

    /// What [`Handler::socket_data`](crate::Handler::socket_data) said about a recovered socket when its old connection ended. Only
    /// [`Handler::on_connect`](crate::Handler::on_connect) finds it; then it is forgotten. `None` for sockets that the application recovers itself.
    #[must_use]
    pub fn recovered_data(&self, socket: SocketKey) -> Option<&str> {
        let recovery = self.state.socket(socket)?.recovery.as_deref()?;
        recovery.data.as_deref().filter(|_| recovery.is_recovered)
    }

    /// Puts a client into a namespace: it gets the answer to its CONNECT, and then the socket exists. `None` when its session is
    /// closing.
    pub(crate) fn connect(&mut self, conn: ConnKey, nsp: NspKey) -> Option<SocketKey> {
        let (now, v4) = (self.now(), self.is_v4(conn));
        let session = match &mut self.state.recovery {
            // A client of version 2 does not know how to ask for its socket.
            Some(recovery) if !v4 => {
                let mut random = [0; RANDOM_LEN];
                self.outbox.fill_random(&mut random);
                recovery.start(self.outbox);
                let pid = Pid::new(recovery.shard, 0, random);
                Some(Session { pid, base: recovery.seen.clone(), connected: now, since: Store::since(now), ticket: 0 })
            }
            _ => None,
        };
        let pid = session.as_ref().map(|session| session.pid.to_string());
        self.open(conn, nsp, Opening { pid, session, ..Opening::default() })
    }

    /// Puts a client into a namespace as the application says.
    pub(crate) fn connect_as(&mut self, conn: ConnKey, nsp: NspKey, admission: &Admission) -> Option<Admitted> {
        let pid = admission.pid.clone();
        if let Some(recovered) = &admission.recovered
            && let Some(missed) = self.encode_missed(conn, nsp, recovered)
        {
            let old = self.state.member_by_id(nsp, &recovered.id.to_string());
            let rooms: Vec<&str> = recovered.rooms.iter().map(String::as_str).collect();
            let id = Some(recovered.id.clone());
            let opening = Opening { id, pid, rooms: &rooms, missed, answers_first: true, ..Opening::default() };
            let socket = self.open(conn, nsp, opening)?;
            // Now, so that the application hears of the old one's end under another key.
            if let Some(old) = old {
                self.end_old(&old);
            }
            return Some(Admitted { socket, recovered: true });
        }
        let socket = self.open(conn, nsp, Opening { pid, ..Opening::default() })?;
        Some(Admitted { socket, recovered: false })
    }

    /// The events that a client missed; `None` when they are more than may be queued for it.
    fn encode_missed(&mut self, conn: ConnKey, nsp: NspKey, recovered: &Recovered) -> Option<Vec<SharedFrame>> {
        let encoder = self.state.config.encoder();
        let name = &self.state.namespaces.get(nsp)?.name;
        let encode =
            |event: &crate::adapter::EventData| encoder.event(name, None, &event.name, &event.args, &event.attachments);
        let frames: Vec<_> = recovered.missed.iter().map(encode).collect();
        let bytes = frames.iter().map(|frame| frame.websocket().len() + FRAME).sum::<usize>();
        (frames.is_empty() || bytes <= self.room_for_missed(conn)).then_some(frames)
    }

    /// How many bytes of missed events a client may be sent.
    pub(crate) fn room_for_missed(&mut self, conn: ConnKey) -> usize {
        self.outbox.send_room(conn).saturating_sub(ANSWER)
    }

    /// A socket gave its id to another one: its connection ends.
    fn end_old(&mut self, old: &Member) {
        let now = self.now();
        self.state.remove_socket(old.socket, DisconnectReason::Engine(CloseReason::ForcedClose), now);
        self.outbox.close(old.conn, CloseReason::ForcedClose);
    }

    /// Gives a client the socket that it was, out of memory.
    pub(crate) fn connect_claimed(&mut self, conn: ConnKey, nsp: NspKey, claimed: Claimed) -> Option<SocketKey> {
        let now = self.now();
        let Claimed { saved, missed, from, since, ticket } = claimed;
        let (encoder, recovery) = (self.state.config.encoder(), self.state.recovery.as_ref()?);
        let name = &self.state.namespaces.get(nsp)?.name;
        let mut position = from.clone();
        let encode = |kept: &crate::recovery::event::RecoverableEvent| {
            position.raise(kept.origin, kept.number);
            let (event, offset) = (&kept.event, recovery.offset(&position));
            let frame = encoder.event(name, None, &event.name, &with_offset(&event.args, &offset), &event.attachments);
            if kept.flags.compress { frame } else { frame.without_compression() }
        };
        let missed = missed.iter().map(AsRef::as_ref).map(encode).collect();
        let session = Session { pid: saved.session.pid, base: from, connected: now, since, ticket };
        let rooms: Vec<&str> = saved.rooms.iter().map(AsRef::as_ref).collect();
        let pid = Some(session.pid.to_string());
        let (id, session, data) = (Some(saved.id), Some(session), saved.data);
        self.open(conn, nsp, Opening { id, pid, session, data, rooms: &rooms, missed, answers_first: false })
    }

    /// Sends what was missed and the answer to the CONNECT. Then the socket exists.
    ///
    /// Node sends the answer last, and so does recovery in memory. An official client keeps what comes before the answer until that comes,
    /// and does not take its offset before. So where the connection breaks in between, the next one brings the same events again, and the
    /// client hears them twice.
    fn open(&mut self, conn: ConnKey, nsp: NspKey, opening: Opening<'_>) -> Option<SocketKey> {
        let Opening { id, pid, session, data, rooms, missed, answers_first } = opening;
        let (is_recovered, id) = (id.is_some(), id.or_else(|| self.new_id(conn, nsp))?);
        let nsp_name = std::sync::Arc::clone(&self.state.namespaces.get(nsp)?.name);
        // A client of version 2 makes its id itself, and is told none.
        let is_v4 = self.is_v4(conn);
        let sid = (!is_v4).then(|| id.to_string());
        let answer = self.state.config.encoder().connect(&nsp_name, sid.as_deref(), pid.as_deref());
        let (before, after) = if answers_first { (Vec::new(), missed) } else { (missed, Vec::new()) };
        for frame in before.iter().chain([&answer]).chain(&after) {
            self.outbox.send(conn, frame).ok()?;
        }
        self.outbox.accept(conn);
        let mut socket = Socket::new(id.clone(), nsp, conn);
        if is_recovered || session.is_some() {
            socket.recovery = Some(Box::new(SocketRecovery { session, is_recovered, data }));
        }
        let key = self.state.add_socket(socket)?;
        if !is_v4 && (id.shard() != self.outbox.shard() || id.index() != Some(key.index())) {
            self.state.moved.insert(id, key);
        }
        let kept = self.state.socket(key).and_then(|socket| socket.recovery.as_ref());
        let session = kept.and_then(|kept| kept.session.as_ref());
        if let (Some(session), Some(recovery)) = (session, &self.state.recovery) {
            recovery.store.begin(session, nsp_name, recovery.shard, key);
        }
        for room in rooms {
            one_socket::join(self.state, self.outbox, key, room);
        }
        Some(key)
    }

    fn is_v4(&mut self, conn: ConnKey) -> bool {
        self.state.client(conn).is_some_and(|client| client.v4.is_some())
    }

    /// The id of the socket that [`State::add_socket`](crate::state::State::add_socket) is to add next.
    fn new_id(&mut self, conn: ConnKey, nsp: NspKey) -> Option<SocketId> {
        let client = self.state.clients.get(conn.index() as usize)?.as_ref().filter(|client| client.conn == conn)?;
        if let Some(sid) = &client.v4 {
            return Some(SocketId::of_v4(&self.state.namespaces.get(nsp)?.name, sid));
        }
        let mut random = [0; RANDOM_LEN];
        self.outbox.fill_random(&mut random);
        let index = self.state.sockets.vacant_key()?.index();
        Some(SocketId::new(self.outbox.shard(), index, random))
    }
}
