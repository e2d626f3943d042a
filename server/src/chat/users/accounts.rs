//! [`Accounts`]: what all shards must know of a user together.
//!
//! A socket's shard decides alone what concerns the socket. What it cannot know alone is here: how many sockets the user has on
//! all shards, how much they send together, and which of them is the last to go. A lock is taken when a socket connects,
//! disconnects or leaves a room, never for a message, and is held for one look into a map.

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher as _,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};
use smallvec::SmallVec;

use super::{
    account::Account,
    rates::Rates,
    slots::{Slot, Slots},
    stripe::{Entry, Stripe},
};
use crate::{
    config::{Config, SocketsPolicy},
    room::Room,
};

/// Maps that users are spread over, so that shards seldom wait for each other.
const STRIPES: usize = 64;

/// A CONNECT takes less than a turn.
const CONNECT_UNDER_WAY: Duration = Duration::from_millis(100);

/// A room that one of the user's sockets went out of; the last to do so counts.
#[derive(Debug, Clone)]
pub(in crate::chat) struct PastRoom {
    pub(in crate::chat) room: Room,
    /// When, if by `leave`, which the others do not hear of. `None` when the socket was disconnected while in the room: there the
    /// others take the user for online until they hear that it is offline.
    pub(in crate::chat) left: Option<Instant>,
}

/// All users with a socket, or within the grace after the last one.
#[derive(Debug)]
pub(in crate::chat) struct Accounts {
    stripes: Box<[Mutex<Stripe>]>,
    hasher: RandomState,
    allowed: ArcSwap<Allowed>,
    /// For how long a user without a socket stays.
    grace: Duration,
}

/// What the configuration allows each user.
#[derive(Debug)]
struct Allowed {
    /// The most sockets of one user; zero is no limit.
    limit: usize,
    policy: SocketsPolicy,
    rates: Rates,
}

impl Allowed {
    fn new(config: &Config) -> Self {
        Self {
            limit: config.limits.sockets_per_user,
            policy: config.limits.sockets_per_user_policy,
            rates: Rates::new(&config.limits, config.engine.max_payload),
        }
    }
}

/// What users may do in a second.
pub(in crate::chat) struct RatesGuard(Guard<Arc<Allowed>>);

impl Deref for RatesGuard {
    type Target = Rates;

    fn deref(&self) -> &Rates {
        &self.0.rates
    }
}

/// Why a user may not have another socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chat) enum ReserveError {
    /// There are as many as one may have.
    TooMany,
    /// There were too many CONNECTs.
    TooOften,
}

/// A socket that is counted although its CONNECT is still under way. Dropped without [`SocketReservation::take`], it is not counted any more.
#[derive(Debug)]
pub(in crate::chat) struct SocketReservation {
    accounts: Arc<Accounts>,
    account: Option<Arc<Account>>,
    /// Whether it is one more than the user may have, who comes back for a socket that still seems connected.
    excess: bool,
}

/// What follows of a socket that went.
#[derive(Debug, Default)]
pub(in crate::chat) struct Departure {
    /// When the caller has to look whether the user has been gone for the grace ([`Accounts::check_gone`]).
    pub(in crate::chat) look_at: Option<Instant>,
    /// PastRoom rooms that are remembered no longer; their homes must forget the user too.
    pub(in crate::chat) forgotten: Vec<Room>,
}

/// Whether a user is gone.
#[derive(Debug)]
pub(in crate::chat) enum Gone {
    /// No: there is a socket again.
    Back,
    /// It came back and went again: look then.
    Later(Instant),
    /// Yes, for the whole grace: it is forgotten here, and those who take it for online must hear of it.
    Ended {
        account: Arc<Account>,
        since: Instant,
        past: Vec<PastRoom>,
        /// When the caller has to look whether its rates can be forgotten too ([`Accounts::check_rested`]).
        look_at: Option<Instant>,
    },
}

