//! Sessions of connected sockets, and of those whose connection ended.

use std::{sync::Arc, time::Instant};

use socketio::{DisconnectReason, Io, SocketKey};

use crate::{
    chat::{
        recovery::{Pid, Session},
        socket::{
            member::{Joined, Member, MemberSession},
            sockets::Sockets,
        },
    },
    room::Room,
    store::{Position, SessionChange, SessionId},
};

impl Sockets {
    /// Everything that a home has sent up to this position has arrived.
    pub(in crate::chat::socket) fn see(&mut self, home: u16, since: Position) {
        if let Some(recovery) = &mut self.recovery {
            recovery.seen.raise(home, since);
        }
    }

    /// Tells the store of a socket's session, once it knows all rooms that the socket entered at CONNECT.
    pub(in crate::chat::socket) fn save_session(&mut self, socket: SocketKey) {
        let (Some(recovery), Some(member)) = (&self.recovery, self.members.get_mut(socket)) else { return };
        let is_complete = member.snapshot.is_none() && member.rooms.iter().all(|joined| joined.since.is_some());
        let Some(session) = member.session.as_mut().filter(|_| is_complete) else { return };
        if !std::mem::replace(&mut session.saved, true) {
            let (sid, user) = (session.id.to_string().into(), Arc::clone(&member.account.id));
            let Pid { session, secret } = session.pid;
            recovery.save(SessionChange::Began { session, secret, sid, user });
        }
    }

    /// A connection has ended. The client may come back, unless one side has ended the socket by its own wish. Returns the session if it
    /// is over.
    pub(in crate::chat::socket) fn keep_session(
        &mut self,
        io: &Io<'_>,
        member: &Member,
        reason: DisconnectReason,
    ) -> Option<SessionId> {
        let session = member.session.as_ref()?;
        let pid = session.pid;
        let kept = matches!(reason, DisconnectReason::Engine(_)).then(|| self.session_of(io, member, session));
        let recovery = self.recovery.as_mut()?;
        let Some(kept) = kept else {
            recovery.end(pid.session);
            return Some(pid.session);
        };
        recovery.keep(pid, &member.account.id, kept, io.now());
        None
    }

    /// The session of a socket.
    pub(super) fn session_of(&self, io: &Io<'_>, member: &Member, session: &MemberSession) -> Session {
        let seen = self.recovery.as_ref().map(|recovery| &recovery.seen);
        // Where a home has not answered, the socket needs what this shard has not heard of.
        let unanswered = |room: &Room| seen.map_or(Position::START, |seen| seen.get(self.homes.of(room, io.shards())));
        let since = |joined: &Joined| joined.since.unwrap_or_else(|| unanswered(&joined.room));
        let rooms = member.rooms.iter().map(|joined| (joined.room.clone(), since(joined))).collect();
        Session { id: session.id.clone(), rooms, saved: session.saved }
    }

    /// When [`Sockets::expire_sessions`] is to be called.
    pub(in crate::chat::socket) fn next_expiry(&self) -> Option<Instant> {
        self.recovery.as_ref()?.expiry
    }

    /// Forgets the sessions that can be claimed no longer.
    pub(in crate::chat::socket) fn expire_sessions(&mut self, now: Instant) {
        let Some(recovery) = &mut self.recovery else { return };
        if recovery.expiry.is_some_and(|expiry| expiry <= now) {
            while let Some(session) = recovery.sessions.next_expired(now) {
                recovery.save(SessionChange::Ended(session));
            }
            recovery.expiry = recovery.sessions.next_expiry();
        }
    }
}
