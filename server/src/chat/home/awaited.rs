//! [`Awaited`]: what a home waits for from a store that answers later, and who waits for it.
//!
//! What a socket is answered comes in the order in which it asked, although the store writes and reads side by side. So each socket
//! that waits for something has a *line*. Messages go to the store as they come. A question is asked when all that the socket sent
//! before is answered: the history that it gets has the messages that it sent.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use socketio::{AckId, SocketKey};
use uuid::Uuid;

use super::page::Page;
use crate::{
    chat::{
        error::{ChatError, Code},
        reply::Reply,
        shard_message::{Asker, Sender, ToSocket},
    },
    room::Room,
    store::{
        Append, Chosen, MissedQuery, PageLimit, PageQuery, Saving, SessionChange, Side, Store, StoreError, Urgency,
    },
};

/// How many messages one shard may have given to the store without an answer.
const APPENDS: usize = 8192;

/// How many pages one shard may have asked the store for: their answers are in memory before anybody takes them.
const READS: usize = 32;

/// How many answers one socket may wait for. Its rates allow far fewer.
const LINE: usize = 1024;

/// A socket that waits, on whatever shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Waiter {
    pub(super) shard: u16,
    pub(super) socket: SocketKey,
}

impl Waiter {
    pub(super) const fn of(asker: &Asker) -> Self {
        Self { shard: asker.shard, socket: asker.socket }
    }
}

/// An answer that may be sent once all before it are.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) event: &'static str,
    pub(super) ack: Option<AckId>,
    pub(super) outcome: Result<Reply, ChatError>,
    /// See [`ToSocket::Answer`].
    pub(super) expected: usize,
}

impl Settled {
    /// As a message for the socket's shard; `None` when nobody waits for it.
    pub(super) fn into_message(self, waiter: Waiter) -> Option<ToSocket> {
        let Self { event, ack, outcome, expected } = self;
        let is_awaited = ack.is_some() || outcome.is_err();
        is_awaited.then_some(ToSocket::Answer { socket: waiter.socket, event, ack, outcome, expected })
    }
}

/// A question about the history.
#[derive(Debug)]
pub(super) struct PageQuestion {
    pub(super) event: &'static str,
    pub(super) ack: AckId,
    /// The members of the answer that come before the messages.
    pub(super) head: String,
    pub(super) room: Room,
    pub(super) after: Option<Uuid>,
    pub(super) before: Option<Uuid>,
    /// The last message that may be on the page; without one, the last one that was delivered when the question is asked. What comes
    /// after it is delivered to the socket, if it is in the room.
    pub(super) until: Option<Uuid>,
    pub(super) side: Side,
    pub(super) limit: PageLimit,
    pub(super) expected: usize,
}

/// What a socket waits for.
#[derive(Debug)]
pub(super) enum Item {
    /// The store has a message of the socket.
    Message(Option<AckId>),
    /// The store is told of the session's new room, and has not said that it knows it.
    Saving,
    /// It knows.
    Saved,
    /// The answer is known.
    Settled(Settled),
    /// To be asked. Once `listed`, the socket stands in [`Awaited::unread`].
    Question { question: PageQuestion, listed: bool },
    /// The store was asked.
    Reading(PageQuestion),
}

/// See the module.
#[derive(Debug)]
pub(in crate::chat) struct Awaited {
    store: Arc<dyn Store>,
    /// Who sent the messages that the store has, in the order in which it got them.
    appends: VecDeque<(Sender, Room)>,
    lines: HashMap<Waiter, VecDeque<Item>>,
    /// Sockets whose questions wait until the store has answered some of the others.
    unread: VecDeque<Waiter>,
    /// Whose question each ticket is.
    reading: HashMap<u64, Waiter>,
    /// Whose new room each ticket is about.
    saving: HashMap<u64, Waiter>,
    tickets: u64,
    /// The last message that was delivered.
    position: Uuid,
}

