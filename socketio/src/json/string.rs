//! String literals: where they end, their text, and text to literals (RFC 8259 section 7).

use std::borrow::Cow;

use super::error::JsonError;

/// A string literal holds the escape of half a surrogate pair: legal JSON, but no Unicode text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("JSON string with a lone surrogate")]
pub struct LoneSurrogate;

const LOW_BITS: u64 = u64::from_ne_bytes([0x01; 8]);
const HIGH_BITS: u64 = u64::from_ne_bytes([0x80; 8]);

/// How many bytes come before the first quote, backslash or control character (or the end), eight at a time.
fn plain_length(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let (quote, backslash) = (word ^ (LOW_BITS * b'"' as u64), word ^ (LOW_BITS * b'\\' as u64));
        // The high bit of a byte is set where the byte is zero (or below 0x20). A borrow can set it wrongly only
        // above a byte where it is set rightly, so the lowest one is exact.
        let special = (quote.wrapping_sub(LOW_BITS) & !quote
            | backslash.wrapping_sub(LOW_BITS) & !backslash
            | word.wrapping_sub(LOW_BITS * 0x20) & !word)
            & HIGH_BITS;
        if special != 0 {
            return index * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let plain = tail.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | ..0x20)).count();
    words.len() * 8 + plain
}

/// The offset after the closing quote of the literal that opens at `open`.
///
/// # Errors
/// [`JsonError::Syntax`]: no closing quote, a raw control character, or an unknown escape. Surrogates are not paired.
pub(super) fn end(bytes: &[u8], open: usize) -> Result<usize, JsonError> {
    let mut pos = open + 1;
    loop {
        pos += plain_length(bytes.get(pos..).ok_or(JsonError::Syntax)?);
        match bytes.get(pos) {
            Some(b'"') => return Ok(pos + 1),
            Some(b'\\') => {}
            _ => return Err(JsonError::Syntax),
        }
        pos += match bytes.get(pos + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if bytes.get(pos + 2..pos + 6).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) => 6,
            _ => return Err(JsonError::Syntax),
        };
    }
}

/// The text of a checked string literal, borrowed if it has no escapes.
///
/// # Errors
/// The escape of half a surrogate pair.
pub fn unquote(raw: &str) -> Result<Cow<'_, str>, LoneSurrogate> {
    unescape(raw, Err(LoneSurrogate))
}

/// The text of a checked string literal, with U+FFFD for each escape of half a surrogate pair.
#[must_use]
pub fn unquote_lossy(raw: &str) -> Cow<'_, str> {
    unescape(raw, Ok(char::REPLACEMENT_CHARACTER)).unwrap_or_default()
}

/// `lone` stands for half a surrogate pair.
fn unescape(raw: &str, lone: Result<char, LoneSurrogate>) -> Result<Cow<'_, str>, LoneSurrogate> {
    let inner = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(raw);
    if !inner.as_bytes().contains(&b'\\') {
        return Ok(Cow::Borrowed(inner));
    }
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((plain, escape)) = split_at_backslash(rest) {
        text.push_str(plain);
        let mut chars = escape.chars();
        match chars.next() {
            Some('b') => text.push('\u{8}'),
            Some('f') => text.push('\u{c}'),
            Some('n') => text.push('\n'),
            Some('r') => text.push('\r'),
            Some('t') => text.push('\t'),
            Some('u') => {
                let digits = chars.as_str();
                let escape = unicode_escape(digits);
                let (character, after) = escape.or_else(|_| Ok((lone?, digits.get(4..).unwrap_or_default())))?;
                text.push(character);
                chars = after.chars();
            }
            // A quote, a backslash or a slash.
            Some(other) => text.push(other),
            None => {}
        }
        rest = chars.as_str();
    }
    text.push_str(rest);
    Ok(Cow::Owned(text))
}

/// What comes before and after the first backslash. (`str::split_once` costs a third more on short texts.)
fn split_at_backslash(text: &str) -> Option<(&str, &str)> {
    let at = text.bytes().position(|byte| byte == b'\\')?;
    let (before, escape) = text.split_at_checked(at)?;
    Some((before, escape.get(1..)?))
}

/// What comes after `\u`: four digits, and for the first half of a surrogate pair the escape of the second.
fn unicode_escape(digits: &str) -> Result<(char, &str), LoneSurrogate> {
    let (unit, rest) = code_unit(digits)?;
    if let Some(character) = char::from_u32(unit) {
        return Ok((character, rest));
    }
    let (second, rest) = code_unit(rest.strip_prefix("\\u").ok_or(LoneSurrogate)?)?;
    // `decode_utf16` says which halves match; of two units at most the first is left over.
    let pair = [unit, second].map(|unit| u16::try_from(unit).unwrap_or_default());
    match char::decode_utf16(pair).next() {
        Some(Ok(character)) => Ok((character, rest)),
        _ => Err(LoneSurrogate),
    }
}

fn code_unit(digits: &str) -> Result<(u32, &str), LoneSurrogate> {
    let (hex, rest) = digits.split_at_checked(4).ok_or(LoneSurrogate)?;
    Ok((u32::from_str_radix(hex, 16).map_err(|_| LoneSurrogate)?, rest))
}

/// Appends `text` as a string literal. Only what section 7 demands is escaped: quotes, backslashes and control
/// characters; all else (U+2028 and U+2029 too) goes as it is.
pub fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    escape_into(text, out);
    out.push(b'"');
}

/// `text` as it stands between the quotes of a literal; borrowed if nothing in it needs an escape.
pub(crate) fn escape(text: &str) -> Cow<'_, [u8]> {
    if plain_length(text.as_bytes()) == text.len() {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut out = Vec::with_capacity(text.len() + 8);
    escape_into(text, &mut out);
    Cow::Owned(out)
}

fn escape_into(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    loop {
        let (plain, special) = rest.split_at(plain_length(rest).min(rest.len()));
        out.extend_from_slice(plain);
        let Some((&byte, after)) = special.split_first() else { return };
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            control => {
                let digit = match control & 0xf {
                    low @ 0..=9 => b'0' + low,
                    low => b'a' + (low - 10),
                };
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', b'0' + (control >> 4), digit]);
            }
        }
        rest = after;
    }
}
