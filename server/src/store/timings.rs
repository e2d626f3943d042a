//! [`Timings`]: how long something took, each time, as a histogram that several threads add to.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The upper bounds of the buckets: from a page that lies in memory to a disk that hangs.
pub(crate) const BOUNDS: [Duration; 14] = [
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
];

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Timings {
    /// Of each bucket, and of what took longer.
    counts: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// What [`Timings`] held at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Times {
    /// How many were in each bucket and in none before it, and in none at all.
    pub(crate) counts: [u64; BOUNDS.len() + 1],
    pub(crate) sum: Duration,
}

impl Timings {
    /// It took this long.
    pub(super) fn add(&self, took: Duration) {
        let bucket = BOUNDS.iter().position(|bound| took <= *bound).unwrap_or(BOUNDS.len());
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What was added so far.
    pub(super) fn times(&self) -> Times {
        let counts =
            std::array::from_fn(|bucket| self.counts.get(bucket).map_or(0, |count| count.load(Ordering::Relaxed)));
        Times { counts, sum: Duration::from_micros(self.micros.load(Ordering::Relaxed)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_in_the_first_bucket_that_holds_it() {
        let timings = Timings::default();
        for micros in [0, 100, 101, 2500, 2_500_001] {
            timings.add(Duration::from_micros(micros));
        }
        let times = timings.times();
        let filled: Vec<_> = times.counts.iter().enumerate().filter(|(_, count)| **count > 0).collect();
        assert_eq!(filled, [(0, &2), (1, &1), (4, &1), (14, &1)]);
        assert_eq!(times.sum, Duration::from_micros(2_502_702));
    }
}
