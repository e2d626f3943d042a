//! `typing` and `userTyping`: who is writing, and when that ends by itself.

use std::sync::Arc;

use smallvec::{SmallVec, smallvec};
use socketio::{Args, Io, SocketKey, json, parser::encode};

use super::{
    Chat, Reply,
    accounts::Account,
    error::{ChatError, Code},
    member::Typing,
    post::{Post, Tell},
    request,
};
use crate::room::Room;

impl Chat {
    pub(super) fn on_typing(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        args: &Args<'_>,
    ) -> Result<Reply, ChatError> {
        let config = Arc::clone(&self.config);
        if let Some(member) = self.member(socket) {
            member.account.typing(&config.limits).take().map_err(ChatError::rate_limited)?;
        }
        let request = request::typing(args)?;
        let room = match request.room {
            None => None,
            Some(room) => Some(
                self.joined(socket, &room)
                    .ok_or(ChatError::new(Code::RoomForbidden, "the socket is not in this room"))?,
            ),
        };
        if let Some(member) = self.member(socket) {
            member.typing.retain(|typing| typing.room != room);
            if request.is_typing {
                let until = io.now() + config.typing.timeout;
                member.typing.push(Typing { room: room.clone(), until });
                self.typing.set(socket.index(), until);
            }
        }
        self.tell_typing(io, socket, room.as_ref(), request.is_typing);
        Ok(Reply::default())
    }

    /// Tells the other users of a room, or of all rooms of the socket that are small enough.
    fn tell_typing(&mut self, io: &mut Io<'_>, socket: SocketKey, room: Option<&Room>, is_typing: bool) {
        let Some(member) = self.member(socket) else { return };
        let account = Arc::clone(&member.account);
        let mut rooms: SmallVec<[Room; 2]> = match room {
            Some(room) => smallvec![room.clone()],
            None => member.rooms.iter().map(|joined| joined.room.clone()).collect(),
        };
        // Nobody would be told in the others, and all their members' typing would go by one home.
        rooms.retain(|of| room.is_some() || self.announces(of));
        let mut payload = format!(r#"{{{},"isTyping":{is_typing}"#, **account.fields()).into_bytes();
        if let Some(room) = room {
            payload.extend_from_slice(br#","roomId":"#);
            json::quote(room.id(), &mut payload);
        }
        payload.push(b'}');
        let payload = String::from_utf8(payload).unwrap_or_default();
        let frame = encode::event("/", None, "userTyping", &payload, &[]);
        let tell = Tell { account, rooms: rooms.as_slice().into(), named: room.is_some(), frame };
        // By a home even where all shards are to hear of it, or it overtakes the home's answer to a socket that is on its way
        // in although its CONNECT was answered. Of several rooms the first, which is the lobby: there that can be.
        if let Some(first) = tell.rooms.first().cloned() {
            self.deliver_home(io, &first, Post::Relay(tell));
        }
    }

    /// Ends what of a socket's typing `ends`, and says so.
    fn end_typing(&mut self, io: &mut Io<'_>, socket: SocketKey, ends: impl Fn(&Typing) -> bool) {
        let Some(member) = self.member(socket) else { return };
        let (ended, lasting) = std::mem::take(&mut member.typing).into_iter().partition(|typing| ends(typing));
        member.typing = lasting;
        let ended: Vec<Typing> = ended;
        for typing in ended {
            self.tell_typing(io, socket, typing.room.as_ref(), false);
        }
    }

    pub(super) fn end_typing_due(&mut self, io: &mut Io<'_>, socket: SocketKey) {
        let now = io.now();
        self.end_typing(io, socket, |typing| typing.until <= now);
        let next = self.member(socket).and_then(|member| member.typing.iter().map(|typing| typing.until).min());
        if let Some(until) = next {
            self.typing.set(socket.index(), until);
        }
    }

    pub(super) fn end_all_typing(&mut self, io: &mut Io<'_>, socket: SocketKey) {
        self.end_typing(io, socket, |_| true);
    }

    /// Ends what of a socket's typing the room was told of. What was told to all rooms ends in all: a receiver cannot know
    /// in which of the rooms it shares with the user.
    pub(super) fn end_typing_in(&mut self, io: &mut Io<'_>, socket: SocketKey, room: &Room) {
        self.end_typing(io, socket, |typing| typing.room.as_ref().is_none_or(|of| of == room));
    }

    /// A message was sent to `room`: its user has finished writing there, on whichever socket that was said.
    pub(super) fn end_typing_of_user(&mut self, io: &mut Io<'_>, account: &Account, room: &Room) {
        // Whoever types has an alarm; mostly nobody does.
        if self.typing.next().is_none() {
            return;
        }
        let sockets = self.users.get(&account.id).cloned().unwrap_or_default();
        for socket in sockets {
            self.end_typing_in(io, socket, room);
        }
    }
}
