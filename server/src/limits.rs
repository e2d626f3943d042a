//! Counters and rates that guard the server: per address before a session exists, per user and socket afterwards.
//! A rate of zero is no limit.

use std::{
    collections::{HashMap, VecDeque, hash_map::RandomState},
    hash::BuildHasher,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

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

/// Connections by address, over all shards. The locks are taken when a connection comes and goes.
#[derive(Debug)]
pub(crate) struct Addresses {
    stripes: Box<[Mutex<Stripe>]>,
    hasher: RandomState,
}

impl Addresses {
    /// Addresses that may open `rate` connections a second and hold `limit` at a time; zero is no limit.
    pub(crate) fn new(rate: f64, limit: usize) -> Self {
        let stripes = (0..STRIPES).map(|_| Mutex::new(Stripe::new(rate, limit))).collect();
        Self { stripes, hasher: RandomState::new() }
    }

    fn stripe(&self, address: IpAddr) -> (MutexGuard<'_, Stripe>, IpAddr) {
        let network = network(address);
        let stripe = self.hasher.hash_one(network) as usize % STRIPES;
        // A panic under the lock leaves counters that are whole.
        (self.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner), network)
    }

    /// May this address open a connection?
    ///
    /// # Errors
    /// When to try again.
    pub(crate) fn admit(&self, now: Instant, address: IpAddr) -> Result<(), Duration> {
        let (mut stripe, network) = self.stripe(address);
        stripe.admit(now, network)
    }

    /// A connection was opened.
    pub(crate) fn add(&self, now: Instant, address: IpAddr) {
        let (mut stripe, network) = self.stripe(address);
        stripe.add(now, network);
    }

    /// A connection is over.
    pub(crate) fn remove(&self, now: Instant, address: IpAddr) {
        let (mut stripe, network) = self.stripe(address);
        stripe.remove(now, network);
    }
}

/// Some of the addresses, by their [`network`].
#[derive(Debug)]
struct Stripe {
    rate: Rate,
    /// The most connections of one address; zero is no limit.
    limit: usize,
    known: HashMap<IpAddr, Address>,
    /// How long an address without a connection is kept: until its bucket is full again, at least.
    keep: Duration,
    sweep_at: Option<Instant>,
}

#[derive(Debug)]
struct Address {
    connections: usize,
    bucket: Bucket,
    last_seen: Instant,
}

impl Stripe {
    fn new(rate: f64, limit: usize) -> Self {
        // A bucket holds what comes in one second, and one token at least.
        let rate = Rate::with_seconds(rate, 1.0);
        let keep = rate.fill_time().max(SWEEP);
        Self { rate, limit, known: HashMap::new(), keep, sweep_at: None }
    }

    fn entry(&mut self, now: Instant, address: IpAddr) -> &mut Address {
        if self.sweep_at.is_none_or(|at| at <= now) {
            self.sweep(now);
        }
        self.known.entry(address).or_insert_with(|| Address {
            connections: 0,
            bucket: Bucket::default(),
            last_seen: now,
        })
    }

    /// Forgets addresses without a connection whose bucket is full again.
    fn sweep(&mut self, now: Instant) {
        let keep = self.keep;
        self.known.retain(|_, address| address.connections > 0 || now.duration_since(address.last_seen) < keep);
        self.sweep_at = Some(now + SWEEP);
    }

    fn admit(&mut self, now: Instant, address: IpAddr) -> Result<(), Duration> {
        let (limit, rate) = (self.limit, self.rate);
        let known = self.entry(now, address);
        known.last_seen = now;
        if limit > 0 && known.connections >= limit {
            return Err(Duration::from_secs(1));
        }
        known.bucket.take(&rate, now, 1)
    }

    fn add(&mut self, now: Instant, address: IpAddr) {
        self.entry(now, address).connections += 1;
    }

    fn remove(&mut self, now: Instant, address: IpAddr) {
        let known = self.entry(now, address);
        known.connections = known.connections.saturating_sub(1);
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

    #[test]
    fn addresses_are_counted_and_forgotten() {
        let now = Instant::now();
        let addresses = Addresses::new(0.0, 2);
        let one: IpAddr = "10.0.0.1".parse().unwrap();
        addresses.add(now, one);
        addresses.add(now, "::ffff:10.0.0.1".parse().unwrap());
        assert!(addresses.admit(now, one).is_err());
        assert!(addresses.admit(now, "10.0.0.2".parse().unwrap()).is_ok());
        addresses.remove(now, one);
        assert!(addresses.admit(now, one).is_ok());
        addresses.remove(now, one);
        let (mut stripe, _) = addresses.stripe(one);
        stripe.sweep(now + SWEEP);
        assert_eq!(stripe.known.len(), 0);
    }

    #[test]
    fn a_slow_rate_holds_beyond_the_sweep() {
        let now = Instant::now();
        let mut addresses = Stripe::new(0.01, 0);
        let one: IpAddr = "10.0.0.1".parse().unwrap();
        assert!(addresses.admit(now, one).is_ok());
        assert!(addresses.admit(now + 2 * SWEEP, one).is_err());
        addresses.sweep(now + Duration::from_secs(121));
        assert_eq!(addresses.known.len(), 0);
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        let now = Instant::now();
        let addresses = Addresses::new(2.0, 0);
        let admitted = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"]
            .map(|address| addresses.admit(now, address.parse().unwrap()).is_ok());
        assert_eq!(admitted, [true, true, false, true]);
    }
}
