//! [`Accounts`]: what all shards must know of a user together.
//!
//! A socket's shard decides alone what concerns the socket. What it cannot know alone stands here: how many sockets the user
//! has everywhere, how much all of them send, and which of them is the last to go. The locks are taken when a socket comes,
//! goes or leaves a room, never for a message, and are held for a look into a map.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::{BuildHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use socketio::json;

use crate::room::Room;
use crate::{config::Limits, limits::Bucket};

/// Maps that users are spread over, so that shards seldom wait for each other.
const STRIPES: usize = 64;

/// A CONNECT takes less than a turn.
const CONNECT_UNDER_WAY: Duration = Duration::from_millis(100);

/// Above this many rooms a user's past ones are forgotten.
const REMEMBERED_ROOMS: usize = 1000;

/// A user, however many sockets on whatever shards.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) id: Arc<str>,
    /// `"userId":...,"username":...`, the way every event carries them, by the newest token.
    fields: ArcSwap<String>,
    /// Made when first needed: most users only listen.
    messages: OnceLock<Box<Bucket>>,
    typing: OnceLock<Box<Bucket>>,
}

impl PartialEq for Account {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Account {}

impl Hash for Account {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl Account {
    fn new(id: &str) -> Self {
        Self { id: id.into(), fields: ArcSwap::default(), messages: OnceLock::new(), typing: OnceLock::new() }
    }

