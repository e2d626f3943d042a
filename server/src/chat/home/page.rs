//! [`Page`]: some messages of a room in a row, as many as one answer can carry.

use std::borrow::Borrow;

use bytes::Bytes;
use socketio::parser::attachments;

use crate::store::{Filling, PageLimit, Stored};

/// Some messages of a room in a row.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::chat) struct Page {
    /// A JSON array, oldest first.
    pub(in crate::chat) messages: String,
    /// What the placeholders in it stand for.
    pub(in crate::chat) attachments: Vec<Bytes>,
    /// Whether there are more in the direction that was asked for.
    pub(in crate::chat) more: bool,
}

impl Page {
    /// The first messages, as many as a page holds.
    /// `limit` is how many messages that may be, and of how many bytes.
    pub(super) fn oldest<'a>(messages: impl Iterator<Item = &'a Stored>, limit: PageLimit) -> Self {
        let (chosen, more) = choose(messages, limit);
        Self::of(&chosen, more)
    }

    /// The last messages, as many as a page holds.
    pub(super) fn newest<'a>(messages: impl DoubleEndedIterator<Item = &'a Stored>, limit: PageLimit) -> Self {
        let (mut chosen, more) = choose(messages.rev(), limit);
        chosen.reverse();
        Self::of(&chosen, more)
    }

    /// These messages, oldest first. `more` says whether they are not all.
    pub(in crate::chat) fn of(chosen: &[impl Borrow<Stored>], more: bool) -> Self {
        let mut page = Self { messages: String::from("["), attachments: Vec::new(), more };
        // Data that looks like a placeholder would be taken for one of the other messages' attachments. Looked for beside
        // attachments only: most pages have none, and are not read through.
        let has_attachments = chosen.iter().any(|stored| !stored.borrow().attachments.is_empty());
        for stored in chosen.iter().map(Borrow::borrow) {
            if page.messages.len() > 1 {
                page.messages.push(',');
            }
            if stored.attachments.is_empty() && has_attachments {
                page.messages.push_str(&attachments::disguise(&stored.json));
            } else if page.attachments.is_empty() {
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

/// As many messages as fit, and whether some are left.
pub(super) fn choose<'a>(messages: impl Iterator<Item = &'a Stored>, limit: PageLimit) -> (Vec<&'a Stored>, bool) {
    let (mut chosen, mut filling) = (Vec::new(), Filling::new(limit));
    for stored in messages {
        if !filling.takes(stored) {
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

    const PAGE_BYTES: usize = 256 * 1024;

    const fn limit(messages: usize) -> PageLimit {
        PageLimit { messages, bytes: PAGE_BYTES, one_at_least: true }
    }

    fn store(messages: &[(&str, usize)]) -> MemoryStore {
        let mut store = MemoryStore::new(Duration::ZERO, 1000, 1);
        let room = Room::new("r");
        for (n, (json, attachments)) in (1..).zip(messages) {
            let attachments = vec![Bytes::from_static(b"x"); *attachments].into();
            let stored = Stored { id: Uuid::from_u128(n), json: (*json).into(), attachments };
            store.append(Instant::now(), &room, &mut None, 1, stored);
        }
        store
    }

    #[test]
    fn placeholders_of_a_page_are_numbered_through() {
        let one = r#"{"_placeholder":true,"num":0}"#;
        let store = store(&[(one, 1), ("5", 0), (one, 1)]);
        let page = Page::newest(store.between(&Room::new("r"), None, None), limit(10));
        assert_eq!(page.messages, format!(r#"[{one},5,{{"_placeholder":true,"num":1}}]"#));
        assert_eq!((page.attachments.len(), page.more), (2, false));
    }

    #[test]
    fn a_page_ends_before_what_a_packet_cannot_hold() {
        let store_of_eight = store(&[("1", 4), ("2", 4), ("3", 4)]);
        let page = Page::newest(store_of_eight.between(&Room::new("r"), None, None), limit(10));
        assert_eq!((page.messages.as_str(), page.attachments.len(), page.more), ("[2,3]", 8, true));
    }

    #[test]
    fn data_that_looks_like_a_placeholder_does_not_end_a_page_beside_attachments() {
        let data = r#"{"_placeholder":true,"num":0}"#;
        let messages: Vec<_> = (0..35).map(|n| if n % 4 == 0 { (data, 1) } else { (data, 0) }).collect();
        let store = store(&messages);
        let page = Page::newest(store.between(&Room::new("r"), None, None), limit(35));
        assert_eq!((page.attachments.len(), page.more), (9, false));
        let disguised = r#"{"_placeholder":"true","num":0}"#;
        let placed = |num| format!(r#"{{"_placeholder":true,"num":{num}}}"#);
        let expected = (0..35).map(|n| if n % 4 == 0 { placed(n / 4) } else { disguised.to_owned() });
        assert_eq!(page.messages, format!("[{}]", expected.collect::<Vec<_>>().join(",")));
        // Without attachments it is what was sent.
        let page = Page::newest(store.between(&Room::new("r"), Some(Uuid::from_u128(33)), None), limit(35));
        assert_eq!((page.messages, page.attachments.len()), (format!("[{data},{data}]"), 0));
    }

    #[test]
    fn attachments_count_among_the_bytes_of_a_page() {
        let json = "1";
        let store = store(&[(json, 1), (json, 1), (json, 1)]);
        let all = || store.between(&Room::new("r"), None, None);
        let bytes = 2 + 2 * (json.len() + 1 + "x".len());
        for (bytes, one_at_least, expected) in
            [(bytes, false, "[1,1]"), (bytes - 1, false, "[1]"), (0, true, "[1]"), (0, false, "[]")]
        {
            let page = Page::newest(all(), PageLimit { messages: 10, bytes, one_at_least });
            assert_eq!((page.messages.as_str(), page.more), (expected, true), "{bytes}");
        }
    }

    #[test]
    fn limits_count_from_the_side_that_was_asked_for() {
        let store = store(&[("1", 0), ("2", 0), ("3", 0)]);
        let all = || store.between(&Room::new("r"), None, None);
        assert_eq!(Page::newest(all(), limit(2)).messages, "[2,3]");
        assert_eq!(Page::oldest(all(), limit(2)).messages, "[1,2]");
        assert_eq!(
            (Page::oldest(all(), limit(3)).more, Page::newest(all(), limit(0)).messages.as_str()),
            (false, "[]")
        );
        let large = format!("\"{}\"", "x".repeat(PAGE_BYTES));
        assert_eq!(
            Page::newest(self::store(&[(&large, 0)]).between(&Room::new("r"), None, None), limit(5)).messages.len(),
            large.len() + 2
        );
    }
}
