//! Messages in memory: gone with the process, bounded by age, count and bytes.
//!
//! Whose messages go when there are too many is decided by *shares*. A share is what one user has in one room. The oldest
//! message of the largest share goes first, so whoever fills the store loses their own messages and nobody else's.

mod administration;
mod deletions;
mod receipts;
mod shares;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) use administration::Sought;
use deletions::Deletions;
use engineio::slab::{Key, Slab};
use receipts::Receipts;
use shares::Shares;
use uuid::Uuid;

use super::{
    message_ids::{Position, Receipt},
    types::Stored,
};
use crate::room::Room;

/// Bytes that all messages of all shards together may take. `store.max_count` alone would not bound memory: a message may carry 256 KiB.
const MAX_BYTES: usize = 512 * 1024 * 1024;

/// What a message takes beside its bytes, measured with the server's allocator: its places in two queues, which have twice as many as
/// are needed when they have just grown, and what the allocator rounds up.
const MESSAGE_COST: usize = 240;

/// What one attachment takes beside its bytes: the handle, and the allocation that it shares.
const ATTACHMENT_COST: usize = 96;

/// What a room takes beside its messages: its log, with room for four messages, and its name.
const LOG_COST: usize = 640;

/// What a share takes beside its messages.
const SHARE_COST: usize = 320;

/// A log with this many messages and more gaps than messages is closed up.
const COMPACT: usize = 64;

/// Where a room's messages are kept; stale once all of them are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogKey(Key);

/// A message in its log; without `stored` it was forgotten before older ones.
#[derive(Debug)]
struct Kept {
    id: Uuid,
    at: Instant,
    share: Key,
    stored: Option<Stored>,
}

/// For keys that are hashes already.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// A room's messages, oldest first. One without any does not exist.
#[derive(Debug)]
struct Log {
    room: Room,
    /// The first one is not forgotten.
    messages: VecDeque<Kept>,
    gaps: usize,
    /// The newest message of the room that was forgotten.
    forgotten: Option<Uuid>,
    /// The shares of this room's users, by the hash of the user's id.
    shares: HashMap<u64, Key, BuildHasherDefault<Hashed>>,
    /// When its first message is too old.
    due: Option<Instant>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct MemoryStore {
    rooms: HashMap<Room, LogKey>,
    logs: Slab<Log>,
    shares: Shares,
    /// [`Log::due`], and the log's index.
    due: BTreeSet<(Instant, u32)>,
    count: usize,
    /// What the messages take in memory, without what their logs and shares do.
    bytes: usize,
    max_age: Duration,
    max_count: usize,
    max_bytes: usize,
    receipts: Receipts,
    deletions: Deletions,
    /// The newest message that was forgotten, of any room.
    forgotten: Option<Uuid>,
}

impl MemoryStore {
    /// One of `shards` stores. Together they forget messages older than `max_age` (zero: none is too old) and keep `max_count`
    /// at most.
    pub(crate) fn new(max_age: Duration, max_count: usize, shards: usize) -> Self {
        Self {
            rooms: HashMap::new(),
            logs: Slab::default(),
            shares: Shares::default(),
            due: BTreeSet::new(),
            count: 0,
            bytes: 0,
            max_age,
            max_count: max_count.div_ceil(shards.max(1)),
            max_bytes: MAX_BYTES / shards.max(1),
            receipts: Receipts::default(),
            deletions: Deletions::default(),
            forgotten: None,
        }
    }

    /// Keeps a message as the newest of its room. `user` is the hash of its user's id, by keys that nobody else knows. `log` belongs to this room and is kept by the caller: it saves the
    /// look-up of the room's name.
    pub(crate) fn append(&mut self, now: Instant, room: &Room, log: &mut Option<LogKey>, user: u64, stored: Stored) {
        let key = log.filter(|key| self.logs.get(key.0).is_some()).unwrap_or_else(|| self.log_of(room));
        *log = Some(key);
        let (id, bytes) = (stored.id, cost(&stored));
        let Some(log) = self.logs.get_mut(key.0) else { return };
        let share = *log.shares.entry(user).or_insert_with(|| self.shares.insert(key.0, user));
        self.shares.add(share, id, bytes);
        log.messages.push_back(Kept { id, at: now, share, stored: Some(stored) });
        if log.due.is_none() && !self.max_age.is_zero() {
            log.due = now.checked_add(self.max_age);
            self.due.extend(log.due.map(|due| (due, key.0.index())));
        }
        self.count += 1;
        self.bytes += bytes;
        self.expire(now);
    }

