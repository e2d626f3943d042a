//! [`Schedule`]: when a set of keys is fetched, and what may be said of a key that is not in it. Without a clock, and without waiting.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// How often unknown keys may have the set fetched.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// How long after the first failure in a row the set is fetched again; each further one doubles it.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The longest that it is waited for after a failure.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// How many unknown keys are told apart. Those beyond are never refused for good: they may be new.
const UNKNOWN: usize = 1000;

/// See the module.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Time between two fetches.
    refresh: Duration,
    /// How many fetches have begun; the number of the last one.
    begun: u64,
    /// The number of the last one that succeeded; zero before the first.
    succeeded: u64,
    /// When it did.
    fetched_at: Option<Instant>,
    is_fetching: bool,
    /// How many have failed in a row, and in all.
    failures: u32,
    failed: u64,
    /// When the next one is due, if nothing else calls for one.
    due: Instant,
    /// One is to begin at once.
    is_forced: bool,
    /// An unknown key calls for one.
    is_wanted: bool,
    /// When an unknown key last had the set fetched.
    asked: Option<Instant>,
    /// Keys that tokens named and that were not in the set, and the number of the first fetch that began after that.
    unknown: HashMap<Box<str>, u64>,
}

impl Schedule {
    /// The first fetch is due at once.
    pub(super) fn new(refresh: Duration, now: Instant) -> Self {
        Self {
            refresh,
            begun: 0,
            succeeded: 0,
            fetched_at: None,
            is_fetching: false,
            failures: 0,
            failed: 0,
            due: now,
            is_forced: true,
            is_wanted: false,
            asked: None,
            unknown: HashMap::new(),
        }
    }