impl Accounts {
    /// No users yet.
    pub(in crate::chat) fn new(config: &Config) -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            allowed: ArcSwap::from_pointee(Allowed::new(config)),
            grace: config.presence.grace,
        }
    }

    /// Other limits and rates count from now on. What users have spent stays spent.
    pub(in crate::chat) fn renew(&self, config: &Config) {
        self.allowed.store(Arc::new(Allowed::new(config)));
    }

    /// What users may do in a second.
    pub(in crate::chat) fn rates(&self) -> RatesGuard {
        RatesGuard(self.allowed.load())
    }

    fn stripe(&self, id: &str) -> MutexGuard<'_, Stripe> {
        let stripe = self.hasher.hash_one(id) as usize % STRIPES;
        // A panic under the lock leaves a map that is whole: entries are changed by plain assignments.
        self.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more socket of a user. `returns`: the client says that it comes back; then there may be one more than the user may
    /// have ([`SocketReservation::is_excess`]), for as many clients at a time as it may have sockets.
    ///
    /// # Errors
    /// The user has too many, or sends too many CONNECTs.
    pub(in crate::chat) fn reserve(
        self: &Arc<Self>,
        id: &str,
        now: Instant,
        returns: bool,
    ) -> Result<SocketReservation, ReserveError> {
        let allowed = self.allowed.load();
        let mut stripe = self.stripe(id);
        let Stripe { present, absent } = &mut *stripe;
        if let Some(entry) = present.get_mut(id) {
            entry.account.take_connect(&allowed.rates, now).map_err(|_| ReserveError::TooOften)?;
            let (refuses, counted) = (
                allowed.policy == SocketsPolicy::Refuse && allowed.limit > 0,
                (entry.sockets + entry.reserved) as usize,
            );
            let excess = refuses && counted >= allowed.limit;
            if excess && (!returns || counted >= 2 * allowed.limit) {
                return Err(ReserveError::TooMany);
            }
            entry.reserved += 1;
            let account = Some(Arc::clone(&entry.account));
            return Ok(SocketReservation { accounts: Arc::clone(self), account, excess });
        }
        if let Some(account) = absent.get(id) {
            account.take_connect(&allowed.rates, now).map_err(|_| ReserveError::TooOften)?;
        }
        let account = absent.remove(id).unwrap_or_else(|| {
            let account = Account::new(id);
            // It is its first.
            let _ = account.take_connect(&allowed.rates, now);
            Arc::new(account)
        });
        let entry = Entry {
            account: Arc::clone(&account),
            sockets: 0,
            reserved: 1,
            slots: Slots::default(),
            gone: None,
            watched: false,
            past: None,
        };
        present.insert(Arc::clone(&account.id), entry);
        Ok(SocketReservation { accounts: Arc::clone(self), account: Some(account), excess: false })
    }

    /// The user, if it is connected or was until a moment ago.
    pub(in crate::chat) fn find(&self, id: &str) -> Option<Arc<Account>> {
        self.stripe(id).present.get(id).map(|entry| Arc::clone(&entry.account))
    }

    fn release(&self, account: &Account) {
        let mut stripe = self.stripe(&account.id);
        let Some(entry) = stripe.present.get_mut(&*account.id) else { return };
        entry.reserved -= 1;
        // The user never had a socket, so nobody takes it for online.
        if entry.sockets + entry.reserved == 0 && !entry.watched {
            stripe.present.remove(&*account.id);
        }
    }

    /// The socket that is to make room, if the user has more than it may: that which was heard of longest ago, as far as is
    /// known. Its shard knows better, see [`Accounts::make_room`].
    pub(in crate::chat) fn longest_unheard(&self, account: &Account) -> Option<Slot> {
        let stripe = self.stripe(&account.id);
        let entry = stripe.present.get(&*account.id).filter(|entry| self.is_over(entry))?;
        entry.slots.longest_unheard()
    }

    /// This socket was last heard of then; whether it is the one to make room. It is not counted for that any more then.
    pub(in crate::chat) fn make_room(&self, account: &Account, slot: Slot, heard: Instant) -> bool {
        let mut stripe = self.stripe(&account.id);
        let Some(entry) = stripe.present.get_mut(&*account.id).filter(|entry| self.is_over(entry)) else {
            return false;
        };
        entry.slots.set_heard(slot, heard);
        let chosen = entry.slots.longest_unheard() == Some(slot);
        if chosen {
            entry.slots.remove(slot);
        }
        chosen
    }

    /// There is no such socket.
    pub(in crate::chat) fn remove_slot(&self, account: &Account, slot: Slot) {
        if let Some(entry) = self.stripe(&account.id).present.get_mut(&*account.id) {
            entry.slots.remove(slot);
        }
    }

    fn is_over(&self, entry: &Entry) -> bool {
        let allowed = self.allowed.load();
        allowed.policy == SocketsPolicy::Replace && allowed.limit > 0 && entry.slots.len() > allowed.limit
    }

    /// A socket went, with these rooms.
    pub(in crate::chat) fn depart<'a>(
        &self,
        account: &Account,
        slot: Slot,
        rooms: impl Iterator<Item = &'a Room>,
        now: Instant,
    ) -> Departure {
        let mut departure = Departure::default();
        let mut stripe = self.stripe(&account.id);
        let Some(entry) = stripe.present.get_mut(&*account.id) else { return departure };
        for room in rooms {
            entry.remember(room, None, now, self.grace, &mut departure.forgotten);
        }
        entry.sockets -= 1;
        entry.slots.remove(slot);
        if entry.sockets == 0 {
            entry.gone = Some(now);
            departure.look_at = (!std::mem::replace(&mut entry.watched, true)).then(|| now + self.grace);
        }
        departure
    }

    /// The user's sockets.
    pub(in crate::chat) fn sockets_of(&self, id: &str) -> SmallVec<[Slot; 4]> {
        let stripe = self.stripe(id);
        stripe.present.get(id).into_iter().flat_map(|entry| entry.slots.iter()).collect()
    }

    /// A socket of the user was counted in these rooms, and is in none of them now. Returns the rooms that are forgotten over it.
    pub(in crate::chat) fn withdraw<'a>(
        &self,
        account: &Account,
        rooms: impl Iterator<Item = &'a Room>,
        now: Instant,
    ) -> Vec<Room> {
        let mut forgotten = Vec::new();
        if let Some(entry) = self.stripe(&account.id).present.get_mut(&*account.id) {
            for room in rooms {
                entry.remember(room, None, now, self.grace, &mut forgotten);
            }
        }
        forgotten
    }

    /// A socket left a room by its own wish. Returns the rooms that are forgotten over it.
    pub(in crate::chat) fn leave(&self, account: &Account, room: &Room, now: Instant) -> Vec<Room> {
        let mut forgotten = Vec::new();
        if let Some(entry) = self.stripe(&account.id).present.get_mut(&*account.id) {
            entry.remember(room, Some(now), now, self.grace, &mut forgotten);
        }
        forgotten
    }

    /// A deadline of [`Departure::look_at`] has come.
    pub(in crate::chat) fn check_gone(&self, id: &str, now: Instant) -> Gone {
        let mut stripe = self.stripe(id);
        let Some(entry) = stripe.present.get_mut(id) else { return Gone::Back };
        entry.watched = false;
        let Some(since) = entry.gone else { return Gone::Back };
        if now.duration_since(since) < self.grace {
            entry.watched = true;
            return Gone::Later(since + self.grace);
        }
        if entry.reserved > 0 {
            // A CONNECT is under way on another shard; when it fails, there is nobody left to look.
            entry.watched = true;
            return Gone::Later(now + CONNECT_UNDER_WAY);
        }
        let Some(Entry { account, past, .. }) = stripe.present.remove(id) else { return Gone::Back };
        let past = past.map(|past| *past).into_iter().flatten().map(|(room, left)| PastRoom { room, left }).collect();
        let look_at = stripe.remember(&account, now);
        Gone::Ended { account, since, past, look_at }
    }

    /// A deadline of [`Gone::Ended`] has come. Forgets the user if it is still gone and has got back all that it spent of its
    /// rates; otherwise, when to look again.
    pub(in crate::chat) fn check_rested(&self, id: &str, now: Instant) -> Option<Instant> {
        let mut stripe = self.stripe(id);
        let rested = stripe.absent.get(id)?.rested_at();
        if rested > now {
            return Some(rested);
        }
        stripe.absent.remove(id);
        None
    }

    /// How many users there are.
    #[cfg(test)]
    pub(in crate::chat) fn len(&self) -> usize {
        let count = |stripe: &Stripe| stripe.present.len() + stripe.absent.len();
        self.stripes.iter().map(|stripe| count(&stripe.lock().unwrap())).sum()
    }
}

