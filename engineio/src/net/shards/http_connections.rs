//! [`HttpConnections`]: the TCP connections of all shards that are not the WebSocket of a session.
//!
//! Such a connection is *idle* while no request is being served on it: it has sent nothing yet, or a part of a head, or
//! it is kept open for another request. When the descriptors run short, the connections that have been idle for the
//! longest time are closed. Any thread may choose them; the task of the connection closes it.
//!
//! An address may have only so many of them that have shown no session ([`Config::max_pending`](crate::Config::max_pending)).
//! The one that has been idle for the longest time makes room for the next.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
    time::Instant,
};

use crate::slab::{Key, Slab};

/// A request is being served.
const BUSY: u64 = 0;

/// The connection is to be closed.
const CLOSE: u64 = u64::MAX;

/// All HTTP connections of a server. See the module.
#[derive(Debug)]
pub(in crate::net) struct HttpConnections {
    known: Mutex<Known>,
    start: Instant,
    /// The most that one address may have without a session; 0: no limit.
    max_pending: AtomicUsize,
}

#[derive(Debug, Default)]
struct Known {
    all: Slab<Arc<HttpConnection>>,
    /// Those without a session, by the client's [`network`].
    pending: HashMap<IpAddr, Vec<Key>>,
}

/// One HTTP connection, as its task and the whole server know it.
#[derive(Debug)]
pub(in crate::net) struct HttpConnection {
    /// [`BUSY`], [`CLOSE`], or the time since when it is idle: milliseconds after `start`, and 1.
    state: AtomicU64,
    start: Instant,
    task: OnceLock<Waker>,
    all: Arc<HttpConnections>,
    /// Where it is known.
    key: OnceLock<Key>,
    /// The network that it is counted for.
    counted: OnceLock<IpAddr>,
    has_session: AtomicBool,
}

impl HttpConnections {
    /// Another limit for new connections. Those that are there already are not counted anew.
    pub(in crate::net) fn set_max_pending(&self, max_pending: usize) {
        self.max_pending.store(max_pending, Ordering::Relaxed);
    }

    pub(in crate::net) fn new(max_pending: usize) -> Self {
        Self { known: Mutex::default(), start: Instant::now(), max_pending: AtomicUsize::new(max_pending) }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic under the lock leaves lists that are whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection, which is idle, until the guard is dropped.
    pub(in crate::net) fn add(self: &Arc<Self>, now: Instant) -> HttpConnectionGuard {
        let conn = HttpConnection {
            state: AtomicU64::new(BUSY),
            start: self.start,
            task: OnceLock::new(),
            all: Arc::clone(self),
            key: OnceLock::new(),
            counted: OnceLock::new(),
            has_session: AtomicBool::new(false),
        };
        conn.idle(now);
        let conn = Arc::new(conn);
        let key = self.known().all.insert(Arc::clone(&conn));
        // It is new, so nobody has set it.
        let _ = conn.key.set(key);
        HttpConnectionGuard { key, conn }
    }

    /// Tells the `count` connections to close that have been idle for the longest time. Returns how many were told.
    pub(in crate::net) fn close_idle(&self, count: usize) -> usize {
        let known = self.known();
        close_idle(&known.all, known.all.keys(), count)
    }

    /// Has so many connections close, unless as many are about to. `false`: not so many are idle.
    ///
    /// Those that were told to close are still there until their tasks have run. Whoever comes meanwhile has their places, and needs
    /// none of those that are idle yet, the newest of which is about to send its first request.
    pub(in crate::net) fn make_room(&self, count: usize) -> bool {
        let known = self.known();
        let closing = known.all.iter().filter(|(_, conn)| conn.state.load(Ordering::Acquire) == CLOSE).count();
        let more = count.saturating_sub(closing);
        more == 0 || close_idle(&known.all, known.all.keys(), share(&known).max(more)) >= more
    }

    /// A share of all HTTP connections: enough to close at a time that the next ones need not look for more at once.
    pub(in crate::net) fn share(&self) -> usize {
        share(&self.known())
    }

    fn forget_pending(&self, network: IpAddr, key: Key) {
        let mut known = self.known();
        if let Some(keys) = known.pending.get_mut(&network) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                known.pending.remove(&network);
            }
        }
    }
}

fn share(known: &Known) -> usize {
    16.max(known.all.len() / 32)
}

/// Tells the `count` of these to close that have been idle for the longest time.
fn close_idle(all: &Slab<Arc<HttpConnection>>, keys: impl Iterator<Item = Key>, count: usize) -> usize {
    let mut idle: Vec<(u64, Key)> = keys
        .filter_map(|key| Some((all.get(key)?.state.load(Ordering::Acquire), key)))
        .filter(|(state, _)| *state != BUSY && *state != CLOSE)
        .collect();
    idle.sort_unstable_by_key(|(since, _)| *since);
    let closed = idle.into_iter().filter_map(|(since, key)| all.get(key).filter(|conn| conn.close(since)));
    closed.take(count).count()
}

impl HttpConnection {
    /// A request is being served. If the connection was to be closed, it is not any more.
    pub(in crate::net) fn busy(&self) {
        self.state.store(BUSY, Ordering::Release);
    }

    /// No request has been served since `now`.
    pub(in crate::net) fn idle(&self, now: Instant) {
        let since = u64::try_from(now.saturating_duration_since(self.start).as_millis()).unwrap_or(CLOSE - 2);
        self.state.store(since + 1, Ordering::Release);
    }

    /// A request of a session came on it: it no longer counts as one without.
    pub(in crate::net) fn has_session(&self) {
        if !self.has_session.load(Ordering::Relaxed) && !self.has_session.swap(true, Ordering::Relaxed) {
            self.uncount();
        }
    }