    /// How long to wait for the next fetch; `None`: it is to begin.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let wanted = self.is_wanted.then(|| self.asked.map_or(now, |asked| asked + ASK_AGAIN));
        let next = wanted.map_or(self.due, |wanted| wanted.min(self.due));
        let wait = next.saturating_duration_since(now);
        (!self.is_forced && !wait.is_zero()).then_some(wait)
    }

    /// A fetch begins.
    pub(super) fn begin(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_wanted) {
            self.asked = Some(now);
        }
        (self.is_forced, self.is_fetching) = (false, true);
        self.begun += 1;
    }

    /// It has failed. Returns how long until the next one.
    pub(super) fn fail(&mut self, now: Instant) -> Duration {
        // Whoever wants fresh keys often wants them soon after a failure as well.
        let wait = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(self.failures)).min(LAST_RETRY).min(self.refresh);
        (self.is_fetching, self.failures, self.due) = (false, self.failures.saturating_add(1), now + wait);
        self.failed += 1;
        wait
    }

    /// It has brought a set, in which these keys of the last one are missing.
    pub(super) fn succeed<'a>(&mut self, now: Instant, withdrawn: impl Iterator<Item = &'a str>) {
        (self.is_fetching, self.failures, self.due) = (false, 0, now + self.refresh);
        (self.succeeded, self.fetched_at) = (self.begun, Some(now));
        withdrawn.for_each(|kid| self.note(kid, self.begun));
    }

    /// When the set was fetched.
    pub(super) const fn fetched_at(&self) -> Option<Instant> {
        self.fetched_at
    }

    /// How many fetches have failed.
    pub(super) const fn failed(&self) -> u64 {
        self.failed
    }

    /// Whether no fetch has ended yet.
    pub(super) fn is_first(&self) -> bool {
        self.succeeded == 0 && self.failures == 0
    }

    /// Whether one has succeeded.
    pub(super) fn has_succeeded(&self) -> bool {
        self.succeeded > 0
    }

    /// Whether the last fetch failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Another time between two fetches; one begins at once.
    pub(super) fn renew(&mut self, refresh: Duration) {
        (self.refresh, self.is_forced) = (refresh, true);
    }

    /// A token names a key that is not in the set. Whether it is none of the issuer's: it was not in a set either that was fetched
    /// after somebody named it first, and that is fresh. If that cannot be told yet, a fetch that tells it is due in a while;
    /// [`Schedule::wait`] may be shorter from now on.
    pub(super) fn is_none_of_them(&mut self, kid: &str, now: Instant) -> bool {
        self.note(kid, self.begun + 1);
        if self.succeeded == 0 || self.is_failing() {
            return false;
        }
        // Also by a key that was missing before: it may have been published since. What is on its way may bring it.
        self.is_wanted |= !self.is_fetching;
        let is_fresh = self.fetched_at.is_some_and(|at| now.saturating_duration_since(at) < ASK_AGAIN);
        is_fresh && self.unknown.get(kid).is_some_and(|first| *first <= self.succeeded)
    }

    /// Remembers the first fetch that can tell of this key, if it is not known already.
    fn note(&mut self, kid: &str, first: u64) {
        if self.unknown.contains_key(kid) {
            return;
        }
        if self.unknown.len() >= UNKNOWN {
            let succeeded = self.succeeded;
            self.unknown.retain(|_, first| *first > succeeded);
        }
        if self.unknown.len() < UNKNOWN {
            self.unknown.insert(kid.into(), first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFRESH: Duration = Duration::from_secs(600);
    const SECOND: Duration = Duration::from_secs(1);

    /// A schedule whose first fetch has succeeded at this time.
    fn fetched(now: Instant) -> Schedule {
        let mut schedule = Schedule::new(REFRESH, now);
        assert_eq!((schedule.wait(now), schedule.is_first()), (None, true));
        fetch(&mut schedule, now);
        schedule
    }

    fn fetch(schedule: &mut Schedule, now: Instant) {
        assert_eq!(schedule.wait(now), None, "it is not due");
        schedule.begin(now);
        schedule.succeed(now, std::iter::empty());
    }

    #[test]
    fn a_key_is_refused_only_when_a_later_set_is_without_it() {
        let start = Instant::now();
        let mut schedule = fetched(start);
        assert_eq!(schedule.wait(start), Some(REFRESH));
        // Somebody makes one up, and the set is fetched at once.
        assert!(!schedule.is_none_of_them("bogus", start));
        fetch(&mut schedule, start);
        assert!(schedule.is_none_of_them("bogus", start));
        // The issuer has a new one a moment later: it is not refused, and fetched once the 30 s are over.
        let now = start + SECOND;
        assert!(!schedule.is_none_of_them("new", now));
        assert!(!schedule.is_none_of_them("new", now) && schedule.is_none_of_them("bogus", now));
        assert_eq!(schedule.wait(now), Some(29 * SECOND));
        // One that is seen while the set is on its way needs another one: the issuer may have answered already.
        let now = start + ASK_AGAIN;
        schedule.begin(now);
        assert!(!schedule.is_none_of_them("newer", now));
        schedule.succeed(now, std::iter::empty());
        assert!(schedule.is_none_of_them("new", now) && !schedule.is_none_of_them("newer", now));
        assert_eq!(schedule.wait(now), Some(ASK_AGAIN));
        let now = now + ASK_AGAIN;
        fetch(&mut schedule, now);
        assert!(schedule.is_none_of_them("newer", now));
        // What an old set says of it is out of date: it may have been published since.
        let now = now + ASK_AGAIN;
        assert!(!schedule.is_none_of_them("newer", now));
        fetch(&mut schedule, now);
        assert!(schedule.is_none_of_them("newer", now));
    }

    #[test]
    fn unknown_keys_have_it_fetched_once_in_30_seconds() {
        let start = Instant::now();
        let (mut schedule, mut fetches) = (fetched(start), 0);
        for second in 0..120 {
            let now = start + second * SECOND;
            for n in 0..5000 {
                schedule.is_none_of_them(&format!("{second} {n}"), now);
            }
            if schedule.wait(now).is_none() {
                fetch(&mut schedule, now);
                fetches += 1;
            }
            assert!(schedule.unknown.len() <= UNKNOWN);
        }
        assert_eq!(fetches, 4);
        assert!(!schedule.is_none_of_them("one that there was no room for", start));
    }

    #[test]
    fn failures_refuse_nobody_and_are_followed_by_pauses_that_grow() {
        let start = Instant::now();
        let mut schedule = fetched(start);
        schedule.is_none_of_them("a", start);
        fetch(&mut schedule, start);
        assert!(schedule.is_none_of_them("a", start));
        let mut now = start + REFRESH;
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            schedule.begin(now);
            assert_eq!(schedule.fail(now), expected * SECOND);
            assert!(!schedule.is_none_of_them("a", now) && !schedule.is_none_of_them("b", now));
            assert_eq!(schedule.wait(now), Some(expected * SECOND), "an unknown key makes it no shorter");
            now += expected * SECOND;
        }
        fetch(&mut schedule, now);
        assert!(schedule.is_none_of_them("a", now) && schedule.is_none_of_them("b", now));
    }

    #[test]
    fn what_is_withdrawn_is_refused_at_once_and_another_interval_counts_at_once() {
        let start = Instant::now();
        let mut schedule = fetched(start);
        schedule.renew(SECOND);
        assert_eq!(schedule.wait(start), None);
        schedule.begin(start);
        schedule.succeed(start, ["old"].into_iter());
        assert_eq!(schedule.wait(start), Some(SECOND));
        assert!(schedule.is_none_of_them("old", start));
    }
}
