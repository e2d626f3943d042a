//! What `join` and `history` are answered: messages of the room, as its home keeps them.

use std::time::Instant;

use socketio::json;
use uuid::Uuid;

use super::{homes::Homes, page::Page};
use crate::{
    chat::{
        reply::{Reply, longest_answer},
        request::PageRequest,
    },
    room::Room,
    store::{MemoryStore, PageLimit, Side},
};

impl Homes {
    /// The members of the answer to a `join` that come before the messages.
    pub(super) fn joined_head(&self, room: &Room) -> String {
        let mut members = br#","roomId":"#.to_vec();
        json::quote(room.id(), &mut members);
        let users = self.rooms.get(room).map_or(0, |home| home.occupants.present());
        members.extend_from_slice(format!(r#","members":{users}"#).as_bytes());
        String::from_utf8(members).unwrap_or_default()
    }

    /// The page that a `join` asks for with `history`, of `max_bytes`.
    pub(super) fn joined_page(&self, wanted: usize, max_bytes: usize) -> WantedPage {
        // Less than the longest answer, and there is no room for one message that is longer.
        let one_at_least = max_bytes >= longest_answer(&self.config.limits);
        let limit = PageLimit { messages: wanted, bytes: max_bytes, one_at_least };
        WantedPage { after: None, before: None, side: Side::Newest, limit }
    }
}

/// A page of a room's history that is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct WantedPage {
    pub(super) after: Option<Uuid>,
    pub(super) before: Option<Uuid>,
    pub(super) side: Side,
    pub(super) limit: PageLimit,
}

impl WantedPage {
    /// What `history` asks for, of at most `max_bytes` or one message.
    pub(super) fn of(wanted: &PageRequest, max_bytes: usize) -> Self {
        let limit = PageLimit { messages: wanted.limit, bytes: max_bytes, one_at_least: true };
        let side = if wanted.after.is_some() { Side::Oldest } else { Side::Newest };
        Self { after: wanted.after, before: wanted.before, side, limit }
    }

    /// The answer out of a store in memory; `head` comes before the messages.
    pub(super) fn read(self, store: &mut MemoryStore, now: Instant, room: &Room, mut head: String) -> Reply {
        store.expire(now);
        let messages = store.between(room, self.after, self.before);
        let page = match self.side {
            Side::Oldest => Page::oldest(messages, self.limit),
            Side::Newest => Page::newest(messages, self.limit),
        };
        head.push_str(&format!(r#","messages":{},"more":{}"#, page.messages, page.more));
        Reply { members: head, attachments: page.attachments }
    }
}
