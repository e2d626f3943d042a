//! What is deleted by the HTTP API, and which rooms there are.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{LogKey, MemoryStore};
use crate::{
    room::Room,
    store::{Deleted, Position},
};

/// What is to be deleted in rooms that are not known.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sought {
    /// The message with this id.
    Message(Uuid),
    /// The messages of the user with this hash.
    User(u64),
}

impl MemoryStore {
    /// The rooms that have messages, and how many.
    pub(crate) fn rooms(&self) -> impl Iterator<Item = (&Room, usize)> {
        self.logs.iter().map(|(_, log)| (&log.room, log.messages.len() - log.gaps))
    }

    /// How many messages a room has.
    pub(crate) fn count_of(&self, room: &Room) -> usize {
        let log = self.rooms.get(room).and_then(|key| self.logs.get(key.0));
        log.map_or(0, |log| log.messages.len() - log.gaps)
    }

    /// Deletes a message of a room; whether there was one.
    pub(crate) fn delete(&mut self, room: &Room, id: Uuid) -> bool {
        let Some(key) = self.rooms.get(room).copied() else { return false };
        self.delete_at(key, id)
    }

    /// Notes for the time `kept` that messages were deleted, for clients that are away. `after` is the position of the last message of the
    /// rooms whose home is here.
    pub(crate) fn remember_deleted(&mut self, now: Instant, kept: Duration, after: Position, deleted: &[(Room, Uuid)]) {
        for (room, id) in deleted {
            self.deletions.insert(now, kept, after, room, *id);
        }
    }

    /// The messages of a room that were deleted after this position, or at it; `None` when some of them may be forgotten.
    pub(crate) fn deleted_since(&self, room: &Room, since: Position) -> Option<impl Iterator<Item = Deleted>> {
        let of_room = self.deletions.since(room, since)?;
        Some(of_room.map(|(after, id)| Deleted { room: room.clone(), id, after }))
    }

    fn delete_at(&mut self, key: LogKey, id: Uuid) -> bool {
        let kept = self.logs.get(key.0).and_then(|log| {
            let at = log.messages.binary_search_by_key(&id, |kept| kept.id).ok()?;
            log.messages.get(at).filter(|kept| kept.stored.is_some())
        });
        let Some(share) = kept.map(|kept| kept.share) else { return false };
        self.take_out(share, key.0, id);
        true
    }

    /// Deletes what is sought in so many rooms, behind the first `from`, and at most so many messages. Returns what was deleted, and
    /// where the next step begins.
    pub(crate) fn delete_in_step(
        &mut self,
        sought: Sought,
        from: u32,
        rooms: u32,
        messages: usize,
    ) -> (Vec<(Room, Uuid)>, Option<u32>) {
        let (mut deleted, until) = (Vec::new(), from.saturating_add(rooms));
        for index in from..until.min(self.logs.end()) {
            let Some(key) = self.logs.key_at(index) else { continue };
            let Some(log) = self.logs.get(key) else { continue };
            let room = log.room.clone();
            match sought {
                Sought::Message(id) => {
                    if self.delete_at(LogKey(key), id) {
                        return (vec![(room, id)], None);
                    }
                }
                Sought::User(user) => {
                    while let Some(share) = self.logs.get(key).and_then(|log| log.shares.get(&user)).copied() {
                        if deleted.len() >= messages {
                            // The rest of this room.
                            return (deleted, Some(index));
                        }
                        let Some((_, id)) = self.shares.oldest(share) else { break };
                        self.take_out(share, key, id);
                        deleted.push((room.clone(), id));
                    }
                }
            }
        }
        (deleted, (until < self.logs.end()).then_some(until))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::store::Stored;

    /// A store with messages of room, user and id.
    fn store(messages: &[(&str, u64, u128)]) -> MemoryStore {
        let mut store = MemoryStore::new(Duration::from_secs(60), 1000, 1);
        for (room, user, id) in messages {
            let stored = Stored { id: Uuid::from_u128(*id), json: "{}".into(), attachments: Box::default() };
            store.append(Instant::now(), &Room::new(room), &mut None, *user, stored);
        }
        store
    }

    fn ids(store: &MemoryStore, room: &str) -> Vec<u128> {
        store.between(&Room::new(room), None, None).map(|stored| stored.id.as_u128()).collect()
    }

    #[test]
    fn what_is_deleted_is_gone_and_counted_out() {
        let mut all = store(&[("a", 1, 1), ("a", 2, 2), ("a", 1, 3), ("a", 2, 4)]);
        let room = Room::new("a");
        assert!(all.delete(&room, Uuid::from_u128(3)) && !all.delete(&room, Uuid::from_u128(3)));
        assert!(!all.delete(&room, Uuid::from_u128(9)) && !all.delete(&Room::new("b"), Uuid::from_u128(1)));
        assert_eq!((ids(&all, "a"), all.count_of(&room), all.count), (vec![1, 2, 4], 3, 3));
        for id in [1, 2, 4] {
            assert!(all.delete(&room, Uuid::from_u128(id)));
        }
        let left = (all.count, all.bytes, all.shares.len(), all.logs.len(), all.due.len(), all.rooms().count());
        assert_eq!(left, (0, 0, 0, 0, 0, 0));
    }

    #[test]
    fn a_user_is_deleted_step_by_step_and_nobody_else() {
        let rooms: Vec<String> = (0..10).map(|n| n.to_string()).collect();
        let of = |n: u128| (rooms[n as usize % 10].as_str(), (n % 3) as u64, n);
        let mut all = store(&(1..=300).map(of).collect::<Vec<_>>());
        let (mut from, mut deleted, mut steps) = (Some(0), Vec::new(), 0);
        while let Some(next) = from {
            let (some, then) = all.delete_in_step(Sought::User(1), next, 3, 7);
            assert!(some.len() <= 7 && then.is_none_or(|then| then >= next));
            deleted.extend(some.into_iter().map(|(_, id)| id.as_u128()));
            (from, steps) = (then, steps + 1);
        }
        deleted.sort_unstable();
        assert_eq!(deleted, (1..=300).filter(|n| n % 3 == 1).collect::<Vec<_>>());
        assert!(steps > 14 && all.count == 200 && all.shares.len() == 20, "{steps}");
        let (some, then) = all.delete_in_step(Sought::Message(Uuid::from_u128(2)), 0, 100, 7);
        assert_eq!((some.len(), then, all.count), (1, None, 199));
    }

    #[test]
    fn deletions_that_no_client_asks_for_are_forgotten_without_another_one() {
        let (now, kept) = (Instant::now(), Duration::from_secs(100));
        let (mut all, room) = (store(&[("a", 1, 1)]), Room::new("a"));
        all.remember_deleted(now, kept, Position::START, &[(room.clone(), Uuid::from_u128(1))]);
        for (after, expected) in [(100, 1), (101, 0)] {
            all.expire(now + Duration::from_secs(after));
            assert_eq!(all.deleted_since(&room, Position::START).unwrap().count(), expected, "{after} s");
        }
        // More than are remembered. Clients of quiet rooms have no later position, and would never get their sockets back.
        let many: Vec<_> = (0..20_000).map(|id| (room.clone(), Uuid::from_u128(id))).collect();
        all.remember_deleted(now, kept, Position::START, &many);
        for (after, is_known) in [(100, false), (101, true)] {
            all.expire(now + Duration::from_secs(after));
            assert_eq!(all.deleted_since(&Room::new("b"), Position::START).is_some(), is_known, "{after} s");
        }
    }
}
