//! `typing` and `userTyping`: who is writing, and when that ends by itself.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};
use socketio::{Args, Io, SocketKey, json, parser::encode};

use super::{member::Typing, sockets::Sockets};
use crate::{
    chat::{
        error::{ChatError, Code},
        reply::Reply,
        request,
        shard_message::{HomeRequest, UserBroadcast},
        users::Account,
    },
    room::Room,
};

impl Sockets {
    /// `typing`. A key that is held down repeats `true`: that is free, tells nobody anything, and puts the end off. `false` is
    /// never refused, so that the others do not go on reading that somebody types.
    pub(in crate::chat) fn on_typing(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        args: &Args<'_>,
    ) -> Result<Reply, ChatError> {
        let request = request::typing(args)?;
        let room = match request.room {
            None => None,
            Some(room) => Some(
                self.joined(socket, &room)
                    .ok_or(ChatError::new(Code::RoomForbidden, "the socket is not in this room"))?,
            ),
        };
        let (now, room) = (io.now(), room.as_ref());
        let Some(member) = self.members.get_mut(socket) else { return Ok(Reply::default()) };
        let was_typing = member.is_typing(room, now);
        // An end needs none: there is at most one for each beginning. One that ends nothing is like a beginning.
        let paid = if was_typing { Ok(()) } else { member.account.take_typing(&self.accounts.rates(), now) };
        if request.is_typing {
            paid.map_err(ChatError::rate_limited)?;
            let until = now + self.config.typing.timeout;
            member.set_typing(room, Some(until));
            self.typing.set(socket.index(), until);
        } else {
            member.set_typing(room, None);
        }
        let repeated = was_typing && request.is_typing;
        if paid.is_ok() && !repeated {
            self.announce_typing(io, socket, room, request.is_typing);
        }
        Ok(Reply::default())
    }

    /// Whether a refusal is to be told by the event `error`. Of `typing` sent too often, one a second is enough.
    pub(super) fn tells_refusal(&mut self, io: &Io<'_>, socket: SocketKey, event: &str, error: &ChatError) -> bool {
        if event != "typing" || error.code != Code::RateLimited {
            return true;
        }
        let now = io.now();
        self.members.get_mut(socket).is_some_and(|member| member.tell_typing_refusal(now))
    }

    /// A room has become too large for the typing of those who name no room. Its members hear no more of it, so it ends, in their other
    /// rooms too. Whoever goes on typing begins again there, which has a rate: a room whose size goes up and down costs no more.
    pub(super) fn end_typing_in_quiet(&mut self, io: &mut Io<'_>, room: &Room) {
        let now = io.now();
        // Whoever types has a deadline. To look at all sockets each time would let a client that joins and leaves keep the shard busy.
        let sockets: Vec<SocketKey> = self.typing.indexes().filter_map(|index| self.members.at(index)).collect();
        for socket in sockets {
            let Some(member) = self.members.get_mut(socket) else { continue };
            // A socket that has two deadlines types no more when it comes again.
            if member.joined(room.id()).is_none() || !member.is_typing(None, now) {
                continue;
            }
            member.set_typing(None, None);
            let mut rooms = self.small_rooms(socket);
            rooms.push(room.clone());
            self.tell_typing(io, socket, &rooms, None, (false, true));
        }
    }

    /// The socket's rooms that are not too large for presence.
    fn small_rooms(&self, socket: SocketKey) -> SmallVec<[Room; 2]> {
        let rooms = self.members.get(socket).into_iter().flat_map(|member| &member.rooms).map(|joined| &joined.room);
        rooms.filter(|room| !self.quiet.contains(*room)).cloned().collect()
    }

    /// Tells the other users of a room, or of all rooms of the socket that are small enough.
    fn announce_typing(&mut self, io: &mut Io<'_>, socket: SocketKey, room: Option<&Room>, is_typing: bool) {
        // In the other rooms nobody would hear of it, and the typing of all their members would pass through one home.
        let rooms = room.map_or_else(|| self.small_rooms(socket), |room| smallvec![room.clone()]);
        self.tell_typing(io, socket, &rooms, room, (is_typing, room.is_some()));
    }

    /// Tells the other users of some rooms, of which the client may have named one. `everywhere`: those that are too large for presence
    /// too.
    fn tell_typing(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        rooms: &[Room],
        named: Option<&Room>,
        (is_typing, everywhere): (bool, bool),
    ) {
        let Some(member) = self.members.get(socket) else { return };
        let account = Arc::clone(&member.account);
        // It goes through a home even where all shards are to hear of it. Sent from here, it would overtake the home's answer to a
        // socket whose CONNECT was answered but which is not in the lobby yet. Of several rooms the lobby is the first.
        let Some(first) = rooms.first().cloned() else { return };
        let mut payload = format!(r#"{{{},"isTyping":{is_typing}"#, **account.fields()).into_bytes();
        if let Some(room) = named {
            payload.extend_from_slice(br#","roomId":"#);
            json::quote(room.id(), &mut payload);
        }
        payload.push(b'}');
        let payload = String::from_utf8(payload).unwrap_or_default();
        let frame = encode::event("/", None, "userTyping", &payload, &[]);
        let broadcast = UserBroadcast { account, rooms: rooms.into(), named: everywhere, frame };
        self.homes.send(io, first, HomeRequest::Broadcast(broadcast));
    }

    /// Ends the typing of a socket that `ends` selects, and tells the others.
    fn end_typing(&mut self, io: &mut Io<'_>, socket: SocketKey, ends: impl Fn(&Typing) -> bool) {
        let Some(member) = self.members.get_mut(socket) else { return };
        for typing in member.end_typing(ends) {
            self.announce_typing(io, socket, typing.room.as_ref(), false);
        }
    }

    /// Ends the typing of a socket whose time has come.
    pub(super) fn end_typing_due(&mut self, io: &mut Io<'_>, socket: SocketKey) {
        let now = io.now();
        self.end_typing(io, socket, |typing| typing.until <= now);
        let typing = self.members.get(socket).into_iter().flat_map(|member| member.typing());
        if let Some(until) = typing.map(|typing| typing.until).min() {
            self.typing.set(socket.index(), until);
        }
    }

    /// Ends all typing of a socket.
    pub(super) fn end_all_typing(&mut self, io: &mut Io<'_>, socket: SocketKey) {
        self.end_typing(io, socket, |_| true);
    }

    /// Ends a socket's typing in this room. Typing in all rooms ends in all: a receiver cannot know which of the rooms that it
    /// shares with the user is meant.
    pub(super) fn end_typing_in(&mut self, io: &mut Io<'_>, socket: SocketKey, room: &Room) {
        self.end_typing(io, socket, |typing| typing.room.as_ref().is_none_or(|of| of == room));
    }

    /// A message was sent to `room`: its user has finished writing there, on whichever socket that was said.
    pub(super) fn end_typing_of_user(&mut self, io: &mut Io<'_>, account: &Account, room: &Room) {
        // Each user who types has a deadline; mostly there is none.
        if self.typing.next().is_none() {
            return;
        }
        let sockets: SmallVec<[SocketKey; 4]> = self.members.of_user(&account.id).into();
        for socket in sockets {
            self.end_typing_in(io, socket, room);
        }
    }
}
