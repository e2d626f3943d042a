//! The wall clock; [`ClockWatch`], which sees when it is set forward; and [`Timestamps`]: its times as RFC 3339, written once a
//! second and counted up in between.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// `2030-01-31T12:00:00` and a point come before the milliseconds.
const MILLIS_AT: usize = 20;

/// How often [`ClockWatch`] looks.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// How much further than the monotonic clock the wall clock may be in that time. Slewing (1/2000 of it) is far less.
const JUMP: Duration = Duration::from_millis(500);

/// The wall clock, as the time since the Unix epoch; zero before it.
pub(crate) fn wall_clock() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    #[cfg(test)]
    let now = now.saturating_add(tests::AHEAD.get());
    now
}

/// Sees when the wall clock was set forward, or went on while the machine slept. Whoever waits for a time by the wall clock
/// waits by the monotonic one, and has to look again then.
#[derive(Debug, Default)]
pub(crate) struct ClockWatch {
    /// When it looked last: by the monotonic clock and by the wall clock.
    seen: Option<(Instant, Duration)>,
}

impl ClockWatch {
    /// Has it look from now on.
    pub(crate) fn start(&mut self, now: Instant) {
        self.seen.get_or_insert_with(|| (now, wall_clock()));
    }

    /// Has it look no more.
    pub(crate) const fn stop(&mut self) {
        self.seen = None;
    }

    /// When [`ClockWatch::has_jumped`] is to be called.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.seen.map(|(at, _)| at + WATCH_INTERVAL)
    }

    /// Looks, if it is time: whether the wall clock jumped forward since it looked last.
    pub(crate) fn has_jumped(&mut self, now: Instant) -> bool {
        let Some((at, wall)) = self.seen.filter(|(at, _)| *at + WATCH_INTERVAL <= now) else { return false };
        let wall_now = wall_clock();
        self.seen = Some((now, wall_now));
        wall_now.saturating_sub(wall) > now.duration_since(at) + JUMP
    }
}

/// Formats times since the Unix epoch. Neighbours mostly share their second, whose text is kept.
#[derive(Debug, Default)]
pub(crate) struct Timestamps {
    second: Option<u64>,
    text: String,
}

impl Timestamps {
    /// A time in milliseconds since the Unix epoch, as RFC 3339 in UTC with milliseconds.
    pub(crate) fn format(&mut self, millis: u64) -> &str {
        let (second, rest) = (millis / 1000, millis % 1000);
        if self.second != Some(second) {
            self.second = Some(second);
            self.text = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_secs(second)).to_string();
        }
        self.text.truncate(MILLIS_AT);
        for digit in [rest / 100, rest / 10 % 10, rest % 10] {
            self.text.push(char::from(b'0' + digit as u8));
        }
        self.text.push('Z');
        &self.text
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// How far this test's wall clock is ahead.
        pub(crate) static AHEAD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    #[test]
    fn a_jump_of_the_wall_clock_is_seen_once_and_within_a_second() {
        let (mut watch, now) = (ClockWatch::default(), Instant::now());
        assert_eq!((watch.next(), watch.has_jumped(now)), (None, false));
        watch.start(now);
        AHEAD.set(Duration::from_secs(3600));
        assert!(!watch.has_jumped(now + Duration::from_millis(999)));
        let [second, third] = [1, 2].map(|s| now + Duration::from_secs(s));
        assert_eq!((watch.next(), watch.has_jumped(second), watch.has_jumped(third)), (Some(second), true, false));
        AHEAD.set(Duration::ZERO);
        assert!(!watch.has_jumped(third + WATCH_INTERVAL), "it went back");
        watch.stop();
        assert_eq!(watch.next(), None);
    }

    #[test]
    fn any_order_of_times_is_formatted_as_the_library_does() {
        let mut timestamps = Timestamps::default();
        for millis in [0, 999, 1000, 1_795_556_528_007, 1_795_556_528_040, 1_795_556_527_999, 253_402_300_799_999] {
            let expected = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(millis)).to_string();
            assert_eq!(timestamps.format(millis), expected);
        }
    }
}
