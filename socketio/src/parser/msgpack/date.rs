//! [`iso_text`]: a date as `Date.prototype.toISOString` of JavaScript writes it.

/// JavaScript's dates end here, in milliseconds to both sides of 1970 (ECMA-262, "Time Values and Time Range").
const LAST: i64 = 8_640_000_000_000_000;
const DAY: i64 = 86_400_000;

/// The text of a time in milliseconds since 1970; `None` if it is no date in JavaScript.
pub(super) fn iso_text(milliseconds: i64) -> Option<String> {
    if !(-LAST..=LAST).contains(&milliseconds) {
        return None;
    }
    let (year, month, day) = civil(milliseconds.div_euclid(DAY));
    let time = milliseconds.rem_euclid(DAY);
    let (seconds, milliseconds) = (time / 1000, time % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    // Years that have not four digits have six and a sign.
    let year = if (0..=9999).contains(&year) { format!("{year:04}") } else { format!("{year:+07}") };
    Some(format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z"))
}

/// Year, month and day of a day, counted from 1970 in the Gregorian calendar. Years begin in March here, so that the leap
/// day is the last of its year, and 400 years are one era.
const fn civil(days: i64) -> (i64, i64, i64) {
    // From 1970-01-01 to 0000-03-01, and the days of an era, a century, and four years.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // From March on, five months have 153 days.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year_of_era + next, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_in_javascript() {
        // Made with `new Date(ms).toISOString()`.
        for (milliseconds, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, "+010000-01-01T00:00:00.000Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
            (-62_167_219_200_001, "-000001-12-31T23:59:59.999Z"),
            (LAST, "+275760-09-13T00:00:00.000Z"),
            (-LAST, "-271821-04-20T00:00:00.000Z"),
        ] {
            assert_eq!(iso_text(milliseconds).as_deref(), Some(expected), "{milliseconds}");
        }
        for milliseconds in [LAST + 1, -LAST - 1, i64::MAX, i64::MIN] {
            assert_eq!(iso_text(milliseconds), None);
        }
    }
}
