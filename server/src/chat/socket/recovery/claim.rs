//! The steps of a claim.

use std::{collections::HashMap, sync::Arc};

use engineio::ConnKey;
use socketio::{
    ConnectRequest, Decision, Io, SocketId, SocketKey,
    adapter::EventData,
    recovery::{Admission as SocketAdmission, Recovered},
};

use super::{
    returning::{Returning, ReturningHome},
    state::{Recovery, save},
};
use crate::{
    chat::{
        deleted::MESSAGE_DELETED,
        error::{LATER, TOO_MANY},
        recovery::{Claim, Pid, Positions, Session},
        shard_message::{HomeRequest, RecoveryMessage, ToSocket},
        socket::{
            admission::Admission,
            member::{Access, MemberSession},
            session::{log_connected, unauthorized},
            sockets::Sockets,
        },
        users::{Account, Slot},
    },
    room::{LOBBY, Room},
    store::{Position, SavedSession, SessionChange, SessionQuery, SessionSecret, StoreError},
};

/// How many clients of a shard are in steps 2 to 4 at a time: what each of them missed may be in memory.
const RETURNING: usize = 64;

impl Sockets {
    /// A client with a valid token gets a new socket, or waits for the one that it had.
    pub(in crate::chat) fn decide(
        &mut self,
        io: &mut Io<'_>,
        request: &ConnectRequest<'_>,
        mut admission: Admission,
    ) -> Decision<Admission> {
        let Some(recovery) = &mut self.recovery else { return Decision::Admit(admission) };
        if let Some(asked) = request.recovery {
            let offset = asked.offset.map(Positions::parse);
            let claimed = Pid::parse(asked.pid).filter(|_| offset != Some(None));
            let account = admission.reservation.account().cloned();
            if let (Some(pid), Some(account)) = (claimed, account) {
                let claim = recovery.sessions.claim(pid, &account.id, io.now());
                let session = match claim {
                    Claim::Taken(session) => Some(Some(*session)),
                    Claim::Unknown => Some(None),
                    Claim::Refused => None,
                    // A new socket would miss what the session has. The end of that claim keeps the session, and the client comes back
                    // by itself.
                    Claim::UnderWay => {
                        self.note_refusal(Some(io.shard()), request.conn, LATER);
                        io.close(request.conn);
                        return Decision::Later;
                    }
                };
                if let Some(session) = session {
                    let (pending, offset) = (request.pending, offset.flatten());
                    let conn = request.conn;
                    let returning = Returning::new((pending, conn), admission, account, pid, offset, session);
                    let ticket = recovery.tickets;
                    recovery.tickets += 1;
                    recovery.returning.insert(ticket, returning);
                    recovery.unbegun.insert(request.conn, ticket);
                    // Later: the answer to a CONNECT cannot come before this decision.
                    let begin = ToSocket::Recovery(RecoveryMessage::Begin { ticket });
                    io.send_to_shard(io.shard(), begin.into());
                    return Decision::Later;
                }
            }
            self.counters.unrecovered += 1;
            if admission.reservation.is_excess() {
                self.note_refusal(Some(io.shard()), request.conn, TOO_MANY);
                return Decision::Refuse(unauthorized(TOO_MANY));
            }
        }
        let new = self.begin_session(io, &mut admission);
        Decision::AdmitAs(admission, Box::new(new))
    }

    /// A session for a new socket.
    fn begin_session(&self, io: &mut Io<'_>, admission: &mut Admission) -> SocketAdmission {
        let Some(recovery) = &self.recovery else { return SocketAdmission::default() };
        let mut secret = [0; 16];
        io.fill_random(&mut secret);
        let pid = recovery.sessions.next(SessionSecret(secret));
        admission.pid = Some(pid);
        SocketAdmission { pid: Some(pid.to_string()), recovered: None }
    }

