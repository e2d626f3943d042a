//! [`Page`]: some messages of a room in a row, as many as one answer can carry.

use bytes::Bytes;
use socketio::parser::attachments;

use crate::store::Stored;

/// The most attachments one packet may carry to official clients (socket.io-parser since 4.2.6).
const ATTACHMENTS: usize = 10;

/// The most JSON of one page, in bytes.
const PAGE_BYTES: usize = 256 * 1024;

/// Some messages of a room in a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// A JSON array, oldest first.
    pub(super) messages: String,
    /// What the placeholders in it stand for.
    pub(super) attachments: Vec<Bytes>,
    /// Whether there are more in the direction that was asked for.
    pub(super) more: bool,
}

impl Page {
    /// The first messages, as many as a page holds.
    pub(super) fn oldest<'a>(messages: impl Iterator<Item = &'a Stored>, limit: usize) -> Self {
        let (chosen, more) = choose(messages, limit);
        Self::of(&chosen, more)
    }

    /// The last messages, as many as a page holds.
    pub(super) fn newest<'a>(messages: impl DoubleEndedIterator<Item = &'a Stored>, limit: usize) -> Self {
        let (mut chosen, more) = choose(messages.rev(), limit);
        chosen.reverse();
        Self::of(&chosen, more)
    }

    fn of(chosen: &[&Stored], more: bool) -> Self {
        let mut page = Self { messages: String::from("["), attachments: Vec::new(), more };
        for stored in chosen {
            if page.messages.len() > 1 {
                page.messages.push(',');
            }
            if page.attachments.is_empty() || stored.attachments.is_empty() {
                page.messages.push_str(&stored.json);
            } else {
                // The attachments of all messages stand in one row.
                page.messages.push_str(&attachments::renumber(&stored.json, page.attachments.len()));
            }
            page.attachments.extend_from_slice(&stored.attachments);
        }
        page.messages.push(']');
        page
    }
}

/// As many messages as fit, one at least, and whether some are left.
fn choose<'a>(messages: impl Iterator<Item = &'a Stored>, limit: usize) -> (Vec<&'a Stored>, bool) {
    let (mut chosen, mut bytes, mut binary) = (Vec::new(), "[]".len(), 0);
    // Data that looks like a placeholder would be taken for one of the other messages' attachments.
    let misleads = |stored: &Stored| stored.attachments.is_empty() && attachments::has_placeholders(&stored.json);
    for stored in messages {
        let first_binary = binary == 0;
        bytes += stored.json.len() + ",".len();
        binary += stored.attachments.len();
        // Looked for beside attachments only: most pages have none, and are not read through.
        let mixed = binary > 0 && (misleads(stored) || (first_binary && chosen.iter().copied().any(misleads)));
        let full = bytes > PAGE_BYTES || binary > ATTACHMENTS || mixed;
        if chosen.len() >= limit || (full && !chosen.is_empty()) {
            return (chosen, true);
        }
        chosen.push(stored);
    }
    (chosen, false)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use uuid::Uuid;

    use super::*;
    use crate::{room::Room, store::MemoryStore};

    fn store(messages: &[(&str, usize)]) -> MemoryStore {
        let mut store = MemoryStore::new(Duration::ZERO, 1000, 1);
        let room = Room::new("r");
        for (n, (json, attachments)) in (1..).zip(messages) {
            let attachments = vec![Bytes::from_static(b"x"); *attachments].into();
            let stored = Stored { id: Uuid::from_u128(n), json: (*json).into(), attachments };
            store.append(Instant::now(), &room, &mut None, stored);
        }
        store
    }

    #[test]
    fn placeholders_of_a_page_are_numbered_through() {
        let one = r#"{"_placeholder":true,"num":0}"#;
        let store = store(&[(one, 1), ("5", 0), (one, 1)]);
        let page = Page::newest(store.between(&Room::new("r"), None, None), 10);
        assert_eq!(page.messages, format!(r#"[{one},5,{{"_placeholder":true,"num":1}}]"#));
        assert_eq!((page.attachments.len(), page.more), (2, false));
    }

    #[test]
    fn a_page_ends_before_what_a_packet_cannot_hold() {
        let store_of_eight = store(&[("1", 4), ("2", 4), ("3", 4)]);
        let page = Page::newest(store_of_eight.between(&Room::new("r"), None, None), 10);
        assert_eq!((page.messages.as_str(), page.attachments.len(), page.more), ("[2,3]", 8, true));
        // Data that looks like a placeholder, and a message with an attachment, never share a page.
        let data = r#"{"_placeholder":true,"num":7}"#;
        let store = store(&[("1", 1), ("2", 0), (data, 0), ("4", 0), ("5", 1)]);
        let all = || store.between(&Room::new("r"), None, None);
        let page = Page::newest(all(), 10);
        assert_eq!((page.messages, page.more), ("[4,5]".to_owned(), true));
        let page = Page::oldest(all(), 10);
        assert_eq!((page.messages, page.more), ("[1,2]".to_owned(), true));
        let page = Page::newest(store.between(&Room::new("r"), None, Some(Uuid::from_u128(5))), 10);
        assert_eq!((page.messages, page.more), (format!("[2,{data},4]"), true));
    }

    #[test]
    fn limits_count_from_the_side_that_was_asked_for() {
        let store = store(&[("1", 0), ("2", 0), ("3", 0)]);
        let all = || store.between(&Room::new("r"), None, None);
        assert_eq!(Page::newest(all(), 2).messages, "[2,3]");
        assert_eq!(Page::oldest(all(), 2).messages, "[1,2]");
        assert_eq!((Page::oldest(all(), 3).more, Page::newest(all(), 0).messages.as_str()), (false, "[]"));
        let large = format!("\"{}\"", "x".repeat(PAGE_BYTES));
        assert_eq!(
            Page::newest(self::store(&[(&large, 0)]).between(&Room::new("r"), None, None), 5).messages.len(),
            large.len() + 2
        );
    }
}
