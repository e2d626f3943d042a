//! What runs on the home of a room: the shard that its name hashes to, which alone orders the room's messages, keeps them, and
//! knows who is in the room.
//!
//! Its state is [`Homes`]. It knows sockets by key only, and reaches them by `ToSocket` and `ToAll` of `shard_message`.
//!
//! | file | what it does |
//! |---|---|
//! | `homes` | the state: the rooms whose home is this shard, and the store of their messages |
//! | `message` | a message: stored, stamped, delivered, acknowledged |
//! | `awaited` | what a home waits for from a store that answers later |
//! | `history` | what `join` and `history` are answered |
//! | `recovery` | clients that come back, and what the store is told of sessions |
//! | `presence` | who comes and goes, `presence`, and what the others are told |
//! | `occupants` | who is in one room |
//! | `page` | some messages in a row, as one answer |
//! | `administration` | what the API asks |
//! | `stamps` | the ids and times that messages get |

mod administration;
mod awaited;
mod history;
mod homes;
mod message;
mod occupants;
mod page;
mod presence;
mod recovery;
mod stamps;

use socketio::Io;

pub(super) use awaited::refusal;
use awaited::{Item, PageQuestion, Settled, Waiter};
use history::WantedPage;
use homes::HomeStore;
pub(super) use homes::Homes;
pub(super) use page::Page;
use recovery::Readmission;

use super::{
    reply::Reply,
    shard_message::{
        Asker, HomeRequest, LocalSockets, RecoveryMessage, RoomQuery, Sender, ToHome, ToSocket, send_to_socket,
    },
};
use crate::{room::Room, store::Answer};

impl Homes {
    /// Deals with what a socket, on whatever shard, sent to the home of a room.
    pub(super) fn receive(&mut self, io: &mut Io<'_>, sockets: &mut dyn LocalSockets, message: ToHome) {
        let ToHome { room, request } = message;
        match request {
            HomeRequest::Enter { asker, entry, join } => {
                // Told first: the store is to know the rooms of a session before the session itself.
                let saved = self.save_entry(io, sockets, &asker, &room, entry, join.as_ref());
                self.enter(io, sockets, &asker, &room, entry);
                if let (true, Some(query)) = (saved, join) {
                    self.answer(io, sockets, &asker, &room, &query);
                }
            }
            HomeRequest::Readmit { shard, ticket, account, rooms, max_bytes } => {
                self.readmit(io, sockets, Readmission { shard, ticket, account, rooms, max_bytes });
            }
            HomeRequest::Leave { shard, account, left, session } => {
                self.leave(io, sockets, shard, &account, &room, left);
                self.save_leave(session, room);
            }
            HomeRequest::Forget { account } => {
                self.forget(&account, &room);
            }
            HomeRequest::Query { asker, query } => self.answer(io, sockets, &asker, &room, &query),
            HomeRequest::Publish { asker, message } => {
                self.publish(io, sockets, &Sender::Socket(asker), &room, &message.request());
            }
            HomeRequest::Broadcast(broadcast) => self.broadcast(io, sockets, &room, broadcast),
        }
    }

    /// Deals with an answer of a store that answers later.
    pub(super) fn receive_stored(&mut self, io: &mut Io<'_>, sockets: &mut dyn LocalSockets, answer: Answer) {
        match answer {
            Answer::Appended(outcomes) => self.receive_appended(io, sockets, outcomes),
            Answer::Saved { ticket } => {
                let HomeStore::Elsewhere(awaited) = &mut self.store else { return };
                if let Some(waiter) = awaited.settle_saved(ticket) {
                    self.send_settled(io, sockets, waiter);
                }
            }
            // These are for the shard that a client came back to.
            Answer::Session { ticket, session } => sockets.receive_session(io, ticket, session),
            Answer::Missed { ticket, home, missed } => {
                sockets.receive(io, ToSocket::Recovery(RecoveryMessage::Missed { ticket, home, missed }));
            }
            Answer::Page { ticket, page } => {
                let HomeStore::Elsewhere(awaited) = &mut self.store else { return };
                if let Some(waiter) = awaited.settle_page(ticket, page) {
                    self.send_settled(io, sockets, waiter);
                }
                while let HomeStore::Elsewhere(awaited) = &mut self.store
                    && let Some(waiter) = awaited.next_unread()
                {
                    self.send_settled(io, sockets, waiter);
                }
            }
        }
    }

    /// Sends a socket what is settled in its line.
    fn send_settled(&mut self, io: &mut Io<'_>, sockets: &mut dyn LocalSockets, waiter: Waiter) {
        let HomeStore::Elsewhere(awaited) = &mut self.store else { return };
        while let Some(settled) = awaited.next(io.shard(), waiter) {
            if let Some(message) = settled.into_message(waiter) {
                send_to_socket(io, sockets, waiter.shard, message);
            }
        }
    }

    /// Puts something at the end of a socket's line. With `look` the line may be able to go on at once.
    fn push(&mut self, io: &mut Io<'_>, sockets: &mut dyn LocalSockets, waiter: Waiter, item: Item, look: bool) {
        let HomeStore::Elsewhere(awaited) = &mut self.store else { return };
        match awaited.push(waiter, item) {
            Ok(()) if look => self.send_settled(io, sockets, waiter),
            Ok(()) => {}
            Err(refused) => {
                if let Some(message) = refused.into_message(waiter) {
                    send_to_socket(io, sockets, waiter.shard, message);
                }
            }
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
        let (event, head, page) = match query {
            RoomQuery::Join { history, max_bytes } => {
                let page = history.map(|wanted| self.joined_page(wanted, *max_bytes));
                ("join", self.joined_head(room), page)
            }
            RoomQuery::History { page, max_bytes } => {
                ("history", String::new(), Some(WantedPage::of(page, *max_bytes)))
            }
            RoomQuery::Presence { max_bytes } => ("presence", self.present(room, *max_bytes), None),
        };
        let expected = query.max_bytes();
        let awaited = match &mut self.store {
            HomeStore::Elsewhere(awaited) => awaited,
            HomeStore::Here(store) => {
                let reply = match page {
                    Some(page) => page.read(store, io.now(), room, head),
                    None => Reply::from(head),
                };
                let (socket, ack, outcome) = (asker.socket, Some(ack), Ok(reply));
                let answer = ToSocket::Answer { socket, event, ack, outcome, expected };
                return send_to_socket(io, sockets, asker.shard, answer);
            }
        };
        let item = match page {
            None => Item::Settled(Settled { event, ack: Some(ack), outcome: Ok(Reply::from(head)), expected }),
            Some(WantedPage { after, before, side, limit }) => {
                // A socket that joins is a member from here on: what comes next is delivered to it.
                let until = matches!(query, RoomQuery::Join { .. }).then_some(awaited.position());
                let room = room.clone();
                let question = PageQuestion { event, ack, head, room, after, before, until, side, limit, expected };
                Item::Question { question, listed: false }
            }
        };
        self.push(io, sockets, Waiter::of(asker), item, true);
    }
}
