//! What runs on a socket's shard: from CONNECT to disconnect, what its client sends, and what homes answer.
//!
//! Its state is [`Sockets`]. It knows rooms by name only; who is in a room, and what was said there, is known at the room's
//! home, which it asks by [`ToHome`](super::shard_message::ToHome).
//!
//! | file | what it does |
//! |---|---|
//! | `sockets` | the state, and the way to the homes |
//! | `admission` | what a CONNECT brings |
//! | `session` | connecting, disconnecting, acknowledgements, `refresh` and expiry, idleness, strikes |
//! | `recovery` | clients that come back and claim their sessions |
//! | `rooms` | `join`, `leave`, the implicit join, and who may ask about a room |
//! | `questions`, `question_queue` | what is asked of homes, as fast as the client takes the answers |
//! | `message` | `message`, checked; and its delivery to the members that are here |
//! | `typing` | `typing`, and when it ends by itself |
//! | `presence` | users whose last socket was here, and broadcasts about users |
//! | `member` | one socket, and all of them |
//! | `administration` | what the API does to users |
//! | `deadlines` | when to look at a socket again |

mod administration;
mod admission;
mod deadlines;
mod member;
mod message;
mod presence;
mod question_queue;
mod questions;
mod recovery;
mod rooms;
mod session;
mod sockets;
mod typing;

use std::time::Instant;

use engineio::deadlines::soonest;
use socketio::{Io, RoomHandle};

pub(super) use administration::BANNED;
pub(super) use admission::Admission;
pub(super) use message::CheckedMessage;
pub(super) use recovery::Recovery;
pub(super) use session::{ConnectRefusal, unauthorized};
pub(super) use sockets::Sockets;

use super::shard_message::{Delivery, LocalSockets, ToAll, ToSocket};
use crate::store::{SavedSession, StoreError, Stored};

impl LocalSockets for Sockets {
    fn receive(&mut self, io: &mut Io<'_>, message: ToSocket) {
        match message {
            ToSocket::Entered { socket, room, entry, home, since, present } => {
                self.see(home, since);
                self.on_entered(io, socket, &room, entry, since, &present);
            }
            ToSocket::Answer { socket, event, ack, outcome, expected } => {
                self.answer(io, socket, event, ack, &outcome);
                if expected > 0 {
                    self.count_answer(socket, expected);
                    self.ask_waiting(io, socket);
                }
            }
            ToSocket::MakeRoom { account, index } => self.make_room(io, &account, index),
            ToSocket::Recovery(message) => self.receive_recovery(io, message),
        }
    }

    fn receive_session(&mut self, io: &mut Io<'_>, ticket: u64, session: Result<Option<SavedSession>, StoreError>) {
        self.on_session_found(io, ticket, session);
    }

    fn receive_all(&mut self, io: &mut Io<'_>, message: &ToAll) {
        match message {
            ToAll::Message { account, room, home, stored } => {
                let Stored { id, json, attachments } = &**stored;
                self.deliver(io, Delivery { account, room, home: *home, id: *id, json, attachments }, None);
            }
            ToAll::Deleted { room, ids, frames } => {
                if let Some(recovery) = &mut self.recovery {
                    recovery.hold_deleted(room, ids);
                }
                for frame in &**frames {
                    io.of("/").local().to(room.name()).emit_frame(frame);
                }
            }
            ToAll::UserBroadcast(broadcast) => self.broadcast(io, broadcast),
            ToAll::Quiet { room, quiet } => self.set_quiet(io, room, *quiet),
            ToAll::UserGone { account, past, frame } => self.announce_gone(io, account, past, frame),
        }
    }

    fn deliver_message(&mut self, io: &mut Io<'_>, delivery: Delivery<'_>, handle: Option<&RoomHandle>) {
        self.deliver(io, delivery, handle);
    }
}

impl Sockets {
    /// When [`Sockets::on_timeout`] or [`Sockets::next_gone`] is to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        soonest([
            self.idle.next(),
            self.expiry.next(),
            self.typing.next(),
            self.unasked.next(),
            self.gone.next(),
            self.resting.next(),
            self.clock.next(),
            self.next_expiry(),
        ])
    }

    /// Looks at the sockets whose time has come.
    pub(super) fn on_timeout(&mut self, io: &mut Io<'_>) {
        let now = io.now();
        self.check_clock(io);
        self.expire_sessions(now);
        while let Some(index) = self.unasked.pop_due(now) {
            if let Some(socket) = self.members.at(index) {
                self.ask_waiting(io, socket);
            }
        }
        while let Some(id) = self.resting.pop_due(now) {
            if let Some(deadline) = self.accounts.check_rested(&id, now) {
                self.resting.push(deadline, id);
            }
        }
        while let Some(index) = self.idle.pop_due(now) {
            if let Some(socket) = self.members.at(index) {
                self.check_idle(io, socket);
            }
        }
        while let Some(index) = self.expiry.pop_due(now) {
            if let Some(socket) = self.members.at(index) {
                self.check_expiry(io, socket);
            }
        }
        while let Some(index) = self.typing.pop_due(now) {
            if let Some(socket) = self.members.at(index) {
                self.end_typing_due(io, socket);
            }
        }
    }

    /// How many entries each collection has that must be empty without a client; counting takes the deadlines out.
    #[cfg(test)]
    pub(super) fn count_kept(&mut self, never: Instant) -> [(&'static str, usize); 11] {
        let count =
            |deadlines: &mut deadlines::SocketDeadlines| std::iter::from_fn(|| deadlines.pop_due(never)).count();
        [
            ("recovery", self.recovery.as_ref().map_or(0, |recovery| recovery.len())),
            ("members", self.members.iter().count()),
            ("users", self.members.users()),
            ("quiet", self.quiet.len()),
            ("for homes", std::iter::from_fn(|| self.next_for_home()).count()),
            ("idle", count(&mut self.idle)),
            ("expiry", count(&mut self.expiry)),
            ("typing", count(&mut self.typing)),
            ("unasked", count(&mut self.unasked)),
            ("resting", std::iter::from_fn(|| self.resting.pop_due(never)).count()),
            ("gone", std::iter::from_fn(|| self.gone.pop_due(never)).count()),
        ]
    }

    /// How many sockets still wait for answers to the entries of their CONNECT.
    #[cfg(test)]
    pub(super) fn snapshots(&self) -> usize {
        self.members.iter().filter(|member| member.snapshot.is_some()).count()
    }

    /// The ids of the users whose sockets are in a room.
    #[cfg(test)]
    pub(super) fn users_in(&self, room: &crate::room::Room) -> Vec<String> {
        let members = self.members.iter().filter(|member| member.rooms.iter().any(|joined| joined.room == *room));
        members.map(|member| member.account.id.to_string()).collect()
    }

    /// When the token of each socket expires ([`Member::expires`](member::Member)).
    #[cfg(test)]
    pub(super) fn expirations(&self) -> impl Iterator<Item = Option<std::time::Duration>> {
        self.members.iter().map(|member| member.expires)
    }
}
