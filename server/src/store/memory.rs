//! Messages in memory: gone with the process, bounded by age, count and bytes. The oldest go first, whatever their room.

use std::{
    collections::{HashMap, VecDeque},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use engineio::slab::{Key, Slab};
use uuid::Uuid;

use super::types::{Receipt, Stored};
use crate::room::Room;

/// How long a `clientId` is remembered (docs/chat-protocol.md, "Events from the client").
const REMEMBERED: Duration = Duration::from_secs(600);

/// Bytes that all messages of all shards together may take. `store.max_count` alone would not bound memory: a message may carry 256 KiB.
const MAX_BYTES: usize = 512 * 1024 * 1024;

/// A `clientId` in its room and of its user.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ClientKey {
    room: Room,
    user: Arc<str>,
    client_id: Box<str>,
}

/// Where a room's messages are kept; stale once all of them are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogKey(Key);

/// A room's messages, oldest first. One without any does not exist.
#[derive(Debug)]
struct Log {
    room: Room,
    messages: VecDeque<Stored>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct MemoryStore {
    rooms: HashMap<Room, LogKey>,
    logs: Slab<Log>,
    /// When each message was stored, oldest first, and in which log: the first message of that log is the next to go.
    order: VecDeque<(Instant, LogKey)>,
    bytes: usize,
    max_age: Duration,
    max_count: usize,
    max_bytes: usize,
    receipts: HashMap<Rc<ClientKey>, Receipt>,
    receipt_order: VecDeque<(Instant, Rc<ClientKey>)>,
}

impl MemoryStore {
    /// One of `shards` stores. Together they forget messages older than `max_age` (zero: none is too old) and all beyond
    /// the newest `max_count`.
    pub(crate) fn new(max_age: Duration, max_count: usize, shards: usize) -> Self {
        Self {
            rooms: HashMap::new(),
            logs: Slab::default(),
            order: VecDeque::new(),
            bytes: 0,
            max_age,
            max_count: max_count.div_ceil(shards.max(1)),
            max_bytes: MAX_BYTES / shards.max(1),
            receipts: HashMap::new(),
            receipt_order: VecDeque::new(),
        }
    }

    /// Keeps a message as the newest of its room. `log` belongs to this room and is kept by the caller: it saves the look-up
    /// of the room's name.
    pub(crate) fn append(&mut self, now: Instant, room: &Room, log: &mut Option<LogKey>, stored: Stored) {
        let key = log.filter(|key| self.logs.get(key.0).is_some()).unwrap_or_else(|| self.log_of(room));
        *log = Some(key);
        self.bytes += stored.bytes();
        if let Some(log) = self.logs.get_mut(key.0) {
            log.messages.push_back(stored);
        }
        self.order.push_back((now, key));
        self.expire(now);
    }

    fn log_of(&mut self, room: &Room) -> LogKey {
        let make = || LogKey(self.logs.insert(Log { room: room.clone(), messages: VecDeque::new() }));
        *self.rooms.entry(room.clone()).or_insert_with(make)
    }

