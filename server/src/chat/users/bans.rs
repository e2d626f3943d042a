//! [`Bans`]: users who may not connect. All shards share one value.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::store::Ban;

/// The most bans: each takes memory for good.
pub(in crate::chat) const MAX_BANS: usize = 100_000;

/// See the module. What is kept for good is the store's; this is what CONNECTs are checked against.
#[derive(Debug, Default)]
pub(in crate::chat) struct Bans {
    by_user: RwLock<BTreeMap<Arc<str>, Ban>>,
    /// How many there are: most servers have none, and then nothing is locked.
    count: AtomicUsize,
}

impl Bans {
    /// Those that a store has kept.
    pub(in crate::chat) fn new(kept: Vec<Ban>) -> Self {
        let by_user: BTreeMap<_, _> = kept.into_iter().map(|ban| (Arc::clone(&ban.user), ban)).collect();
        Self { count: AtomicUsize::new(by_user.len()), by_user: RwLock::new(by_user) }
    }

    /// Whether the user is banned.
    pub(in crate::chat) fn holds(&self, user: &str) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.get(user).is_some()
    }

    /// The ban of a user.
    pub(in crate::chat) fn get(&self, user: &str) -> Option<Ban> {
        // A panic under the lock leaves a map that is whole.
        self.by_user.read().unwrap_or_else(PoisonError::into_inner).get(user).cloned()
    }

    /// Whether there are as many as there may be.
    pub(in crate::chat) fn is_full(&self) -> bool {
        self.count.load(Ordering::Acquire) >= MAX_BANS
    }

    /// Adds a ban, or replaces it.
    pub(in crate::chat) fn insert(&self, ban: Ban) {
        let mut bans = self.by_user.write().unwrap_or_else(PoisonError::into_inner);
        bans.insert(Arc::clone(&ban.user), ban);
        self.count.store(bans.len(), Ordering::Release);
    }

    /// Lifts a ban; whether there was one.
    pub(in crate::chat) fn remove(&self, user: &str) -> bool {
        let mut bans = self.by_user.write().unwrap_or_else(PoisonError::into_inner);
        let was_banned = bans.remove(user).is_some();
        self.count.store(bans.len(), Ordering::Release);
        was_banned
    }

    /// The first bans by user id, behind one.
    pub(in crate::chat) fn after(&self, after: Option<&str>, limit: usize) -> Vec<Ban> {
        let bans = self.by_user.read().unwrap_or_else(PoisonError::into_inner);
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        bans.range::<str, _>((first, Bound::Unbounded)).take(limit).map(|(_, ban)| ban.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bans_are_listed_in_the_order_of_their_users() {
        let ban = |user: &str| Ban { user: user.into(), reason: None, millis: 1 };
        let bans = Bans::new(vec![ban("b"), ban("a")]);
        bans.insert(ban("c"));
        assert!(bans.holds("a") && bans.remove("a") && !bans.holds("a") && !bans.remove("a"));
        let users = |after| bans.after(after, 2).into_iter().map(|ban| ban.user.to_string()).collect::<Vec<_>>();
        assert_eq!((users(None), users(Some("b"))), (vec!["b".to_owned(), "c".to_owned()], vec!["c".to_owned()]));
    }
}
