//! [`Queue`]: what waits for a thread of the store. Bounded; whoever puts something in never waits.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use engineio::deadlines::soonest;

use super::super::types::StoreError;

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Capacity {
    pub(super) items: usize,
    pub(super) bytes: usize,
}

/// How long something that is not urgent may wait for something that is.
const LINGER: Duration = Duration::from_secs(1);

/// Nothing waits longer where this share of the queue is taken: thousands of clients that come back together would fill it.
const LINGERING_SHARE: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    capacity: Capacity,
}

#[derive(Debug)]
struct State<T> {
    /// With the bytes of each.
    items: VecDeque<(T, usize)>,
    bytes: usize,
    /// When they are to be taken. `None` while there are none.
    due: Option<Instant>,
    closed: bool,
    /// Whether somebody waits for items.
    waiting: usize,
}

/// What came out of a queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    Items(Vec<T>),
    /// Nothing came in time.
    Nothing,
    /// Nothing is left, and nothing will come.
    Closed,
}

impl<T> Queue<T> {
    pub(super) fn new(capacity: Capacity) -> Self {
        let state = State { items: VecDeque::new(), bytes: 0, due: None, closed: false, waiting: 0 };
        Self { state: Mutex::new(state), filled: Condvar::new(), capacity }
    }

    /// Puts something in that weighs so many bytes.
    ///
    /// # Errors
    /// The queue is full, or closed.
    pub(super) fn push(&self, item: T, bytes: usize) -> Result<(), StoreError> {
        self.push_within(item, bytes, Duration::ZERO)
    }

    /// Puts something in that need not be taken at once: it may wait a second for something that is urgent.
    ///
    /// # Errors
    /// As [`Queue::push`].
    pub(super) fn push_lazily(&self, item: T, bytes: usize) -> Result<(), StoreError> {
        self.push_within(item, bytes, LINGER)
    }

    fn push_within(&self, item: T, bytes: usize, time: Duration) -> Result<(), StoreError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed {
            return Err(StoreError::Unavailable);
        }
        // One item goes in however large it is.
        let is_full = state.items.len() >= self.capacity.items || state.bytes + bytes > self.capacity.bytes;
        if is_full && !state.items.is_empty() {
            return Err(StoreError::Busy);
        }
        state.items.push_back((item, bytes));
        state.bytes += bytes;
        let is_much = state.items.len() > self.capacity.items / LINGERING_SHARE;
        let time = if is_much { Duration::ZERO } else { time };
        let due = Instant::now() + time;
        let is_sooner = state.due.is_none_or(|until| due < until);
        if is_sooner {
            state.due = Some(due);
        }
        if state.waiting > 0 && (is_sooner || time.is_zero()) {
            // Not more threads than there is work for.
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Takes the oldest items, as many as `portion` says or one, and waits until `until` for them.
    pub(super) fn take(&self, portion: Capacity, until: Option<Instant>) -> Next<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.closed && state.items.is_empty() {
                return Next::Closed;
            }
            let now = Instant::now();
            if state.closed || state.due.is_some_and(|due| due <= now) {
                break;
            }
            let left = soonest([until, state.due]).map(|until| until.saturating_duration_since(now));
            if until.is_some_and(|until| until <= now) {
                return Next::Nothing;
            }
            state.waiting += 1;
            state = match left {
                None => self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
            state.waiting -= 1;
        }
        let (mut items, mut taken) = (Vec::new(), 0);
        while let Some((_, bytes)) = state.items.front() {
            taken += bytes;
            if !items.is_empty() && (items.len() >= portion.items || taken > portion.bytes) {
                break;
            }
            if let Some((item, bytes)) = state.items.pop_front() {
                state.bytes -= bytes;
                items.push(item);
            }
        }
        // What is left was not looked at: it may be urgent.
        state.due = (!state.items.is_empty()).then_some(Instant::now());
        Next::Items(items)
    }

    /// Whether something waits.
    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).items.is_empty()
    }

    /// Takes nothing more. What is in it can still be taken out.
    pub(super) fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.filled.notify_all();
    }

    /// Waits until it is closed, at most so long; whether it is.
    pub(super) fn wait_closed(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state.waiting += 1;
            state = self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.waiting -= 1;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Capacity = Capacity { items: usize::MAX, bytes: usize::MAX };

    #[test]
    fn it_is_bounded_by_items_and_bytes_and_takes_one_whatever_its_size() {
        let queue = Queue::new(Capacity { items: 3, bytes: 100 });
        assert_eq!(queue.push(1, 1000), Ok(()));
        assert_eq!(queue.push(2, 0), Err(StoreError::Busy));
        assert_eq!(queue.take(ALL, None), Next::Items(vec![1]));
        assert_eq!([2, 3, 4, 5].map(|n| queue.push(n, 10)), [Ok(()), Ok(()), Ok(()), Err(StoreError::Busy)]);
        assert_eq!(queue.take(Capacity { items: 2, bytes: 100 }, None), Next::Items(vec![2, 3]));
        assert_eq!(queue.push(6, 10), Ok(()));
        assert_eq!(queue.take(Capacity { items: 9, bytes: 10 }, None), Next::Items(vec![4]));
    }

    #[test]
    fn what_is_in_it_when_it_is_closed_comes_out() {
        let queue = Queue::new(ALL);
        queue.push(1, 0).unwrap();
        queue.close();
        assert_eq!(queue.push(2, 0), Err(StoreError::Unavailable));
        assert!(queue.wait_closed(Duration::ZERO));
        assert_eq!((queue.take(ALL, None), queue.take(ALL, None)), (Next::Items(vec![1]), Next::Closed));
    }

    #[test]
    fn what_is_not_urgent_does_not_fill_the_queue() {
        let queue = Queue::new(Capacity { items: 32, bytes: 100 });
        let now = || queue.take(ALL, Some(Instant::now()));
        assert_eq!([1, 2].map(|n| queue.push_lazily(n, 0)), [Ok(()); 2]);
        assert_eq!(now(), Next::Nothing);
        queue.push_lazily(3, 0).unwrap();
        assert_eq!(now(), Next::Items(vec![1, 2, 3]));
    }

    #[test]
    fn what_is_not_urgent_waits_for_what_is_and_keeps_its_place() {
        let queue = Queue::new(ALL);
        queue.push_lazily(1, 0).unwrap();
        queue.push_lazily(2, 0).unwrap();
        assert_eq!(queue.take(ALL, Some(Instant::now())), Next::Nothing);
        queue.push(3, 0).unwrap();
        queue.push_lazily(4, 0).unwrap();
        assert_eq!(queue.take(ALL, Some(Instant::now())), Next::Items(vec![1, 2, 3, 4]));
        queue.push_lazily(5, 0).unwrap();
        let since = Instant::now();
        assert_eq!(queue.take(ALL, None), Next::Items(vec![5]), "it comes alone after a while");
        assert!(since.elapsed() > LINGER / 2);
        queue.push_lazily(6, 0).unwrap();
        queue.close();
        assert_eq!((queue.take(ALL, None), queue.take(ALL, None)), (Next::Items(vec![6]), Next::Closed));
    }

    #[test]
    fn nothing_comes_of_an_empty_queue_in_time() {
        let queue = Queue::<u8>::new(ALL);
        assert_eq!(queue.take(ALL, Some(Instant::now())), Next::Nothing);
        assert!(!queue.wait_closed(Duration::ZERO));
    }
}