    fn log_of(&mut self, room: &Room) -> LogKey {
        // All messages that the room once had may be forgotten, and the log with them.
        let forgotten = self.forgotten;
        let make = || Log {
            room: room.clone(),
            messages: VecDeque::new(),
            gaps: 0,
            forgotten,
            shares: HashMap::default(),
            due: None,
        };
        *self.rooms.entry(room.clone()).or_insert_with(|| LogKey(self.logs.insert(make())))
    }

    /// Forgets what is too old or too much.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((_, index)) = self.due.first().copied().filter(|(due, _)| *due < now) {
            let Some(key) = self.logs.key_at(index) else { break };
            let Some(share) = self.logs.get(key).and_then(|log| log.messages.front()).map(|first| first.share) else {
                break;
            };
            // The first of its room is the first of its share.
            self.forget_oldest(share);
        }
        self.receipts.expire(now, self.max_count);
        self.deletions.expire(now);
        while self.count > self.max_count || self.total_bytes() > self.max_bytes {
            let Some(largest) = self.shares.largest() else { break };
            self.forget_oldest(largest);
        }
    }

    /// About what everything takes in memory.
    fn total_bytes(&self) -> usize {
        let (logs, shares) = (self.logs.len() * LOG_COST, self.shares.len() * SHARE_COST);
        self.bytes + logs + shares + self.receipts.bytes()
    }

    /// Forgets the oldest message of a share.
    fn forget_oldest(&mut self, share: Key) {
        let Some((key, id)) = self.shares.oldest(share) else { return };
        if let Some(log) = self.logs.get_mut(key) {
            log.forgotten = log.forgotten.max(Some(id));
            self.forgotten = self.forgotten.max(Some(id));
        }
        self.take_out(share, key, id);
    }

    /// Takes a message of a share out of a log.
    fn take_out(&mut self, share: Key, key: Key, id: Uuid) {
        let Some(log) = self.logs.get_mut(key) else { return };
        let bytes = log.remove(id).map_or(0, |stored| cost(&stored));
        if let Some(user) = self.shares.remove(share, id, bytes) {
            log.shares.remove(&user);
        }
        self.count -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        let due =
            log.messages.front().and_then(|first| first.at.checked_add(self.max_age)).filter(|_| log.due.is_some());
        if due != log.due {
            self.due.extend(due.map(|due| (due, key.index())));
            if let Some(past) = std::mem::replace(&mut log.due, due) {
                self.due.remove(&(past, key.index()));
            }
        }
        if log.messages.is_empty() {
            self.rooms.remove(&log.room);
            self.logs.remove(key);
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
                messages.binary_search_by_key(&id, |kept| kept.id).map_or_else(|at| at, |at| at + found)
            })
        };
        let start = after.map_or(0, |id| position(id, 1));
        let end = before.map_or_else(|| messages.map_or(0, VecDeque::len), |id| position(id, 0)).max(start);
        messages
            .into_iter()
            .flat_map(move |messages| messages.range(start..end))
            .filter_map(|kept| kept.stored.as_ref())
    }

    /// The messages of a room after this position; `None` when some of them may be forgotten.
    pub(crate) fn since<'a>(
        &'a self,
        room: &Room,
        since: Position,
    ) -> Option<impl Iterator<Item = &'a Stored> + use<'a>> {
        let log = self.rooms.get(room).and_then(|key| self.logs.get(key.0));
        let forgotten = log.map_or(self.forgotten, |log| log.forgotten);
        if forgotten.is_some_and(|forgotten| Position::of(forgotten) > since) {
            return None;
        }
        Some(self.between(room, Some(since.last_id()), None))
    }

    /// What a message with this `clientId` was acknowledged with, if there was one in the last ten minutes.
    pub(crate) fn receipt(&mut self, now: Instant, room: &Room, user: &Arc<str>, client_id: &str) -> Option<Receipt> {
        self.expire(now);
        self.receipts.get(room, user, client_id)
    }

    /// Remembers what a message with this `clientId` was acknowledged with.
    pub(crate) fn remember(&mut self, now: Instant, room: &Room, user: &Arc<str>, client_id: &str, receipt: Receipt) {
        self.receipts.insert(now, room, user, client_id, receipt);
    }
}

