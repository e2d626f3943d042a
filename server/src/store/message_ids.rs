//! Message ids: UUIDv7 (RFC 9562, 5.7) that grow strictly, whatever the clock does; and the times beside them, which follow the
//! clock.

use std::{cmp::Ordering, time::Duration};

use uuid::{Builder, Uuid};

/// The id and the time a message got; its sender is told both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    /// See [`Stored::id`](super::types::Stored).
    pub(crate) id: Uuid,
    /// Milliseconds since the Unix epoch.
    pub(crate) millis: u64,
}

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
const COUNTER_BITS: u32 = 12;
const COUNTER_START: u16 = 0x07ff;

impl MessageIds {
    /// Ids that come after all whose position is at most this.
    pub(super) fn after(position: i64) -> Self {
        let position = u64::try_from(position).unwrap_or_default();
        Self { millis: position >> COUNTER_BITS, counter: (position & u64::from(COUNTER_MAX)) as u16, time: 0 }
    }

    /// The position of the last id.
    pub(crate) const fn position(&self) -> Position {
        Position((self.millis << COUNTER_BITS | self.counter as u64).cast_signed())
    }

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

/// The parts of a message's id that are not the same in all: what orders it, and the random rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IdParts {
    /// Milliseconds and counter in one number. [`MessageIds`] never gives out one twice, so it alone orders messages.
    pub(super) position: i64,
    /// The last eight bytes.
    pub(super) rest: i64,
}

/// Where the version stands in a UUID, and the version of ours.
const VERSION_AT: u32 = 76;
const VERSION: u128 = 7;

impl IdParts {
    /// The parts of an id that [`MessageIds`] made.
    pub(super) const fn of(id: Uuid) -> Self {
        let bits = id.as_u128();
        Self { position: position(bits), rest: (bits as u64).cast_signed() }
    }

    /// The id again.
    pub(super) const fn id(self) -> Uuid {
        let position = self.position.cast_unsigned() as u128;
        let (millis, counter) = (position >> COUNTER_BITS, position & COUNTER_MAX as u128);
        Uuid::from_u128(millis << 80 | VERSION << VERSION_AT | counter << 64 | self.rest.cast_unsigned() as u128)
    }

    /// The last id with this position.
    pub(super) const fn last_at(position: i64) -> Uuid {
        Self { position, rest: -1 }.id()
    }
}

/// The place of a message in the order of ids: what all of an id but its random rest says. Of the messages that one
/// [`MessageIds`] has numbered, each has its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Position(i64);

impl Position {
    /// Before every message.
    pub(crate) const START: Self = Self(0);

    /// The place of this message.
    pub(crate) const fn of(id: Uuid) -> Self {
        Self(IdParts::of(id).position)
    }

    /// The last id that a message in this place can have.
    pub(crate) const fn last_id(self) -> Uuid {
        IdParts::last_at(self.0)
    }

    /// As a number that grows with it.
    pub(crate) const fn bits(self) -> u64 {
        self.0.cast_unsigned()
    }

    /// Reads [`Position::bits`] back. `None` for what no position has.
    pub(crate) const fn from_bits(bits: u64) -> Option<Self> {
        let position = bits.cast_signed();
        if position < 0 { None } else { Some(Self(position)) }
    }

    /// What was the position so much earlier, at least.
    pub(super) fn earlier(self, by: Duration) -> Self {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX).saturating_mul(1 << COUNTER_BITS);
        Self(self.bits().saturating_sub(by).cast_signed())
    }

    /// As the database keeps it.
    pub(super) const fn number(self) -> i64 {
        self.0
    }

    pub(super) const fn from_number(number: i64) -> Self {
        Self(number)
    }
}

/// Milliseconds and counter of a UUID of version 7.
const fn position(bits: u128) -> i64 {
    (((bits >> 80) << COUNTER_BITS) as i64) | ((bits >> 64) as i64 & COUNTER_MAX as i64)
}

/// The first position of ids of ours that may come after any UUID, and the last of those that may come before it. Ids at that position
/// itself have to be compared.
pub(super) fn positions_around(any: Uuid) -> (i64, i64) {
    let bits = any.as_u128();
    let first_of_its_millis = ((bits >> 80) << COUNTER_BITS) as i64;
    match (bits >> VERSION_AT & 0xf).cmp(&VERSION) {
        Ordering::Less => (first_of_its_millis, first_of_its_millis - 1),
        Ordering::Equal => (position(bits), position(bits)),
        Ordering::Greater => (first_of_its_millis + (1 << COUNTER_BITS), first_of_its_millis + i64::from(COUNTER_MAX)),
    }
}

/// The first position of an id that is made at this time, as the time since the Unix epoch.
pub(super) fn position_at(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX >> COUNTER_BITS).min(i64::MAX >> COUNTER_BITS) << COUNTER_BITS
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

    #[test]
    fn ids_go_on_after_the_last_one_of_an_earlier_process() {
        let mut ids = MessageIds::default();
        let receipts = [5000, 5000, 4000].map(|millis| ids.next(Duration::from_millis(millis), [9; 10]));
        let last = IdParts::of(receipts[2].id);
        assert_eq!(last.id(), receipts[2].id);
        let next = MessageIds::after(last.position).next(Duration::from_millis(10), [0; 10]);
        assert!(next.id > receipts[2].id && next.millis == 10, "{next:?}");
        assert!(next.id > IdParts::last_at(last.position));
    }

    #[test]
    fn positions_bound_ids_as_comparing_them_does() {
        let parts = |position, rest| IdParts { position, rest }.id();
        let ours: Vec<Uuid> = (40_960..40_960 + 3 * 4096).step_by(511).map(|position| parts(position, -5)).collect();
        let millis = |millis: u128| millis << 80;
        let others = [0, u128::MAX, millis(11), millis(11) | 0xf << 76, millis(12) | 6 << 76, millis(11) | 8 << 76];
        let near = ours.iter().flat_map(|id| [id.as_u128() - 1, id.as_u128(), id.as_u128() + 1]);
        for other in near.chain(others).map(Uuid::from_u128) {
            let (first, last) = positions_around(other);
            for id in &ours {
                let position = IdParts::of(*id).position;
                assert!(*id <= other || position >= first, "{id} after {other}");
                assert!(*id >= other || position <= last, "{id} before {other}");
                assert!(position <= first || *id > other, "{id} after {other}");
                assert!(position >= last || *id < other, "{id} before {other}");
            }
        }
    }
}
