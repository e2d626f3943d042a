//! What the HTTP API asks of a home.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc};

use engineio::SharedFrame;
use socketio::{Io, parser::encode};
use uuid::Uuid;

use super::{
    history::WantedPage,
    homes::{HomeStore, Homes},
    page::choose,
};
use crate::{
    chat::{
        api_request::{ApiRequest, DeletedSome, Doomed, RoomSummary},
        deleted::{MESSAGE_DELETED, message_deleted},
        reply::longest_answer,
        shard_message::{LocalSockets, Sender, ToAll, send_to_shards},
    },
    room::Room,
    store::{Chosen, RoomCount, Side, Sought, Stored, UNNOTICED},
};

/// How many rooms one step of a deletion looks at.
const STEP_ROOMS: u32 = 4096;

/// How many messages one step of a deletion deletes. Members hear of each.
const STEP_MESSAGES: usize = 256;

impl Homes {
    /// Does what the API asks, and answers.
    pub(in crate::chat) fn administer(&mut self, io: &mut Io<'_>, sockets: &mut dyn LocalSockets, request: ApiRequest) {
        match request {
            ApiRequest::Publish { room, account, message, reply } => {
                let sender = Sender::Api { account, reply: Rc::new(RefCell::new(Some(reply))) };
                self.publish(io, sockets, &sender, &room, &message.request());
            }
            ApiRequest::Page { room, page, reply } => {
                let page = WantedPage::of(&page, longest_answer(&self.config.limits));
                if let HomeStore::Here(store) = &mut self.store {
                    store.expire(io.now());
                    reply.send(chosen(store.between(&room, page.after, page.before), page));
                }
            }
            ApiRequest::Presence { room, reply } => {
                reply.send(self.present(&room, longest_answer(&self.config.limits)));
            }
            ApiRequest::Rooms { after, limit, reply } => reply.send(self.rooms_after(io, after.as_ref(), limit)),
            ApiRequest::Delete { which, from, reply } => reply.send(self.delete_some(io, sockets, which, from)),
            ApiRequest::Deleted { room, ids, reply } => {
                self.announce_deleted(io, sockets, &room, &ids);
                reply.send(());
            }
            // Its sockets are not here.
            ApiRequest::Disconnect { reply, .. } => reply.send(0),
        }
    }

    /// The first rooms by id whose home is here, behind one: those with members, and those with messages in memory.
    fn rooms_after(&mut self, io: &Io<'_>, after: Option<&Room>, limit: usize) -> Vec<RoomSummary> {
        let mut found: BTreeMap<Room, (usize, u64)> = BTreeMap::new();
        let mut add = |room: &Room, users: usize, messages: u64| {
            let is_behind = after.is_none_or(|after| room.id() > after.id());
            let is_first = found.len() < limit || found.last_key_value().is_some_and(|(last, _)| room <= last);
            if !is_behind || !is_first {
                return;
            }
            let entry = found.entry(room.clone()).or_default();
            *entry = (entry.0 + users, entry.1 + messages);
            if found.len() > limit {
                found.pop_last();
            }
        };
        let present = self.rooms.iter().map(|(room, home)| (room, home.occupants.present()));
        for (room, users) in present.filter(|(_, users)| *users > 0) {
            add(room, users, 0);
        }
        if let HomeStore::Here(store) = &mut self.store {
            store.expire(io.now());
            for (room, messages) in store.rooms() {
                add(room, 0, messages as u64);
            }
            // Rooms that were pushed out by others and came in again lack what was counted before.
            for (room, (users, messages)) in &mut found {
                *users = self.rooms.get(room).map_or(0, |home| home.occupants.present());
                *messages = store.count_of(room) as u64;
            }
        }
        let summary = |(room, (users, messages))| RoomSummary { count: RoomCount { room, messages }, users };
        found.into_iter().map(summary).collect()
    }

    /// Takes one step of a deletion from the store in memory.
    fn delete_some(
        &mut self,
        io: &mut Io<'_>,
        sockets: &mut dyn LocalSockets,
        which: Doomed,
        from: u32,
    ) -> DeletedSome {
        let HomeStore::Here(store) = &mut self.store else { return DeletedSome::default() };
        let (deleted, next) = match which {
            Doomed::Message(id, Some(room)) => {
                let is_deleted = store.delete(&room, id);
                (Vec::from_iter(is_deleted.then_some((room, id))), None)
            }
            Doomed::Message(id, None) => store.delete_in_step(Sought::Message(id), from, STEP_ROOMS, STEP_MESSAGES),
            Doomed::User(user) => store.delete_in_step(Sought::User(user), from, STEP_ROOMS, STEP_MESSAGES),
        };
        let kept = self.config.recovery.max_disconnection + UNNOTICED;
        store.remember_deleted(io.now(), kept, self.stamps.position(), &deleted);
        // Those of one room come in a row.
        for of_room in deleted.chunk_by(|(a, _), (b, _)| a == b) {
            let ids: Vec<Uuid> = of_room.iter().map(|(_, id)| *id).collect();
            if let Some((room, _)) = of_room.first() {
                self.announce_deleted(io, sockets, room, &ids);
            }
        }
        DeletedSome { count: deleted.len(), room: deleted.last().map(|(room, _)| room.clone()), next }
    }

    /// Tells the members of a room that messages are gone.
    fn announce_deleted(&self, io: &mut Io<'_>, sockets: &mut dyn LocalSockets, room: &Room, ids: &[Uuid]) {
        let Some(home) = self.rooms.get(room) else { return };
        let frame = |id: &Uuid| encode::event("/", None, MESSAGE_DELETED, &message_deleted(room, *id), &[]);
        let frames: Arc<[SharedFrame]> = ids.iter().map(frame).collect();
        send_to_shards(
            io,
            sockets,
            home.occupants.shards(),
            &ToAll::Deleted { room: room.clone(), ids: ids.into(), frames },
        );
    }
}

/// The messages that a page holds.
fn chosen<'a>(messages: impl DoubleEndedIterator<Item = &'a Stored>, page: WantedPage) -> Chosen {
    let (mut messages, more) = match page.side {
        Side::Oldest => choose(messages, page.limit),
        Side::Newest => choose(messages.rev(), page.limit),
    };
    if page.side == Side::Newest {
        messages.reverse();
    }
    Chosen { messages: messages.into_iter().cloned().collect(), more }
}