impl SocketReservation {
    /// Whose socket it is to be. `None` after [`SocketReservation::take`], which takes the value itself.
    pub(in crate::chat) const fn account(&self) -> Option<&Arc<Account>> {
        self.account.as_ref()
    }

    /// Whether the user may not have this socket beside those that it has.
    pub(in crate::chat) const fn is_excess(&self) -> bool {
        self.excess
    }

    /// The socket takes the place of another one, which has ended.
    pub(in crate::chat) const fn replaces_another(&mut self) {
        self.excess = false;
    }

    /// The socket is there, and counts until [`Accounts::depart`]. Returns its user, and whether the user was gone.
    pub(in crate::chat) fn take(mut self, slot: Slot, now: Instant) -> Option<(Arc<Account>, bool)> {
        let (account, mut was_gone) = (self.account.take()?, false);
        if let Some(entry) = self.accounts.stripe(&account.id).present.get_mut(&*account.id) {
            was_gone = entry.sockets == 0 && entry.gone.is_none();
            entry.reserved -= 1;
            entry.sockets += 1;
            entry.slots.push(slot, now);
            entry.gone = None;
        }
        Some((account, was_gone))
    }
}

impl Drop for SocketReservation {
    fn drop(&mut self) {
        if let Some(account) = self.account.take() {
            self.accounts.release(&account);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(2);

    fn accounts(limit: usize, policy: SocketsPolicy) -> Arc<Accounts> {
        let mut config = Config::default();
        (config.limits.sockets_per_user, config.limits.sockets_per_user_policy) = (limit, policy);
        config.limits.connect_user_rate = 0.0;
        config.presence.grace = GRACE;
        Arc::new(Accounts::new(&config))
    }

    const fn slot(index: u32) -> Slot {
        Slot { shard: 0, index }
    }

    fn take(accounts: &Arc<Accounts>, index: u32, now: Instant) -> Arc<Account> {
        accounts.reserve("a", now, false).unwrap().take(slot(index), now).unwrap().0
    }

    #[test]
    fn a_reservation_that_is_not_taken_is_free_again() {
        let (accounts, now) = (accounts(2, SocketsPolicy::Refuse), Instant::now());
        let taken = take(&accounts, 0, now);
        let reserved = accounts.reserve("a", now, false).unwrap();
        assert_eq!(accounts.reserve("a", now, false).err(), Some(ReserveError::TooMany));
        let returning = [(); 2].map(|()| accounts.reserve("a", now, true).unwrap());
        assert!(returning.iter().all(SocketReservation::is_excess));
        assert_eq!(accounts.reserve("a", now, true).err(), Some(ReserveError::TooMany), "they have a limit too");
        drop(returning);
        assert!(accounts.reserve("b", now, false).is_ok());
        drop(reserved);
        assert!(accounts.reserve("a", now, false).is_ok());
        assert_eq!((accounts.len(), &*taken.id), (1, "a"));
    }

    #[test]
    fn a_user_ends_once_and_after_the_grace_of_the_last_going() {
        let (accounts, now) = (accounts(0, SocketsPolicy::Replace), Instant::now());
        let room = Room::new("r");
        let taken = [0, 1].map(|index| accounts.reserve("a", now, false).unwrap().take(slot(index), now).unwrap());
        assert_eq!([taken[0].1, taken[1].1], [true, false], "whether the user was gone");
        let [one, two] = taken.map(|(account, _)| account);
        assert_eq!(accounts.depart(&one, slot(0), [&room].into_iter(), now).look_at, None);
        assert_eq!(accounts.depart(&two, slot(1), [].into_iter(), now).look_at, Some(now + GRACE));
        let three = take(&accounts, 2, now);
        assert!(matches!(accounts.check_gone("a", now + GRACE), Gone::Back));
        let later = now + GRACE;
        assert_eq!(accounts.depart(&three, slot(2), [].into_iter(), later).look_at, Some(later + GRACE));
        // Watched already, although it came and went: one deadline is enough.
        let four = take(&accounts, 3, now);
        assert_eq!(accounts.depart(&four, slot(3), [].into_iter(), later + GRACE / 2).look_at, None);
        let Gone::Later(at) = accounts.check_gone("a", later + GRACE) else { unreachable!() };
        assert_eq!(at, later + GRACE / 2 + GRACE);
        let Gone::Ended { past, since, .. } = accounts.check_gone("a", at) else { unreachable!() };
        assert_eq!((since, past.len(), accounts.len()), (later + GRACE / 2, 1, 0));
    }

    #[test]
    fn a_connect_under_way_keeps_a_user_whose_grace_is_over() {
        let (accounts, now) = (accounts(0, SocketsPolicy::Replace), Instant::now());
        let one = take(&accounts, 4, now);
        accounts.depart(&one, slot(0), [].into_iter(), now);
        let reservation = accounts.reserve("a", now, false).unwrap();
        let Gone::Later(at) = accounts.check_gone("a", now + GRACE) else { unreachable!() };
        drop(reservation);
        assert!(matches!(accounts.check_gone("a", at), Gone::Ended { .. }));
    }

    #[test]
    fn a_connect_that_fails_after_the_last_socket_went_does_not_hide_the_end() {
        let (accounts, now) = (accounts(0, SocketsPolicy::Replace), Instant::now());
        let one = take(&accounts, 5, now);
        let reservation = accounts.reserve("a", now, false).unwrap();
        assert_eq!(accounts.depart(&one, slot(0), [].into_iter(), now).look_at, Some(now + GRACE));
        drop(reservation);
        assert!(matches!(accounts.check_gone("a", now + GRACE), Gone::Ended { .. }));
    }
}
