//! [`GradualEnd`]: when each session of a shard ends while a server drains, so that clients do not all come back at once.

use std::time::{Duration, Instant};

use crate::ConnKey;

/// Sessions that end one after another, at equal intervals.
#[derive(Debug)]
pub(super) struct GradualEnd {
    /// Those that have not ended.
    left: Vec<ConnKey>,
    /// How many there were.
    total: u32,
    start: Instant,
    over: Duration,
}

impl GradualEnd {
    /// Ends these sessions over this time: the first after one interval, the last when the time is over.
    pub(super) fn new(start: Instant, over: Duration, sessions: Vec<ConnKey>) -> Self {
        let total = u32::try_from(sessions.len()).unwrap_or(u32::MAX);
        Self { left: sessions, total, start, over }
    }

    /// When something is due next. The last time is the end of the whole, also if there is no session.
    pub(super) fn next(&self) -> Instant {
        let ended = self.total.saturating_sub(u32::try_from(self.left.len()).unwrap_or(u32::MAX));
        if self.left.is_empty() {
            return self.start + self.over;
        }
        self.start + self.over / self.total * (ended + 1)
    }

    /// The next session that must end now.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<ConnKey> {
        if self.next() > now { None } else { self.left.pop() }
    }

    /// Whether the time is over.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.start + self.over <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slab::Slab;

    fn sessions(count: usize) -> Vec<ConnKey> {
        let mut slab = Slab::default();
        (0..count).map(|_| ConnKey(slab.insert(()))).collect()
    }

    #[test]
    fn sessions_end_at_equal_intervals() {
        let (start, seconds) = (Instant::now(), Duration::from_secs);
        let mut end = GradualEnd::new(start, seconds(60), sessions(6));
        let mut ended = 0;
        for second in 0..=60 {
            let now = start + seconds(second);
            while end.pop_due(now).is_some() {
                ended += 1;
            }
            assert_eq!(ended, second / 10, "{second}");
            assert_eq!(end.is_over(now), second == 60);
        }
        assert_eq!(end.next(), start + seconds(60));
    }

    #[test]
    fn a_shard_that_was_late_ends_all_that_are_due() {
        let (start, seconds) = (Instant::now(), Duration::from_secs);
        let mut end = GradualEnd::new(start, seconds(10), sessions(10));
        let due = std::iter::from_fn(|| end.pop_due(start + seconds(7))).count();
        assert_eq!((due, end.next()), (7, start + seconds(8)));
        let due = std::iter::from_fn(|| end.pop_due(start + seconds(100))).count();
        assert_eq!((due, end.is_over(start + seconds(100))), (3, true));
    }

    #[test]
    fn without_time_or_sessions_only_the_end_is_left() {
        let start = Instant::now();
        let mut end = GradualEnd::new(start, Duration::ZERO, sessions(3));
        assert_eq!(std::iter::from_fn(|| end.pop_due(start)).count(), 3);
        let mut end = GradualEnd::new(start, Duration::from_secs(5), Vec::new());
        assert_eq!((end.pop_due(start), end.next()), (None, start + Duration::from_secs(5)));
    }
}
