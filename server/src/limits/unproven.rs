//! [`Unproven`]: the connections that have shown no valid token yet.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    time::{Duration, Instant},
};

use engineio::ConnKey;

/// Where a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) shard: u16,
    pub(crate) conn: ConnKey,
}

/// For so long a connection keeps its place, unless its address has more than others: it may be about to send CONNECT. Where too many
/// honest clients come back at once they would displace each other otherwise, and nobody would get in.
const CHANCE: Duration = Duration::from_millis(500);

/// A connection's number. It grows, so that of two connections the older one has the lower number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Number(u64);

/// How many there may be. Zero is no limit.
#[derive(Debug, Clone, Copy)]
pub(super) struct UnprovenLimits {
    /// Of one address.
    pub(super) of_address: usize,
    /// The connections that the process may have, with and without a token.
    pub(super) places: usize,
}

/// The connections of all addresses that have shown no valid token yet. Whoever has none can open any number of them, from any number of
/// addresses. So a new one takes the place of another one:
///
/// - of the oldest of its address, when the address has as many as it may;
/// - of the oldest of the address that has the most, when all together have half of the places that those with a token leave. The other
///   half stays free for those who come, and for the second TCP connection that long-polling needs. If no address has more than the new
///   one's, and nobody has had its [`CHANCE`], the new one gets no place.
#[derive(Debug)]
pub(super) struct Unproven {
    limits: UnprovenLimits,
    /// By address: the oldest first. `None` is for those that are known only by their trusted proxy.
    addresses: HashMap<Option<IpAddr>, Connections>,
    /// The address that has the most stands last; of two that have as many, the one whose oldest connection is older.
    ranking: BTreeSet<Rank>,
    count: usize,
    next: u64,
    /// Connections that have shown a token.
    proven: usize,
}

/// Those of one address, the oldest first: where they are, and since when.
type Connections = BTreeMap<Number, (Place, Instant)>;

/// How many connections an address has, and its oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    count: usize,
    oldest: Reverse<Number>,
    address: Option<IpAddr>,
}

impl Rank {
    fn of(address: Option<IpAddr>, connections: &Connections) -> Option<Self> {
        let (oldest, _) = connections.first_key_value()?;
        Some(Self { count: connections.len(), oldest: Reverse(*oldest), address })
    }
}

impl Unproven {
    pub(super) fn new(limits: UnprovenLimits) -> Self {
        let (addresses, ranking) = (HashMap::new(), BTreeSet::new());
        Self { limits, addresses, ranking, count: 0, next: 0, proven: 0 }
    }

    pub(super) const fn set_limits(&mut self, limits: UnprovenLimits) {
        self.limits = limits;
    }

    /// A connection was opened. Returns the one that has to go for it, which may be itself.
    pub(super) fn open(&mut self, now: Instant, address: Option<IpAddr>, place: Place) -> (Number, Option<Place>) {
        let number = Number(self.next);
        self.next += 1;
        let displaced = if self.is_full(address) {
            self.take_oldest(address)
        } else if self.limits.places > 0 && self.count >= self.most() {
            let Some(worst) = self.displaceable(now, address) else { return (number, Some(place)) };
            self.take_oldest(worst)
        } else {
            None
        };
        self.change(address, |connections| connections.insert(number, (place, now)));
        self.count += 1;
        (number, displaced)
    }

    /// The address whose oldest connection makes room for a new one of this address.
    fn displaceable(&self, now: Instant, address: Option<IpAddr>) -> Option<Option<IpAddr>> {
        let own = self.addresses.get(&address).map_or(0, BTreeMap::len);
        let worst = self.ranking.last()?;
        let (_, (_, since)) = self.addresses.get(&worst.address)?.first_key_value()?;
        let had_its_chance = now.saturating_duration_since(*since) >= CHANCE;
        (had_its_chance || worst.count > own + 1).then_some(worst.address)
    }

