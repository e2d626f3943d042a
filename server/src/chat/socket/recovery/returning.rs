//! [`Returning`]: a client that comes back, until its claim is decided.

use std::sync::Arc;

use engineio::ConnKey;
use smallvec::SmallVec;
use socketio::{PendingConnect, adapter::EventData};
use uuid::Uuid;

use crate::{
    chat::{
        deleted::{MESSAGE_DELETED, message_deleted},
        recovery::{Pid, Positions, Session},
        socket::admission::Admission,
        users::Account,
    },
    room::Room,
    store::{Missed, MissedEvents, Position, StoreError, Stored},
};

/// What a frame takes beside the arguments of its event, or beside its attachment: names, headers, its place in the queue.
const FRAME_COST: usize = 64;

/// A client that comes back.
#[derive(Debug)]
pub(super) struct Returning {
    pub(super) pending: PendingConnect,
    pub(super) conn: ConnKey,
    pub(super) admission: Admission,
    pub(super) account: Arc<Account>,
    pub(super) pid: Pid,
    pub(super) offset: Option<Positions>,
    pub(super) session: Option<Session>,
    /// How many shards are still to say whether they have the session.
    pub(super) unanswered: usize,
    pub(super) homes: SmallVec<[ReturningHome; 2]>,
    /// What came since the homes have answered.
    held: Vec<ReturnedEvent>,
    held_bytes: usize,
}

/// What is sent to a client that has come back.
#[derive(Debug)]
pub(super) enum ReturnedEvent {
    /// A message, and the home of its room.
    Message(u16, Stored),
    /// A message of a room was deleted.
    Deleted(Room, Uuid),
}

/// Some of its rooms, which have one home.
#[derive(Debug)]
pub(super) struct ReturningHome {
    pub(super) home: u16,
    pub(super) rooms: Vec<Room>,
    /// Up to where the home has sent messages. `None` until it has answered.
    pub(super) since: Option<Position>,
    /// Users who are there.
    pub(super) present: Vec<Vec<Arc<Account>>>,
    pub(super) missed: Option<Result<Missed, StoreError>>,
}

impl Returning {
    pub(super) fn new(
        (pending, conn): (PendingConnect, ConnKey),
        admission: Admission,
        account: Arc<Account>,
        pid: Pid,
        offset: Option<Positions>,
        session: Option<Session>,
    ) -> Self {
        let (homes, held) = (SmallVec::new(), Vec::new());
        Self { pending, conn, admission, account, pid, offset, session, unanswered: 0, homes, held, held_bytes: 0 }
    }

    pub(super) fn part(&mut self, home: u16) -> Option<&mut ReturningHome> {
        self.homes.iter_mut().find(|part| part.home == home)
    }

    /// Keeps an event for the client. Of more than it may be sent nothing is kept: it gets a new socket.
    pub(super) fn hold(&mut self, event: ReturnedEvent, max_bytes: usize) {
        self.held_bytes += match &event {
            ReturnedEvent::Message(_, stored) => stored.len(),
            ReturnedEvent::Deleted(room, _) => FRAME_COST + room.id().len(),
        };
        if self.held_bytes <= max_bytes {
            self.held.push(event);
        } else {
            self.held = Vec::new();
        }
    }

    /// What the client missed, as events. `None` when some of it is not known, or all of it is too much.
    ///
    /// Offsets of other homes than today's are of an earlier run, of which the last message is at `begun`. Of that run's messages all are
    /// here, in order. So up to there such an offset goes on, with each message for all of its homes: offsets of today's homes would say
    /// less than the client has in rooms where it missed nothing. From there on, it has all before `begun` in all of its rooms.
    pub(super) fn take_missed(&mut self, shards: u16, begun: Position, max_bytes: usize) -> Option<Vec<EventData>> {
        let mut missed = Vec::new();
        for part in &mut self.homes {
            let MissedEvents { messages, deleted } = part.missed.take()?.ok()??;
            let message = |stored: Stored| (Position::of(stored.id), ReturnedEvent::Message(part.home, stored));
            missed.extend(messages.into_iter().map(message));
            missed.extend(deleted.into_iter().map(|of| (of.after, ReturnedEvent::Deleted(of.room, of.id))));
        }
        // Of each home in its order, which is all that the offsets ask for. Sorted over all of them it is the order of time. A deletion comes
        // before the messages from after it: whoever has one of these is taken to have heard of it.
        missed.sort_by_key(|(position, event)| (*position, matches!(event, ReturnedEvent::Deleted(..))));
        if self.held_bytes > max_bytes {
            return None;
        }
        let mut has = self.offset.clone().unwrap_or_else(|| Positions::new(shards));
        let mut is_of_earlier_homes = has.homes() != shards;
        let mut bytes = 0;
        let event = |event: ReturnedEvent| {
            let event = match event {
                ReturnedEvent::Message(home, stored) => {
                    let at = Position::of(stored.id);
                    if is_of_earlier_homes && at > begun {
                        is_of_earlier_homes = false;
                        has = Positions::new(shards);
                        has.raise_all(begun);
                    }
                    if is_of_earlier_homes {
                        has.raise_all(at);
                    } else {
                        has.raise(home, at);
                    }
                    as_event(stored, &has)
                }
                ReturnedEvent::Deleted(room, id) => deletion(&room, id),
            };
            bytes += event_bytes(&event);
            // With many homes, offsets may be longer than messages.
            (bytes <= max_bytes).then_some(event)
        };
        missed.into_iter().map(|(_, event)| event).chain(self.held.drain(..)).map(event).collect()
    }
}

/// As an event with this offset.
fn as_event(Stored { json, attachments, .. }: Stored, offset: &Positions) -> EventData {
    let mut args = String::with_capacity(json.len() + 32);
    args.push_str(&json);
    args.push_str(",\"");
    offset.write(&mut args);
    args.push('"');
    EventData { name: "message".to_owned(), args, attachments: attachments.into_vec() }
}

/// The event of a deletion, which has no offset.
fn deletion(room: &Room, id: Uuid) -> EventData {
    EventData { name: MESSAGE_DELETED.to_owned(), args: message_deleted(room, id), attachments: Vec::new() }
}

/// What an event takes in a client's queue.
fn event_bytes(EventData { args, attachments, .. }: &EventData) -> usize {
    let attachments = attachments.iter().map(|bytes| bytes.len() + FRAME_COST).sum::<usize>();
    FRAME_COST + args.len() + attachments
}

impl ReturningHome {
    pub(super) fn new(home: u16, rooms: &[(Room, Position)]) -> Self {
        let rooms = rooms.iter().map(|(room, _)| room.clone()).collect();
        Self { home, rooms, since: None, present: Vec::new(), missed: None }
    }
}
