//! From CONNECT to disconnect: tokens, users' sockets, acknowledgements, expiry, idleness, strikes.

use std::{sync::Arc, time::Duration};

use engineio::{CloseReason, ConnKey};
use socketio::{AckId, Args, ConnectError, DisconnectReason, Io, SocketKey, json};

use super::{
    admission::Admission,
    member::{Member, MemberSession},
    sockets::Sockets,
};
use crate::{
    auth::AuthError,
    chat::{
        error::{ChatError, Code, LATER, TOO_MANY},
        reply::Reply,
        request,
        shard_message::{HomeRequest, ToSocket},
        users::{Account, ReserveError, Slot},
    },
    clock::wall_clock,
    config::Config,
    log_line::Shown,
    room::Room,
};

/// The longest that a token's end is waited for at a time.
const EXPIRY_WAIT: Duration = Duration::from_secs(24 * 3600);

/// Why a CONNECT is not accepted.
#[derive(Debug)]
pub(in crate::chat) enum ConnectRefusal {
    /// The token is not valid.
    Token(AuthError),
    /// The user is banned.
    Banned,
    /// The user has as many sockets as it may.
    TooMany,
    /// The user sent too many CONNECTs, or the token's key is not known yet. That is temporary, and official clients never come
    /// back after a CONNECT_ERROR, so it is told by the end of the transport.
    Later,
}

impl ConnectRefusal {
    /// Its code in the log and in `/metrics`, and that of the CONNECT_ERROR, if there is one.
    pub(in crate::chat) const fn code(&self) -> &'static str {
        match self {
            Self::Token(error) => error.code(),
            Self::Banned => Code::Banned.as_str(),
            Self::TooMany => TOO_MANY,
            Self::Later => LATER,
        }
    }
}

impl Sockets {
    /// Notes that a CONNECT is refused.
    pub(in crate::chat) fn note_refusal(&mut self, shard: Option<u16>, conn: ConnKey, code: &'static str) {
        tracing::debug!(shard, conn = conn.index(), code, "CONNECT refused");
        self.counters.count_connect_refused(code);
    }

    /// Checks the token that came with a CONNECT, and reserves a socket for its user. `returns`: the client says that it comes back.
    pub(in crate::chat) fn authorize(
        &self,
        io: &Io<'_>,
        token: Option<&str>,
        returns: bool,
    ) -> Result<Admission, ConnectRefusal> {
        let token = token.ok_or(AuthError::Missing);
        let claims = token.and_then(|token| self.verifier.load().verify(token, wall_clock())).map_err(|error| {
            tracing::debug!(code = error.code(), reason = %error, "a token is not valid");
            match error {
                AuthError::KeyPending => ConnectRefusal::Later,
                error => ConnectRefusal::Token(error),
            }
        })?;
        if self.bans.holds(&claims.sub) {
            return Err(ConnectRefusal::Banned);
        }
        let returns = returns && self.recovery.is_some();
        let reservation = self.accounts.reserve(&claims.sub, io.now(), returns).map_err(|error| match error {
            ReserveError::TooMany => ConnectRefusal::TooMany,
            ReserveError::TooOften => ConnectRefusal::Later,
        })?;
        Ok(Admission { claims, reservation, pid: None })
    }

    /// A socket is connected: it belongs to its user, gets its deadlines, and enters its rooms.
    pub(in crate::chat) fn connect(&mut self, io: &mut Io<'_>, socket: SocketKey, admission: Admission) {
        let pid = admission.pid;
        let Some((account, listed)) = self.add_member(io, socket, admission) else { return };
        if let Some(member) = self.members.get_mut(socket) {
            member.session = pid.zip(io.id(socket)).map(|(pid, id)| MemberSession { pid, id, saved: false });
        }
        if self.config.rooms.lobby {
            let lobby = self.lobby.clone();
            self.enter(io, socket, &lobby, None);
        }
        let listed = self.enter_listed(io, socket, &listed);
        if let Some(member) = self.members.get_mut(socket) {
            member.end_snapshot(listed + u32::from(self.config.rooms.lobby));
        }
        self.save_session(socket);
        log_connected(io, socket, &account, false);
        self.free_a_socket(io, &account);
        self.expel_if_banned(io, socket);
    }

