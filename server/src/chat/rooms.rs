//! `join`, `leave`, and entering a room by sending to it.

use std::{borrow::Cow, sync::Arc};

use socketio::{AckId, Args, Io, SocketKey, json};

use super::{
    Chat, Outcome, Reply,
    accounts::Account,
    error::{ChatError, Code},
    history::Page,
    home::Home,
    member::Joined,
    post::{Post, Question},
    request,
};
use crate::room::{LOBBY, Room};

pub(super) const FORBIDDEN: ChatError = ChatError::new(Code::RoomForbidden, "the token does not open this room");

impl Chat {
    /// Whether the socket has fewer rooms than it may. The lobby does not count: nobody chose to be there.
    pub(super) fn may_enter_another(&mut self, socket: SocketKey) -> bool {
        let limit = self.config.limits.rooms_per_socket;
        let has_lobby = self.config.rooms.lobby;
        let counts = |joined: &&Joined| !(has_lobby && joined.room.id() == LOBBY);
        self.member(socket).is_some_and(|member| limit == 0 || member.rooms.iter().filter(counts).count() < limit)
    }

    /// The room, if the socket is in it.
    pub(super) fn joined(&mut self, socket: SocketKey, room: &str) -> Option<Room> {
        self.member(socket)?.rooms.iter().map(|joined| &joined.room).find(|joined| joined.id() == room).cloned()
    }

    /// Lets the socket into a room if its token does, with the question that it has there, if any.
    pub(super) fn admit(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        room: &str,
        join: Option<(Question, Option<AckId>)>,
    ) -> Result<Room, ChatError> {
        if let Some(joined) = self.joined(socket, room) {
            if let Some((question, ack)) = join {
                self.ask(io, socket, &joined, question, ack);
            }
            return Ok(joined);
        }
        let lobby = self.config.rooms.lobby && room == LOBBY;
        if !lobby && !self.member(socket).is_some_and(|member| member.access.allows(room)) {
            return Err(FORBIDDEN);
        }
        if !lobby && !self.may_enter_another(socket) {
            return Err(ChatError::new(Code::TooManyRooms, "leave a room before joining another"));
        }
        let room = Room::new(room);
        self.enter(io, socket, &room, join);
        Ok(room)
    }

    /// Asks a room's home, unless nobody waits for the answer: it costs far more than the question.
    pub(super) fn ask(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        room: &Room,
        question: Question,
        ack: Option<AckId>,
    ) {
        if ack.is_some()
            && let Some(asker) = self.asker(io, socket, ack)
        {
            self.deliver_home(io, room, Post::Ask { asker, room: room.clone(), question });
        }
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

    /// Takes a socket to a room it may enter. It is a member when the home has answered: from then on it gets what is
    /// sent there, and what came before is in the history.
    pub(super) fn enter(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        room: &Room,
        join: Option<(Question, Option<AckId>)>,
    ) {
        let (join, ack) = join.map_or((None, None), |(question, ack)| (Some(question), ack));
        let Some(asker) = self.asker(io, socket, ack) else { return };
        let Some(member) = self.member(socket) else { return };
        member.entries = member.entries.wrapping_add(1);
        let entry = member.entries;
        member.rooms.push(Joined { room: room.clone(), entry });
        self.deliver_home(io, room, Post::Enter { asker, room: room.clone(), entry, join });
    }

    /// The home took the socket in, and says who is there.
    pub(super) fn on_entered(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        room: &Room,
        entry: u32,
        present: &[String],
    ) {
        let rooms = self.member(socket).map(|member| &member.rooms);
        // It may have left meanwhile, or be gone.
        if !rooms.into_iter().flatten().any(|joined| joined.entry == entry && joined.room == *room) {
            return;
        }
        io.join(socket, room.name());
        for status in present {
            // A newcomer that is gone already needs no snapshot.
            let _ = io.emit(socket, "userStatus", status, &[]);
        }
    }

    pub(super) fn on_join(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        args: &Args<'_>,
        ack: Option<AckId>,
    ) -> Result<Outcome, ChatError> {
        let request = request::join(args)?;
        let question = Question::Join { history: request.history };
        self.admit(io, socket, &request.room, Some((question, ack)))?;
        Ok(Outcome::Asked)
    }

    /// What the home of a room answers to `join`.
    pub(super) fn joined_reply(&mut self, io: &Io<'_>, room: &Room, history: Option<usize>) -> Reply {
        let mut members = br#","roomId":"#.to_vec();
        json::quote(room.id(), &mut members);
        let users = self.homes.get(room).map_or(0, Home::present);
        members.extend_from_slice(format!(r#","members":{users}"#).as_bytes());
        let mut reply = Reply::from(String::from_utf8(members).unwrap_or_default());
        if let Some(wanted) = history {
            self.store.expire(io.now());
            let page = Page::newest(self.store.between(room, None, None), wanted);
            reply.members.push_str(&format!(r#","messages":{}"#, page.messages));
            reply.attachments = page.attachments;
        }
        reply
    }

    pub(super) fn on_leave(&mut self, io: &mut Io<'_>, socket: SocketKey, args: &Args<'_>) -> Result<Reply, ChatError> {
        let room = request::leave(args)?;
        let now = io.now();
        let Some(room) = self.joined(socket, &room) else {
            return Err(ChatError::new(Code::RoomForbidden, "the socket is not in this room"));
        };
        self.end_typing_in(io, socket, &room);
        io.leave(socket, room.name());
        let Some(member) = self.member(socket) else { return Ok(Reply::default()) };
        member.rooms.retain(|joined| joined.room != room);
        let account = Arc::clone(&member.account);
        let forgotten = self.shared.accounts.leave(&account, &room, now);
        let post =
            Post::Leave { shard: io.shard(), account: Arc::clone(&account), room: room.clone(), left: Some(now) };
        self.deliver_home(io, &room, post);
        self.forget_rooms(io, &account, forgotten);
        Ok(Reply::default())
    }

    /// Has the homes of rooms forget a user who went out of them long ago.
    pub(super) fn forget_rooms(&mut self, io: &mut Io<'_>, account: &Arc<Account>, rooms: Vec<Room>) {
        for room in rooms {
            self.deliver_home(io, &room, Post::Forget { account: Arc::clone(account), room: room.clone() });
        }
    }
}
