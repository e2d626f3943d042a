//! From CONNECT to disconnect: tokens, users' sockets, acknowledgements, expiry, idleness, strikes.

use std::{sync::Arc, time::Duration};

use socketio::{AckId, Args, ConnectError, Io, SocketKey};

use super::{member::Member, sockets::Sockets};
use crate::{
    auth::{AuthError, Claims, Rooms},
    chat::{
        error::{ChatError, Code},
        reply::Reply,
        request,
        shard_message::HomeRequest,
        users::SocketReservation,
    },
    clock::wall_clock,
    room::Room,
};

/// How often tokens are held against the wall clock.
const CLOCK_CHECK: Duration = Duration::from_secs(60);

/// What a CONNECT with a valid token brings: its claims, and one of the sockets that its user may have.
#[derive(Debug)]
pub(crate) struct Admission {
    claims: Claims,
    reservation: SocketReservation,
}

impl Sockets {
    /// Checks the token of a CONNECT packet, and reserves a socket for its user.
    pub(in crate::chat) fn authorize(&self, auth: Option<&str>) -> Result<Admission, ConnectError> {
        let refuse = |code: &str| ConnectError {
            message: "unauthorized".to_owned(),
            data: Some(format!(r#"{{"code":"{code}"}}"#)),
        };
        let token = request::token(auth).ok_or(AuthError::Missing);
        let claims = token.and_then(|token| self.verifier.verify(&token, wall_clock())).map_err(|error| {
            tracing::debug!(code = error.code(), reason = %error, "CONNECT refused");
            refuse(error.code())
        })?;
        let reservation = self.accounts.reserve(&claims.sub).ok_or_else(|| refuse("too_many_connections"))?;
        Ok(Admission { claims, reservation })
    }

    /// A socket is connected: it belongs to its user, gets its deadlines, and enters its rooms.
    pub(in crate::chat) fn connect(&mut self, io: &mut Io<'_>, socket: SocketKey, admission: Admission) {
        let (now, claims) = (io.now(), admission.claims);
        // A reservation is taken once.
        let Some(account) = admission.reservation.take() else { return };
        let mut member = Member::new(socket, account, now);
        member.renew(&claims, self.config.rooms.default_access, self.config.auth.leeway);
        self.members.insert(member);
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

    /// An event of the socket arrived; `false` when there is no such socket.
    pub(in crate::chat) fn touch(&mut self, io: &Io<'_>, socket: SocketKey) -> bool {
        let Some(member) = self.members.get_mut(socket) else { return false };
        member.last_event = io.now();
        true
    }

    /// `refresh`, a new token for the same user: its claims count from now on. Rooms that were joined stay joined.
    pub(in crate::chat) fn on_refresh(
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
        let member = self.members.get_mut(socket).filter(|member| *member.account.id == *claims.sub);
        let member = member.ok_or(ChatError::new(Code::InvalidPayload, "the token is another user's"))?;
        member.renew(&claims, self.config.rooms.default_access, self.config.auth.leeway);
        self.watch_expiry(io, socket);
        self.enter_listed(io, socket, claims.rooms);
        // As the token says it: `1900000000`, or `1900000000.5`.
        Ok(Reply::from(claims.exp.map(|exp| format!(r#","exp":{}"#, exp.as_secs_f64())).unwrap_or_default()))
    }

    /// Enters the rooms that a token names, until the socket has as many as it may have.
    fn enter_listed(&mut self, io: &mut Io<'_>, socket: SocketKey, rooms: Option<Rooms>) {
        for room in rooms.into_iter().flat_map(|rooms| rooms.ids) {
            if self.joined(socket, &room).is_none() && self.may_enter_another(socket) {
                self.enter(io, socket, &Room::new(&room), None);
            }
        }
    }

    /// A socket is gone. Its user stays for `presence.grace`, so that a reload of the page is not announced.
    pub(in crate::chat) fn disconnect(&mut self, io: &mut Io<'_>, socket: SocketKey) {
        self.end_all_typing(io, socket);
        let Some(member) = self.members.remove(socket) else { return };
        let account = member.account;
        let rooms = member.rooms.iter().map(|joined| &joined.room);
        let departure = self.accounts.depart(&account, rooms, io.now());
        if let Some(deadline) = departure.look_at {
            self.gone.push(deadline, Arc::clone(&account.id));
        }
        let shard = io.shard();
        for joined in member.rooms {
            self.homes.send(io, joined.room, HomeRequest::Leave { shard, account: Arc::clone(&account), left: None });
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
            self.strike(io, socket);
        }
    }

    fn strike(&mut self, io: &mut Io<'_>, socket: SocketKey) {
        let now = io.now();
        let Some(member) = self.members.get_mut(socket) else { return };
        if member.strikes.get_or_insert_default().add(now, self.config.limits.strikes) {
            tracing::info!(user = ?member.account.id, "disconnected: too many wrong events");
            io.disconnect(socket, true);
        }
    }

    /// Ends a socket that was idle for too long, or looks again when it will have been.
    pub(super) fn check_idle(&mut self, io: &mut Io<'_>, socket: SocketKey) {
        let Some(member) = self.members.get(socket) else { return };
        let deadline = member.last_event + self.config.limits.idle_timeout;
        if deadline > io.now() {
            self.idle.set(socket.index(), deadline);
            return;
        }
        expel(io, socket, ChatError::new(Code::IdleTimeout, "no event for too long"));
    }

    fn watch_expiry(&mut self, io: &Io<'_>, socket: SocketKey) {
        let Some(expires) = self.members.get(socket).and_then(|member| member.expires) else { return };
        let left = expires.saturating_sub(wall_clock());
        // Tokens end by the wall clock, which may be set forward, or go on while the machine sleeps.
        self.expiry.set(socket.index(), io.now() + left.min(CLOCK_CHECK));
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

/// Sends a socket the reason, and disconnects it.
fn expel(io: &mut Io<'_>, socket: SocketKey, error: ChatError) {
    let _ = io.emit(socket, "error", &error.to_json(None), &[]);
    io.disconnect(socket, true);
}
