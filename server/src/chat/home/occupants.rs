//! [`Occupants`]: who is in a room, and who was and is not forgotten.

use std::{
    borrow::Borrow,
    sync::Arc,
    time::{Duration, Instant},
};

use indexmap::IndexMap;
use smallvec::SmallVec;

use crate::chat::users::Account;

/// A user as known in a room: with sockets in it, or without any but not forgotten.
#[derive(Debug)]
struct Occupant {
    /// How many of the user's sockets are in it.
    sockets: u32,
    /// When the last of them left by `leave`. The others are not told that the user left, nor that it is back if it comes back
    /// within `presence.grace`.
    left: Option<Instant>,
}

/// A user as the key of a map: by its id, without a second copy of that.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ById(Arc<Account>);

impl Borrow<Account> for ById {
    fn borrow(&self) -> &Account {
        &self.0
    }
}

/// The users and sockets of one room.
#[derive(Debug, Default)]
pub(super) struct Occupants {
    /// In the order in which they came, except that the last moves to where one was forgotten.
    users: IndexMap<ById, Occupant>,
    /// How many of them have sockets in the room.
    present: usize,
    /// How many sockets each shard has in it; a shard without any is not listed.
    shards: SmallVec<[(u16, u32); 2]>,
}

impl Occupants {
    /// The shards that have members of the room.
    pub(super) fn shards(&self) -> impl Iterator<Item = u16> {
        self.shards.iter().map(|(shard, _)| *shard)
    }

    /// How many sockets are in the room.
    pub(super) fn sockets(&self) -> usize {
        self.shards.iter().map(|(_, sockets)| *sockets as usize).sum()
    }

    /// How many users have a socket in the room.
    pub(super) const fn present(&self) -> usize {
        self.present
    }

    /// Those who have a socket in it.
    pub(super) fn users(&self) -> impl Iterator<Item = &Account> {
        self.users.iter().filter(|(_, occupant)| occupant.sockets > 0).map(|(user, _)| &*user.0)
    }

    /// Those whom the others take for online: they have a socket in the room, or had one and neither left nor were gone for
    /// `presence.grace`.
    pub(super) fn taken_for_online(&self) -> impl Iterator<Item = &Arc<Account>> {
        let known = self.users.iter().filter(|(_, occupant)| occupant.sockets > 0 || occupant.left.is_none());
        known.map(|(user, _)| &user.0)
    }

    fn count_in(&mut self, shard: u16) {
        match self.shards.iter_mut().find(|(of, _)| *of == shard) {
            Some((_, sockets)) => *sockets += 1,
            None => self.shards.push((shard, 1)),
        }
    }

    fn count_out(&mut self, shard: u16) {
        let Some(at) = self.shards.iter().position(|(of, _)| *of == shard) else { return };
        if let Some((_, sockets)) = self.shards.get_mut(at) {
            *sockets -= 1;
            if *sockets == 0 {
                self.shards.swap_remove(at);
            }
        }
    }

    /// A socket of the user, on this shard, is in the room now; whether the others are to hear of the user.
    pub(super) fn enter(&mut self, shard: u16, account: &Arc<Account>, now: Instant, grace: Duration) -> bool {
        self.count_in(shard);
        if let Some(occupant) = self.users.get_mut(&**account) {
            self.present += usize::from(occupant.sockets == 0);
            occupant.sockets += 1;
            return occupant.left.take().is_some_and(|left| now.duration_since(left) >= grace);
        }
        self.users.insert(ById(Arc::clone(account)), Occupant { sockets: 1, left: None });
        self.present += 1;
        true
    }

    /// A socket of the user, on this shard, is in the room no more; `left` is when it left by its own wish.
    pub(super) fn leave(&mut self, shard: u16, account: &Account, left: Option<Instant>) {
        self.count_out(shard);
        let Some(occupant) = self.users.get_mut(account).filter(|occupant| occupant.sockets > 0) else { return };
        occupant.sockets -= 1;
        if occupant.sockets == 0 {
            occupant.left = left;
            self.present -= 1;
        }
    }

    /// Forgets a user without a socket in it; `false` when there is one.
    pub(super) fn forget(&mut self, account: &Account) -> bool {
        match self.users.get(account) {
            Some(occupant) if occupant.sockets > 0 => false,
            _ => {
                self.users.swap_remove(account);
                true
            }
        }
    }

    /// Whether nobody is known any more.
    pub(super) fn is_empty(&self) -> bool {
        self.users.is_empty() && self.shards.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(2);

    fn account(id: &str) -> Arc<Account> {
        Arc::new(Account::new(id))
    }

    fn ids<'a>(users: impl Iterator<Item = &'a Account>) -> Vec<&'a str> {
        users.map(|user| &*user.id).collect()
    }

    #[test]
    fn shards_are_listed_while_they_have_sockets() {
        let (now, alice, mut room) = (Instant::now(), account("alice"), Occupants::default());
        for shard in [3, 1, 3] {
            room.enter(shard, &alice, now, GRACE);
        }
        assert_eq!((room.shards().collect::<Vec<_>>(), room.sockets(), room.present()), (vec![3, 1], 3, 1));
        room.leave(3, &alice, None);
        assert_eq!(room.shards().collect::<Vec<_>>(), [3, 1]);
        room.leave(3, &alice, None);
        assert_eq!((room.shards().collect::<Vec<_>>(), room.sockets(), room.present()), (vec![1], 1, 1));
        // A shard that has none is not counted below that.
        room.leave(7, &account("bob"), None);
        assert_eq!((room.sockets(), room.present()), (1, 1));
    }

    #[test]
    fn only_whoever_the_others_do_not_take_for_online_is_announced() {
        let (now, alice, mut room) = (Instant::now(), account("alice"), Occupants::default());
        assert!(room.enter(0, &alice, now, GRACE), "new");
        assert!(!room.enter(0, &alice, now, GRACE), "a second socket");
        room.leave(0, &alice, None);
        room.leave(0, &alice, None);
        assert!(!room.enter(0, &alice, now + 10 * GRACE, GRACE), "nobody heard that its sockets were gone");
        room.leave(0, &alice, Some(now));
        assert!(!room.enter(0, &alice, now + GRACE / 2, GRACE), "back soon after `leave`");
        room.leave(0, &alice, Some(now));
        assert!(room.enter(0, &alice, now + GRACE, GRACE), "back later");
        room.leave(0, &alice, None);
        assert!(room.forget(&alice));
        assert!(room.enter(0, &alice, now, GRACE), "forgotten");
    }

    #[test]
    fn whoever_was_disconnected_is_taken_for_online_and_whoever_left_is_not() {
        let (now, mut room) = (Instant::now(), Occupants::default());
        let [alice, bob, carol] = ["alice", "bob", "carol"].map(account);
        for user in [&alice, &bob, &carol] {
            room.enter(0, user, now, GRACE);
        }
        room.leave(0, &alice, None);
        room.leave(0, &bob, Some(now));
        assert_eq!(
            (ids(room.taken_for_online().map(|user| &**user)), ids(room.users())),
            (vec!["alice", "carol"], vec!["carol"])
        );
        assert!(!room.forget(&carol), "it has a socket");
        room.leave(0, &carol, None);
        assert!(!room.is_empty());
        assert!([&alice, &bob, &carol].into_iter().all(|user| room.forget(user)) && room.is_empty());
    }
}