/// About what a message takes in memory.
fn cost(stored: &Stored) -> usize {
    MESSAGE_COST + stored.len() + stored.attachments.len() * ATTACHMENT_COST
}

impl Log {
    /// Takes a message out.
    fn remove(&mut self, id: Uuid) -> Option<Stored> {
        let at = self.messages.binary_search_by_key(&id, |kept| kept.id).ok()?;
        let removed = self.messages.get_mut(at)?.stored.take();
        self.gaps += 1;
        while self.messages.front().is_some_and(|first| first.stored.is_none()) {
            self.messages.pop_front();
            self.gaps -= 1;
        }
        if self.messages.len() >= COMPACT && self.gaps > self.messages.len() / 2 {
            self.messages.retain(|kept| kept.stored.is_some());
            self.gaps = 0;
        }
        removed
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
        store.append(now, room, &mut None, 1, Stored { id, json: text.into(), attachments: attachments.into() });
    }

    #[test]
    fn the_largest_share_loses_its_oldest() {
        let now = Instant::now();
        let [a, b] = ["a", "b"].map(Room::new);
        let mut store = MemoryStore::new(Duration::ZERO, 3, 1);
        for (room, text) in [(&a, "1"), (&b, "2"), (&a, "3"), (&a, "4"), (&b, "5")] {
            append(&mut store, now, room, text, &[]);
        }
        assert_eq!((texts(&store, "a"), texts(&store, "b")), (vec!["4".into()], vec!["2".into(), "5".into()]));
        assert_eq!((store.count, store.shares.len()), (3, 2));
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
        assert_eq!(
            (store.rooms.len(), store.logs.len(), store.due.len(), store.shares.len(), store.bytes),
            (0, 0, 0, 0, 0)
        );
    }

    #[test]
    fn a_log_that_was_forgotten_is_begun_anew() {
        let now = Instant::now();
        let [a, b] = ["a", "b"].map(Room::new);
        let mut store = MemoryStore::new(Duration::from_secs(10), 100, 1);
        let stored = |id| Stored { id: Uuid::from_u128(id), json: id.to_string().into(), attachments: Box::default() };
        let mut log = None;
        store.append(now, &a, &mut log, 1, stored(1));
        store.append(now, &a, &mut log, 1, stored(2));
        store.expire(now + Duration::from_secs(11));
        // Another room has the slot now.
        store.append(now + Duration::from_secs(11), &b, &mut None, 2, stored(3));
        store.append(now + Duration::from_secs(11), &a, &mut log, 1, stored(4));
        assert_eq!((texts(&store, "a"), texts(&store, "b")), (vec!["4".to_owned()], vec!["3".to_owned()]));
    }

