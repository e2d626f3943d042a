//! What `join` and `history` are answered: messages of the room, as its home keeps them.

use std::time::Instant;

use socketio::json;

use super::{
    homes::Homes,
    page::{Page, PageLimit},
};
use crate::{
    chat::{
        reply::{Reply, longest_answer},
        request::PageRequest,
    },
    room::Room,
};

impl Homes {
    /// What a socket that joined is answered: how many users there are, and with `history` so many of the last messages, of
    /// `max_bytes` together.
    pub(super) fn joined(&mut self, now: Instant, room: &Room, history: Option<usize>, max_bytes: usize) -> Reply {
        let mut members = br#","roomId":"#.to_vec();
        json::quote(room.id(), &mut members);
        let users = self.rooms.get(room).map_or(0, |home| home.occupants.present());
        members.extend_from_slice(format!(r#","members":{users}"#).as_bytes());
        let mut reply = Reply::from(String::from_utf8(members).unwrap_or_default());
        if let Some(wanted) = history {
            self.store.expire(now);
            // Less than the longest answer, and there is no room for one message that is longer.
            let one_at_least = max_bytes >= longest_answer(&self.config.limits);
            let limit = PageLimit { messages: wanted, bytes: max_bytes, one_at_least };
            let page = Page::newest(self.store.between(room, None, None), limit);
            reply.members.push_str(&format!(r#","messages":{},"more":{}"#, page.messages, page.more));
            reply.attachments = page.attachments;
        }
        reply
    }

    /// A page of the history, of at most `max_bytes` or one message.
    pub(super) fn page(&mut self, now: Instant, room: &Room, wanted: &PageRequest, max_bytes: usize) -> Reply {
        let limit = PageLimit { messages: wanted.limit, bytes: max_bytes, one_at_least: true };
        self.store.expire(now);
        let messages = self.store.between(room, wanted.after, wanted.before);
        let page = if wanted.after.is_some() { Page::oldest(messages, limit) } else { Page::newest(messages, limit) };
        let members = format!(r#","messages":{},"more":{}"#, page.messages, page.more);
        Reply { members, attachments: page.attachments }
    }
}
