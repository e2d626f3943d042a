//! What `join` and `history` are answered: messages of the room, as its home keeps them.

use std::time::Instant;

use socketio::json;

use super::{homes::Homes, page::Page};
use crate::{
    chat::{reply::Reply, request::PageRequest},
    room::Room,
};

impl Homes {
    /// What a socket that joined is answered: how many users there are, and with `history` so many of the last messages.
    pub(super) fn joined(&mut self, now: Instant, room: &Room, history: Option<usize>) -> Reply {
        let mut members = br#","roomId":"#.to_vec();
        json::quote(room.id(), &mut members);
        let users = self.rooms.get(room).map_or(0, |home| home.occupants.present());
        members.extend_from_slice(format!(r#","members":{users}"#).as_bytes());
        let mut reply = Reply::from(String::from_utf8(members).unwrap_or_default());
        if let Some(wanted) = history {
            self.store.expire(now);
            let page = Page::newest(self.store.between(room, None, None), wanted);
            reply.members.push_str(&format!(r#","messages":{}"#, page.messages));
            reply.attachments = page.attachments;
        }
        reply
    }

    /// A page of the history.
    pub(super) fn page(&mut self, now: Instant, room: &Room, wanted: &PageRequest) -> Reply {
        self.store.expire(now);
        let messages = self.store.between(room, wanted.after, wanted.before);
        let page = if wanted.after.is_some() {
            Page::oldest(messages, wanted.limit)
        } else {
            Page::newest(messages, wanted.limit)
        };
        let members = format!(r#","messages":{},"more":{}"#, page.messages, page.more);
        Reply { members, attachments: page.attachments }
    }
}