    #[test]
    fn what_may_be_forgotten_was_not_only_missed() {
        let now = Instant::now();
        let [a, b] = ["a", "b"].map(Room::new);
        let id = |n: u128| Uuid::from_u128(n << 80 | 7 << 76);
        let mut store = MemoryStore::new(Duration::ZERO, 3, 1);
        let said = |store: &mut MemoryStore, room: &Room, n: u128| {
            let stored = Stored { id: id(n), json: n.to_string().into(), attachments: Box::default() };
            store.append(now, room, &mut None, 1, stored);
        };
        let since = |store: &MemoryStore, room: &Room, n: u128| {
            let missed = store.since(room, Position::of(id(n)))?;
            Some(missed.map(|stored| stored.json.to_string()).collect::<Vec<_>>())
        };
        [1, 2, 3].into_iter().for_each(|n| said(&mut store, &a, n));
        assert_eq!(since(&store, &a, 1), Some(vec!["2".into(), "3".into()]));
        assert_eq!((since(&store, &a, 9), since(&store, &b, 0)), (Some(vec![]), Some(vec![])));
        [4, 5].into_iter().for_each(|n| said(&mut store, &a, n));
        assert_eq!(
            (since(&store, &a, 1), since(&store, &a, 2)),
            (None, Some(vec!["3".into(), "4".into(), "5".into()]))
        );
        // Nobody knows any more that nothing was said in the other room.
        assert_eq!((since(&store, &b, 1), since(&store, &b, 2)), (None, Some(vec![])));
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

    /// Fills a store with `text`, as this user, in this room.
    fn fill(store: &mut MemoryStore, now: Instant, room: &Room, user: u64, ids: std::ops::Range<u128>, len: usize) {
        for id in ids {
            let stored = Stored { id: Uuid::from_u128(id), json: "x".repeat(len).into(), attachments: Box::default() };
            store.append(now, room, &mut None, user, stored);
        }
    }

    #[test]
    fn whoever_floods_the_store_loses_their_own_messages_and_nobody_elses() {
        let now = Instant::now();
        let [lobby, quiet] = ["lobby", "quiet"].map(Room::new);
        let mut store = MemoryStore::new(Duration::from_secs(3600), 1_000_000, 1);
        store.max_bytes = 10_000_000;
        for n in 0..50 {
            fill(&mut store, now, &lobby, n as u64, n * 10..n * 10 + 10, 300);
            fill(&mut store, now, &quiet, n as u64, n * 10..n * 10 + 10, 300);
        }
        // Nine of them, forty times as much as there is room for.
        for n in 0..160 {
            for greedy in 0..9 {
                let id = 1000 + n * 9 + greedy;
                fill(&mut store, now, &lobby, 1000 + greedy as u64, id..id + 1, 262_144);
            }
        }
        let of_others = |room| store.between(room, None, None).filter(|stored| stored.json.len() == 300).count();
        assert_eq!((of_others(&lobby), of_others(&quiet)), (500, 500));
        assert!(store.total_bytes() <= store.max_bytes && store.bytes > store.max_bytes / 2, "{}", store.bytes);
        // What is left of the flood is its end, in order.
        let left: Vec<u128> = store.between(&lobby, None, None).map(|stored| stored.id.as_u128()).collect();
        assert!(left.is_sorted() && left.last() == Some(&(1000 + 160 * 9 - 1)), "{left:?}");
        // The gaps of the flood are closed up.
        let log = store.logs.get(store.rooms[&lobby].0).unwrap();
        assert!(log.messages.len() < 2 * 600, "{}", log.messages.len());
    }

    #[test]
    fn the_count_is_kept_by_whoever_has_most_in_a_room() {
        let now = Instant::now();
        let room = Room::new("a");
        let mut store = MemoryStore::new(Duration::ZERO, 100, 1);
        fill(&mut store, now, &room, 1, 0..20, 100);
        fill(&mut store, now, &room, 2, 20..500, 100);
        let left: Vec<u128> = store.between(&room, None, None).map(|stored| stored.id.as_u128()).collect();
        assert_eq!(left, (0..20).chain(420..500).collect::<Vec<_>>());
        assert_eq!((store.count, store.due.len()), (100, 0));
    }

    #[test]
    fn receipts_count_among_the_bytes() {
        let now = Instant::now();
        let room = Room::new("a");
        let mut store = MemoryStore::new(Duration::ZERO, 1_000_000, 1);
        store.max_bytes = 100_000;
        fill(&mut store, now, &room, 1, 0..100, 100);
        let alice: Arc<str> = "alice".into();
        for n in 0..300 {
            store.remember(now, &room, &alice, &n.to_string(), Receipt { id: Uuid::nil(), millis: 0 });
        }
        store.expire(now);
        assert!(store.count < 100 && store.total_bytes() <= 100_000, "{}", store.count);
    }

    #[test]
    fn a_message_is_counted_for_no_less_than_it_takes() {
        let places = size_of::<Kept>() + size_of::<Uuid>();
        assert!(MESSAGE_COST >= 2 * places + 16, "{places}");
        assert!(LOG_COST >= size_of::<Log>() + 4 * size_of::<Kept>() + size_of::<(Room, LogKey)>() + 16);
    }
}
