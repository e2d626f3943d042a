//! [`Addresses`]: how many connections each address has, and how fast new ones come.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::unproven::{Number, Place, Unproven, UnprovenLimits};
use crate::rate::{Bucket, Rate};

/// How often addresses without a connection are looked through.
const SWEEP: Duration = Duration::from_secs(10);

/// Maps that addresses are spread over, so that shards seldom wait for each other.
const STRIPES: usize = 16;

/// How many connections each address has, over all shards, and how fast new ones come. The locks are taken when a connection
/// comes, when it shows a valid token, and when it goes.
///
/// A connection is *unproven* until it has shown a valid token. Whoever has no token can open any number of connections, so these
/// have places of their own ([`Unproven`]). They take none of the places and nothing of the rate of the address's users.
///
/// A connection that is known only by its trusted proxy has no address. It counts as unproven all the same.
#[derive(Debug)]
pub(crate) struct Addresses {
    unproven: Mutex<Unproven>,
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
    /// Connections of all addresses together, with and without a token.
    pub(crate) places: usize,
}

impl AddressLimits {
    const fn of_unproven(self) -> UnprovenLimits {
        UnprovenLimits { of_address: self.unproven, places: self.places }
    }
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
    /// It has shown no valid token yet.
    Unproven(Number),
    /// It has.
    Proven,
}

impl Addresses {
    /// No connections yet.
    pub(crate) fn new(limits: AddressLimits) -> Self {
        let stripes = (0..STRIPES).map(|_| Mutex::new(Stripe::new(limits))).collect();
        Self { unproven: Mutex::new(Unproven::new(limits.of_unproven())), stripes, hasher: RandomState::new() }
    }

    /// Other limits count from now on, for what comes.
    pub(crate) fn set_limits(&self, limits: AddressLimits) {
        self.unproven().set_limits(limits.of_unproven());
        for stripe in &self.stripes {
            stripe.lock().unwrap_or_else(PoisonError::into_inner).set_limits(limits);
        }
    }

    fn unproven(&self) -> MutexGuard<'_, Unproven> {
        // A panic under the lock leaves counters that are whole.
        self.unproven.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// A connection was opened. Returns its number, and the connection that has to go for it, which may be itself: the caller has to
    /// end that one unless it has shown a token meanwhile.
    pub(crate) fn open(&self, now: Instant, address: Option<IpAddr>, place: Place) -> (Number, Option<Place>) {
        self.unproven().open(now, address.map(network), place)
    }

    /// A connection has shown a valid token for the first time. Whether the address may have one more of these; if not, the
    /// caller has to end it.
    pub(crate) fn prove(&self, now: Instant, address: Option<IpAddr>, number: Number) -> bool {
        let admitted = address.is_none_or(|address| {
            let (mut stripe, network) = self.stripe(address);
            stripe.prove(now, network)
        });
        if admitted {
            self.unproven().prove(address.map(network), number);
        }
        admitted
    }

    /// A connection is over.
    pub(crate) fn close(&self, now: Instant, address: Option<IpAddr>, standing: Standing) {
        match standing {
            Standing::Unproven(number) => self.unproven().close(address.map(network), number),
            Standing::Proven => {
                self.unproven().close_proven();
                if let Some(address) = address {
                    let (mut stripe, network) = self.stripe(address);
                    stripe.close(now, network);
                }
            }
        }
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
        self.known.entry(address).or_insert_with(|| Address { proven: 0, bucket: Bucket::default(), last_seen: now })
    }

    /// Forgets addresses without a connection whose bucket is full again.
    fn sweep(&mut self, now: Instant) {
        let keep = self.keep;
        self.known.retain(|_, address| address.proven > 0 || now.duration_since(address.last_seen) < keep);
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

    fn prove(&mut self, now: Instant, address: IpAddr) -> bool {
        let (limit, rate) = (self.limits.sockets, self.rate);
        let known = self.entry(now, address);
        if limit > 0 && known.proven >= limit {
            return false;
        }
        known.proven += 1;
        // The last ones were all admitted while the bucket held a token. It goes no lower than empty for that: otherwise a crowd
        // that comes back together would lock out its address for as long as it is large.
        let _ = known.bucket.take(&rate, now, 1);
        true
    }

    fn close(&mut self, now: Instant, address: IpAddr) {
        let known = self.entry(now, address);
        known.proven = known.proven.saturating_sub(1);
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
    use engineio::{ConnKey, slab::Slab};

    use super::*;

    const FREE: AddressLimits = AddressLimits { rate: 0.0, sockets: 0, unproven: 0, places: 0 };

    fn open(addresses: &Addresses, address: IpAddr) -> Number {
        let place = Place { shard: 0, conn: ConnKey::new(Slab::default().insert(())) };
        let (number, displaced) = addresses.open(Instant::now(), Some(address), place);
        assert_eq!(displaced, None);
        number
    }

    #[test]
    fn addresses_are_counted_and_forgotten() {
        let now = Instant::now();
        let addresses = Addresses::new(AddressLimits { sockets: 2, ..FREE });
        let one: IpAddr = "10.0.0.1".parse().unwrap();
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().unwrap();
        let numbers = [one, mapped, one].map(|address| open(&addresses, address));
        assert!(addresses.prove(now, Some(one), numbers[0]) && addresses.admit(now, one).is_ok());
        assert!(addresses.prove(now, Some(mapped), numbers[1]) && addresses.admit(now, one).is_err());
        assert!(!addresses.prove(now, Some(one), numbers[2]), "it was admitted before the others had shown a token");
        assert!(addresses.admit(now, "10.0.0.2".parse().unwrap()).is_ok());
        addresses.close(now, Some(one), Standing::Proven);
        assert!(addresses.admit(now, one).is_ok());
        addresses.close(now, Some(one), Standing::Proven);
        let (mut stripe, _) = addresses.stripe(one);
        stripe.sweep(now + SWEEP);
        assert_eq!(stripe.known.len(), 0);
    }

    #[test]
    fn the_rate_is_paid_by_those_who_show_a_token() {
        let now = Instant::now();
        let addresses = Addresses::new(AddressLimits { rate: 2.0, ..FREE });
        let one: IpAddr = "10.0.0.1".parse().unwrap();
        let open = || {
            assert_eq!(addresses.admit(now, one), Ok(()));
            open(&addresses, one)
        };
        let numbers: Vec<_> = (0..1000).map(|_| open()).collect();
        // As many as came while there was a token are let through; the bucket is empty then, and not below it.
        assert!(numbers.iter().take(10).all(|number| addresses.prove(now, Some(one), *number)));
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
            let number = open(&addresses, one);
            assert!(addresses.prove(now, Some(one), number));
            Ok(())
        };
        assert!((0..50).all(|_| come(now) == Ok(())));
        (0..50).for_each(|_| addresses.close(now, Some(one), Standing::Proven));
        // Who comes back again and again is held to the rate.
        assert_eq!(come(now), Err(AddressRefusal::Rate(Duration::from_millis(500))));
        assert_eq!(come(now + Duration::from_millis(500)), Ok(()));
    }

    #[test]
    fn a_slow_rate_holds_beyond_the_sweep() {
        let now = Instant::now();
        let mut addresses = Stripe::new(AddressLimits { rate: 0.01, ..FREE });
        let one: IpAddr = "10.0.0.1".parse().unwrap();
        assert!(addresses.prove(now, one));
        addresses.close(now, one);
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
        let number = open(&addresses, first);
        assert!(addresses.prove(now, Some(first), number));
        assert!(addresses.admit(now, second).is_err());
        assert!(addresses.admit(now, elsewhere).is_ok());
    }
}
