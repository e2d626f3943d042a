//! [`SocketDeadlines`]: when to look at a socket again.
//!
//! A queue of its own beside [`Heap`], because a client decides how often a deadline is set: by connecting and
//! disconnecting in a row on one connection, by `refresh`, by `typing`. Entries whose cause is gone would pile up for as long
//! as their deadlines are away (half an hour for idleness, a token's life for its end).

use std::time::Instant;

use engineio::deadlines::Heap;

/// Deadlines by socket index. Only the soonest of an index has an entry; whoever is looked at sets the next one.
#[derive(Debug, Default)]
pub(super) struct SocketDeadlines {
    heap: Heap<u32>,
    /// The soonest entry of each index. It outlives its socket, and serves the next one of the index.
    soonest: Vec<Option<Instant>>,
}

impl SocketDeadlines {
    /// Has the socket of this index looked at by `deadline`; maybe sooner too.
    pub(super) fn set(&mut self, index: u32, deadline: Instant) {
        let slot = index as usize;
        if self.soonest.len() <= slot {
            self.soonest.resize(slot + 1, None);
        }
        let Some(soonest) = self.soonest.get_mut(slot) else { return };
        if soonest.is_none_or(|soonest| deadline < soonest) {
            *soonest = Some(deadline);
            self.heap.push(deadline, index);
        }
    }

    /// When the next socket is to be looked at.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.next()
    }

    /// The indexes that are to be looked at, some of them more than once.
    pub(super) fn indexes(&self) -> impl Iterator<Item = u32> {
        self.heap.keys().copied()
    }

    /// The index of the next socket to look at, if its time has come. The deadline may be another socket's, long gone.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<u32> {
        let index = self.heap.pop_due(now)?;
        if let Some(soonest) = self.soonest.get_mut(index as usize) {
            *soonest = soonest.filter(|soonest| *soonest > now);
        }
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_index_has_one_entry_however_often_it_is_set() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut deadlines = SocketDeadlines::default();
        (10..1000).for_each(|s| deadlines.set(3, at(s)));
        deadlines.set(4, at(11));
        assert_eq!((deadlines.next(), deadlines.pop_due(at(9))), (Some(at(10)), None));
        let due: Vec<u32> = std::iter::from_fn(|| deadlines.pop_due(at(5000))).collect();
        assert_eq!(due, [3, 4]);
        // A sooner one counts, and what was set before it still comes.
        deadlines.set(3, at(9000));
        deadlines.set(3, at(8000));
        assert_eq!(
            (deadlines.pop_due(at(8500)), deadlines.pop_due(at(8500)), deadlines.next()),
            (Some(3), None, Some(at(9000)))
        );
        deadlines.set(3, at(8600));
        assert_eq!(deadlines.next(), Some(at(8600)));
    }
}
