//! Numbers as short texts, in base 64.

const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz-";

/// The most digits that a number has.
const LONGEST: usize = 11;

/// Writes a number; nothing for zero.
pub(super) fn write(mut number: u64, text: &mut String) {
    let mut digits = [0; LONGEST];
    let mut first = LONGEST;
    while number > 0 && first > 0 {
        first -= 1;
        digits[first] = DIGITS[(number % 64) as usize];
        number /= 64;
    }
    // At once: this is done for each message.
    text.push_str(str::from_utf8(&digits[first..]).unwrap_or_default());
}

/// Reads what [`write()`] has written.
pub(super) fn read(text: &str) -> Option<u64> {
    text.bytes().try_fold(0_u64, |number, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'A'..=b'Z' => digit - b'A' + 10,
            b'_' => 36,
            b'a'..=b'z' => digit - b'a' + 37,
            b'-' => 63,
            _ => return None,
        };
        number.checked_mul(64)?.checked_add(u64::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        let numbers = (0..64).map(|shift| 1 << shift).chain([0, 36, 37, 62, 63, 64, 12_345_678_901, u64::MAX]);
        for number in numbers {
            let mut text = String::new();
            write(number, &mut text);
            assert_eq!(read(&text), Some(number), "{text}");
        }
        assert_eq!([read("é"), read("+"), read("zzzzzzzzzzzz")], [None; 3]);
    }
}
