//! [`Reader`]: the values of MessagePack, one after the other. It borrows, and allocates nothing.

use crate::parser::error::DecodeError;

/// One value, or the beginning of an array or a map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Nil,
    /// JavaScript's `undefined`, an extension of notepack.io.
    Undefined,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Str(&'a str),
    Bin(&'a [u8]),
    /// Milliseconds since 1970.
    Date(i64),
    /// An extension of a type that has no meaning here.
    Extension(i8, &'a [u8]),
    /// So many values follow.
    Array(u32),
    /// So many pairs of values follow.
    Map(u32),
}

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(DecodeError::MessagePack)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A big-endian number of `N` bytes.
    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::MessagePack)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A length of 1, 2 or 4 bytes: `width` is 0, 1 or 2.
    fn length(&mut self, width: u8) -> Result<u32, DecodeError> {
        Ok(match width {
            0 => u8::from_be_bytes(self.bytes()?).into(),
            1 => u16::from_be_bytes(self.bytes()?).into(),
            _ => u32::from_be_bytes(self.bytes()?),
        })
    }

    fn string(&mut self, length: u32) -> Result<Value<'a>, DecodeError> {
        let bytes = self.take(length as usize)?;
        std::str::from_utf8(bytes).map(Value::Str).map_err(|_| DecodeError::MessagePack)
    }

    /// An extension whose length is a part of its format.
    fn fixed_extension(&mut self, length: usize) -> Result<Value<'a>, DecodeError> {
        let kind = i8::from_be_bytes(self.bytes()?);
        let data = self.take(length)?;
        Ok(match (kind, length) {
            (0, 1) => Value::Undefined,
            (0, 8) => Value::Date(i64::from_be_bytes(data.try_into().unwrap_or_default())),
            _ => extension(kind, data),
        })
    }

    /// The next value.
    ///
    /// # Errors
    /// The end comes first, or the text is not UTF-8, or the byte begins no value.
    pub(super) fn value(&mut self) -> Result<Value<'a>, DecodeError> {
        let [first] = self.bytes()?;
        Ok(match first {
            0x00..=0x7f => Value::Unsigned(first.into()),
            0x80..=0x8f => Value::Map((first & 0x0f).into()),
            0x90..=0x9f => Value::Array((first & 0x0f).into()),
            0xa0..=0xbf => self.string((first & 0x1f).into())?,
            0xc0 => Value::Nil,
            0xc1 => return Err(DecodeError::MessagePack),
            0xc2 | 0xc3 => Value::Bool(first == 0xc3),
            0xc4..=0xc6 => {
                let length = self.length(first - 0xc4)?;
                Value::Bin(self.take(length as usize)?)
            }
            0xc7..=0xc9 => {
                let length = self.length(first - 0xc7)?;
                let kind = i8::from_be_bytes(self.bytes()?);
                let data = self.take(length as usize)?;
                // An `ArrayBuffer`, or what browsers have instead of a `Buffer`.
                if kind == 0 { Value::Bin(data) } else { extension(kind, data) }
            }
            0xca => Value::Float(f32::from_be_bytes(self.bytes()?).into()),
            0xcb => Value::Float(f64::from_be_bytes(self.bytes()?)),
            0xcc => Value::Unsigned(u8::from_be_bytes(self.bytes()?).into()),
            0xcd => Value::Unsigned(u16::from_be_bytes(self.bytes()?).into()),
            0xce => Value::Unsigned(u32::from_be_bytes(self.bytes()?).into()),
            0xcf => Value::Unsigned(u64::from_be_bytes(self.bytes()?)),
            0xd0 => Value::Signed(i8::from_be_bytes(self.bytes()?).into()),
            0xd1 => Value::Signed(i16::from_be_bytes(self.bytes()?).into()),
            0xd2 => Value::Signed(i32::from_be_bytes(self.bytes()?).into()),
            0xd3 => Value::Signed(i64::from_be_bytes(self.bytes()?)),
            0xd4..=0xd8 => self.fixed_extension(1 << (first - 0xd4))?,
            0xd9..=0xdb => {
                let length = self.length(first - 0xd9)?;
                self.string(length)?
            }
            0xdc | 0xdd => Value::Array(self.length(first - 0xdc + 1)?),
            0xde | 0xdf => Value::Map(self.length(first - 0xde + 1)?),
            0xe0..=0xff => Value::Signed(i8::from_be_bytes([first]).into()),
        })
    }

    /// Leaves out a whole value with all that is in it, and gives its bytes.
    ///
    /// # Errors
    /// As [`Reader::value`].
    pub(super) fn skip(&mut self) -> Result<&'a [u8], DecodeError> {
        let before = self.rest;
        // Every value that is due needs a byte, so what is announced and not there ends the loop early.
        let mut due: u64 = 1;
        while due > 0 {
            due -= 1;
            match self.value()? {
                Value::Array(items) => due = due.saturating_add(items.into()),
                Value::Map(pairs) => due = due.saturating_add(2 * u64::from(pairs)),
                _ => {}
            }
        }
        Ok(before.get(..before.len().saturating_sub(self.rest.len())).unwrap_or_default())
    }
}

/// The extension of the specification itself is the timestamp, type -1.
fn extension(kind: i8, data: &[u8]) -> Value<'_> {
    let time = match (kind, data.len()) {
        (-1, 4) => data.try_into().ok().map(|seconds| (i64::from(u32::from_be_bytes(seconds)), 0)),
        (-1, 8) => data.try_into().ok().map(|both| {
            let both = u64::from_be_bytes(both);
            ((both & 0x3_ffff_ffff) as i64, both >> 34)
        }),
        (-1, 12) => data.split_first_chunk().and_then(|(nanoseconds, seconds)| {
            let nanoseconds = u64::from(u32::from_be_bytes(*nanoseconds));
            Some((i64::from_be_bytes(seconds.try_into().ok()?), nanoseconds))
        }),
        _ => None,
    };
    match time {
        // Out of range stays out of the range of dates.
        Some((seconds, nanoseconds)) => {
            Value::Date(seconds.saturating_mul(1000).saturating_add((nanoseconds / 1_000_000) as i64))
        }
        None => Value::Extension(kind, data),
    }
}
