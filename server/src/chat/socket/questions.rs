//! Questions to homes whose answers may be long: `history`, `presence`, and the history that comes with `join`.
//!
//! A client decides how fast it asks, and its connection how fast it takes the answers. An answer is built only when the queue of
//! the connection has room for the longest that it may become; until then the question waits here. So the server's own answers
//! never make a client a slow one, and a client that asks for much and reads little costs its questions, not the answers.

use std::time::Duration;

use socketio::{AckId, Io, SocketKey};

use super::{question_queue::Waiting, sockets::Sockets};
use crate::{
    chat::{
        error::ChatError,
        shard_message::{HomeRequest, RoomQuery},
        users::Question,
    },
    room::Room,
};

/// How many questions of one socket may wait, of all kinds together. `limits.question_rate` allows 200 of each kind at once, but a client
/// that has so many under way asks faster than it reads.
const WAITING: usize = 128;

/// How often a socket that does not take its answers is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

impl Sockets {
    /// Counts a question of the socket's user.
    pub(super) fn count_question(&self, io: &Io<'_>, socket: SocketKey, question: Question) -> Result<(), ChatError> {
        let Some(member) = self.members.get(socket) else { return Ok(()) };
        member.account.take_question(&self.accounts.rates(), io.now(), question).map_err(ChatError::rate_limited)
    }

    /// What the next answer may weigh, in bytes. A quarter of the queue is left to what its rooms send.
    fn answer_room(&self, io: &mut Io<'_>, socket: SocketKey) -> usize {
        let room = io.send_room(socket);
        let under_way = self.members.get(socket).and_then(|member| member.questions.as_ref());
        let taken = under_way.map_or(0, |questions| questions.under_way) + self.config.limits.outbound_hard / 4;
        room.saturating_sub(taken)
    }

    /// Asks a room's home, now or when the socket can take the answer.
    ///
    /// # Errors
    /// Too many of the socket's questions wait already.
    pub(super) fn ask(
        &mut self,
        io: &mut Io<'_>,
        socket: SocketKey,
        room: Room,
        query: RoomQuery,
        ack: AckId,
    ) -> Result<(), ChatError> {
        let Some(member) = self.members.get_mut(socket) else { return Ok(()) };
        let questions = member.questions.get_or_insert_default();
        if questions.waiting.len() >= WAITING {
            return Err(ChatError::rate_limited(LOOK_AGAIN));
        }
        questions.waiting.push_back(Waiting { room, query, ack });
        self.ask_waiting(io, socket);
        Ok(())
    }

    /// Says what the history that comes with a `join` may weigh. It cannot wait, for it belongs to the moment at which the socket
    /// enters the room. So it is shorter when much is under way: a client that joins many rooms at once gets something of each,
    /// and sees by `more` where it has to ask.
    pub(super) fn reserve_answer(&mut self, io: &mut Io<'_>, socket: SocketKey, query: &mut RoomQuery) {
        if query.max_bytes() == 0 {
            return;
        }
        let room = self.answer_room(io, socket);
        let Some(member) = self.members.get_mut(socket) else { return };
        let questions = member.questions.get_or_insert_default();
        if let RoomQuery::Join { history: Some(_), max_bytes } = query {
            *max_bytes = (*max_bytes).min(if questions.under_way > 0 { room / 8 } else { room });
        }
        questions.under_way += query.max_bytes();
    }

    /// An answer came that might have weighed so much.
    pub(super) fn count_answer(&mut self, socket: SocketKey, expected: usize) {
        let Some(member) = self.members.get_mut(socket) else { return };
        if let Some(questions) = &mut member.questions {
            questions.under_way = questions.under_way.saturating_sub(expected);
        }
    }

    /// Asks homes what the socket can take the answers of.
    pub(super) fn ask_waiting(&mut self, io: &mut Io<'_>, socket: SocketKey) {
        let next = |sockets: &Self| {
            let questions = sockets.members.get(socket)?.questions.as_ref()?;
            questions.waiting.front().map(|next| next.query.max_bytes())
        };
        while let Some(weight) = next(self) {
            let room = self.answer_room(io, socket);
            let Some(member) = self.members.get_mut(socket) else { return };
            let Some(questions) = &mut member.questions else { return };
            if weight > room {
                if questions.under_way == 0 {
                    self.unasked.set(socket.index(), io.now() + LOOK_AGAIN);
                }
                return;
            }
            let Some(Waiting { room, query, ack }) = questions.waiting.pop_front() else { return };
            questions.under_way += weight;
            if let Some(asker) = self.asker(io, socket, Some(ack)) {
                self.homes.send(io, room, HomeRequest::Query { asker, query });
            }
        }
        if let Some(member) = self.members.get_mut(socket) {
            member.questions.take_if(|questions| questions.is_done());
        }
    }
}
