//! The wall clock, and [`Timestamps`]: its times as RFC 3339, written once a second and counted up in between.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `2030-01-31T12:00:00` and a point come before the milliseconds.
const MILLIS_AT: usize = 20;

/// The wall clock, as the time since the Unix epoch; zero before it.
pub(crate) fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
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
mod tests {
    use super::*;

    #[test]
    fn any_order_of_times_is_formatted_as_the_library_does() {
        let mut timestamps = Timestamps::default();
        for millis in [0, 999, 1000, 1_795_556_528_007, 1_795_556_528_040, 1_795_556_527_999, 253_402_300_799_999] {
            let expected = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(millis)).to_string();
            assert_eq!(timestamps.format(millis), expected);
        }
    }
}
