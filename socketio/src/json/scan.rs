//! The scanner: RFC 8259 on bytes, one pass, no recursion, no allocation. Strings are in [`super::string`].

use super::{
    error::JsonError,
    limits::{Limits, MAX_DEPTH},
    string,
};

/// A place in a text; every method continues from it. The text is UTF-8 already, so bytes above 0x7f need no look.
#[derive(Debug, Clone)]
pub(super) struct Scanner<'t> {
    bytes: &'t [u8],
    pos: usize,
    /// Levels still free for the next value.
    depth: u32,
    number_length: usize,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str, limits: &Limits) -> Self {
        let depth = limits.depth.min(MAX_DEPTH);
        Self { bytes: text.as_bytes(), pos: 0, depth, number_length: limits.number_length }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.pos).copied()
    }

    /// Section 2: the four characters of insignificant whitespace.
    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.pos += 1;
        }
    }

    /// Takes `byte` if it comes next, after whitespace.
    fn take(&mut self, byte: u8) -> bool {
        self.skip_whitespace();
        let found = self.peek() == Some(byte);
        self.pos += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.take(byte) { Ok(()) } else { Err(JsonError::Syntax) }
    }

    /// Nothing but whitespace may follow.
    pub(super) fn end(&mut self) -> Result<(), JsonError> {
        self.skip_whitespace();
        if self.pos == self.bytes.len() { Ok(()) } else { Err(JsonError::Syntax) }
    }

    /// Enters an array that the caller walks item by item; it costs one level.
    pub(super) fn open_array(&mut self) -> Result<(), JsonError> {
        self.expect(b'[')?;
        self.depth = self.depth.checked_sub(1).ok_or(JsonError::TooDeep)?;
        Ok(())
    }

    pub(super) fn close_array(&mut self) -> bool {
        self.take(b']')
    }

    pub(super) fn open_object(&mut self) -> bool {
        self.take(b'{')
    }

    pub(super) fn close_object(&mut self) -> bool {
        self.take(b'}')
    }

    pub(super) fn comma(&mut self) -> Result<(), JsonError> {
        self.expect(b',')
    }

    /// The name of a member with its quotes; takes the colon after it (section 4).
    pub(super) fn key(&mut self) -> Result<(usize, usize), JsonError> {
        self.skip_whitespace();
        let start = self.pos;
        if self.peek() != Some(b'"') {
            return Err(JsonError::Syntax);
        }
        self.pos = string::end(self.bytes, start)?;
        let end = self.pos;
        self.expect(b':')?;
        Ok((start, end))
    }

    /// One whole value: where it starts and ends.
    pub(super) fn value(&mut self) -> Result<(usize, usize), JsonError> {
        self.skip_whitespace();
        let start = self.pos;
        // One bit for each open container, the innermost lowest: 1 for an object.
        let mut objects: u128 = 0;
        let mut open: u32 = 0;
        loop {
            match self.peek().ok_or(JsonError::Syntax)? {
                b'"' => self.pos = string::end(self.bytes, self.pos)?,
                bracket @ (b'{' | b'[') => {
                    if open == self.depth {
                        return Err(JsonError::TooDeep);
                    }
                    self.pos += 1;
                    let object = bracket == b'{';
                    // `]` and `}` are two after their opening bracket in ASCII.
                    if !self.take(bracket + 2) {
                        open += 1;
                        objects = objects << 1 | u128::from(object);
                        if object {
                            self.key()?;
                        }
                        continue;
                    }
                }
                b'-' | b'0'..=b'9' => self.number()?,
                b't' => self.literal(b"true")?,
                b'f' => self.literal(b"false")?,
                b'n' => self.literal(b"null")?,
                // Last, because most JSON on the wire has none.
                b' ' | b'\t' | b'\n' | b'\r' => {
                    self.pos += 1;
                    continue;
                }
                _ => return Err(JsonError::Syntax),
            }
            // A value has ended; so may have the containers around it.
            while open > 0 {
                let object = objects & 1 == 1;
                let byte = self.peek().ok_or(JsonError::Syntax)?;
                self.pos += 1;
                match byte {
                    b',' => {
                        if object {
                            self.key()?;
                        }
                        break;
                    }
                    b'}' if object => {}
                    b']' if !object => {}
                    b' ' | b'\t' | b'\n' | b'\r' => continue,
                    _ => return Err(JsonError::Syntax),
                }
                open -= 1;
                objects >>= 1;
            }
            if open == 0 {
                return Ok((start, self.pos));
            }
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), JsonError> {
        if !self.bytes.get(self.pos..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(JsonError::Syntax);
        }
        self.pos += word.len();
        Ok(())
    }

    /// Section 6. What may follow a number is left to the caller, so `01` and `1x` fail there.
    fn number(&mut self) -> Result<(), JsonError> {
        let start = self.pos;
        self.pos += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.pos += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.pos += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.pos += 1;
            self.pos += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        if self.pos - start > self.number_length { Err(JsonError::NumberTooLong) } else { Ok(()) }
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), JsonError> {
        let rest = self.bytes.get(self.pos..).unwrap_or_default();
        let count = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        self.pos += count;
        if count == 0 { Err(JsonError::Syntax) } else { Ok(()) }
    }
}
