//! [`HttpConnections`]: the TCP connections of all shards that are not the WebSocket of a session.
//!
//! Such a connection is *idle* while no request is being served on it: it has sent nothing yet, or a part of a head, or
//! it is kept open for another request. When the descriptors run short, the connections that have been idle for the
//! longest time are closed. Any thread may choose them; the task of the connection closes it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
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
    known: Mutex<Slab<Arc<HttpConnection>>>,
    start: Instant,
}

/// One HTTP connection, as its task and the whole server know it.
#[derive(Debug)]
pub(in crate::net) struct HttpConnection {
    /// [`BUSY`], [`CLOSE`], or the time since when it is idle: milliseconds after `start`, and 1.
    state: AtomicU64,
    start: Instant,
    task: OnceLock<Waker>,
}

impl HttpConnections {
    pub(in crate::net) fn new() -> Self {
        Self { known: Mutex::default(), start: Instant::now() }
    }

    fn known(&self) -> MutexGuard<'_, Slab<Arc<HttpConnection>>> {
        // A panic under the lock leaves the slab whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection, which is idle, until the guard is dropped.
    pub(in crate::net) fn add(self: &Arc<Self>, now: Instant) -> HttpConnectionGuard {
        let conn = HttpConnection { state: AtomicU64::new(BUSY), start: self.start, task: OnceLock::new() };
        conn.idle(now);
        let conn = Arc::new(conn);
        let key = self.known().insert(Arc::clone(&conn));
        HttpConnectionGuard { all: Arc::clone(self), key, conn }
    }

    /// Tells the `count` connections to close that have been idle for the longest time. Returns how many were told.
    pub(in crate::net) fn close_idle(&self, count: usize) -> usize {
        let known = self.known();
        let mut idle: Vec<(u64, Key)> = known
            .keys()
            .filter_map(|key| Some((known.get(key)?.state.load(Ordering::Acquire), key)))
            .filter(|(state, _)| *state != BUSY && *state != CLOSE)
            .collect();
        idle.sort_unstable_by_key(|(since, _)| *since);
        let closed = idle.into_iter().filter_map(|(since, key)| known.get(key).filter(|conn| conn.close(since)));
        closed.take(count).count()
    }
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
    all: Arc<HttpConnections>,
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
        self.all.known().remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn those_that_have_been_idle_for_the_longest_time_are_closed_and_none_that_serves_a_request() {
        let all = Arc::new(HttpConnections::new());
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
}
