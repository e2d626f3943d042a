//! JSON text that is checked and sliced, never parsed into a tree.
//!
//! A server mostly forwards JSON: what a client sent goes to others as it is. So one scanner checks the syntax
//! (RFC 8259, whole), the depth and the length of numbers in a single pass without recursion, and gives the ranges
//! to splice. Keys keep their order and their duplicates, numbers their digits, and escapes of lone surrogates (legal
//! in JSON, no Unicode text) pass verbatim.
//!
//! Left to others: what the values mean. Who needs typed values parses the slice with serde.

mod error;
mod limits;
mod scan;
mod string;
#[cfg(test)]
mod tests;

use smallvec::SmallVec;

use scan::Scanner;
pub(crate) use string::escape;

pub use error::JsonError;
pub use limits::{Limits, MAX_DEPTH};
pub use string::{LoneSurrogate, quote, unquote, unquote_lossy};

/// What a value is; see [`kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// A range of bytes in a text, half the size of a `Range<usize>`: an array of half a million items must not cost
/// eight times its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// `None` for a text beyond `u32`.
    pub(crate) fn new(start: usize, end: usize) -> Option<Self> {
        Some(Self { start: u32::try_from(start).ok()?, end: u32::try_from(end).ok()? })
    }

    /// Offset of the first byte.
    #[must_use]
    pub const fn start(self) -> usize {
        self.start as usize
    }

    /// Offset after the last byte.
    #[must_use]
    pub const fn end(self) -> usize {
        self.end as usize
    }

    /// The slice of `text`, which must be the text the span was made for (else: some slice, or an empty one).
    #[must_use]
    pub fn of(self, text: &str) -> &str {
        text.get(self.start()..self.end()).unwrap_or_default()
    }
}

/// Checks that `text` is one JSON value, with whitespace around it at most.
///
/// # Errors
/// Bad syntax, something after the value, or a limit exceeded.
pub fn check(text: &str, limits: &Limits) -> Result<(), JsonError> {
    let mut scanner = Scanner::new(text, limits);
    scanner.value()?;
    scanner.end()
}

/// Checks that `text` is one JSON array, with whitespace around it at most, and gives its items' places in `text`.
///
/// # Errors
/// Another kind of value, bad syntax, something after the array, or a limit exceeded.
pub fn array_items(text: &str, limits: &Limits) -> Result<SmallVec<[Span; 4]>, JsonError> {
    let mut items = SmallVec::new();
    let mut scanner = Scanner::new(text, limits);
    scanner.open_array()?;
    if !scanner.close_array() {
        loop {
            let (start, end) = scanner.value()?;
            items.push(Span::new(start, end).ok_or(JsonError::TooLong)?);
            if scanner.close_array() {
                break;
            }
            scanner.comma()?;
        }
    }
    scanner.end()?;
    Ok(items)
}

/// The first item of an array of which nothing else is checked.
///
/// # Errors
/// Another kind of value, an empty array, bad syntax in the first item, or one deeper than [`MAX_DEPTH`].
pub(crate) fn first_item(text: &str) -> Result<&str, JsonError> {
    let mut scanner = Scanner::new(text, &Limits { depth: MAX_DEPTH, number_length: usize::MAX });
    scanner.open_array()?;
    let (start, end) = scanner.value()?;
    text.get(start..end).ok_or(JsonError::Syntax)
}

/// The members of a checked object, top level only, in their order: key with its quotes, and value, both raw.
/// Duplicates come as they stand. Any text that is no object has no members.
#[must_use]
pub fn members(object: &str) -> Members<'_> {
    let mut scanner = Scanner::new(object, &Limits { depth: MAX_DEPTH, number_length: usize::MAX });
    let more = scanner.open_object() && !scanner.close_object();
    Members { text: object, scanner, more }
}

/// See [`members`].
#[derive(Debug, Clone)]
pub struct Members<'t> {
    text: &'t str,
    scanner: Scanner<'t>,
    more: bool,
}

impl<'t> Iterator for Members<'t> {
    type Item = (&'t str, &'t str);

    fn next(&mut self) -> Option<Self::Item> {
        if !std::mem::take(&mut self.more) {
            return None;
        }
        let (key_start, key_end) = self.scanner.key().ok()?;
        let (start, end) = self.scanner.value().ok()?;
        self.more = !self.scanner.close_object() && self.scanner.comma().is_ok();
        Some((self.text.get(key_start..key_end)?, self.text.get(start..end)?))
    }
}

/// The depth of a checked value, as [`Limits::depth`] counts.
#[must_use]
pub fn depth(valid: &str) -> usize {
    let (mut open, mut deepest) = (0_usize, 0);
    for token in tokens(valid) {
        match token {
            Token::Open(_) => {
                open = open.saturating_add(1);
                deepest = deepest.max(open);
            }
            Token::Close(_) => open = open.saturating_sub(1),
            Token::Key(_) | Token::Scalar(_) => {}
        }
    }
    deepest
}

/// What a checked value is.
#[must_use]
pub fn kind(valid: &str) -> Kind {
    match valid.bytes().find(|byte| !b" \t\n\r".contains(byte)) {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::String,
        Some(b't') => Kind::Bool(true),
        Some(b'f') => Kind::Bool(false),
        Some(b'n') | None => Kind::Null,
        Some(_) => Kind::Number,
    }
}

/// `text` without the whitespace of JSON around it.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r'])
}

/// An array or an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    Array,
    Object,
}

/// A piece of checked text. Commas and colons are implied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'t> {
    Open(Container),
    Close(Container),
    /// With its quotes.
    Key(&'t str),
    /// A number, string or literal, raw.
    Scalar(&'t str),
}

/// The pieces of checked text, or of values joined by commas.
pub(crate) const fn tokens(valid: &str) -> Tokens<'_> {
    Tokens { text: valid, pos: 0 }
}

/// See [`tokens`].
#[derive(Debug)]
pub(crate) struct Tokens<'t> {
    text: &'t str,
    pos: usize,
}

impl Tokens<'_> {
    /// The offset after the last piece.
    pub(crate) const fn position(&self) -> usize {
        self.pos
    }

    /// Goes on from this offset.
    pub(crate) const fn seek(&mut self, position: usize) {
        self.pos = position;
    }
}

impl<'t> Iterator for Tokens<'t> {
    type Item = Token<'t>;

    fn next(&mut self) -> Option<Token<'t>> {
        let bytes = self.text.as_bytes();
        let blank = bytes.get(self.pos..)?.iter().take_while(|byte| b" \t\n\r,:".contains(byte)).count();
        let start = self.pos + blank;
        self.pos = start + 1;
        Some(match bytes.get(start)? {
            b'[' => Token::Open(Container::Array),
            b'{' => Token::Open(Container::Object),
            b']' => Token::Close(Container::Array),
            b'}' => Token::Close(Container::Object),
            b'"' => {
                self.pos = string::end(bytes, start).ok()?;
                let raw = self.text.get(start..self.pos)?;
                // In checked text a colon follows keys and nothing else.
                let colon = bytes.get(self.pos..)?.iter().find(|byte| !b" \t\n\r".contains(byte)) == Some(&b':');
                if colon { Token::Key(raw) } else { Token::Scalar(raw) }
            }
            _ => {
                let length = bytes.get(start..)?.iter().take_while(|byte| !b" \t\n\r,]}".contains(byte)).count();
                self.pos = start + length;
                Token::Scalar(self.text.get(start..self.pos)?)
            }
        })
    }
}
