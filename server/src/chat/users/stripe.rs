//! [`Stripe`]: some of the users, behind one lock.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{account::Account, slots::Slots};
use crate::room::Room;

/// Above this many rooms a user's past ones are forgotten.
const REMEMBERED_ROOMS: usize = 1000;

/// So many users without a socket are remembered in each stripe for what they have spent of their rates: 65,536 in all.
const REMEMBERED_USERS: usize = 1024;

/// Some of the users, by id.
#[derive(Debug, Default)]
pub(super) struct Stripe {
    pub(super) present: HashMap<Arc<str>, Entry>,
    /// Users who are gone, as the others know, but have not got back all that they spent of their rates. Otherwise they
    /// would have it back by leaving for the grace of [`super::accounts::Accounts`].
    pub(super) absent: HashMap<Arc<str>, Arc<Account>>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) account: Arc<Account>,
    /// How many there are on all shards.
    pub(super) sockets: u32,
    /// CONNECTs under way.
    pub(super) reserved: u32,
    pub(super) slots: Slots,
    /// Since when there has been none.
    pub(super) gone: Option<Instant>,
    /// Whether a shard has a deadline for `gone`: one at a time, however often the user comes and goes.
    pub(super) watched: bool,
    /// By room, when it was left ([`super::accounts::PastRoom`]). A map, because whoever holds it up holds up the others of the stripe.
    #[expect(clippy::box_collection, reason = "most users have none: a pointer instead of an empty map for each")]
    pub(super) past: Option<Box<HashMap<Room, Option<Instant>>>>,
}

impl Stripe {
    /// Remembers what a user who is gone has spent of its rates. Returns when it has got all of it back; `None` when nothing is
    /// remembered.
    pub(super) fn remember(&mut self, account: &Arc<Account>, now: Instant) -> Option<Instant> {
        let rested = account.rested_at();
        if rested <= now {
            return None;
        }
        if self.absent.len() >= REMEMBERED_USERS {
            self.absent.retain(|_, account| account.rested_at() > now);
        }
        if self.absent.len() >= REMEMBERED_USERS {
            return None;
        }
        self.absent.insert(Arc::clone(&account.id), Arc::clone(account));
        Some(rested)
    }
}

impl Entry {
    /// Remembers that a socket went out of a room, or forgets other rooms first, so that they do not pile up. Rooms that were left
    /// by `leave` go first: nobody there needs to hear that the user is offline. If that is not enough, all go.
    pub(super) fn remember(
        &mut self,
        room: &Room,
        left: Option<Instant>,
        now: Instant,
        grace: Duration,
        forgotten: &mut Vec<Room>,
    ) {
        let past = self.past.get_or_insert_default();
        if let Some(known) = past.get_mut(room) {
            *known = left;
            return;
        }
        if past.len() >= REMEMBERED_ROOMS {
            let stale = |left: &Option<Instant>| left.is_some_and(|left| now.duration_since(left) >= grace);
            forgotten.extend(past.extract_if(|_, left| stale(left)).map(|(room, _)| room));
        }
        if past.len() >= REMEMBERED_ROOMS {
            forgotten.extend(past.drain().map(|(room, _)| room));
        }
        past.insert(room.clone(), left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{chat::users::rates::Rates, config::Config};

    #[test]
    fn those_who_are_gone_are_remembered_until_they_have_their_rates_back_and_not_without_bound() {
        let (config, now) = (Config::default(), Instant::now());
        let rates = Rates::new(&config.limits, config.engine.max_payload);
        let mut stripe = Stripe::default();
        let spent = |id: usize| {
            let account = Arc::new(Account::new(&id.to_string()));
            account.take_typing(&rates, now).unwrap();
            account
        };
        let remembered = (0..2 * REMEMBERED_USERS).filter(|id| stripe.remember(&spent(*id), now).is_some()).count();
        assert_eq!((remembered, stripe.absent.len()), (REMEMBERED_USERS, REMEMBERED_USERS));
        let rested = Arc::new(Account::new("rested"));
        assert_eq!(stripe.remember(&rested, now), None);
        // When the others have theirs back, there is room again.
        let later = now + Duration::from_secs(60);
        let account = spent(0);
        account.take_typing(&rates, later).unwrap();
        assert!(stripe.remember(&account, later).is_some() && stripe.absent.len() == 1);
    }
}
