//! The `Date` header of responses that hyper does not write (RFC 9110, 6.6.1), formatted at most once a second.

use std::time::{SystemTime, UNIX_EPOCH};

/// The formatted date, cached. See the module.
#[derive(Debug, Default)]
pub(in crate::net) struct Date {
    second: u64,
    text: String,
}

impl Date {
    pub(in crate::net) fn now(&mut self) -> &str {
        self.at(SystemTime::now())
    }

    fn at(&mut self, time: SystemTime) -> &str {
        // A clock before 1970 is wrong anyway.
        let second = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if self.text.is_empty() || second != self.second {
            self.second = second;
            self.text = httpdate::fmt_http_date(time.max(UNIX_EPOCH));
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_text_follows_the_second() {
        let mut date = Date::default();
        for (ms, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (999, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777_000, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (1000, "Thu, 01 Jan 1970 00:00:01 GMT"),
        ] {
            assert_eq!(date.at(UNIX_EPOCH + Duration::from_millis(ms)), text);
        }
        assert_eq!(Date::default().at(UNIX_EPOCH - Duration::from_secs(9)), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