    /// Deals with a message about a client that comes back.
    pub(in crate::chat::socket) fn receive_recovery(&mut self, io: &mut Io<'_>, message: RecoveryMessage) {
        match message {
            RecoveryMessage::Begin { ticket } => self.begin_or_wait(io, ticket),
            RecoveryMessage::Proceed { ticket } => self.find_session(io, ticket),
            RecoveryMessage::Release { shard, ticket, pid, index } => {
                let released = RecoveryMessage::Released { ticket, session: self.release(io, pid, index) };
                io.send_to_shard(shard, ToSocket::Recovery(released).into());
            }
            RecoveryMessage::Released { ticket, session } => self.on_released(io, ticket, session),
            RecoveryMessage::Readmitted { ticket, home, since, present } => {
                self.see(home, since);
                self.on_readmitted(ticket, home, since, present);
                self.finish_if_complete(io, ticket);
            }
            RecoveryMessage::Missed { ticket, home, missed } => {
                let part = self.returning(ticket).and_then(|returning| returning.part(home));
                if let Some(part) = part {
                    part.missed = Some(missed);
                }
                self.finish_if_complete(io, ticket);
            }
        }
    }

    fn returning(&mut self, ticket: u64) -> Option<&mut Returning> {
        self.recovery.as_mut()?.returning.get_mut(&ticket)
    }

    fn begin_or_wait(&mut self, io: &mut Io<'_>, ticket: u64) {
        let Some(recovery) = &mut self.recovery else { return };
        if recovery.active >= RETURNING {
            recovery.waiting.push_back(ticket);
            return;
        }
        recovery.active += 1;
        self.find_session(io, ticket);
    }

    /// A connection has ended. A claim of it that has not begun never does: the client may be back already, and wants its session.
    pub(in crate::chat) fn give_up_claim(&mut self, io: &Io<'_>, conn: ConnKey) {
        let Some(recovery) = &mut self.recovery else { return };
        let Some(ticket) = recovery.unbegun.remove(&conn) else { return };
        let Some(Returning { account, pid, session, .. }) = recovery.take_returning(ticket) else { return };
        if let Some(session) = session {
            recovery.keep(pid, &account.id, session, io.now());
        }
    }

    /// Step 1: looks for the session among the user's sockets, where its connection still seems to live.
    fn find_session(&mut self, io: &mut Io<'_>, ticket: u64) {
        let Some(returning) = self.returning(ticket) else { return self.begin_next(io) };
        let (conn, is_found) = (returning.conn, returning.session.is_some());
        if let Some(recovery) = &mut self.recovery {
            recovery.unbegun.remove(&conn);
        }
        if is_found {
            return self.ask_homes(io, ticket);
        }
        let Some(returning) = self.returning(ticket) else { return };
        let (pid, user) = (returning.pid, Arc::clone(&returning.account.id));
        let mut asked = 0;
        for Slot { shard, index } in self.accounts.sockets_of(&user) {
            if shard != io.shard() {
                let release = RecoveryMessage::Release { shard: io.shard(), ticket, pid, index };
                io.send_to_shard(shard, ToSocket::Recovery(release).into());
                asked += 1;
            } else if let Some(session) = self.release(io, pid, index) {
                return self.take_session(io, ticket, session);
            }
        }
        match self.returning(ticket) {
            Some(returning) if asked > 0 => returning.unanswered = asked,
            _ => self.ask_store(io, ticket),
        }
    }

    /// Ends the connection of a socket, if it has this session.
    fn release(&mut self, io: &mut Io<'_>, pid: Pid, index: u32) -> Option<Session> {
        let socket = self.members.at(index)?;
        let member = self.members.get(socket)?;
        let session = member.session.as_ref().filter(|session| session.pid == pid)?;
        let session = self.session_of(io, member, session);
        self.members.get_mut(socket)?.session = None;
        if let Some(conn) = io.conn(socket) {
            io.abort(conn);
        }
        Some(session)
    }

    fn on_released(&mut self, io: &mut Io<'_>, ticket: u64, session: Option<Session>) {
        let Some(returning) = self.returning(ticket) else { return };
        returning.unanswered = returning.unanswered.saturating_sub(1);
        match session {
            Some(session) => self.take_session(io, ticket, session),
            None if returning.unanswered == 0 && returning.session.is_none() => self.ask_store(io, ticket),
            None => {}
        }
    }

    /// The session was that of another connection, which has ended.
    fn take_session(&mut self, io: &mut Io<'_>, ticket: u64, session: Session) {
        let Some(Recovery { sessions, returning, .. }) = &mut self.recovery else { return };
        let Some(returning) = returning.get_mut(&ticket) else { return };
        sessions.claim_released(returning.pid, &returning.account.id);
        returning.admission.reservation.replaces_another();
        returning.session = Some(session);
        self.ask_homes(io, ticket);
    }