    /// One has shown a valid token.
    pub(super) fn prove(&mut self, address: Option<IpAddr>, number: Number) {
        self.close(address, number);
        self.proven += 1;
    }

    /// One that had shown a valid token is over.
    pub(super) const fn close_proven(&mut self) {
        self.proven = self.proven.saturating_sub(1);
    }

    /// One is over. It is no longer there if its place was taken.
    pub(super) fn close(&mut self, address: Option<IpAddr>, number: Number) {
        if self.change(address, |connections| connections.remove(&number)).is_some() {
            self.count -= 1;
        }
    }

    /// How many there may be of all addresses.
    const fn most(&self) -> usize {
        let half = self.limits.places.saturating_sub(self.proven) / 2;
        if half == 0 { 1 } else { half }
    }

    /// A trusted proxy brings any number of clients.
    fn is_full(&self, address: Option<IpAddr>) -> bool {
        let limit = self.limits.of_address;
        let has = || self.addresses.get(&address).map_or(0, BTreeMap::len);
        address.is_some() && limit > 0 && has() >= limit
    }

    fn take_oldest(&mut self, address: Option<IpAddr>) -> Option<Place> {
        let taken = self.change(address, BTreeMap::pop_first).map(|(_, (place, _))| place);
        self.count -= usize::from(taken.is_some());
        taken
    }

