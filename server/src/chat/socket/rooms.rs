//! `join`, `leave`, entering a room by sending to it, and asking about a room.

use std::{borrow::Cow, sync::Arc};

use socketio::{AckId, Args, Io, SocketKey};

use super::{member::Joined, sockets::Sockets};
use crate::{
    chat::{
        error::{ChatError, Code},
        reply::{Outcome, Reply, longest_answer},
        request,
        shard_message::{Entry, HomeRequest, RoomQuery},
        users::{Account, Question},
    },
    room::{LOBBY, Room},
    store::Position,
};

const FORBIDDEN: ChatError = ChatError::new(Code::RoomForbidden, "the token does not open this room");

impl Sockets {
    /// Whether the socket has fewer rooms than it may. The lobby does not count: nobody chose to be there.
    pub(super) fn may_enter_another(&self, socket: SocketKey) -> bool {
        let limit = self.config.limits.rooms_per_socket;
        let has_lobby = self.config.rooms.lobby;
        let counts = |joined: &&Joined| !(has_lobby && joined.room.id() == LOBBY);
        let member = self.members.get(socket);
        member.is_some_and(|member| limit == 0 || member.rooms.iter().filter(counts).count() < limit)
    }

    /// The room with this id, if the socket is in it.
    pub(super) fn joined(&self, socket: SocketKey, room: &str) -> Option<Room> {
        self.members.get(socket)?.joined(room).cloned()
    }

    /// Lets the socket into a room if its token does, with the query that it has there, if any.
    pub(super) fn admit(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        room: &str,
        join: Option<(RoomQuery, Option<AckId>)>,
    ) -> Result<Room, ChatError> {
        if let Some(joined) = self.joined(socket, room) {
            if let Some((query, Some(ack))) = join {
                self.ask(io, socket, joined.clone(), query, ack)?;
            }
            return Ok(joined);
        }
        let lobby = self.config.rooms.lobby && room == LOBBY;
        if !lobby && !self.members.get(socket).is_some_and(|member| member.access.allows(room)) {
            return Err(FORBIDDEN);
        }
        if !lobby && !self.may_enter_another(socket) {
            let message =
                "the socket is in as many rooms as limits.rooms_per_socket allows; leave one before joining another";
            return Err(ChatError::new(Code::TooManyRooms, message));
        }
        let room = Room::new(room);
        self.enter(io, socket, &room, join);
        Ok(room)
    }

