//! JSON numbers as other people's serialisers write them: `50`, `50.0` and `5e1` are one number (RFC 8259 section 6).

/// 2^53: below it every JSON reader takes a whole number for the same one; from it on, one that reads doubles may not.
pub(crate) const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// The number that a valid JSON text is, infinite beyond what a double holds; `None` for any other value.
pub(crate) fn number(json: &str) -> Option<f64> {
    // Rust reads `inf` and `nan` too, which JSON does not have.
    let is_number = json.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    if is_number { json.parse().ok() } else { None }
}

/// The same, for whole numbers only. Infinity counts as one: no digit of it is behind the point.
pub(crate) fn whole(json: &str) -> Option<f64> {
    number(json).filter(|number| number.trunc() == *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_the_same_however_it_is_written() {
        for (json, expected) in [
            ("0", Some(0.0)),
            ("-0", Some(0.0)),
            ("50", Some(50.0)),
            ("50.0", Some(50.0)),
            ("5e1", Some(50.0)),
            ("5E+1", Some(50.0)),
            ("500e-1", Some(50.0)),
            ("-7", Some(-7.0)),
            ("9223372036854775807", Some(9_223_372_036_854_775_807.0)),
            ("1e400", Some(f64::INFINITY)),
            ("1.5", None),
            ("1e-400", Some(0.0)),
            (r#""50""#, None),
            ("null", None),
            ("true", None),
            ("[]", None),
            ("inf", None),
            ("nan", None),
            ("", None),
        ] {
            assert_eq!(whole(json), expected, "{json}");
        }
        assert_eq!((number("1.5"), number("-1e400")), (Some(1.5), Some(f64::NEG_INFINITY)));
    }
}
