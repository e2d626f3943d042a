//! [`RefusalLog`]: which refused origins and hosts are worth a line in the log.
//!
//! Usually a refusal is a mistake in the configuration of a proxy, so the operator must read of it. A page that tries
//! again and again must not fill the log.

use std::time::{Duration, Instant};

/// How often the same value is logged at most.
const EVERY: Duration = Duration::from_secs(60);

/// How many different values are logged in that time at most.
const VALUES: usize = 64;

/// The longest part of a value that is kept and logged, in characters.
const LENGTH: usize = 200;

/// What was logged within the last minute. See the module.
#[derive(Debug, Default)]
pub struct RefusalLog(Vec<(String, Instant)>);

impl RefusalLog {
    /// The text to log for this value now; `None` if it was logged within the last minute, or too many others were.
    pub fn take(&mut self, value: &[u8], now: Instant) -> Option<String> {
        self.0.retain(|(_, logged)| now.saturating_duration_since(*logged) < EVERY);
        let text: String = String::from_utf8_lossy(value).chars().take(LENGTH).collect();
        if self.0.len() >= VALUES || self.0.iter().any(|(known, _)| *known == text) {
            return None;
        }
        self.0.push((text.clone(), now));
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_logged_once_a_minute_and_not_too_many_are() {
        let (mut log, now) = (RefusalLog::default(), Instant::now());
        assert_eq!(log.take(b"https://a.example", now).as_deref(), Some("https://a.example"));
        assert_eq!(log.take(b"https://a.example", now + EVERY / 2), None);
        assert!(log.take(b"https://b.example", now + EVERY / 2).is_some());
        assert!(log.take(b"https://a.example", now + EVERY).is_some());
        let logged = (0..1000).filter(|n| log.take(format!("https://{n}").as_bytes(), now + EVERY).is_some()).count();
        assert_eq!(logged, VALUES - 2);
        assert_eq!(log.take(&[b'x'; 5000], now + 3 * EVERY).map(|text| text.len()), Some(LENGTH));
    }
}
