//! Counters and rates that guard the server: per address before a session exists, per user and socket afterwards.
//! A rate of zero is no limit.

use std::{
    collections::{BTreeMap, HashMap, VecDeque, hash_map::RandomState},
    hash::BuildHasher,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use engineio::ConnKey;

use crate::rate::{Bucket, Rate};

/// How long strikes count.
const STRIKE_WINDOW: Duration = Duration::from_secs(60);

/// How often addresses without a connection are looked through.
const SWEEP: Duration = Duration::from_secs(10);

/// Refusals of one user within the last minute.
#[derive(Debug, Default)]
pub(crate) struct Strikes(VecDeque<Instant>);

impl Strikes {
    /// Counts one more; whether there are more than `limit` now (zero: never).
    pub(crate) fn add(&mut self, now: Instant, limit: u32) -> bool {
        if limit == 0 {
            return false;
        }
        while self.0.front().is_some_and(|at| now.duration_since(*at) >= STRIKE_WINDOW) {
            self.0.pop_front();
        }
        self.0.push_back(now);
        let over = self.0.len() > limit as usize;
        if over {
            // One more than the limit says all: sockets that go on are disconnected one by one, and nothing grows.
            self.0.pop_front();
        }
        over
    }

    /// When the last one counts no more.
    pub(crate) fn forgotten_at(&self) -> Option<Instant> {
        self.0.back().map(|last| *last + STRIKE_WINDOW)
    }
}

/// Maps that addresses are spread over, so that shards seldom wait for each other.
const STRIPES: usize = 16;

/// How many connections each address has, over all shards, and how fast new ones come. The locks are taken when a connection
/// comes, when it shows a valid token, and when it goes.
///
/// A connection is *unproven* until it has shown a valid token. Whoever has no token can open any number of connections, so these
/// have places of their own: when an address has as many as it may, its newest takes the place of its oldest. They take none of
/// the places and nothing of the rate of the address's users.
#[derive(Debug)]
pub(crate) struct Addresses {
    stripes: Box<[Mutex<Stripe>]>,
    hasher: RandomState,
}

/// What an address may do. Zero is no limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AddressLimits {
    /// Connections a second that have shown a valid token.
    pub(crate) rate: f64,
    /// Connections that have shown a valid token.
    pub(crate) sockets: usize,
    /// Connections that have not.
    pub(crate) unproven: usize,
}

/// Where a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) shard: u16,
    pub(crate) conn: ConnKey,
}

/// Why an address may not open a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressRefusal {
    /// Its users have as many as they may have.
    Places,
    /// They opened too many of late. One more may come after this time.
    Rate(Duration),
}

impl AddressRefusal {
    /// When to try again.
    pub(crate) const fn retry_after(self) -> Duration {
        match self {
            Self::Places => Duration::from_secs(1),
            Self::Rate(wait) => wait,
        }
    }
}

/// What a connection counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has shown no valid token yet; its number among those of its address, which grows.
    Unproven(u64),
    /// It has.
    Proven,
}

impl Addresses {
    /// No connections yet.
    pub(crate) fn new(limits: AddressLimits) -> Self {
        let stripes = (0..STRIPES).map(|_| Mutex::new(Stripe::new(limits))).collect();
        Self { stripes, hasher: RandomState::new() }
    }

    /// Other limits count from now on, for what comes.
    pub(crate) fn set_limits(&self, limits: AddressLimits) {
        for stripe in &self.stripes {
            stripe.lock().unwrap_or_else(PoisonError::into_inner).set_limits(limits);
        }
    }

    fn stripe(&self, address: IpAddr) -> (MutexGuard<'_, Stripe>, IpAddr) {
        let network = network(address);
        let stripe = self.hasher.hash_one(network) as usize % STRIPES;
        // A panic under the lock leaves counters that are whole.
        (self.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner), network)
    }

    /// May this address open a connection? Nothing is counted yet.
    ///
    /// # Errors
    /// Its users have as many connections as they may have, or opened too many of late.
    pub(crate) fn admit(&self, now: Instant, address: IpAddr) -> Result<(), AddressRefusal> {
        let (mut stripe, network) = self.stripe(address);
        stripe.admit(now, network)
    }

    /// A connection was opened. Returns its number, and the connection whose place it takes: the caller has to end that one
    /// unless it has shown a token meanwhile.
    pub(crate) fn open(&self, now: Instant, address: IpAddr, place: Place) -> (u64, Option<Place>) {
        let (mut stripe, network) = self.stripe(address);
        stripe.open(now, network, place)
    }

    /// A connection has shown a valid token for the first time. Whether the address may have one more of these; if not, the
    /// caller has to end it.
    pub(crate) fn prove(&self, now: Instant, address: IpAddr, number: u64) -> bool {
        let (mut stripe, network) = self.stripe(address);
        stripe.prove(now, network, number)
    }

    /// A connection is over.
    pub(crate) fn close(&self, now: Instant, address: IpAddr, standing: Standing) {
        let (mut stripe, network) = self.stripe(address);
        stripe.close(now, network, standing);
    }
}