    /// Whether it counts for its client's address.
    pub(in crate::net) fn is_counted(&self) -> bool {
        self.counted.get().is_some() && !self.has_session.load(Ordering::Relaxed)
    }

    fn uncount(&self) {
        if let (Some(network), Some(key)) = (self.counted.get(), self.key.get()) {
            self.all.forget_pending(*network, *key);
        }
    }

    /// Counts the connection for its client's address until it has shown a session. If the address has as many as it
    /// may, one that is idle makes room. `false` if none is: the connection must be closed.
    pub(in crate::net) fn count_for(&self, client: IpAddr) -> bool {
        let max_pending = self.all.max_pending.load(Ordering::Relaxed);
        let Some(key) = self.key.get().filter(|_| max_pending > 0) else { return true };
        let network = network(client);
        if self.has_session.load(Ordering::Relaxed) || self.counted.set(network).is_err() {
            return true;
        }
        let Known { all, pending } = &mut *self.all.known();
        let keys = pending.entry(network).or_default();
        let free = keys.len() < max_pending || close_idle(all, keys.iter().copied(), 1) > 0;
        if free {
            keys.push(*key);
        }
        free
    }

    /// Tells it to close, unless it has changed since its state was read.
    fn close(&self, state: u64) -> bool {
        let told = self.state.compare_exchange(state, CLOSE, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if told && let Some(task) = self.task.get() {
            task.wake_by_ref();
        }
        told
    }
}

/// An HTTP connection, counted until this is dropped.
#[derive(Debug)]
pub(in crate::net) struct HttpConnectionGuard {
    key: Key,
    pub(in crate::net) conn: Arc<HttpConnection>,
}

impl HttpConnectionGuard {
    /// Whether the connection is to be closed now; `task` is woken when that changes.
    pub(in crate::net) fn must_close(&self, task: &Waker) -> bool {
        // The waker first: otherwise the order to close could come between the two and wake nobody.
        self.conn.task.get_or_init(|| task.clone());
        self.conn.state.load(Ordering::Acquire) == CLOSE
    }
}

impl Drop for HttpConnectionGuard {
    fn drop(&mut self) {
        self.conn.all.known().all.remove(self.key);
        self.conn.uncount();
    }
}

/// What counts as one address: an IPv4 address, or the /64 network that one IPv6 subscriber has.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn those_that_have_been_idle_for_the_longest_time_are_closed_and_none_that_serves_a_request() {
        let all = Arc::new(HttpConnections::new(0));
        let at = |ms| all.start + Duration::from_millis(ms);
        let [a, b, c, d] = [1, 2, 3, 4].map(|ms| all.add(at(ms)));
        a.conn.busy();
        b.conn.idle(at(9));
        let closing = || [&a, &b, &c, &d].map(|conn| conn.must_close(Waker::noop()));
        assert_eq!((all.close_idle(1), closing()), (1, [false, false, true, false]));
        assert_eq!((all.close_idle(5), closing()), (2, [false, true, true, true]));
        assert_eq!(all.close_idle(5), 0);
        b.conn.busy();
        assert_eq!(closing(), [false, false, true, true], "a request came at the last moment");
        a.conn.idle(at(9));
        drop(a);
        assert_eq!(all.close_idle(5), 0, "it is gone");
    }

    #[test]
    fn those_that_are_about_to_close_make_room_before_any_other() {
        let all = Arc::new(HttpConnections::new(0));
        let at = |ms| all.start + Duration::from_millis(ms);
        let mut conns: Vec<_> = (1..=40).map(|ms| all.add(at(ms))).collect();
        let told = |conns: &[HttpConnectionGuard]| conns.iter().filter(|conn| conn.must_close(Waker::noop())).count();
        // Their tasks have not run yet, whoever comes.
        assert!((1..=16).all(|count| all.make_room(count)));
        assert_eq!(told(&conns), 16);
        assert!(all.make_room(17) && told(&conns) == 32);
        assert!(all.make_room(40) && !all.make_room(41));
        conns.drain(..39);
        assert!(all.make_room(1) && !all.make_room(2));
    }

    #[test]
    fn an_address_has_so_many_without_a_session_and_the_oldest_idle_one_makes_room() {
        let all = Arc::new(HttpConnections::new(2));
        let at = |ms| all.start + Duration::from_millis(ms);
        let [one, other]: [IpAddr; 2] = ["192.0.2.1", "2001:db8::1"].map(|text| text.parse().unwrap());
        let mut conns: Vec<_> = (1..=3).map(|ms| all.add(at(ms))).collect();
        assert!(conns.iter().all(|conn| conn.conn.count_for(one)));
        let closing = |conns: &[HttpConnectionGuard]| -> Vec<bool> {
            conns.iter().map(|conn| conn.must_close(Waker::noop())).collect()
        };
        assert_eq!(closing(&conns), [true, false, false]);
        // Another address has its own; so has one that showed a session.
        assert!(all.add(at(4)).conn.count_for(other));
        conns[1].conn.has_session();
        conns.remove(0);
        let next = all.add(at(5));
        assert!(next.conn.count_for(one));
        assert_eq!(closing(&conns), [false, false]);
        // Those that serve a request make no room.
        conns[1].conn.busy();
        next.conn.busy();
        let refused = all.add(at(6));
        assert!(!refused.conn.count_for(one));
        drop((conns, next, refused));
        let known = all.known();
        assert!(known.pending.is_empty() && known.all.is_empty(), "nothing is kept");
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        for (address, expected) in
            [("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3::1", "2001:db8:1:2::")]
        {
            assert_eq!(network(address.parse().unwrap()), expected.parse::<IpAddr>().unwrap());
        }
    }
}
