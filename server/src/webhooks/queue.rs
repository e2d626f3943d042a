//! [`Queue`]: events that wait to be sent. Bounded; whoever puts one in never waits.

use std::{
    collections::VecDeque,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::event::Event;

/// What all events that wait may take in memory.
const BYTES: usize = 64 << 20;

/// How much one request tells.
const BATCH: usize = 100;
const BATCH_BYTES: usize = 256 << 10;

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    max: usize,
    sent: AtomicU64,
    dropped: AtomicU64,
    failures: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Event>,
    bytes: usize,
    /// Events that were taken out, and about which nothing is known yet.
    under_way: usize,
    closed: bool,
    /// Nothing more will be sent after it was closed.
    over: bool,
}

/// What has become of events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct WebhookCounts {
    pub(crate) waiting: u64,
    pub(crate) sent: u64,
    pub(crate) dropped: u64,
    /// Requests that failed.
    pub(crate) failures: u64,
}

impl Queue {
    /// Of at most so many events.
    pub(super) fn new(max: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            max,
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves a queue that is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an event in. One that does not fit is dropped: those before it tell more of what happened.
    pub(super) fn push(&self, event: Event) {
        let bytes = event.weight();
        let mut state = self.lock();
        if state.closed || state.events.len() + state.under_way >= self.max || state.bytes + bytes > BYTES {
            drop(state);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.events.push_back(event);
        state.bytes += bytes;
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for events, and takes as many as one request tells. `None` when it is closed and empty.
    pub(super) fn take(&self) -> Option<Vec<Event>> {
        let mut state = self.lock();
        while state.events.is_empty() {
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while let Some(event) = state.events.front() {
            bytes += event.weight();
            if !batch.is_empty() && (batch.len() >= BATCH || bytes > BATCH_BYTES) {
                break;
            }
            state.bytes = state.bytes.saturating_sub(event.weight());
            batch.extend(state.events.pop_front());
        }
        state.under_way = batch.len();
        Some(batch)
    }

    /// The batch that was taken last was sent, or is given up.
    pub(super) fn settle(&self, is_sent: bool) {
        let mut state = self.lock();
        let count = std::mem::take(&mut state.under_way) as u64;
        drop(state);
        let counter = if is_sent { &self.sent } else { &self.dropped };
        counter.fetch_add(count, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// A request failed.
    pub(super) fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits so long, unless it is closed meanwhile; whether it is.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut state = self.lock();
        while !state.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Nobody sends anything any more.
    pub(super) fn end(&self) {
        self.lock().over = true;
        self.changed.notify_all();
    }

    /// Takes nothing more, and waits until everything is sent or nobody sends any more, at most so long. Returns how many are left.
    pub(super) fn close(&self, within: Duration) -> usize {
        let until = Instant::now() + within;
        let mut state = self.lock();
        state.closed = true;
        self.changed.notify_all();
        loop {
            let (count, left) = (state.events.len() + state.under_way, until.saturating_duration_since(Instant::now()));
            if count == 0 || state.over || left.is_zero() {
                return count;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// What has become of events.
    pub(super) fn counts(&self) -> WebhookCounts {
        let state = self.lock();
        let waiting = (state.events.len() + state.under_way) as u64;
        drop(state);
        let [sent, dropped, failures] =
            [&self.sent, &self.dropped, &self.failures].map(|count| count.load(Ordering::Relaxed));
        WebhookCounts { waiting, sent, dropped, failures }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::room::Room;

    fn event(bytes: usize) -> Event {
        Event::Stored { room: Room::new("r"), payload: "x".repeat(bytes).into(), attachments: 0, millis: 0 }
    }

    #[test]
    fn what_does_not_fit_is_dropped_and_counted() {
        let queue = Queue::new(150);
        (0..200).for_each(|_| queue.push(event(10)));
        assert_eq!(queue.counts(), WebhookCounts { waiting: 150, dropped: 50, ..WebhookCounts::default() });
        assert_eq!(queue.take().map(|batch| batch.len()), Some(BATCH));
        // What is under way takes its place until it is settled.
        queue.push(event(10));
        queue.settle(true);
        (0..150).for_each(|_| queue.push(event(10)));
        assert_eq!(queue.counts(), WebhookCounts { waiting: 150, sent: 100, dropped: 101, failures: 0 });
        let large = Queue::new(1000);
        (0..100).for_each(|_| large.push(event(1 << 20)));
        assert!(large.counts().waiting < 64, "{:?}", large.counts());
        assert_eq!(large.take().map(|batch| batch.len()), Some(1));
    }

    #[test]
    fn closing_waits_for_what_is_under_way_and_no_longer_than_it_may() {
        let queue = Arc::new(Queue::new(10));
        queue.push(event(1));
        assert_eq!(queue.close(Duration::ZERO), 1);
        queue.push(event(1));
        assert_eq!(queue.counts().dropped, 1);
        assert!(queue.take().is_some());
        let closing = Arc::clone(&queue);
        let closed = std::thread::spawn(move || closing.close(Duration::from_secs(60)));
        queue.settle(true);
        assert_eq!((closed.join().unwrap(), queue.take().is_none()), (0, true));
        assert!(queue.pause(Duration::from_secs(60)));
    }
}
