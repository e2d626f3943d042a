//! [`Queue`]: what waits for a thread of the store. Bounded; whoever puts something in never waits.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::super::types::StoreError;

/// How much may wait.
#[derive(Debug, Clone, Copy)]
pub(super) struct Capacity {
    pub(super) items: usize,
    pub(super) bytes: usize,
}

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
        let state = State { items: VecDeque::new(), bytes: 0, closed: false, waiting: 0 };
        Self { state: Mutex::new(state), filled: Condvar::new(), capacity }
    }

    /// Puts something in that weighs so many bytes.
    ///
    /// # Errors
    /// The queue is full, or closed.
    pub(super) fn push(&self, item: T, bytes: usize) -> Result<(), StoreError> {
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
        if state.waiting > 0 {
            // Not more threads than there is work for.
            self.filled.notify_one();
        }
        Ok(())
    }

    /// Takes the oldest items, as many as `portion` says or one, and waits until `until` for them.
    pub(super) fn take(&self, portion: Capacity, until: Option<Instant>) -> Next<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.items.is_empty() {
            if state.closed {
                return Next::Closed;
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
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
    fn nothing_comes_of_an_empty_queue_in_time() {
        let queue = Queue::<u8>::new(ALL);
        assert_eq!(queue.take(ALL, Some(Instant::now())), Next::Nothing);
        assert!(!queue.wait_closed(Duration::ZERO));
    }
}