    /// The room whose history or presence a socket asks for: one that it is in, or may enter.
    fn readable<'a>(&self, socket: SocketKey, room: Option<Cow<'a, str>>) -> Result<Cow<'a, str>, ChatError> {
        let room = match room {
            Some(room) => room,
            None if self.config.rooms.lobby => Cow::Borrowed(LOBBY),
            None => return Err(ChatError::new(Code::InvalidPayload, "there is no lobby: roomId is missing")),
        };
        let lobby = self.config.rooms.lobby && room == LOBBY;
        let allows = |room| {
            let member = self.members.get(socket);
            member.is_some_and(|member| member.joined(room).is_some() || member.access.allows(room))
        };
        if lobby || allows(&room) { Ok(room) } else { Err(FORBIDDEN) }
    }

    /// Sends a socket into a room that it may enter. It is a member when the home has answered: from then on it gets what
    /// is sent there, and what came before is in the history.
    pub(super) fn enter(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        room: &Room,
        join: Option<(RoomQuery, Option<AckId>)>,
    ) {
        // Without an acknowledgement nobody waits for the answer, which costs far more than the question.
        let (mut join, ack) = join.map_or((None, None), |(query, ack)| (ack.is_some().then_some(query), ack));
        if let Some(query) = &mut join {
            self.reserve_answer(io, socket, query);
        }
        let Some(asker) = self.asker(io, socket, ack) else { return };
        let Some(member) = self.members.get_mut(socket) else { return };
        let session = member.session_id();
        // A session that the store does not know yet begins with the rooms that it has.
        let connects = member.session.as_ref().is_some_and(|session| !session.saved) && join.is_none();
        let entry = Entry { number: member.enter(room.clone()), session, connects };
        self.homes.send(io, room.clone(), HomeRequest::Enter { asker, entry, join });
    }

    /// The home has let the socket in, and says who is there.
    pub(super) fn on_entered(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        room: &Room,
        entry: u32,
        since: Position,
        present: &[Arc<Account>],
    ) {
        let listed = self.members.get(socket).is_some_and(|member| member.is_listed(entry));
        // A client that joins many rooms at once is not to be cut for what it is told there: half of the queue is left to the rest.
        // What it is told at CONNECT is bounded as it is, and goes out in one write with the rest.
        let max_bytes = if listed || present.is_empty() {
            usize::MAX
        } else {
            io.send_room(socket).saturating_sub(self.config.limits.outbound_hard / 2)
        };
        let Some(member) = self.members.get_mut(socket) else { return };
        // It may have left meanwhile.
        if member.set_entered(room, entry, since) {
            io.join(socket, room.name());
            member.tell_present(entry, present, max_bytes, |status| {
                // A newcomer that is gone already needs no snapshot.
                let _ = io.emit(socket, "userStatus", &status, &[]);
            });
        }
        member.count_answered(entry);
        self.save_session(socket);
    }

    /// `join`: the home answers.
    pub(in crate::chat) fn on_join(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        args: &Args<'_>,
        ack: Option<AckId>,
    ) -> Result<Outcome, ChatError> {
        self.count_question(io, socket, Question::Join)?;
        let request = request::join(args)?;
        let query = RoomQuery::Join { history: request.history, max_bytes: longest_answer(&self.config.limits) };
        self.admit(io, socket, &request.room, Some((query, ack)))?;
        Ok(Outcome::Asked)
    }

    /// `history`: the home answers.
    pub(in crate::chat) fn on_history(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        args: &Args<'_>,
        ack: Option<AckId>,
    ) -> Result<Outcome, ChatError> {
        self.count_question(io, socket, Question::History)?;
        let request = request::history(args)?;
        let room = self.readable(socket, request.room)?;
        if let Some(ack) = ack {
            let query = RoomQuery::History { page: request.page, max_bytes: longest_answer(&self.config.limits) };
            self.ask(io, socket, Room::new(&room), query, ack)?;
        }
        Ok(Outcome::Asked)
    }

    /// `presence`: the home answers.
    pub(in crate::chat) fn on_presence(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        args: &Args<'_>,
        ack: Option<AckId>,
    ) -> Result<Outcome, ChatError> {
        self.count_question(io, socket, Question::Presence)?;
        let room = self.readable(socket, request::presence(args)?)?;
        if let Some(ack) = ack {
            self.ask(
                io,
                socket,
                Room::new(&room),
                RoomQuery::Presence { max_bytes: longest_answer(&self.config.limits) },
                ack,
            )?;
        }
        Ok(Outcome::Asked)
    }

    /// `leave`: the socket is out at once, and the home hears of it.
    pub(in crate::chat) fn on_leave(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        args: &Args<'_>,
    ) -> Result<Reply, ChatError> {
        self.count_question(io, socket, Question::Leave)?;
        let room = request::leave(args)?;
        let Some(room) = self.joined(socket, &room) else {
            return Err(ChatError::new(Code::RoomForbidden, "the socket is not in this room"));
        };
        self.take_out(io, socket, room);
        Ok(Reply::default())
    }

    /// Takes a socket out of a room.
    fn take_out(&mut self, io: &mut Io<'_>, socket: SocketKey, room: Room) {
        let now = io.now();
        self.end_typing_in(io, socket, &room);
        io.leave(socket, room.name());
        let Some(member) = self.members.get_mut(socket) else { return };
        member.rooms.retain(|joined| joined.room != room);
        let account = Arc::clone(&member.account);
        let forgotten = self.accounts.leave(&account, &room, now);
        let session = member.session_id();
        let leave = HomeRequest::Leave { shard: io.shard(), account: Arc::clone(&account), left: Some(now), session };
        self.homes.send(io, room, leave);
        self.forget_rooms(io, &account, forgotten);
    }

    /// Takes a socket out of the rooms that its token does not open any more, and returns their ids.
    pub(super) fn leave_closed(&mut self, io: &mut Io<'_>, socket: SocketKey) -> Vec<Room> {
        let has_lobby = self.config.rooms.lobby;
        let Some(member) = self.members.get(socket) else { return Vec::new() };
        let open = |room: &Room| (has_lobby && room.id() == LOBBY) || member.access.allows(room.id());
        let rooms = member.rooms.iter().map(|joined| &joined.room);
        let closed: Vec<Room> = rooms.filter(|room| !open(room)).cloned().collect();
        for room in &closed {
            self.take_out(io, socket, room.clone());
        }
        closed
    }

    /// Has the homes of rooms forget a user who went out of them long ago.
    pub(super) fn forget_rooms(&mut self, io: &mut Io<'_>, account: &Arc<Account>, rooms: Vec<Room>) {
        for room in rooms {
            self.homes.send(io, room, HomeRequest::Forget { account: Arc::clone(account) });
        }
    }
}