    /// Adds a socket without rooms. Returns its user, and the rooms that the token names.
    pub(super) fn add_member(
        &mut self,
        io: &Io<'_>,
        socket: SocketKey,
        admission: Admission,
    ) -> Option<(Arc<Account>, Vec<String>)> {
        let (now, claims) = (io.now(), admission.claims);
        let slot = Slot { shard: io.shard(), index: socket.index() };
        // A reservation is taken once.
        let (account, was_gone) = admission.reservation.take(slot, now)?;
        let mut member = Member::new(socket, Arc::clone(&account), now);
        let listed = member.renew(&claims, self.config.rooms.default_access, self.config.auth.leeway);
        member.begin_snapshot();
        self.members.insert(member);
        if was_gone {
            self.tell_connected(&account);
        }
        self.counters.connected += 1;
        if !self.config.limits.idle_timeout.is_zero() {
            self.idle.set(socket.index(), now + self.config.limits.idle_timeout);
        }
        self.watch_expiry(io, socket);
        Some((account, listed))
    }

    /// As long as the user has more sockets than it may, asks that which was heard of longest ago to make room.
    pub(super) fn free_a_socket(&mut self, io: &mut Io<'_>, account: &Arc<Account>) {
        while let Some(slot) = self.accounts.longest_unheard(account) {
            if slot.shard != io.shard() {
                // Its shard goes on from there.
                let message = ToSocket::MakeRoom { account: Arc::clone(account), index: slot.index };
                return io.send_to_shard(slot.shard, message.into());
            }
            self.ask_for_room(io, account, slot);
        }
    }

    /// Another shard asks for the room of a socket of this one.
    pub(super) fn make_room(&mut self, io: &mut Io<'_>, account: &Arc<Account>, index: u32) {
        self.ask_for_room(io, account, Slot { shard: io.shard(), index });
        self.free_a_socket(io, account);
    }

    /// Disconnects a socket of this shard, so that its user may have another, unless it was heard of later than another one. A
    /// client that changed its network left sockets behind which look alive until the heartbeat ends them.
    fn ask_for_room(&mut self, io: &mut Io<'_>, account: &Account, slot: Slot) {
        let socket = self.members.at(slot.index);
        let member = socket.and_then(|socket| self.members.get(socket)).filter(|member| *member.account == *account);
        let Some(member) = member else { return self.accounts.remove_slot(account, slot) };
        let (socket, event) = (member.key, member.last_event);
        let heard = io.last_heartbeat(socket).map_or(event, |beat| beat.max(event));
        if self.accounts.make_room(account, slot, heard) {
            let conn = io.conn(socket).map(ConnKey::index);
            tracing::info!(shard = io.shard(), conn, user = %Shown(&account.id), "replaced: the user has a newer socket");
            self.counters.replaced += 1;
            expel(
                io,
                socket,
                ChatError::new(Code::Replaced, "the user has too many sockets; a newer one took this place"),
            );
        }
    }

    /// An event of the socket arrived; `false` when there is no such socket.
    pub(in crate::chat) fn touch(&mut self, io: &Io<'_>, socket: SocketKey) -> bool {
        let Some(member) = self.members.get_mut(socket) else { return false };
        member.last_event = io.now();
        true
    }