    /// Changes the connections of an address, and its rank.
    fn change<R>(&mut self, address: Option<IpAddr>, change: impl FnOnce(&mut Connections) -> R) -> R {
        let connections = self.addresses.entry(address).or_default();
        let before = Rank::of(address, connections);
        let changed = change(connections);
        let after = Rank::of(address, connections);
        if after.is_none() {
            self.addresses.remove(&address);
        }
        if before != after {
            before.map(|rank| self.ranking.remove(&rank));
            after.map(|rank| self.ranking.insert(rank));
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use engineio::slab::Slab;

    use super::*;

    /// The connections of the test, by what they are called there.
    struct Bench {
        all: Unproven,
        slab: Slab<()>,
        places: Vec<Place>,
        now: Instant,
    }

    impl Bench {
        fn new(of_address: usize, places: usize) -> Self {
            let all = Unproven::new(UnprovenLimits { of_address, places });
            Self { all, slab: Slab::default(), places: Vec::new(), now: Instant::now() }
        }

        /// Opens one of this address. Returns its number, and which one it displaced.
        fn open(&mut self, address: u8) -> (Number, Option<usize>) {
            let place = Place { shard: 0, conn: ConnKey::new(self.slab.insert(())) };
            self.places.push(place);
            let (number, displaced) = self.all.open(self.now, ip(address), place);
            (number, displaced.and_then(|displaced| self.places.iter().position(|place| *place == displaced)))
        }
    }

    /// Zero is the trusted proxy.
    fn ip(address: u8) -> Option<IpAddr> {
        (address > 0).then(|| IpAddr::from([10, 0, 0, address]))
    }

    #[test]
    fn the_newest_of_an_address_takes_the_place_of_its_oldest() {
        let mut bench = Bench::new(2, 0);
        let (first, displaced) = bench.open(1);
        assert_eq!((displaced, bench.open(1).1, bench.open(2).1), (None, None, None));
        bench.all.prove(ip(1), first);
        assert_eq!(bench.open(1).1, None, "the first is not without a token any more");
        let (last, displaced) = bench.open(1);
        assert_eq!(displaced, Some(1));
        bench.all.close(ip(1), last);
        assert_eq!(bench.open(1).1, None);
        assert!((0..10).all(|_| bench.open(0).1.is_none()), "a proxy brings many");
    }

    #[test]
    fn addresses_together_have_half_of_what_is_left() {
        let mut bench = Bench::new(0, 8);
        let numbers: Vec<_> = (1..=4).map(|address| bench.open(address)).collect();
        assert!(numbers.iter().all(|(_, displaced)| displaced.is_none()));
        assert_eq!(bench.open(5).1, Some(4), "the others may be about to send CONNECT");
        bench.now += CHANCE;
        assert_eq!(bench.open(6).1, Some(0), "the oldest");
        bench.all.prove(ip(4), numbers[3].0);
        assert_eq!(bench.open(7).1, Some(1), "three of seven places");
        for _ in 0..2 {
            bench.all.close(ip(3), numbers[2].0);
        }
        assert_eq!(bench.open(8).1, None);
        bench.all.close_proven();
        assert_eq!(bench.open(9).1, None);
    }

    /// Each sends CONNECT after 150 ms, and tries again after a second when it was displaced.
    #[test]
    fn a_herd_comes_back_although_its_old_connections_seem_to_live() {
        let mut bench = Bench::new(0, 976);
        bench.all.proven = 900;
        let start = bench.now;
        let mut due: BTreeMap<(Duration, u8, usize), Option<Number>> = BTreeMap::new();
        let address = |client: usize| u8::try_from(client % 250).unwrap() + 1;
        // What happens when: CONNECT first, then who comes.
        (0..900_usize)
            .for_each(|client| _ = due.insert((Duration::from_micros(client as u64 * 1100), 1, client), None));
        let (mut clients, mut back) = (HashMap::new(), 0);
        while let Some(((at, _, client), number)) = due.pop_first() {
            bench.now = start + at;
            assert!(at < Duration::from_secs(10), "only {back} are back");
            if let Some(number) = number {
                bench.all.prove(ip(address(client)), number);
                // Its old connection ends by that.
                bench.all.close_proven();
                back += 1;
                continue;
            }
            let (number, displaced) = bench.open(address(client));
            clients.insert(bench.places.len() - 1, (at, client, number));
            due.insert((at + Duration::from_millis(150), 0, client), Some(number));
            if let Some((came, client, _)) = displaced.and_then(|place| clients.remove(&place)) {
                due.remove(&(came + Duration::from_millis(150), 0, client));
                due.insert((at + Duration::from_secs(1), 1, client), None);
            }
        }
        assert_eq!(back, 900);
    }

    #[test]
    fn an_address_that_has_more_makes_room_at_once() {
        let mut bench = Bench::new(0, 8);
        for address in [1, 1, 1, 2] {
            bench.open(address);
        }
        assert_eq!(bench.open(3).1, Some(0), "the oldest of three");
        assert_eq!(bench.open(4).1, Some(1), "the oldest of two");
        assert_eq!(bench.open(5).1, Some(6), "all have one, and may be about to send CONNECT: the newest itself");
    }

    #[test]
    fn who_has_one_connection_keeps_it_while_others_have_more() {
        let mut bench = Bench::new(0, 20);
        bench.open(1);
        bench.now += CHANCE;
        for attack in (0..8).cycle().take(1000) {
            // Eight addresses share ten places with the one.
            let (_, displaced) = bench.open(2 + attack);
            assert_ne!(displaced, Some(0));
        }
        assert_eq!((bench.all.count, bench.all.addresses.len(), bench.all.ranking.len()), (10, 9, 9));
    }

    #[test]
    fn the_last_place_can_be_had() {
        let mut bench = Bench::new(0, 3);
        for _ in 0..2 {
            let (number, _) = bench.open(1);
            bench.all.prove(ip(1), number);
        }
        assert_eq!(bench.open(1).1, None);
        bench.now += CHANCE;
        assert_eq!(bench.open(2).1, Some(2), "of one place half is one");
    }

    #[test]
    fn nothing_is_kept_of_those_that_are_gone() {
        let mut bench = Bench::new(1, 4);
        let opened: Vec<_> = (0..100_u8).map(|index| (index % 5, bench.open(index % 5).0)).collect();
        for (address, number) in opened {
            bench.all.close(ip(address), number);
        }
        let Unproven { addresses, ranking, count, .. } = &bench.all;
        assert_eq!((addresses.len(), ranking.len(), *count), (0, 0, 0));
    }
}
