//! `join`, `leave`, and entering a room by sending to it.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use socketio::{Args, Io, SocketKey, json, parser::attachments};

use super::{
    Chat, Reply,
    error::{ChatError, Code},
    request, room_name,
    user::Presence,
};
use crate::store::Stored;

/// The most attachments one packet may carry to official clients.
const ATTACHMENTS: usize = 10;

/// The most JSON of one page of history, in bytes.
const PAGE_BYTES: usize = 256 * 1024;

/// Above this many rooms a user's past ones are forgotten.
const REMEMBERED_ROOMS: usize = 1000;

const FORBIDDEN: ChatError = ChatError::new(Code::RoomForbidden, "the token does not open this room");

impl Chat {
    pub(super) fn may_enter_another(&mut self, socket: SocketKey) -> bool {
        let limit = self.config.limits.rooms_per_socket;
        self.member(socket).is_some_and(|member| limit == 0 || member.rooms.len() < limit)
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
        let lobby = self.config.rooms.lobby && room == super::LOBBY;
        if !lobby && !self.member(socket).is_some_and(|member| member.access.allows(room)) {
            return Err(FORBIDDEN);
        }
        if !self.may_enter_another(socket) {
            return Err(ChatError::new(Code::TooManyRooms, "leave a room before joining another"));
        }
        let room: Arc<str> = room.into();
        self.enter(io, socket, &room);
        Ok(room)
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
        let mut first = true;
        let announce = match user.rooms.iter_mut().find(|presence| presence.room == *room) {
            Some(presence) => {
                first = presence.sockets == 0;
                presence.sockets += 1;
                presence.left.take().is_some_and(|left| now.duration_since(left) >= again)
            }
            None => {
                // Rooms whose last socket went without `leave` stay, for the end to be told there; not without bound.
                if user.rooms.len() >= REMEMBERED_ROOMS {
                    user.rooms.retain(|presence| presence.sockets > 0);
                }
                user.rooms.push(Presence { room: Arc::clone(room), sockets: 1, left: None });
                true
            }
        };
        if first {
            *self.occupancy.entry(Arc::clone(room)).or_default() += 1;
        }
        self.welcome(io, socket, room, announce);
    }

    /// One socket of the user less in a room; `left` is when it left by its own wish.
    pub(super) fn count_out(&mut self, user: &str, room: &Arc<str>, left: Option<Instant>) {
        let rooms = self.users.get_mut(user).map(|user| &mut user.rooms);
        let Some(presence) = rooms.into_iter().flatten().find(|presence| presence.room == *room) else { return };
        presence.sockets = presence.sockets.saturating_sub(1);
        if presence.sockets > 0 {
            return;
        }
        presence.left = left;
        if let Some(users) = self.occupancy.get_mut(room) {
            *users = users.saturating_sub(1);
            if *users == 0 {
                self.occupancy.remove(room);
            }
        }
    }

    pub(super) fn on_join(&mut self, io: &mut Io<'_>, socket: SocketKey, args: &Args<'_>) -> Result<Reply, ChatError> {
        let request = request::join(args)?;
        let room = self.admit(io, socket, &request.room)?;
        let mut members = br#","roomId":"#.to_vec();
        json::quote(&room, &mut members);
        let users = self.occupancy.get(&room).copied().unwrap_or_default();
        members.extend_from_slice(format!(r#","members":{users}"#).as_bytes());
        let mut reply = Reply::from(String::from_utf8(members).unwrap_or_default());
        if let Some(wanted) = request.history {
            let (messages, attachments) = page(self.store.newest(&room).take(wanted));
            reply.members.push_str(&format!(r#","messages":{messages}"#));
            reply.attachments = attachments;
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

/// A page of messages, given newest first, as a JSON array oldest first, with the attachments of all of them.
fn page<'a>(newest: impl Iterator<Item = &'a Stored>) -> (String, Vec<Bytes>) {
    let (mut chosen, mut bytes, mut binary, mut lookalike) = (Vec::new(), 0, 0, false);
    for stored in newest {
        bytes += stored.json.len() + 1;
        binary += stored.attachments.len();
        lookalike |= stored.attachments.is_empty() && attachments::has_placeholders(&stored.json);
        // Data that looks like a placeholder would be taken for one of the other messages' attachments.
        if !chosen.is_empty() && (bytes > PAGE_BYTES || binary > ATTACHMENTS || (lookalike && binary > 0)) {
            break;
        }
        chosen.push(stored);
    }
    let (mut text, mut all) = (String::from("["), Vec::new());
    for stored in chosen.into_iter().rev() {
        if text.len() > 1 {
            text.push(',');
        }
        if all.is_empty() || stored.attachments.is_empty() {
            text.push_str(&stored.json);
        } else {
            text.push_str(&attachments::renumber(&stored.json, all.len()));
        }
        all.extend(stored.attachments.iter().cloned());
    }
    text.push(']');
    (text, all)
}
