//! A text message that arrives in pieces, cut at any byte.
//!
//! Each piece is checked once, when it arrives. So a message that cannot become UTF-8 is refused at the byte that
//! proves it, not at its end. A text that is complete in the input needs only `str::from_utf8`.
//! RFC 6455 section 8.1; RFC 3629.

use std::str;

use super::ProtocolError;

/// The text so far, and at most three bytes of an incomplete character.
#[derive(Debug, Default)]
pub struct TextBuffer {
    text: String,
    pending: [u8; 3],
    pending_len: usize,
}

impl TextBuffer {
    /// An empty buffer; allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { text: String::new(), pending: [0; 3], pending_len: 0 }
    }

    /// Appends the next bytes of the message. The buffer grows in proportion to them.
    ///
    /// # Errors
    /// [`ProtocolError::InvalidUtf8`] when no continuation could make the bytes UTF-8. The buffer must not be used
    /// after that.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        let bytes = self.complete_pending(bytes)?;
        match str::from_utf8(bytes) {
            Ok(text) => self.text.push_str(text),
            Err(error) if error.error_len().is_some() => return Err(ProtocolError::InvalidUtf8),
            Err(error) => {
                let (valid, tail) = bytes.split_at_checked(error.valid_up_to()).unwrap_or((bytes, &[]));
                self.text.push_str(str::from_utf8(valid).map_err(|_| ProtocolError::InvalidUtf8)?);
                self.keep(tail)?;
            }
        }
        Ok(())
    }

    /// Completes the pending character with the first of `bytes`; returns the rest.
    fn complete_pending<'a>(&mut self, mut bytes: &'a [u8]) -> Result<&'a [u8], ProtocolError> {
        while self.pending_len > 0 {
            let Some((&next, rest)) = bytes.split_first() else { break };
            bytes = rest;
            let mut character = [0; 4];
            let kept = self.pending.get(..self.pending_len).unwrap_or_default();
            for (to, &from) in character.iter_mut().zip(kept.iter().chain([&next])) {
                *to = from;
            }
            let character = character.get(..=self.pending_len).unwrap_or_default();
            match str::from_utf8(character) {
                Ok(text) => {
                    self.text.push_str(text);
                    self.pending_len = 0;
                }
                Err(error) if error.error_len().is_some() => return Err(ProtocolError::InvalidUtf8),
                Err(_) => self.keep(character)?,
            }
        }
        Ok(bytes)
    }

    /// Keeps the start of a character. It has fewer than four bytes, or it would be complete or invalid.
    fn keep(&mut self, start: &[u8]) -> Result<(), ProtocolError> {
        self.pending.get_mut(..start.len()).ok_or(ProtocolError::InvalidUtf8)?.copy_from_slice(start);
        self.pending_len = start.len();
        Ok(())
    }

    /// Bytes of heap in use.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.text.capacity()
    }

    /// The complete text, at the end of the message.
    ///
    /// # Errors
    /// [`ProtocolError::InvalidUtf8`] when the message ends within a character.
    pub fn finish(self) -> Result<String, ProtocolError> {
        if self.pending_len == 0 { Ok(self.text) } else { Err(ProtocolError::InvalidUtf8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn push_all<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<String, ProtocolError> {
        let mut buffer = TextBuffer::new();
        for piece in pieces {
            buffer.push(piece)?;
        }
        buffer.finish()
    }

    #[test]
    fn takes_characters_cut_anywhere() {
        let text = "aß€𝄞\u{10ffff}\0κόσμε";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let bytes = text.as_bytes();
                let pieces = [&bytes[..first], &bytes[first..second], &[], &bytes[second..]];
                assert_eq!(push_all(pieces).as_deref(), Ok(text), "{first} {second}");
            }
        }
        assert_eq!(push_all(text.as_bytes().chunks(1)).as_deref(), Ok(text));
    }

    #[test]
    fn refuses_at_the_byte_that_proves_it() {
        // The bytes before the last are a legal start; the last one makes them invalid.
        let table: &[&[u8]] = &[
            b"\x80",
            b"\xc0",
            b"\xc1",
            b"a\xff",
            b"\xf5",
            b"\xed\xa0",
            b"\xe0\x9f",
            b"\xf0\x8f",
            b"\xf4\x90",
            b"\xe2\x82a",
            b"\xf0\x9d\x84\xc3",
            b"\xc3(",
            b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90",
            b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0",
        ];
        for bytes in table {
            let (last, start) = bytes.split_last().unwrap();
            let mut buffer = TextBuffer::new();
            for byte in start {
                assert_eq!(buffer.push(&[*byte]), Ok(()), "{bytes:02x?}");
            }
            assert_eq!(buffer.push(&[*last]), Err(ProtocolError::InvalidUtf8), "{bytes:02x?}");
            assert_eq!(TextBuffer::new().push(bytes), Err(ProtocolError::InvalidUtf8), "{bytes:02x?} in one piece");
        }
    }

    #[test]
    fn refuses_an_end_within_a_character() {
        for bytes in [&b"\xc3"[..], b"a\xe2\x82", b"\xf0\x9d\x84", b"\xf4"] {
            assert_eq!(push_all([bytes]), Err(ProtocolError::InvalidUtf8), "{bytes:02x?}");
            assert_eq!(push_all(bytes.chunks(1)), Err(ProtocolError::InvalidUtf8), "{bytes:02x?}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_standard_library_however_cut(
            bytes in prop_oneof![
                ".{0,40}".prop_map(String::into_bytes),
                proptest::collection::vec(any::<u8>(), 0..12),
                proptest::collection::vec(
                    prop::sample::select(vec![0x61, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc2, 0xe0, 0xed, 0xef, 0xf0, 0xf4]),
                    0..12,
                ),
            ],
            size in 1..9_usize,
        ) {
            let expected = str::from_utf8(&bytes).map(str::to_owned).map_err(|_| ProtocolError::InvalidUtf8);
            prop_assert_eq!(push_all(bytes.chunks(size)), expected);
        }
    }
}
