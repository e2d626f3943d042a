//! [`Shares`]: how much each user has in each room, and which is the most.

use std::collections::VecDeque;

use engineio::slab::{Key, Slab};
use indexmap::IndexSet;
use uuid::Uuid;

/// What one user has in one room. One without messages does not exist.
#[derive(Debug)]
struct Share {
    log: Key,
    /// The hash of the user's id.
    user: u64,
    bytes: usize,
    /// The messages, oldest first.
    ids: VecDeque<Uuid>,
}

/// The shares, and classes of them: a class has all shares whose bytes have the same highest bit. A message seldom moves a
/// share to another class, so the largest one is known, to a factor of two, at next to no cost.
#[derive(Debug, Default)]
pub(super) struct Shares {
    shares: Slab<Share>,
    /// By the number of the highest bit. Within a class those that came into it first are first.
    classes: Vec<IndexSet<Key>>,
}

const fn class(bytes: usize) -> usize {
    (usize::BITS - bytes.leading_zeros()) as usize
}

impl Shares {
    /// A share without messages, of a user in a room.
    pub(super) fn insert(&mut self, log: Key, user: u64) -> Key {
        let key = self.shares.insert(Share { log, user, bytes: 0, ids: VecDeque::new() });
        self.enter(key, 0);
        key
    }

    fn enter(&mut self, key: Key, class: usize) {
        if self.classes.len() <= class {
            self.classes.resize_with(class + 1, IndexSet::default);
        }
        if let Some(class) = self.classes.get_mut(class) {
            class.insert(key);
        }
    }

    fn leave(&mut self, key: Key, class: usize) {
        if let Some(class) = self.classes.get_mut(class) {
            class.swap_remove(&key);
        }
    }

    /// A share has one more message, of so many bytes.
    pub(super) fn add(&mut self, key: Key, id: Uuid, bytes: usize) {
        let Some(share) = self.shares.get_mut(key) else { return };
        let before = class(share.bytes);
        share.bytes += bytes;
        share.ids.push_back(id);
        let after = class(share.bytes);
        if before != after {
            self.leave(key, before);
            self.enter(key, after);
        }
    }

    /// The log and the id of a share's oldest message.
    pub(super) fn oldest(&self, key: Key) -> Option<(Key, Uuid)> {
        let share = self.shares.get(key)?;
        Some((share.log, *share.ids.front()?))
    }

    /// A share's message, of so many bytes, is gone: the oldest one, unless it was deleted. Returns the user if that was the last one,
    /// and the share is gone too.
    pub(super) fn remove(&mut self, key: Key, id: Uuid, bytes: usize) -> Option<u64> {
        let share = self.shares.get_mut(key)?;
        let before = class(share.bytes);
        share.bytes = share.bytes.saturating_sub(bytes);
        if share.ids.front() == Some(&id) {
            share.ids.pop_front();
        } else if let Ok(at) = share.ids.binary_search(&id) {
            share.ids.remove(at);
        }
        let (after, user, is_over) = (class(share.bytes), share.user, share.ids.is_empty());
        if is_over {
            self.leave(key, before);
            self.shares.remove(key);
            return Some(user);
        }
        if before != after {
            self.leave(key, before);
            self.enter(key, after);
        }
        None
    }

    /// The largest share; one that is more than half as large may be taken for it.
    pub(super) fn largest(&self) -> Option<Key> {
        self.classes.iter().rev().find_map(|class| class.first().copied())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.shares.len()
    }
}
