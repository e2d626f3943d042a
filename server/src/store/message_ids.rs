//! Message ids: UUIDv7 (RFC 9562, 5.7) that grow strictly, whatever the clock does; and the times beside them, which follow the
//! clock.

use std::time::Duration;

use uuid::Builder;

use super::types::Receipt;

/// Makes ids. The milliseconds of the last id never go back; within one millisecond a counter grows.
#[derive(Debug, Default)]
pub(crate) struct MessageIds {
    millis: u64,
    counter: u16,
    /// The last time that was given out.
    time: u64,
}

/// A clock that is set back by no more than this, in milliseconds, leaves the time where it was until it has caught up. By more,
/// and the time goes back with it: it must not stand still for as long as the clock was wrong.
const SMALL_STEP: u64 = 1000;

/// Ids of one millisecond: the 12 bits of `rand_a`. Each starts in the lower half, so that half are left for growth.
const COUNTER_MAX: u16 = 0x0fff;
const COUNTER_START: u16 = 0x07ff;

impl MessageIds {
    /// The next id, and its time. `now` is the wall clock, as the time since the Unix epoch; `random` is fresh entropy.
    pub(crate) fn next(&mut self, now: Duration, random: [u8; 10]) -> Receipt {
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let [high, low, ..] = random;
        let fresh = u16::from_be_bytes([high, low]) & COUNTER_START;
        if now > self.millis {
            (self.millis, self.counter) = (now, fresh);
        } else if self.counter < COUNTER_MAX {
            self.counter += 1;
        } else {
            // More ids than a millisecond has, or a clock that went back: borrow from the future.
            (self.millis, self.counter) = (self.millis + 1, fresh);
        }
        let mut bytes = random;
        let [high, low, ..] = &mut bytes;
        [*high, *low] = self.counter.to_be_bytes();
        let is_small_step = self.time > now && self.time - now <= SMALL_STEP;
        self.time = if is_small_step { self.time } else { now };
        Receipt { id: Builder::from_unix_timestamp_millis(self.millis, &bytes).into_uuid(), millis: self.time }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_strictly_through_bursts_and_a_clock_that_goes_back() {
        let mut ids = MessageIds::default();
        let mut last = String::new();
        let random = |n: u64| [n.to_be_bytes().as_slice(), &[0, 0]].concat().try_into().unwrap();
        let clock = (0..10_000).map(|_| 5_000).chain([4_000, 4_000, 9_000, 1, 9_001]);
        for (n, millis) in (0_u64..).zip(clock) {
            let random = random(n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let Receipt { id, millis: time } = ids.next(Duration::from_millis(millis), random);
            let text = id.to_string();
            assert!(text > last, "{text} after {last}");
            assert_eq!((id.get_version_num(), time >= millis), (7, true));
            last = text;
        }
    }

    #[test]
    fn the_time_does_not_stand_still_after_the_clock_was_ahead_and_ids_grow() {
        let (mut ids, hour) = (MessageIds::default(), 3_600_000);
        let clock = [1000, 1000 + hour, 2000, 1500, 2500, 3000];
        let receipts = clock.map(|millis| ids.next(Duration::from_millis(millis), [7; 10]));
        assert_eq!(receipts.map(|receipt| receipt.millis), [1000, 1000 + hour, 2000, 2000, 2500, 3000]);
        assert!(receipts.is_sorted_by(|a, b| a.id < b.id));
    }
}