impl Awaited {
    /// Nobody waits for anything.
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            position: store.newest(),
            store,
            appends: VecDeque::new(),
            lines: HashMap::new(),
            unread: VecDeque::new(),
            reading: HashMap::new(),
            saving: HashMap::new(),
            tickets: 0,
        }
    }

    /// The last message that was delivered, of any room whose home is here.
    pub(super) const fn position(&self) -> Uuid {
        self.position
    }

    /// This message is delivered.
    pub(super) fn pass(&mut self, id: Uuid) {
        self.position = self.position.max(id);
    }

    /// Gives a message to the store.
    pub(super) fn append(&mut self, sender: &Sender, append: Append) -> Result<(), StoreError> {
        if self.appends.len() >= APPENDS {
            return Err(StoreError::Busy);
        }
        let room = append.room.clone();
        self.store.append(append)?;
        self.appends.push_back((sender.clone(), room));
        Ok(())
    }

    /// Who sent the message that the store answers next, and its room.
    pub(super) fn next_append(&mut self) -> Option<(Sender, Room)> {
        self.appends.pop_front()
    }

    /// Puts something at the end of a socket's line. What then can be sent, [`Awaited::next`] says.
    ///
    /// # Errors
    /// The line is too long; the answer to that is to be sent at once.
    pub(super) fn push(&mut self, waiter: Waiter, item: Item) -> Result<(), Settled> {
        let line = self.lines.entry(waiter).or_default();
        if line.len() < LINE {
            line.push_back(item);
            return Ok(());
        }
        let refuse = |event, ack, expected| Settled { event, ack, outcome: Err(refusal(StoreError::Busy)), expected };
        match item {
            // The store has it already, and the answer must find its place.
            Item::Message(_) | Item::Reading(_) | Item::Saving | Item::Saved => {
                line.push_back(item);
                Ok(())
            }
            Item::Settled(settled) => Err(refuse(settled.event, settled.ack, settled.expected)),
            Item::Question { question, .. } => Err(refuse(question.event, Some(question.ack), question.expected)),
        }
    }

    /// What became of the first message in a socket's line that the store has not answered.
    pub(super) fn settle_message(&mut self, waiter: Waiter, outcome: Result<Reply, ChatError>) {
        let items = self.lines.get_mut(&waiter).into_iter().flatten();
        let mut messages = items.filter(|item| matches!(item, Item::Message(_)));
        if let Some(item) = messages.next()
            && let Item::Message(ack) = *item
        {
            *item = Item::Settled(Settled { event: "message", ack, outcome, expected: 0 });
        }
    }

    /// Tells the store that a session is in a room. With `waiter`, [`Awaited::settle_saved`] is to be called when it knows.
    pub(super) fn save(
        &mut self,
        here: u16,
        change: SessionChange,
        urgency: Urgency,
        waiter: Option<Waiter>,
    ) -> Saving {
        let Some(waiter) = waiter else { return self.store.save(change, urgency) };
        let ticket = self.tickets;
        let saving = self.store.save(change, Urgency::Told { shard: here, ticket });
        if saving == Saving::Queued {
            self.tickets += 1;
            self.saving.insert(ticket, waiter);
        }
        saving
    }

    /// The store knows a session's new room. Returns whose that was.
    pub(super) fn settle_saved(&mut self, ticket: u64) -> Option<Waiter> {
        let waiter = self.saving.remove(&ticket)?;
        let line = self.lines.get_mut(&waiter).into_iter().flatten();
        if let Some(item) = line.into_iter().find(|item| matches!(item, Item::Saving)) {
            *item = Item::Saved;
        }
        Some(waiter)
    }

    /// Asks for what a client missed.
    pub(super) fn read_missed(&self, query: MissedQuery) -> Result<(), StoreError> {
        self.store.read_missed(query)
    }

    /// The store answers a question. Returns whose that was.
    pub(super) fn settle_page(&mut self, ticket: u64, page: Result<Chosen, StoreError>) -> Option<Waiter> {
        let waiter = self.reading.remove(&ticket)?;
        // A question is first in its line when it is asked, and stays there.
        let item = self.lines.get_mut(&waiter).and_then(VecDeque::front_mut)?;
        if let Item::Reading(question) = item {
            let settled = question.settle(page);
            *item = Item::Settled(settled);
        }
        Some(waiter)
    }

    /// The next answer of a socket's line that may be sent. Asks the store what comes next in the line.
    pub(super) fn next(&mut self, here: u16, waiter: Waiter) -> Option<Settled> {
        let line = self.lines.get_mut(&waiter)?;
        let first = loop {
            match line.pop_front() {
                Some(Item::Saved) => {}
                Some(first) => break first,
                None => {
                    self.lines.remove(&waiter);
                    return None;
                }
            }
        };
        let waiting = match first {
            Item::Settled(settled) => return Some(settled),
            Item::Message(_) | Item::Reading(_) | Item::Saving | Item::Saved => first,
            Item::Question { question, listed } if self.reading.len() >= READS => {
                if !listed {
                    self.unread.push_back(waiter);
                }
                Item::Question { question, listed: true }
            }
            Item::Question { mut question, .. } => {
                let ticket = self.tickets;
                let query = question.query(here, ticket, self.position);
                match self.store.read(query) {
                    Ok(()) => {
                        self.tickets += 1;
                        self.reading.insert(ticket, waiter);
                        Item::Reading(question)
                    }
                    Err(error) => return Some(question.settle(Err(error))),
                }
            }
        };
        line.push_front(waiting);
        None
    }

    /// A socket whose question can be asked now that the store has answered others.
    pub(super) fn next_unread(&mut self) -> Option<Waiter> {
        if self.reading.len() < READS { self.unread.pop_front() } else { None }
    }

    /// How many entries all collections have.
    #[cfg(test)]
    pub(in crate::chat) fn len(&self) -> usize {
        self.appends.len() + self.lines.len() + self.unread.len() + self.reading.len() + self.saving.len()
    }
}

impl PageQuestion {
    /// As the store is asked.
    fn query(&self, shard: u16, ticket: u64, position: Uuid) -> PageQuery {
        let Self { after, before, side, limit, .. } = *self;
        let until = self.until.unwrap_or(position);
        PageQuery { shard, ticket, room: self.room.clone(), after, before, until, side, limit }
    }

    /// The answer to it.
    fn settle(&mut self, page: Result<Chosen, StoreError>) -> Settled {
        let outcome = page.map_err(refusal).map(|Chosen { messages, more }| {
            let page = Page::of(&messages, more);
            let head = std::mem::take(&mut self.head);
            let members = format!(r#"{head},"messages":{},"more":{}"#, page.messages, page.more);
            Reply { members, attachments: page.attachments }
        });
        Settled { event: self.event, ack: Some(self.ack), outcome, expected: self.expected }
    }
}

/// What the client is told when the store does not do what it was asked.
pub(in crate::chat) fn refusal(error: StoreError) -> ChatError {
    match error {
        StoreError::Unavailable => {
            ChatError::later(Code::StoreUnavailable, "the store does not work at present; try again later")
        }
        StoreError::Busy => ChatError::later(Code::ServerBusy, "too much waits for the store; try again later"),
    }
}
