//! From CONNECT to disconnect: tokens, users' sockets, expiry, idleness, strikes.

use std::{sync::Arc, time::Duration};

use smallvec::SmallVec;
use socketio::{AckId, Args, ConnectError, Io, SocketKey};

use super::{
    Admission, Chat, Reply,
    error::{ChatError, Code},
    member::{Access, Member},
    post::Post,
    request,
};
use crate::auth::{AuthError, Rooms};
use crate::clock::wall_clock;
use crate::room::Room;

/// How often tokens are held against the wall clock.
const CLOCK_CHECK: Duration = Duration::from_secs(60);

impl Chat {
    /// The claims of a CONNECT packet's token, if they open the door and its user has a socket free.
    pub(super) fn check_token(&self, auth: Option<&str>) -> Result<Admission, ConnectError> {
        let refuse = |code: &str| ConnectError {
            message: "unauthorized".to_owned(),
            data: Some(format!(r#"{{"code":"{code}"}}"#)),
        };
        let token = request::token(auth).ok_or(AuthError::Missing);
        let claims = token.and_then(|token| self.verifier.verify(&token, wall_clock())).map_err(|error| {
            tracing::debug!(code = error.code(), reason = %error, "CONNECT refused");
            refuse(error.code())
        })?;
        let seat = self.shared.accounts.reserve(&claims.sub).ok_or_else(|| refuse("too_many_connections"))?;
        Ok(Admission { claims, seat })
    }

    /// Takes a socket in: its user, its deadlines, its rooms.
    pub(super) fn connect(&mut self, io: &mut Io<'_>, socket: SocketKey, admission: Admission) {
        let (now, claims) = (io.now(), admission.claims);
        // A seat is taken once.
        let Some(account) = admission.seat.take() else { return };
        account.rename(&claims.name);
        self.users.entry(Arc::clone(&account.id)).or_default().push(socket);
        let leeway = self.config.auth.leeway;
        let member = Member {
            key: socket,
            account,
            access: Access::of(claims.rooms.as_ref(), self.config.rooms.default_access),
            rooms: SmallVec::new(),
            entries: 0,
            typing: Vec::new(),
            last_event: now,
            strikes: None,
            expires: claims.exp.map(|exp| Duration::from_secs(exp).saturating_add(leeway)),
        };
        let index = socket.index() as usize;
        if self.members.len() <= index {
            self.members.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.members.get_mut(index) {
            *slot = Some(member);
        }
        if !self.config.limits.idle_timeout.is_zero() {
            self.idle.set(socket.index(), now + self.config.limits.idle_timeout);
        }
        self.watch_expiry(io, socket);
        if self.config.rooms.lobby {
            let lobby = self.lobby.clone();
            self.enter(io, socket, &lobby, None);
        }
        self.enter_listed(io, socket, claims.rooms);
    }

    /// A new token for the same user: its claims count from now on. Rooms that were joined stay joined.
    pub(super) fn on_refresh(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        args: &Args<'_>,
    ) -> Result<Reply, ChatError> {
        let token = request::refresh(args)?;
        let claims = self.verifier.verify(&token, wall_clock()).map_err(|error| match error {
            AuthError::Expired => ChatError::new(Code::TokenExpired, "the token has expired"),
            _ => ChatError::new(Code::InvalidPayload, "the token is not valid"),
        })?;
        let (leeway, default) = (self.config.auth.leeway, self.config.rooms.default_access);
        if self.member(socket).is_none_or(|member| *member.account.id != *claims.sub) {
            return Err(ChatError::new(Code::InvalidPayload, "the token is another user's"));
        }
        if let Some(member) = self.member(socket) {
            member.account.rename(&claims.name);
            member.access = Access::of(claims.rooms.as_ref(), default);
            member.expires = claims.exp.map(|exp| Duration::from_secs(exp).saturating_add(leeway));
        }
        self.watch_expiry(io, socket);
        self.enter_listed(io, socket, claims.rooms);
        Ok(Reply::from(claims.exp.map(|exp| format!(r#","exp":{exp}"#)).unwrap_or_default()))
    }

    /// Joins the rooms a token names; of more than a socket may be in, as many.
    fn enter_listed(&mut self, io: &mut Io<'_>, socket: SocketKey, rooms: Option<Rooms>) {
        for room in rooms.into_iter().flat_map(|rooms| rooms.ids) {
            if self.joined(socket, &room).is_none() && self.may_enter_another(socket) {
                self.enter(io, socket, &Room::new(&room), None);
            }
        }
    }

    /// Lets a socket go. Its user stays for the grace, so that a reload is not announced.
    pub(super) fn disconnect(&mut self, io: &mut Io<'_>, socket: SocketKey) {
        self.end_all_typing(io, socket);
        let Some(member) = self.members.get_mut(socket.index() as usize).and_then(Option::take) else { return };
        let account = member.account;
        if let Some(sockets) = self.users.get_mut(&account.id) {
            sockets.retain(|of| *of != socket);
            if sockets.is_empty() {
                self.users.remove(&account.id);
            }
        }
        let rooms = member.rooms.iter().map(|joined| &joined.room);
        let departure = self.shared.accounts.depart(&account, rooms, io.now());
        if let Some(deadline) = departure.look_at {
            self.grace.push(deadline, Arc::clone(&account.id));
        }
        let shard = io.shard();
        for joined in member.rooms {
            let post = Post::Leave { shard, account: Arc::clone(&account), room: joined.room.clone(), left: None };
            self.deliver_home(io, &joined.room, post);
        }
        self.forget_rooms(io, &account, departure.forgotten);
    }

    /// Acknowledges an event, or says what was wrong with it: in the acknowledgement, or without one as `error`.
    pub(super) fn answer(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        event: &str,
        ack: Option<AckId>,
        outcome: &Result<Reply, ChatError>,
    ) {
        // What cannot be sent now is a connection that is closing: there is nobody to tell.
        match (outcome, ack) {
            (Ok(_), None) => {}
            (Ok(Reply { members, attachments }), Some(id)) => {
                let _ = io.ack(socket, id, &format!(r#"{{"ok":true{members}}}"#), attachments);
            }
            (Err(error), Some(id)) => {
                let _ = io.ack(socket, id, &format!(r#"{{"ok":false,"error":{}}}"#, error.to_json(None)), &[]);
            }
            (Err(error), None) => {
                let _ = io.emit(socket, "error", &error.to_json(Some(event)), &[]);
            }
        }
        if let Err(error) = outcome
            && error.code.is_strike()
        {
            self.strike(io, socket);
        }
    }

    fn strike(&mut self, io: &mut Io<'_>, socket: SocketKey) {
        let limit = self.config.limits.strikes;
        let now = io.now();
        let Some(member) = self.member(socket) else { return };
        if member.strikes.get_or_insert_default().add(now, limit) {
            tracing::info!(user = ?member.account.id, "disconnected: too many wrong events");
            io.disconnect(socket, true);
        }
    }

    /// Ends a socket that was idle for too long, or looks again when it will have been.
    pub(super) fn check_idle(&mut self, io: &mut Io<'_>, socket: SocketKey) {
        let (now, limit) = (io.now(), self.config.limits.idle_timeout);
        let Some(member) = self.member(socket) else { return };
        let deadline = member.last_event + limit;
        if deadline > now {
            self.idle.set(socket.index(), deadline);
            return;
        }
        let error = ChatError::new(Code::IdleTimeout, "no event for too long");
        self.expel(io, socket, error);
    }

    fn watch_expiry(&mut self, io: &Io<'_>, socket: SocketKey) {
        let Some(expires) = self.member(socket).and_then(|member| member.expires) else { return };
        let left = expires.saturating_sub(wall_clock());
        // Tokens end by the wall clock, which may be set forward, or go on while the machine sleeps.
        self.expiry.set(socket.index(), io.now() + left.min(CLOCK_CHECK));
    }

    /// Ends a socket whose token expired by the wall clock.
    pub(super) fn check_expiry(&mut self, io: &mut Io<'_>, socket: SocketKey) {
        let Some(expires) = self.member(socket).and_then(|member| member.expires) else { return };
        if expires > wall_clock() {
            self.watch_expiry(io, socket);
            return;
        }
        self.expel(io, socket, ChatError::new(Code::TokenExpired, "the token has expired; connect with a new one"));
    }

    fn expel(&mut self, io: &mut Io<'_>, socket: SocketKey, error: ChatError) {
        let _ = io.emit(socket, "error", &error.to_json(None), &[]);
        io.disconnect(socket, true);
    }
}