    /// `refresh`, a new token for the same user: its claims count from now on. The socket leaves the rooms that it does not open.
    pub(in crate::chat) fn on_refresh(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        args: &Args<'_>,
        ack: Option<AckId>,
    ) -> Result<Reply, ChatError> {
        if let Some(member) = self.members.get(socket) {
            // It costs what a CONNECT costs.
            let taken = member.account.take_connect(&self.accounts.rates(), io.now());
            taken.map_err(ChatError::rate_limited)?;
        }
        let token = request::refresh(args)?;
        let claims = self.verifier.load().verify(&token, wall_clock()).map_err(|error| match error {
            AuthError::KeyPending => ChatError::later(Code::ServerBusy, "the token's key is not known yet; try again"),
            AuthError::Expired => ChatError::new(Code::TokenExpired, "the token has expired"),
            _ => ChatError::new(Code::InvalidPayload, "the token is not valid"),
        })?;
        let leeway = self.config.auth.leeway;
        let member = self.members.get_mut(socket).filter(|member| *member.account.id == *claims.sub);
        let member = member.ok_or(ChatError::new(Code::InvalidPayload, "the token is another user's"))?;
        // Whoever was given fewer rights could take back the old ones otherwise.
        let default = self.config.rooms.default_access;
        if member.may_be_outdated(&claims, default) {
            let reason =
                "the token is older than the one in use, or ends earlier and opens more rooms without iat in both";
            return Err(ChatError::new(Code::InvalidPayload, reason));
        }
        // It may have left rooms that the last token named too: it stays out of these.
        let listed = member.renew(&claims, default, leeway);
        member.begin_snapshot();
        self.watch_expiry(io, socket);
        let closed = self.leave_closed(io, socket);
        let listed = self.enter_listed(io, socket, &listed);
        if let Some(member) = self.members.get_mut(socket) {
            member.end_snapshot(listed);
        }
        // As the token says it: `1900000000`, or `1900000000.5`.
        let mut members = claims.exp.map(|exp| format!(r#","exp":{}"#, exp.as_secs_f64())).unwrap_or_default();
        if !closed.is_empty() {
            let left = format!(r#","left":{}"#, ids(&closed));
            if ack.is_none() {
                let error = ChatError::new(Code::RoomForbidden, "the new token does not open all rooms of the socket");
                // It fails only where the connection is closing.
                let _ = io.emit(socket, "error", &error.to_json_with(Some("refresh"), &left), &[]);
            }
            members.push_str(&left);
        }
        Ok(Reply::from(members))
    }

    /// Enters rooms that a token names, until the socket has as many as it may have; how many these were. It is told how many it is not in.
    fn enter_listed(&mut self, io: &mut Io<'_>, socket: SocketKey, listed: &[String]) -> u32 {
        let (mut entered, mut missed) = (0, 0_usize);
        for room in listed {
            if self.joined(socket, room).is_some() {
                continue;
            }
            if self.may_enter_another(socket) {
                self.enter(io, socket, &Room::new(room), None);
                entered += 1;
            } else {
                missed += 1;
            }
        }
        if missed > 0 {
            let reason = "the token names more rooms than a socket may be in (limits.rooms_per_socket); it is not in all of them";
            let error = ChatError::new(Code::TooManyRooms, reason);
            // It fails only where the connection is closing.
            let _ = io.emit(socket, "error", &error.to_json_with(None, &format!(r#","missed":{missed}"#)), &[]);
        }
        entered
    }

    /// A socket is gone. Its user stays for `presence.grace`, so that a reload of the page is not announced.
    pub(in crate::chat) fn disconnect(&mut self, io: &mut Io<'_>, socket: SocketKey, reason: DisconnectReason) {
        self.end_all_typing(io, socket);
        let Some(member) = self.members.remove(socket) else { return };
        let ended = self.keep_session(io, &member, reason);
        self.counters.disconnected += 1;
        let account = member.account;
        log_disconnected(io, &account, reason);
        let rooms = member.rooms.iter().map(|joined| &joined.room);
        let slot = Slot { shard: io.shard(), index: socket.index() };
        let departure = self.accounts.depart(&account, slot, rooms, io.now());
        if let Some(deadline) = departure.look_at {
            self.gone.push(deadline, Arc::clone(&account.id));
        }
        let shard = io.shard();
        for joined in member.rooms {
            // Where the home has not answered, it may tell the store of the room after the session's end, so it is to take that back.
            let session = ended.filter(|_| joined.since.is_none());
            let leave = HomeRequest::Leave { shard, account: Arc::clone(&account), left: None, session };
            self.homes.send(io, joined.room, leave);
        }
        self.forget_rooms(io, &account, departure.forgotten);
    }

    /// Acknowledges an event, or says what was wrong with it: in the acknowledgement, or without one as `error`.
    pub(in crate::chat) fn answer(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        event: &str,
        ack: Option<AckId>,
        outcome: &Result<Reply, ChatError>,
    ) {
        if outcome.as_ref().is_err_and(|error| error.code == Code::RateLimited) {
            self.counters.count_rate_limited(event);
        }
        // It fails only where the connection is closing: then nobody waits for it.
        match (outcome, ack) {
            (Ok(_), None) => {}
            (Ok(Reply { members, attachments }), Some(id)) => {
                let _ = io.ack(socket, id, &format!(r#"{{"ok":true{members}}}"#), attachments);
            }
            (Err(error), Some(id)) => {
                let _ = io.ack(socket, id, &format!(r#"{{"ok":false,"error":{}}}"#, error.to_json(None)), &[]);
            }
            (Err(error), None) if self.tells_refusal(io, socket, event, error) => {
                let _ = io.emit(socket, "error", &error.to_json(Some(event)), &[]);
            }
            (Err(_), None) => {}
        }
        if let Err(error) = outcome
            && error.strike
        {
            self.strike(io, socket, event);
        }
    }

    fn strike(&mut self, io: &mut Io<'_>, socket: SocketKey, event: &str) {
        let Some(member) = self.members.get(socket) else { return };
        if member.account.strike(&self.accounts.rates(), io.now()) {
            let conn = io.conn(socket).map(ConnKey::index);
            tracing::info!(
                shard = io.shard(),
                conn,
                user = %Shown(&member.account.id),
                event = %Shown(event),
                "disconnected: too many wrong events"
            );
            io.disconnect(socket, true);
        }
    }

    /// The configuration is another one from now on.
    pub(in crate::chat) fn renew(&mut self, config: Arc<Config>) {
        self.config = config;
        if let Some(recovery) = &mut self.recovery {
            recovery.set_queue(self.config.limits.outbound_hard);
        }
        let timeout = self.config.limits.idle_timeout;
        if !timeout.is_zero() {
            // A longer one is seen when the shorter one has passed.
            for member in self.members.iter() {
                self.idle.set(member.key.index(), member.last_event + timeout);
            }
        }
    }

    /// Ends a socket that was idle for too long, or looks again when it will have been.
    pub(super) fn check_idle(&mut self, io: &mut Io<'_>, socket: SocketKey) {
        let Some(member) = self.members.get(socket) else { return };
        let timeout = self.config.limits.idle_timeout;
        if timeout.is_zero() {
            return;
        }
        let deadline = member.last_event + timeout;
        if deadline > io.now() {
            self.idle.set(socket.index(), deadline);
            return;
        }
        expel(io, socket, ChatError::new(Code::IdleTimeout, "no event within limits.idle_timeout; connect again"));
    }

    fn watch_expiry(&mut self, io: &Io<'_>, socket: SocketKey) {
        let Some(expires) = self.members.get(socket).and_then(|member| member.expires) else { return };
        let left = expires.saturating_sub(wall_clock());
        self.expiry.set(socket.index(), io.now() + left.min(EXPIRY_WAIT));
        self.clock.start(io.now());
    }

    /// Looks whether the wall clock was set forward, or the machine slept: then tokens end sooner than their deadlines say.
    pub(super) fn check_clock(&mut self, io: &Io<'_>) {
        if self.clock.has_jumped(io.now()) {
            for socket in self.members.keys().collect::<Vec<_>>() {
                self.watch_expiry(io, socket);
            }
        }
        if self.members.users() == 0 {
            self.clock.stop();
        }
    }

    /// Ends a socket whose token expired by the wall clock.
    pub(super) fn check_expiry(&mut self, io: &mut Io<'_>, socket: SocketKey) {
        let Some(expires) = self.members.get(socket).and_then(|member| member.expires) else { return };
        if expires > wall_clock() {
            self.watch_expiry(io, socket);
            return;
        }
        expel(io, socket, ChatError::new(Code::TokenExpired, "the token has expired; connect with a new one"));
    }
}

/// The refusal of a CONNECT.
pub(in crate::chat) fn unauthorized(code: &str) -> ConnectError {
    ConnectError { message: "unauthorized".to_owned(), data: Some(format!(r#"{{"code":"{code}"}}"#)) }
}

/// Says that a user's socket is connected, maybe one that it had before (`recovered`).
pub(super) fn log_connected(io: &Io<'_>, socket: SocketKey, account: &Account, recovered: bool) {
    let conn = io.conn(socket).map(ConnKey::index);
    tracing::debug!(shard = io.shard(), conn, user = %Shown(&account.id), recovered, "connected");
}

/// Says that a user's socket is gone, and why. An operator is to read of a client that could not keep up, and of a fault of ours.
fn log_disconnected(io: &Io<'_>, account: &Account, reason: DisconnectReason) {
    let (shard, user) = (io.shard(), Shown(&account.id));
    match reason {
        DisconnectReason::Engine(CloseReason::SlowConsumer) => {
            tracing::info!(shard, %user, %reason, "disconnected: the client reads too slowly");
        }
        DisconnectReason::Engine(CloseReason::Internal) => {
            tracing::error!(shard, %user, %reason, "disconnected: a fault of this server");
        }
        _ => tracing::debug!(shard, %user, %reason, "disconnected"),
    }
}

/// The ids of rooms, as a JSON array.
fn ids(rooms: &[Room]) -> String {
    let mut json = b"[".to_vec();
    for room in rooms {
        if json.len() > 1 {
            json.push(b',');
        }
        json::quote(room.id(), &mut json);
    }
    json.push(b']');
    String::from_utf8(json).unwrap_or_default()
}

/// Sends a socket the reason, and disconnects it.
pub(super) fn expel(io: &mut Io<'_>, socket: SocketKey, error: ChatError) {
    let _ = io.emit(socket, "error", &error.to_json(None), &[]);
    io.disconnect(socket, true);
}