    /// Forgets what is too old or too much.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((oldest, _)) = self.order.front() {
            let stale = !self.max_age.is_zero() && now.duration_since(*oldest) > self.max_age;
            if !stale && self.order.len() <= self.max_count && self.bytes <= self.max_bytes {
                break;
            }
            self.forget_oldest();
        }
        while let Some((at, _)) = self.receipt_order.front() {
            if now.duration_since(*at) <= REMEMBERED && self.receipt_order.len() <= self.max_count {
                break;
            }
            if let Some((_, key)) = self.receipt_order.pop_front() {
                self.receipts.remove(&key);
            }
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, key)) = self.order.pop_front() else { return };
        let Some(log) = self.logs.get_mut(key.0) else { return };
        if let Some(gone) = log.messages.pop_front() {
            self.bytes = self.bytes.saturating_sub(gone.bytes());
        }
        if log.messages.is_empty() {
            self.rooms.remove(&log.room);
            self.logs.remove(key.0);
        }
    }

    /// The messages of a room, oldest first, that come after and before these ids.
    pub(crate) fn between<'a>(
        &'a self,
        room: &Room,
        after: Option<Uuid>,
        before: Option<Uuid>,
    ) -> impl DoubleEndedIterator<Item = &'a Stored> + use<'a> {
        let messages = self.rooms.get(room).and_then(|key| self.logs.get(key.0)).map(|log| &log.messages);
        // Ids grow within a room, so its messages are sorted.
        let position = |id: Uuid, found: usize| {
            messages.map_or(0, |messages| {
                messages.binary_search_by_key(&id, |stored| stored.id).map_or_else(|at| at, |at| at + found)
            })
        };
        let start = after.map_or(0, |id| position(id, 1));
        let end = before.map_or_else(|| messages.map_or(0, VecDeque::len), |id| position(id, 0)).max(start);
        messages.into_iter().flat_map(move |messages| messages.range(start..end))
    }

    /// What a message with this `clientId` was acknowledged with, if there was one in the last ten minutes.
    pub(crate) fn receipt(&mut self, now: Instant, room: &Room, user: &Arc<str>, client_id: &str) -> Option<Receipt> {
        self.expire(now);
        self.receipts
            .get(&ClientKey { room: room.clone(), user: Arc::clone(user), client_id: client_id.into() })
            .copied()
    }

    /// Remembers what a message with this `clientId` was acknowledged with.
    pub(crate) fn remember(&mut self, now: Instant, room: &Room, user: &Arc<str>, client_id: &str, receipt: Receipt) {
        let key = Rc::new(ClientKey { room: room.clone(), user: Arc::clone(user), client_id: client_id.into() });
        self.receipts.insert(Rc::clone(&key), receipt);
        self.receipt_order.push_back((now, key));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn texts(store: &MemoryStore, room: &str) -> Vec<String> {
        store.between(&Room::new(room), None, None).map(|stored| stored.json.to_string()).collect()
    }

    fn append(store: &mut MemoryStore, now: Instant, room: &Room, text: &str, attachments: &[Bytes]) {
        let id = Uuid::from_u128(text.parse().unwrap());
        store.append(now, room, &mut None, Stored { id, json: text.into(), attachments: attachments.into() });
    }

    #[test]
    fn the_oldest_go_first_whatever_their_room() {
        let now = Instant::now();
        let [a, b] = ["a", "b"].map(Room::new);
        let mut store = MemoryStore::new(Duration::ZERO, 3, 1);
        for (room, text) in [(&a, "1"), (&b, "2"), (&a, "3"), (&a, "4"), (&b, "5")] {
            append(&mut store, now, room, text, &[]);
        }
        assert_eq!((texts(&store, "a"), texts(&store, "b")), (vec!["3".into(), "4".into()], vec!["5".into()]));
        assert_eq!(store.order.len(), 3);
    }

    #[test]
    fn ids_bound_a_range_whether_they_exist_or_not() {
        let now = Instant::now();
        let room = Room::new("a");
        let mut store = MemoryStore::new(Duration::ZERO, 100, 1);
        for text in ["10", "20", "30", "40"] {
            append(&mut store, now, &room, text, &[]);
        }
        let range = |after: Option<u128>, before: Option<u128>| {
            let found = store.between(&Room::new("a"), after.map(Uuid::from_u128), before.map(Uuid::from_u128));
            found.map(|stored| stored.id.as_u128()).collect::<Vec<_>>()
        };
        assert_eq!(range(Some(20), None), [30, 40]);
        assert_eq!(range(Some(25), None), [30, 40]);
        assert_eq!(range(None, Some(30)), [10, 20]);
        assert_eq!(range(Some(10), Some(40)), [20, 30]);
        assert_eq!(range(Some(40), Some(10)), []);
        assert_eq!(store.between(&Room::new("b"), None, None).count(), 0);
    }

    #[test]
    fn age_forgets_and_an_empty_room_leaves_nothing() {
        let now = Instant::now();
        let room = Room::new("a");
        let mut store = MemoryStore::new(Duration::from_secs(10), 100, 1);
        append(&mut store, now, &room, "1", &[Bytes::from_static(&[0; 100])]);
        store.expire(now + Duration::from_secs(10));
        assert_eq!(texts(&store, "a"), ["1"]);
        store.expire(now + Duration::from_secs(11));
        assert_eq!((store.rooms.len(), store.logs.len(), store.order.len(), store.bytes), (0, 0, 0, 0));
    }

    #[test]
    fn a_log_that_was_forgotten_is_begun_anew() {
        let now = Instant::now();
        let [a, b] = ["a", "b"].map(Room::new);
        let mut store = MemoryStore::new(Duration::from_secs(10), 100, 1);
        let stored = |id| Stored { id: Uuid::from_u128(id), json: id.to_string().into(), attachments: Box::default() };
        let mut log = None;
        store.append(now, &a, &mut log, stored(1));
        store.append(now, &a, &mut log, stored(2));
        store.expire(now + Duration::from_secs(11));
        // Another room has the slot now.
        store.append(now + Duration::from_secs(11), &b, &mut None, stored(3));
        store.append(now + Duration::from_secs(11), &a, &mut log, stored(4));
        assert_eq!((texts(&store, "a"), texts(&store, "b")), (vec!["4".to_owned()], vec!["3".to_owned()]));
    }

    #[test]
    fn shards_share_the_bounds() {
        let store = MemoryStore::new(Duration::ZERO, 3, 2);
        assert_eq!((store.max_count, store.max_bytes), (2, MAX_BYTES / 2));
    }

    #[test]
    fn bytes_are_bounded_however_few_the_messages() {
        let now = Instant::now();
        let room = Room::new("a");
        let mut store = MemoryStore::new(Duration::ZERO, 1_000_000, 1);
        let large = Bytes::from(vec![0; MAX_BYTES / 3]);
        for text in ["1", "2", "3", "4"] {
            append(&mut store, now, &room, text, std::slice::from_ref(&large));
        }
        assert_eq!(texts(&store, "a"), ["3", "4"]);
    }

    #[test]
    fn a_client_id_is_remembered_for_ten_minutes_per_user_and_room() {
        let now = Instant::now();
        let [a, b] = ["a", "b"].map(Room::new);
        let [alice, bob]: [Arc<str>; 2] = ["alice", "bob"].map(Into::into);
        let mut store = MemoryStore::new(Duration::ZERO, 100, 1);
        let receipt = Receipt { id: Uuid::from_u128(1), millis: 1 };
        store.remember(now, &a, &alice, "x", receipt);
        assert_eq!(store.receipt(now, &a, &alice, "x"), Some(receipt));
        assert_eq!(store.receipt(now, &b, &alice, "x"), None);
        assert_eq!(store.receipt(now, &a, &bob, "x"), None);
        assert_eq!(store.receipt(now, &a, &alice, "y"), None);
        assert_eq!(store.receipt(now + REMEMBERED, &a, &alice, "x"), Some(receipt));
        assert_eq!(store.receipt(now + REMEMBERED + Duration::from_secs(1), &a, &alice, "x"), None);
        assert_eq!((store.receipts.len(), store.receipt_order.len()), (0, 0));
    }
}
