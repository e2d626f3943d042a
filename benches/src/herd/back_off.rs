//! When the official client tries again (`socket.io-client` 4, `lib/contrib/backo2.ts`), with the source document's
//! options.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// `reconnectionDelay`, in milliseconds.
const DELAY: f64 = 1000.0;
/// `reconnectionDelayMax`, in milliseconds.
const DELAY_MAX: f64 = 5000.0;
/// `randomizationFactor`, which the document leaves at its default.
const JITTER: f64 = 0.5;
/// `reconnectionAttempts`.
pub(super) const ATTEMPTS: u32 = 5;

/// The attempts of one client since it was last connected.
#[derive(Debug, Default)]
pub(super) struct BackOff {
    attempts: u32,
}

impl BackOff {
    /// The wait before the next attempt; `None`: the client gives up, for ever.
    pub(super) fn next(&mut self, dice: &mut Dice) -> Option<Duration> {
        if self.attempts >= ATTEMPTS {
            return None;
        }
        let delay = DELAY * f64::from(1_u32 << self.attempts);
        self.attempts += 1;
        let deviation = dice.roll() * JITTER * delay;
        let delay = if dice.roll() < 0.5 { delay - deviation } else { delay + deviation };
        Some(Duration::from_secs_f64(delay.min(DELAY_MAX) / 1000.0))
    }

    /// A connection was opened.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// How many attempts were made.
    pub(super) fn attempts(&self) -> u32 {
        self.attempts
    }
}

/// Random numbers, other ones in each process (SplitMix64).
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// Seeded by the system.
    pub(super) fn new() -> Self {
        Self(RandomState::new().hash_one(0))
    }

    /// At least 0, less than 1.
    pub(super) fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_tries_five_times_within_its_bounds_and_gives_up() {
        let mut dice = Dice::new();
        for _ in 0..1000 {
            let mut back_off = BackOff::default();
            for [least, most] in [[500, 1500], [1000, 3000], [2000, 5000], [4000, 5000], [5000, 5000]] {
                let wait = back_off.next(&mut dice).unwrap();
                assert!((Duration::from_millis(least)..=Duration::from_millis(most)).contains(&wait), "{wait:?}");
            }
            assert_eq!(back_off.next(&mut dice), None);
            back_off.reset();
            assert!(back_off.next(&mut dice).is_some());
        }
    }
}