    /// Takes the display name of the newest token.
    pub(super) fn rename(&self, username: &str) {
        let mut fields = br#""userId":"#.to_vec();
        json::quote(&self.id, &mut fields);
        fields.extend_from_slice(br#","username":"#);
        json::quote(username, &mut fields);
        fields.shrink_to_fit();
        let fields = String::from_utf8(fields).unwrap_or_default();
        // Sockets of one user mostly come with one name.
        if **self.fields.load() != fields {
            self.fields.store(Arc::new(fields));
        }
    }

    /// The members of an event that say whose it is.
    pub(super) fn fields(&self) -> impl std::ops::Deref<Target = Arc<String>> {
        self.fields.load()
    }

    /// The payload of a `userStatus` that says the user is there.
    pub(super) fn online(&self) -> String {
        format!(r#"{{{},"isOnline":true}}"#, **self.fields())
    }

    pub(super) fn messages(&self, limits: &Limits) -> &Bucket {
        self.messages.get_or_init(|| Box::new(Bucket::new(limits.message_rate, limits.message_burst)))
    }

    pub(super) fn typing(&self, limits: &Limits) -> &Bucket {
        let burst = limits.typing_rate.ceil().clamp(1.0, f64::from(u32::MAX)) as u32;
        self.typing.get_or_init(|| Box::new(Bucket::new(limits.typing_rate, burst)))
    }
}

/// A room that one of the user's sockets went out of; the last to do so counts.
#[derive(Debug, Clone)]
pub(super) struct Past {
    pub(super) room: Room,
    /// When, by `leave`: nobody is told of that. `None` when the socket was disconnected in the room, whose users take this
    /// one for online until they are told otherwise.
    pub(super) left: Option<Instant>,
}

/// Some of the users, by id.
#[derive(Debug, Default)]
struct Stripe(HashMap<Arc<str>, Entry>);

#[derive(Debug)]
struct Entry {
    account: Arc<Account>,
    /// How many there are on all shards.
    sockets: usize,
    /// CONNECTs under way.
    reserved: usize,
    /// Since when there has been none.
    gone: Option<Instant>,
    /// Whether a shard has a deadline for `gone`: one at a time, however often the user comes and goes.
    watched: bool,
    /// By room, when it was left ([`Past`]). A map, because whoever holds it up holds up the others of the stripe.
    #[expect(clippy::box_collection, reason = "most users have none: a pointer instead of an empty map for each")]
    past: Option<Box<HashMap<Room, Option<Instant>>>>,
}

/// All users with a socket, or within the grace after the last one.
#[derive(Debug)]
pub(crate) struct Accounts {
    stripes: Box<[Mutex<Stripe>]>,
    hasher: RandomState,
    /// The most sockets of one user; zero is no limit.
    limit: usize,
    /// For how long a user without a socket stays.
    grace: Duration,
}

/// A socket that is counted, and is not there yet. Dropped without [`Seat::take`], it is not counted any more.
#[derive(Debug)]
pub(crate) struct Seat {
    accounts: Arc<Accounts>,
    account: Option<Arc<Account>>,
}

/// What follows of a socket that went.
#[derive(Debug, Default)]
pub(super) struct Departure {
    /// When the caller has to look whether the user has been gone for the grace ([`Accounts::check_gone`]).
    pub(super) look_at: Option<Instant>,
    /// Past rooms that are remembered no longer; their homes must forget the user too.
    pub(super) forgotten: Vec<Room>,
}

/// Whether a user is gone.
#[derive(Debug)]
pub(super) enum Gone {
    /// No: there is a socket again.
    Back,
    /// It came back and went again: look then.
    Later(Instant),
    /// For the whole grace: forgotten here, and to be told to whoever takes the user for online.
    Ended { account: Arc<Account>, since: Instant, past: Vec<Past> },
}

impl Accounts {
    /// No users yet.
    pub(crate) fn new(limit: usize, grace: Duration) -> Self {
        let stripes = (0..STRIPES).map(|_| Mutex::default()).collect();
        Self { stripes, hasher: RandomState::new(), limit, grace }
    }

    fn stripe(&self, id: &str) -> MutexGuard<'_, Stripe> {
        let place = self.hasher.hash_one(id) as usize % STRIPES;
        // A panic under the lock leaves a map that is whole: entries are changed by plain assignments.
        self.stripes[place].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more socket of a user; `None` when there are as many as one may have.
    pub(super) fn reserve(self: &Arc<Self>, id: &str) -> Option<Seat> {
        let mut stripe = self.stripe(id);
        if let Some(entry) = stripe.0.get_mut(id) {
            if self.limit > 0 && entry.sockets + entry.reserved >= self.limit {
                return None;
            }
            entry.reserved += 1;
            return Some(Seat { accounts: Arc::clone(self), account: Some(Arc::clone(&entry.account)) });
        }
        let account = Arc::new(Account::new(id));
        let kept = Arc::clone(&account);
        let entry = Entry { account: kept, sockets: 0, reserved: 1, gone: None, watched: false, past: None };
        stripe.0.insert(Arc::clone(&account.id), entry);
        Some(Seat { accounts: Arc::clone(self), account: Some(account) })
    }

    fn release(&self, account: &Account) {
        let mut stripe = self.stripe(&account.id);
        let Some(entry) = stripe.0.get_mut(&*account.id) else { return };
        entry.reserved -= 1;
        // A user who never was there has nothing that must be told.
        if entry.sockets + entry.reserved == 0 && !entry.watched {
            stripe.0.remove(&*account.id);
        }
    }

    /// A socket went, with these rooms.
    pub(super) fn depart<'a>(
        &self,
        account: &Account,
        rooms: impl Iterator<Item = &'a Room>,
        now: Instant,
    ) -> Departure {
        let mut departure = Departure::default();
        let mut stripe = self.stripe(&account.id);
        let Some(entry) = stripe.0.get_mut(&*account.id) else { return departure };
        for room in rooms {
            entry.remember(room, None, now, self.grace, &mut departure.forgotten);
        }
        entry.sockets -= 1;
        if entry.sockets == 0 {
            entry.gone = Some(now);
            departure.look_at = (!std::mem::replace(&mut entry.watched, true)).then(|| now + self.grace);
        }
        departure
    }

    /// A socket left a room by its own wish. Returns the rooms that are forgotten over it.
    pub(super) fn leave(&self, account: &Account, room: &Room, now: Instant) -> Vec<Room> {
        let mut forgotten = Vec::new();
        if let Some(entry) = self.stripe(&account.id).0.get_mut(&*account.id) {
            entry.remember(room, Some(now), now, self.grace, &mut forgotten);
        }
        forgotten
    }

    /// A deadline of [`Departure::look_at`] has come.
    pub(super) fn check_gone(&self, id: &str, now: Instant) -> Gone {
        let mut stripe = self.stripe(id);
        let Some(entry) = stripe.0.get_mut(id) else { return Gone::Back };
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
        stripe.0.remove(id).map_or(Gone::Back, |Entry { account, past, .. }| {
            let past = past.map(|past| *past).into_iter().flatten().map(|(room, left)| Past { room, left }).collect();
            Gone::Ended { account, since, past }
        })
    }

    /// How many users there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.lock().unwrap().0.len()).sum()
    }
}

impl Entry {
    /// Sees to it that past rooms do not pile up. Those that were left go first, because nobody is told anything there any
    /// more; only beyond the bound those too where the user's end would be told.
    fn remember(
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

impl Seat {
    /// The socket is there, and counts until [`Accounts::depart`].
    pub(super) fn take(mut self) -> Option<Arc<Account>> {
        let account = self.account.take()?;
        if let Some(entry) = self.accounts.stripe(&account.id).0.get_mut(&*account.id) {
            entry.reserved -= 1;
            entry.sockets += 1;
            entry.gone = None;
        }
        Some(account)
    }
}

impl Drop for Seat {
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

    fn accounts(limit: usize) -> Arc<Accounts> {
        Arc::new(Accounts::new(limit, GRACE))
    }

    #[test]
    fn a_seat_that_is_not_taken_is_free_again() {
        let accounts = accounts(2);
        let taken = accounts.reserve("a").and_then(Seat::take).unwrap();
        let reserved = accounts.reserve("a").unwrap();
        assert!(accounts.reserve("a").is_none() && accounts.reserve("b").is_some());
        drop(reserved);
        assert!(accounts.reserve("a").is_some());
        assert_eq!((accounts.len(), &*taken.id), (1, "a"));
    }

    #[test]
    fn a_user_ends_once_and_after_the_grace_of_the_last_going() {
        let (accounts, now) = (accounts(0), Instant::now());
        let room = Room::new("r");
        let [one, two] = [(); 2].map(|()| accounts.reserve("a").and_then(Seat::take).unwrap());
        assert_eq!(accounts.depart(&one, [&room].into_iter(), now).look_at, None);
        assert_eq!(accounts.depart(&two, [].into_iter(), now).look_at, Some(now + GRACE));
        let three = accounts.reserve("a").and_then(Seat::take).unwrap();
        assert!(matches!(accounts.check_gone("a", now + GRACE), Gone::Back));
        let later = now + GRACE;
        assert_eq!(accounts.depart(&three, [].into_iter(), later).look_at, Some(later + GRACE));
        // Watched already, although it came and went: one deadline is enough.
        let four = accounts.reserve("a").and_then(Seat::take).unwrap();
        assert_eq!(accounts.depart(&four, [].into_iter(), later + GRACE / 2).look_at, None);
        let Gone::Later(at) = accounts.check_gone("a", later + GRACE) else { unreachable!() };
        assert_eq!(at, later + GRACE / 2 + GRACE);
        let Gone::Ended { past, since, .. } = accounts.check_gone("a", at) else { unreachable!() };
        assert_eq!((since, past.len(), accounts.len()), (later + GRACE / 2, 1, 0));
    }

    #[test]
    fn a_connect_under_way_keeps_a_user_whose_grace_is_over() {
        let (accounts, now) = (accounts(0), Instant::now());
        let one = accounts.reserve("a").and_then(Seat::take).unwrap();
        accounts.depart(&one, [].into_iter(), now);
        let seat = accounts.reserve("a").unwrap();
        let Gone::Later(at) = accounts.check_gone("a", now + GRACE) else { unreachable!() };
        drop(seat);
        assert!(matches!(accounts.check_gone("a", at), Gone::Ended { .. }));
    }

    #[test]
    fn a_connect_that_fails_after_the_last_socket_went_does_not_hide_the_end() {
        let (accounts, now) = (accounts(0), Instant::now());
        let one = accounts.reserve("a").and_then(Seat::take).unwrap();
        let seat = accounts.reserve("a").unwrap();
        assert_eq!(accounts.depart(&one, [].into_iter(), now).look_at, Some(now + GRACE));
        drop(seat);
        assert!(matches!(accounts.check_gone("a", now + GRACE), Gone::Ended { .. }));
    }

    #[test]
    fn the_newest_name_counts() {
        let account = Account::new("a\"b");
        account.rename("x");
        account.rename("y");
        assert_eq!(**account.fields(), r#""userId":"a\"b","username":"y""#);
    }
}
