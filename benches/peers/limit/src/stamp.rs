//! A message's id (UUIDv7) and timestamp (RFC 3339, milliseconds), written without formatting machinery.

use std::time::{SystemTime, UNIX_EPOCH};

use uuid::Uuid;

/// Stamps messages; ids grow strictly.
#[derive(Debug)]
pub(crate) struct Stamper {
    /// The millisecond of the newest id.
    millis: u64,
    /// Ids within it: the counter of RFC 9562, section 6.2, method 1.
    counter: u32,
    /// The random bits of all ids, in place, and the version and variant beside them.
    fixed: u128,
    /// The second `text` stands for.
    second: u64,
    text: [u8; 24],
}

/// One message's stamp, as text.
#[derive(Debug)]
pub(crate) struct Stamp {
    pub(crate) id: [u8; 36],
    pub(crate) timestamp: [u8; 24],
}

impl Stamper {
    /// `random` fills what neither time nor counter take.
    pub(crate) fn new(random: [u8; 16]) -> Self {
        let random = u128::from_ne_bytes(random) & 0x3fff_0000_ffff_ffff;
        let fixed = random | (0x7 << 76) | (0b10 << 62);
        Self { millis: 0, counter: 0, fixed, second: u64::MAX, text: *b"1970-01-01T00:00:00.000Z" }
    }

    /// The stamp of a message received now.
    pub(crate) fn stamp(&mut self) -> Stamp {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.stamp_at(u64::try_from(now.as_millis()).unwrap_or(u64::MAX))
    }

    fn stamp_at(&mut self, now: u64) -> Stamp {
        if now > self.millis {
            (self.millis, self.counter) = (now, 0);
        } else if self.counter < 0xfff_ffff {
            self.counter += 1;
        } else {
            (self.millis, self.counter) = (self.millis + 1, 0);
        }
        // 48 bits of time, version, 12 bits of the counter, variant, 14 random bits, 16 bits of the counter, 32 random.
        let (high, low) = (u128::from(self.counter >> 16), u128::from(self.counter & 0xffff));
        let id = (u128::from(self.millis) << 80) | self.fixed | (high << 64) | (low << 32);
        let second = now / 1000;
        if second != self.second {
            self.second = second;
            write_second(&mut self.text, second);
        }
        digits(&mut self.text[20..23], now % 1000);
        let mut text = [0; 36];
        Uuid::from_u128(id).hyphenated().encode_lower(&mut text);
        Stamp { id: text, timestamp: self.text }
    }
}

fn digits(place: &mut [u8], mut value: u64) {
    for byte in place.iter_mut().rev() {
        *byte = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Date and time of day of a second since 1970, of the proleptic Gregorian calendar.
fn write_second(text: &mut [u8; 24], second: u64) {
    let (day, time) = (second / 86_400, second % 86_400);
    // Years are counted from March, so that the leap day is the last of its year; eras of 400 years repeat.
    let day = day + 719_468;
    let (era, day) = (day / 146_097, day % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let (month, turn) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    digits(&mut text[0..4], era * 400 + year + turn);
    digits(&mut text[5..7], month);
    digits(&mut text[8..10], date);
    digits(&mut text[11..13], time / 3600);
    digits(&mut text[14..16], time / 60 % 60);
    digits(&mut text[17..19], time % 60);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_dates_as_rfc_3339() {
        let mut stamper = Stamper::new([0xff; 16]);
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_001, "2000-02-29T00:00:00.001Z"),
            (1_709_251_200_050, "2024-03-01T00:00:00.050Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (millis, text) in cases {
            assert_eq!(str::from_utf8(&stamper.stamp_at(millis).timestamp), Ok(text));
        }
    }

    #[test]
    fn ids_are_uuid_v7_and_grow_strictly() {
        let mut stamper = Stamper::new([0xff; 16]);
        let mut last = stamper.stamp_at(0x0123_4567_89ab).id;
        assert_eq!(str::from_utf8(&last), Ok("01234567-89ab-7000-bfff-0000ffffffff"));
        // The clock stands still, goes back, goes on; the counter crosses its two parts.
        for millis in std::iter::repeat_n(0x0123_4567_89ab, 70_000).chain([5, 0x0123_4567_89ac]) {
            let id = stamper.stamp_at(millis).id;
            assert!(id > last, "{id:?}");
            last = id;
        }
    }
}