    /// No connection of this run has the session: asks the store, if it may know it.
    fn ask_store(&mut self, io: &mut Io<'_>, ticket: u64) {
        let Some(recovery) = &mut self.recovery else { return };
        let Some(returning) = recovery.returning.get_mut(&ticket) else { return };
        let (session, shard) = (returning.pid.session, io.shard());
        // The connection may have ended while its shard was asked.
        match recovery.sessions.claim(returning.pid, &returning.account.id, io.now()) {
            Claim::Taken(session) => {
                returning.session = Some(*session);
                return self.ask_homes(io, ticket);
            }
            Claim::Unknown if recovery.sessions.may_be_stored(session, io.now()) => {}
            Claim::UnderWay => return self.give_way(io, ticket),
            Claim::Unknown | Claim::Refused => return self.admit_anew(io, ticket),
        }
        let asked = recovery.store.as_ref().map(|store| store.find_session(SessionQuery { shard, ticket, session }));
        if !matches!(asked, Some(Ok(()))) {
            self.admit_anew(io, ticket);
        }
    }

    /// The store has answered.
    pub(in crate::chat::socket) fn on_session_found(
        &mut self,
        io: &mut Io<'_>,
        ticket: u64,
        session: Result<Option<SavedSession>, StoreError>,
    ) {
        let Some(Recovery { sessions, returning, store, .. }) = &mut self.recovery else { return };
        let Some(returning) = returning.get_mut(&ticket) else { return };
        let Returning { pid, account, .. } = returning;
        let is_right = |saved: &SavedSession| saved.secret == pid.secret && *saved.user == *account.id;
        let saved = session.ok().flatten().filter(is_right);
        let session = saved.and_then(|SavedSession { sid, rooms, .. }| {
            Some(Session { id: SocketId::parse(&sid)?, rooms, saved: true })
        });
        let Some(session) = session else { return self.admit_anew(io, ticket) };
        if !sessions.claim_stored(*pid, &account.id) {
            return self.give_way(io, ticket);
        }
        save(store.as_deref(), SessionChange::Resumed(pid.session));
        returning.session = Some(session);
        self.ask_homes(io, ticket);
    }

    /// Another claim of the session has begun since. Both are the same client's, who has lost one of the connections. Nobody can tell which:
    /// this one ends, so that the client comes back by itself if it was the living one.
    fn give_way(&mut self, io: &mut Io<'_>, ticket: u64) {
        let Some(recovery) = &mut self.recovery else { return };
        if let Some(returning) = recovery.take_returning(ticket) {
            self.note_refusal(Some(io.shard()), returning.conn, LATER);
            io.close(returning.conn);
        }
        self.begin_next(io);
    }

    /// Step 2: asks the homes of the session's rooms, as far as the client's token opens them.
    fn ask_homes(&mut self, io: &mut Io<'_>, ticket: u64) {
        if self.returning(ticket).is_some_and(|returning| returning.admission.reservation.is_excess()) {
            return self.refuse_returning(io, ticket);
        }
        let Some(Recovery { returning, store, max_bytes, .. }) = &mut self.recovery else { return };
        let max_bytes = *max_bytes;
        let Some(returning) = returning.get_mut(&ticket) else { return };
        let Some(session) = &mut returning.session else { return };
        let access = Access::of(returning.admission.claims.rooms.as_ref(), self.config.rooms.default_access);
        let has_lobby = self.config.rooms.lobby;
        let is_open = |room: &Room| (has_lobby && room.id() == LOBBY) || access.allows(room.id());
        let rooms = std::mem::take(&mut session.rooms).into_iter();
        let (open, closed): (Vec<_>, Vec<_>) = rooms.partition(|(room, _)| is_open(room));
        session.rooms = open;
        for (room, _) in closed {
            save(store.as_deref(), SessionChange::Left { session: returning.pid.session, room });
        }
        let offset = returning.offset.as_ref();
        let mut homes: Vec<(u16, Vec<_>)> = Vec::new();
        for (room, since) in &mut session.rooms {
            *since =
                (*since).max(offset.map_or(Position::START, |offset| offset.get(self.homes.of(room, offset.homes()))));
            let home = self.homes.of(room, io.shards());
            match homes.iter_mut().find(|(of, _)| *of == home) {
                Some((_, rooms)) => rooms.push((room.clone(), *since)),
                None => homes.push((home, vec![(room.clone(), *since)])),
            }
        }
        returning.homes = homes.iter().map(|(home, rooms)| ReturningHome::new(*home, rooms)).collect();
        let account = Arc::clone(&returning.account);
        // Its rooms may hear of the user before it has a socket again.
        account.rename(&returning.admission.claims.name);
        for (_, rooms) in homes {
            let Some((first, _)) = rooms.first().cloned() else { continue };
            let (shard, account) = (io.shard(), Arc::clone(&account));
            self.homes.send(io, first, HomeRequest::Readmit { shard, ticket, account, rooms, max_bytes });
        }
        self.finish_if_complete(io, ticket);
    }

