//! Queues of deadlines: each entry says "at this instant, look at this key".
//!
//! Entries are never removed early. The caller that takes a due key asks the key's owner whether the deadline still
//! holds, and pushes a new entry if it moved. So cancelling costs nothing, and a key needs no reference back to its
//! entry.

use std::{
    cmp::{Ordering, Reverse},
    collections::{BinaryHeap, VecDeque},
    time::Instant,
};

/// The first of these deadlines. Every turn asks for it several times, and the loop costs half of what iterator adapters do.
#[must_use]
pub fn soonest<const N: usize>(deadlines: [Option<Instant>; N]) -> Option<Instant> {
    let mut soonest = None;
    for deadline in deadlines {
        if let Some(deadline) = deadline
            && soonest.is_none_or(|soonest| deadline < soonest)
        {
            soonest = Some(deadline);
        }
    }
    soonest
}

/// Deadlines that are pushed in order, because each is "now plus the same interval": a plain queue, O(1).
#[derive(Debug)]
pub struct Fifo<K> {
    queue: VecDeque<(Instant, K)>,
}

impl<K> Default for Fifo<K> {
    fn default() -> Self {
        Self { queue: VecDeque::new() }
    }
}

impl<K> Fifo<K> {
    /// Adds `key`. A deadline earlier than the last one counts as equal to the last one: it fires late, but never out
    /// of order.
    pub fn push(&mut self, deadline: Instant, key: K) {
        let deadline = self.queue.back().map_or(deadline, |(last, _)| deadline.max(*last));
        self.queue.push_back((deadline, key));
    }

    /// Drops entries at the front for as long as `is_stale` holds. Most keys are finished long before their deadline,
    /// and nothing should wake up for them.
    pub fn skip_stale(&mut self, is_stale: impl Fn(&K) -> bool) {
        while self.queue.front().is_some_and(|(_, key)| is_stale(key)) {
            self.queue.pop_front();
        }
    }

    /// The next deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.queue.front().map(|(deadline, _)| *deadline)
    }

    /// Takes the next key whose deadline has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        self.queue.pop_front().map(|(_, key)| key)
    }
}

/// Deadlines in any order: a binary heap, O(log n).
#[derive(Debug)]
pub struct Heap<K> {
    heap: BinaryHeap<Reverse<Entry<K>>>,
    pushed: u64,
}

#[derive(Debug)]
struct Entry<K> {
    deadline: Instant,
    /// Keys with the same deadline come out in the order in which they went in.
    order: u64,
    key: K,
}

impl<K> PartialEq for Entry<K> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<K> Eq for Entry<K> {}

impl<K> PartialOrd for Entry<K> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Entry<K> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.deadline, self.order).cmp(&(other.deadline, other.order))
    }
}

impl<K> Default for Heap<K> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), pushed: 0 }
    }
}

impl<K> Heap<K> {
    /// Adds `key`.
    pub fn push(&mut self, deadline: Instant, key: K) {
        self.pushed += 1;
        self.heap.push(Reverse(Entry { deadline, order: self.pushed, key }));
    }

    /// The next deadline.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(entry)| entry.deadline)
    }

    /// All keys that wait, in any order.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.heap.iter().map(|Reverse(entry)| &entry.key)
    }

    /// Takes the next key whose deadline has come.
    pub fn pop_due(&mut self, now: Instant) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry.key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_soonest_deadline_is_found_wherever_it_stands() {
        let start = Instant::now();
        let at = |ms| Some(start + Duration::from_millis(ms));
        assert_eq!(soonest([]), None);
        assert_eq!(soonest([None, None]), None);
        assert_eq!(soonest([None, at(2), at(3)]), at(2));
        assert_eq!(soonest([at(3), at(2), None]), at(2));
        assert_eq!(soonest([at(1), at(2), at(1)]), at(1));
    }

    #[test]
    fn a_fifo_never_fires_early_nor_out_of_order() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut fifo = Fifo::default();
        fifo.push(at(10), 'a');
        fifo.push(at(5), 'b');
        assert_eq!((fifo.next(), fifo.pop_due(at(9))), (Some(at(10)), None));
        assert_eq!((fifo.pop_due(at(10)), fifo.pop_due(at(10)), fifo.pop_due(at(10))), (Some('a'), Some('b'), None));
    }

    #[test]
    fn stale_entries_are_skipped_up_to_the_first_that_is_not() {
        let start = Instant::now();
        let mut fifo = Fifo::default();
        "abcd".chars().for_each(|key| fifo.push(start, key));
        fifo.skip_stale(|key| "abd".contains(*key));
        assert_eq!((fifo.pop_due(start), fifo.pop_due(start), fifo.pop_due(start)), (Some('c'), Some('d'), None));
        fifo.skip_stale(|_| true);
        assert_eq!(fifo.next(), None);
    }

    #[test]
    fn a_heap_fires_by_deadline_then_by_arrival() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut heap = Heap::default();
        for (ms, key) in [(7, 'c'), (5, 'a'), (7, 'd'), (6, 'b')] {
            heap.push(at(ms), key);
        }
        assert_eq!((heap.next(), heap.pop_due(at(4))), (Some(at(5)), None));
        let order: String = std::iter::from_fn(|| heap.pop_due(at(8))).collect();
        assert_eq!(order, "abcd");
    }
}