/// Some of the addresses, by their [`network`].
#[derive(Debug)]
struct Stripe {
    rate: Rate,
    limits: AddressLimits,
    known: HashMap<IpAddr, Address>,
    /// How long an address without a connection is kept: until its bucket is full again, at least.
    keep: Duration,
    sweep_at: Option<Instant>,
}

#[derive(Debug)]
struct Address {
    proven: usize,
    /// Connections without a valid token, by their numbers: the oldest first.
    unproven: BTreeMap<u64, Place>,
    next_number: u64,
    /// Pays for connections that have shown a token.
    bucket: Bucket,
    last_seen: Instant,
}

impl Stripe {
    fn new(limits: AddressLimits) -> Self {
        let (rate, keep) = Self::rate(limits);
        Self { rate, limits, known: HashMap::new(), keep, sweep_at: None }
    }

    fn set_limits(&mut self, limits: AddressLimits) {
        (self.rate, self.keep) = Self::rate(limits);
        self.limits = limits;
    }

    fn rate(limits: AddressLimits) -> (Rate, Duration) {
        // A bucket holds what comes in one second, and one token at least. It also holds as many as the address may have connections:
        // after a restart or a break of the network they all come back at once, and official clients give up after five attempts.
        let rate = Rate::new(limits.rate, limits.rate.ceil().max(limits.sockets as f64));
        (rate, rate.fill_time().max(SWEEP))
    }

    fn entry(&mut self, now: Instant, address: IpAddr) -> &mut Address {
        if self.sweep_at.is_none_or(|at| at <= now) {
            self.sweep(now);
        }
        self.known.entry(address).or_insert_with(|| Address {
            proven: 0,
            unproven: BTreeMap::new(),
            next_number: 0,
            bucket: Bucket::default(),
            last_seen: now,
        })
    }

    /// Forgets addresses without a connection whose bucket is full again.
    fn sweep(&mut self, now: Instant) {
        let keep = self.keep;
        self.known.retain(|_, address| {
            let has_connections = address.proven > 0 || !address.unproven.is_empty();
            has_connections || now.duration_since(address.last_seen) < keep
        });
        self.sweep_at = Some(now + SWEEP);
    }

    fn admit(&mut self, now: Instant, address: IpAddr) -> Result<(), AddressRefusal> {
        let (limit, rate) = (self.limits.sockets, self.rate);
        let known = self.entry(now, address);
        known.last_seen = now;
        if limit > 0 && known.proven >= limit {
            return Err(AddressRefusal::Places);
        }
        known.bucket.holds(&rate, now, 1).map_err(AddressRefusal::Rate)
    }

    fn open(&mut self, now: Instant, address: IpAddr, place: Place) -> (u64, Option<Place>) {
        let limit = self.limits.unproven;
        let known = self.entry(now, address);
        let oldest = if limit > 0 && known.unproven.len() >= limit { known.unproven.pop_first() } else { None };
        let number = known.next_number;
        known.next_number += 1;
        known.unproven.insert(number, place);
        (number, oldest.map(|(_, place)| place))
    }

    fn prove(&mut self, now: Instant, address: IpAddr, number: u64) -> bool {
        let (limit, rate) = (self.limits.sockets, self.rate);
        let known = self.entry(now, address);
        if limit > 0 && known.proven >= limit {
            return false;
        }
        known.unproven.remove(&number);
        known.proven += 1;
        // The last ones were all admitted while the bucket held a token. It goes no lower than empty for that: otherwise a crowd
        // that comes back together would lock out its address for as long as it is large.
        let _ = known.bucket.take(&rate, now, 1);
        true
    }

    fn close(&mut self, now: Instant, address: IpAddr, standing: Standing) {
        let known = self.entry(now, address);
        match standing {
            // It is no longer there if its place was taken.
            Standing::Unproven(number) => _ = known.unproven.remove(&number),
            Standing::Proven => known.proven = known.proven.saturating_sub(1),
        }
        known.last_seen = now;
    }
}