    /// A home has counted the client in. From here on messages of these rooms are held.
    fn on_readmitted(&mut self, ticket: u64, home: u16, since: Position, present: Vec<Vec<Arc<Account>>>) {
        let Some(recovery) = &mut self.recovery else { return };
        let part = recovery.returning.get_mut(&ticket).and_then(|returning| returning.part(home));
        let Some(part) = part else { return };
        part.since = Some(since);
        part.present = present;
        let rooms = part.rooms.clone();
        recovery.begin_holding(ticket, &rooms);
    }

    /// Step 4, when all homes and the store have answered.
    fn finish_if_complete(&mut self, io: &mut Io<'_>, ticket: u64) {
        let is_complete = self.returning(ticket).is_some_and(|returning| {
            returning.session.is_some()
                && returning.homes.iter().all(|part| part.since.is_some() && part.missed.is_some())
        });
        if !is_complete {
            return;
        }
        let Some(Recovery { returning, begun, max_bytes, .. }) = &mut self.recovery else { return };
        let Some(returning) = returning.get_mut(&ticket) else { return };
        match returning.take_missed(io.shards(), *begun, *max_bytes) {
            Some(missed) => self.readmit(io, ticket, missed),
            None => self.admit_anew(io, ticket),
        }
    }

    /// Begins with the next claim.
    fn begin_next(&mut self, io: &mut Io<'_>) {
        let Some(recovery) = &mut self.recovery else { return };
        match recovery.waiting.pop_front() {
            // In a turn of its own: what this one was sent is to leave first. It has this one's place, so that none who comes now gets it.
            Some(ticket) => {
                let proceed = ToSocket::Recovery(RecoveryMessage::Proceed { ticket });
                io.send_to_shard(io.shard(), proceed.into());
            }
            None => recovery.active = recovery.active.saturating_sub(1),
        }
    }

    /// The client gets its socket.
    fn readmit(&mut self, io: &mut Io<'_>, ticket: u64, missed: Vec<EventData>) {
        let Some(Returning { pending, admission, account, pid, session: Some(session), homes, .. }) =
            self.recovery.as_mut().and_then(|recovery| recovery.take_returning(ticket))
        else {
            return;
        };
        let replayed = missed.iter().filter(|event| event.name != MESSAGE_DELETED).count() as u64;
        let recovered = Recovered { id: session.id.clone(), rooms: Vec::new(), missed };
        let admitted =
            io.admit_as(pending, &SocketAdmission { pid: Some(pid.to_string()), recovered: Some(recovered) });
        match admitted {
            Some(admitted) if admitted.recovered => {
                if let Some(recovery) = &self.recovery {
                    recovery.sessions.resume(pid.session);
                }
                self.counters.recovered += 1;
                self.counters.replayed += replayed;
                self.connect_again(io, admitted.socket, admission, pid, session, &homes);
            }
            admitted => {
                // Its connection has ended again. Or, against all reckoning, what it missed was too much for its queue: then the next
                // time must not end in the same way.
                let conn = admitted.and_then(|admitted| io.conn(admitted.socket));
                match (&mut self.recovery, conn) {
                    (Some(recovery), Some(_)) => recovery.end(pid.session),
                    (Some(recovery), None) => recovery.keep(pid, &account.id, session, io.now()),
                    (None, _) => {}
                }
                if let Some(conn) = conn {
                    io.abort(conn);
                }
                self.count_out(io, &account, &homes);
                self.depart_unseen(io, admission);
            }
        }
        self.begin_next(io);
    }

