//! `join`, `leave`, and entering a room by sending to it.

use std::{borrow::Cow, sync::Arc, time::Instant};

use socketio::{AckId, Args, Io, SocketKey, json};

use super::{
    Chat, LOBBY, Occupancy, Reply,
    error::{ChatError, Code},
    history::Page,
    request, room_name,
    user::Presence,
};

pub(super) const FORBIDDEN: ChatError = ChatError::new(Code::RoomForbidden, "the token does not open this room");

impl Chat {
    /// Whether the socket has fewer rooms than it may. The lobby does not count: nobody chose to be there.
    pub(super) fn may_enter_another(&mut self, socket: SocketKey) -> bool {
        let limit = self.config.limits.rooms_per_socket;
        let has_lobby = self.config.rooms.lobby;
        let counts = |room: &Arc<str>| !(has_lobby && **room == *LOBBY);
        self.member(socket)
            .is_some_and(|member| limit == 0 || member.rooms.iter().filter(|room| counts(room)).count() < limit)
    }

    /// The room's shared name, if the socket is in it.
    pub(super) fn joined(&mut self, socket: SocketKey, room: &str) -> Option<Arc<str>> {
        self.member(socket)?.rooms.iter().find(|joined| ***joined == *room).cloned()
    }

    /// Lets the socket into a room if its token does; the room's shared name.
    pub(super) fn admit(&mut self, io: &mut Io<'_>, socket: SocketKey, room: &str) -> Result<Arc<str>, ChatError> {
        if let Some(joined) = self.joined(socket, room) {
            return Ok(joined);
        }
        let lobby = self.config.rooms.lobby && room == LOBBY;
        if !lobby && !self.member(socket).is_some_and(|member| member.access.allows(room)) {
            return Err(FORBIDDEN);
        }
        if !lobby && !self.may_enter_another(socket) {
            return Err(ChatError::new(Code::TooManyRooms, "leave a room before joining another"));
        }
        let room: Arc<str> = room.into();
        self.enter(io, socket, &room);
        Ok(room)
    }

    /// The room whose history and presence a socket asks for: one it is in, or may enter.
    pub(super) fn readable<'a>(
        &mut self,
        socket: SocketKey,
        room: Option<Cow<'a, str>>,
    ) -> Result<Cow<'a, str>, ChatError> {
        let room = match room {
            Some(room) => room,
            None if self.config.rooms.lobby => Cow::Borrowed(LOBBY),
            None => return Err(ChatError::new(Code::InvalidPayload, "there is no lobby: roomId is missing")),
        };
        let lobby = self.config.rooms.lobby && room == LOBBY;
        let allowed = lobby || self.joined(socket, &room).is_some();
        if allowed || self.member(socket).is_some_and(|member| member.access.allows(&room)) {
            Ok(room)
        } else {
            Err(FORBIDDEN)
        }
    }

    /// Puts a socket into a room it may enter. The newcomer is told who is there, and they of the newcomer.
    pub(super) fn enter(&mut self, io: &mut Io<'_>, socket: SocketKey, room: &Arc<str>) {
        let (now, again) = (io.now(), self.config.presence.grace);
        if !io.join(socket, &room_name(room)) {
            return;
        }
        let Some(member) = self.member(socket) else { return };
        member.rooms.push(Arc::clone(room));
        let Some(user) = self.user_of(socket) else { return };
        let id = Arc::clone(&user.id);
        let mut forgotten = Vec::new();
        let mut first = true;
        let announce = match user.rooms.iter_mut().find(|presence| presence.room == *room) {
            Some(presence) => {
                first = presence.sockets == 0;
                presence.sockets += 1;
                presence.left.take().is_some_and(|left| now.duration_since(left) >= again)
            }
            None => {
                forgotten = user.forget_rooms(now, again);
                user.rooms.push(Presence { room: Arc::clone(room), sockets: 1, left: None });
                true
            }
        };
        for room in &forgotten {
            self.occupy(room, |occupancy| {
                occupancy.away.remove(&id);
            });
        }
        if first {
            self.occupy(room, |occupancy| {
                occupancy.users += 1;
                occupancy.away.remove(&id);
            });
        }
        self.welcome(io, socket, room, announce);
    }

    /// One socket of the user less in a room; `left` is when it left by its own wish.
    pub(super) fn count_out(&mut self, user: &Arc<str>, room: &Arc<str>, left: Option<Instant>) {
        let rooms = self.users.get_mut(&**user).map(|user| &mut user.rooms);
        let Some(presence) = rooms.into_iter().flatten().find(|presence| presence.room == *room) else { return };
        presence.sockets = presence.sockets.saturating_sub(1);
        if presence.sockets > 0 {
            return;
        }
        presence.left = left;
        self.occupy(room, |occupancy| {
            occupancy.users = occupancy.users.saturating_sub(1);
            if left.is_none() {
                occupancy.away.insert(Arc::clone(user));
            }
        });
    }

    /// Changes what is known of a room; one that nobody is in is forgotten.
    pub(super) fn occupy(&mut self, room: &Arc<str>, change: impl FnOnce(&mut Occupancy)) {
        let occupancy = self.occupancy.entry(Arc::clone(room)).or_default();
        change(occupancy);
        if occupancy.users == 0 && occupancy.away.is_empty() {
            self.occupancy.remove(room);
        }
    }

    /// How many users have a socket in the room.
    pub(super) fn users(&self, room: &str) -> usize {
        self.occupancy.get(room).map_or(0, |occupancy| occupancy.users)
    }

    pub(super) fn on_join(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        args: &Args<'_>,
        ack: Option<AckId>,
    ) -> Result<Reply, ChatError> {
        let request = request::join(args)?;
        let room = self.admit(io, socket, &request.room)?;
        let mut members = br#","roomId":"#.to_vec();
        json::quote(&room, &mut members);
        members.extend_from_slice(format!(r#","members":{}"#, self.users(&room)).as_bytes());
        let mut reply = Reply::from(String::from_utf8(members).unwrap_or_default());
        if let Some(wanted) = request.history.filter(|_| ack.is_some()) {
            self.store.expire(io.now());
            let page = Page::newest(self.store.between(&room, None, None), wanted);
            reply.members.push_str(&format!(r#","messages":{}"#, page.messages));
            reply.attachments = page.attachments;
        }
        Ok(reply)
    }

    pub(super) fn on_leave(&mut self, io: &mut Io<'_>, socket: SocketKey, args: &Args<'_>) -> Result<Reply, ChatError> {
        let room = request::leave(args)?;
        let now = io.now();
        let Some(room) = self.joined(socket, &room) else {
            return Err(ChatError::new(Code::RoomForbidden, "the socket is not in this room"));
        };
        self.end_typing_in(io, socket, &room);
        io.leave(socket, &room_name(&room));
        if let Some(member) = self.member(socket) {
            member.rooms.retain(|joined| *joined != room);
        }
        let user = self.member(socket).map(|member| Arc::clone(&member.user)).unwrap_or_default();
        self.count_out(&user, &room, Some(now));
        Ok(Reply::default())
    }
}
