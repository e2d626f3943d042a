//! Token buckets as plain values: a [`Rate`] says how fast a bucket fills and how much it holds, a [`Bucket`] is the time at
//! which it is full again.
//!
//! A bucket that is full holds no history, so whoever keeps buckets may forget a full one ([`Bucket::full_at`]).

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What the times in buckets count from.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

fn nanos(now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(*EPOCH).as_nanos()).unwrap_or(u64::MAX)
}

/// How fast a bucket fills, and how many tokens it holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rate {
    /// Nanoseconds until one more token is there; zero: there is no limit.
    period: f64,
    burst: f64,
}

impl Rate {
    /// `rate` tokens a second, and so many at once; a rate of zero is no limit.
    pub(crate) fn new(rate: f64, burst: f64) -> Self {
        // No time that a bucket is asked about is before it.
        LazyLock::force(&EPOCH);
        let period = if rate > 0.0 { 1e9 / rate } else { 0.0 };
        Self { period, burst: burst.max(1.0) }
    }

    /// `rate` tokens a second, and what comes in `seconds` at once.
    pub(crate) fn with_seconds(rate: f64, seconds: f64) -> Self {
        Self::new(rate, (rate * seconds).ceil())
    }

    /// How long an empty bucket takes to be full.
    pub(crate) fn fill_time(&self) -> Duration {
        Duration::from_nanos((self.period * self.burst) as u64)
    }
}

/// A token bucket: full at first. Threads may share it.
#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// When it is full again, in nanoseconds since [`EPOCH`].
    full_at: AtomicU64,
}

impl Bucket {
    /// Whether there are so many tokens; see [`Bucket::take`].
    ///
    /// # Errors
    /// How long until there are as many.
    pub(crate) fn holds(&self, rate: &Rate, now: Instant, tokens: u64) -> Result<(), Duration> {
        let probe = Self { full_at: AtomicU64::new(self.full_at.load(Ordering::Relaxed)) };
        probe.take(rate, now, tokens)
    }

    /// Takes so many tokens, or all that a full bucket holds if that is less: nothing is too large for ever.
    ///
    /// # Errors
    /// How long until there are as many. Then nothing is taken.
    pub(crate) fn take(&self, rate: &Rate, now: Instant, tokens: u64) -> Result<(), Duration> {
        if rate.period == 0.0 {
            return Ok(());
        }
        let (now, room) = (nanos(now), (rate.period * rate.burst) as u64);
        let cost = ((tokens as f64).min(rate.burst) * rate.period) as u64;
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let next = full_at.max(now).saturating_add(cost);
            let missing = next.saturating_sub(now).saturating_sub(room);
            if missing > 0 {
                return Err(Duration::from_nanos(missing));
            }
            match self.full_at.compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(changed) => full_at = changed,
            }
        }
    }

    /// Puts tokens back that were taken a moment ago.
    pub(crate) fn give_back(&self, rate: &Rate, tokens: u64) {
        let cost = ((tokens as f64).min(rate.burst) * rate.period) as u64;
        self.full_at.fetch_sub(cost.min(self.full_at.load(Ordering::Relaxed)), Ordering::Relaxed);
    }

    /// When it is full again; a time that may be past.
    pub(crate) fn full_at(&self) -> Instant {
        *EPOCH + Duration::from_nanos(self.full_at.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_and_says_when_there_is_more() {
        let (bucket, rate, now) = (Bucket::default(), Rate::new(0.5, 3.0), Instant::now());
        assert_eq!((0..3).map(|_| bucket.take(&rate, now, 1)).collect::<Vec<_>>(), [Ok(()); 3]);
        assert_eq!(bucket.take(&rate, now, 1), Err(Duration::from_secs(2)));
        assert_eq!(bucket.take(&rate, now + Duration::from_millis(1999), 1), Err(Duration::from_millis(1)));
        assert_eq!(bucket.take(&rate, now + Duration::from_secs(2), 1), Ok(()));
        assert!(bucket.full_at() > now + Duration::from_secs(7));
        let unlimited = Rate::new(0.0, 1.0);
        assert!((0..1000).all(|_| bucket.take(&unlimited, now, 9).is_ok()));
    }

    #[test]
    fn what_is_larger_than_the_burst_takes_a_full_bucket() {
        let (bucket, rate, now) = (Bucket::default(), Rate::new(100.0, 500.0), Instant::now());
        assert_eq!(bucket.take(&rate, now, 9000), Ok(()));
        assert_eq!(bucket.take(&rate, now, 9000), Err(Duration::from_secs(5)));
        bucket.give_back(&rate, 9000);
        assert_eq!(bucket.take(&rate, now, 500), Ok(()));
        assert_eq!(bucket.take(&rate, now, 1), Err(Duration::from_millis(10)));
    }
}