    /// The client gets a new socket, for its session is not known, or not all that it missed.
    fn admit_anew(&mut self, io: &mut Io<'_>, ticket: u64) {
        let returning = self.recovery.as_mut().and_then(|recovery| recovery.take_returning(ticket));
        let Some(Returning { pending, conn, mut admission, account, pid, session, homes, .. }) = returning else {
            return;
        };
        self.counters.unrecovered += 1;
        if admission.reservation.is_excess() {
            self.note_refusal(Some(io.shard()), conn, TOO_MANY);
            io.refuse(pending, &unauthorized(TOO_MANY));
            return self.begin_next(io);
        }
        if let (Some(_), Some(recovery)) = (session, &self.recovery) {
            recovery.end(pid.session);
        }
        self.count_out(io, &account, &homes);
        let new = self.begin_session(io, &mut admission);
        match io.admit_as(pending, &new) {
            Some(admitted) => self.connect(io, admitted.socket, admission),
            None => self.depart_unseen(io, admission),
        }
        self.begin_next(io);
    }

    /// The user has as many other sockets as it may. The session stays, for when there is room for it.
    fn refuse_returning(&mut self, io: &mut Io<'_>, ticket: u64) {
        let Some(recovery) = &mut self.recovery else { return };
        let Some(Returning { pending, conn, account, pid, session, .. }) = recovery.take_returning(ticket) else {
            return;
        };
        if let Some(session) = session {
            recovery.keep(pid, &account.id, session, io.now());
        }
        self.counters.unrecovered += 1;
        self.note_refusal(Some(io.shard()), conn, TOO_MANY);
        io.refuse(pending, &unauthorized(TOO_MANY));
        self.begin_next(io);
    }

    /// The homes that have counted a client in are to count it out again.
    fn count_out(&mut self, io: &mut Io<'_>, account: &Arc<Account>, homes: &[ReturningHome]) {
        let rooms = homes.iter().flat_map(|part| &part.rooms);
        let forgotten = self.accounts.withdraw(account, rooms.clone(), io.now());
        for room in rooms {
            let (shard, account) = (io.shard(), Arc::clone(account));
            self.homes.send(io, room.clone(), HomeRequest::Leave { shard, account, left: None, session: None });
        }
        self.forget_rooms(io, account, forgotten);
    }

    /// A client is gone before it got its socket. Its rooms know it, so its user is to end as one who had a socket.
    fn depart_unseen(&mut self, io: &mut Io<'_>, admission: Admission) {
        // No socket has this index.
        let slot = Slot { shard: io.shard(), index: u32::MAX };
        let Some((account, was_gone)) = admission.reservation.take(slot, io.now()) else { return };
        if was_gone {
            // Its end will be told.
            self.tell_connected(&account);
        }
        let departure = self.accounts.depart(&account, slot, std::iter::empty(), io.now());
        if let Some(deadline) = departure.look_at {
            self.gone.push(deadline, Arc::clone(&account.id));
        }
    }

    /// A socket is connected again: it is in its rooms, and hears who is there.
    fn connect_again(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        admission: Admission,
        pid: Pid,
        Session { id, rooms, saved }: Session,
        homes: &[ReturningHome],
    ) {
        let Some((account, _)) = self.add_member(io, socket, admission) else { return };
        log_connected(io, socket, &account, true);
        let Some(member) = self.members.get_mut(socket) else { return };
        member.session = Some(MemberSession { pid, id, saved });
        let mut entries = HashMap::new();
        for (room, since) in rooms {
            let entry = member.enter(room.clone());
            member.set_entered(&room, entry, since);
            io.join(socket, room.name());
            entries.insert(room, entry);
        }
        member.end_snapshot(entries.len() as u32);
        for (room, present) in homes.iter().flat_map(|part| part.rooms.iter().zip(&part.present)) {
            let Some(entry) = entries.get(room) else { continue };
            member.tell_present(*entry, present, usize::MAX, |status| {
                // A client that is gone already needs no snapshot.
                let _ = io.emit(socket, "userStatus", &status, &[]);
            });
            member.count_answered(*entry);
        }
        self.save_session(socket);
        self.free_a_socket(io, &account);
        // Claiming takes turns, in which the user may have been banned.
        self.expel_if_banned(io, socket);
    }
}