/// What counts as one address: an IPv4 address, or the /64 network that one IPv6 subscriber has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use engineio::slab::Slab;

    use super::*;

    #[test]
    fn strikes_count_for_a_minute() {
        let now = Instant::now();
        let mut strikes = Strikes::default();
        assert_eq!((0..4).map(|_| strikes.add(now, 3)).collect::<Vec<_>>(), [false, false, false, true]);
        assert!((0..1000).all(|_| strikes.add(now, 3)) && strikes.0.len() == 3);
        assert_eq!(strikes.forgotten_at(), Some(now + STRIKE_WINDOW));
        assert!(!strikes.add(now + STRIKE_WINDOW, 3));
        assert!(!strikes.add(now, 0));
    }

    const FREE: AddressLimits = AddressLimits { rate: 0.0, sockets: 0, unproven: 0 };

    fn places<const N: usize>() -> [Place; N] {
        let mut slab = Slab::default();
        [(); N].map(|()| Place { shard: 0, conn: ConnKey::new(slab.insert(())) })
    }

    #[test]
    fn addresses_are_counted_and_forgotten() {
        let now = Instant::now();
        let addresses = Addresses::new(AddressLimits { sockets: 2, ..FREE });
        let one: IpAddr = "10.0.0.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        let numbers = [one, mapped, one].map(|address| addresses.open(now, address, places::<1>()[0]).0);
        assert!(addresses.prove(now, one, numbers[0]) && addresses.admit(now, one).is_ok());
        assert!(addresses.prove(now, mapped, numbers[1]) && addresses.admit(now, one).is_err());
        assert!(!addresses.prove(now, one, numbers[2]), "it was admitted before the others had shown a token");
        assert!(addresses.admit(now, "10.0.0.2".parse().unwrap()).is_ok());
        addresses.close(now, one, Standing::Proven);
        assert!(addresses.admit(now, one).is_ok());
        addresses.close(now, one, Standing::Proven);
        let (mut stripe, _) = addresses.stripe(one);
        stripe.sweep(now + SWEEP);
        assert_eq!(stripe.known.len(), 1, "there is one without a token");
        stripe.close(now, one, Standing::Unproven(numbers[2]));
        stripe.sweep(now + 2 * SWEEP);
        assert_eq!(stripe.known.len(), 0);
    }

    #[test]
    fn without_a_token_the_newest_takes_the_place_of_the_oldest() {
        let now = Instant::now();
        let addresses = Addresses::new(AddressLimits { unproven: 2, ..FREE });
        let (one, other): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let [a, b, c, d, e] = places();
        let (first, displaced) = addresses.open(now, one, a);
        assert_eq!((displaced, addresses.open(now, one, b).1, addresses.open(now, other, c).1), (None, None, None));
        assert!(addresses.prove(now, one, first));
        assert_eq!(addresses.open(now, one, d).1, None, "the first is not without a token any more");
        let (last, displaced) = addresses.open(now, one, e);
        assert_eq!(displaced, Some(b));
        addresses.close(now, one, Standing::Unproven(last));
        assert_eq!(addresses.open(now, one, a).1, None);
    }

    #[test]
    fn the_rate_is_paid_by_those_who_show_a_token() {
        let now = Instant::now();
        let addresses = Addresses::new(AddressLimits { rate: 2.0, ..FREE });
        let one: IpAddr = "10.0.0.1".parse().unwrap();
        let open = || {
            assert_eq!(addresses.admit(now, one), Ok(()));
            addresses.open(now, one, places::<1>()[0]).0
        };
        let numbers: Vec<_> = (0..1000).map(|_| open()).collect();
        // As many as came while there was a token are let through; the bucket is empty then, and not below it.
        assert!(numbers.iter().take(10).all(|number| addresses.prove(now, one, *number)));
        assert_eq!(addresses.admit(now, one), Err(AddressRefusal::Rate(Duration::from_millis(500))));
        assert_eq!(addresses.admit(now + Duration::from_millis(500), one), Ok(()));
    }

    #[test]
    fn all_connections_that_an_address_may_have_come_back_at_once() {
        let now = Instant::now();
        let addresses = Addresses::new(AddressLimits { rate: 2.0, sockets: 50, ..FREE });
        let one: IpAddr = "10.0.0.1".parse().unwrap();
        let come = |now| {
            addresses.admit(now, one)?;
            let (number, _) = addresses.open(now, one, places::<1>()[0]);
            assert!(addresses.prove(now, one, number));
            Ok(())
        };
        assert!((0..50).all(|_| come(now) == Ok(())));
        (0..50).for_each(|_| addresses.close(now, one, Standing::Proven));
        // Who comes back again and again is held to the rate.
        assert_eq!(come(now), Err(AddressRefusal::Rate(Duration::from_millis(500))));
        assert_eq!(come(now + Duration::from_millis(500)), Ok(()));
    }

    #[test]
    fn a_slow_rate_holds_beyond_the_sweep() {
        let now = Instant::now();
        let mut addresses = Stripe::new(AddressLimits { rate: 0.01, ..FREE });
        let one: IpAddr = "10.0.0.1".parse().unwrap();
        let (number, _) = addresses.open(now, one, places::<1>()[0]);
        assert!(addresses.prove(now, one, number));
        addresses.close(now, one, Standing::Proven);
        assert!(addresses.admit(now + 2 * SWEEP, one).is_err());
        addresses.sweep(now + Duration::from_secs(121));
        assert_eq!(addresses.known.len(), 0);
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        let now = Instant::now();
        let addresses = Addresses::new(AddressLimits { sockets: 1, ..FREE });
        let [first, second, elsewhere] =
            ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|address| address.parse().unwrap());
        let (number, _) = addresses.open(now, first, places::<1>()[0]);
        assert!(addresses.prove(now, first, number));
        assert!(addresses.admit(now, second).is_err());
        assert!(addresses.admit(now, elsewhere).is_ok());
    }
}
