//! What runs on the home of a room: the shard that its name hashes to, which alone orders the room's messages, keeps them, and
//! knows who is in the room.
//!
//! Its state is [`Homes`]. It knows sockets by key only, and reaches them by `ToSocket` and `ToAll` of `shard_message`.
//!
//! | file | what it does |
//! |---|---|
//! | `homes` | the state: the rooms whose home is this shard, and the store of their messages |
//! | `message` | a message: stored, stamped, delivered, acknowledged |
//! | `history` | what `join` and `history` are answered |
//! | `presence` | who comes and goes, `presence`, and what the others are told |
//! | `occupants` | who is in one room |
//! | `page` | some messages in a row, as one answer |
//! | `stamps` | the ids and times that messages get |

mod history;
mod homes;
mod message;
mod occupants;
mod page;
mod presence;
mod stamps;

use socketio::Io;

pub(super) use homes::Homes;

use super::{
    reply::Reply,
    shard_message::{Asker, HomeRequest, LocalSockets, RoomQuery, ToHome, ToSocket, send_to_socket},
};
use crate::room::Room;

impl Homes {
    /// Deals with what a socket, on whatever shard, sent to the home of a room.
    pub(super) fn receive(&mut self, io: &mut Io<'_>, sockets: &mut dyn LocalSockets, message: ToHome) {
        let ToHome { room, request } = message;
        match request {
            HomeRequest::Enter { asker, entry, join } => {
                self.enter(io, sockets, &asker, &room, entry);
                if let Some(query) = join {
                    self.answer(io, sockets, &asker, &room, &query);
                }
            }
            HomeRequest::Leave { shard, account, left } => self.leave(io, sockets, shard, &account, &room, left),
            HomeRequest::Forget { account } => {
                self.forget(&account, &room);
            }
            HomeRequest::Query { asker, query } => self.answer(io, sockets, &asker, &room, &query),
            HomeRequest::Publish { asker, message } => self.publish(io, sockets, &asker, &room, &message.request()),
            HomeRequest::Broadcast(broadcast) => self.broadcast(io, sockets, &room, broadcast),
        }
    }

    /// Answers what a socket asks about a room; nobody waits for an answer without an `ack`.
    fn answer(
        &mut self,
        io: &mut Io<'_>,
        sockets: &mut dyn LocalSockets,
        asker: &Asker,
        room: &Room,
        query: &RoomQuery,
    ) {
        let Some(ack) = asker.ack else { return };
        let (event, reply) = match query {
            RoomQuery::Join { history, max_bytes } => ("join", self.joined(io.now(), room, *history, *max_bytes)),
            RoomQuery::History { page, max_bytes } => ("history", self.page(io.now(), room, page, *max_bytes)),
            RoomQuery::Presence { max_bytes } => ("presence", self.present(room, *max_bytes)),
        };
        let answer: Result<Reply, _> = Ok(reply);
        let answer =
            ToSocket::Answer { socket: asker.socket, event, ack, outcome: answer, expected: query.max_bytes() };
        send_to_socket(io, sockets, asker.shard, answer);
    }
}
