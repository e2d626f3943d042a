//! [`Strikes`]: refused events of one user.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How long strikes count.
const STRIKE_WINDOW: Duration = Duration::from_secs(60);

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
}
