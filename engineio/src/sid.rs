//! [`Sid`]: the id of an Engine.IO session.
//!
//! A sid is a bearer secret: whoever knows it may poll the session. It carries where the session lives (shard and slab
//! index, so that any shard can route a request without a global map) and 120 random bits that prove the right to it.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// How many random bytes a sid carries: 15, that is 120 bits.
pub const RANDOM_LEN: usize = 15;
const LEN: usize = 2 + 4 + RANDOM_LEN;
const TEXT_LEN: usize = LEN.div_ceil(3) * 4;

/// The id of a session: shard, slab index and 120 random bits; as text 28 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sid([u8; LEN]);

impl Sid {
    /// Makes the sid of the session at `index` of shard `shard`; `random` comes from the caller's entropy.
    #[must_use]
    pub fn new(shard: u16, index: u32, random: [u8; RANDOM_LEN]) -> Self {
        let mut bytes = [0; LEN];
        let (place, secret) = bytes.split_at_mut(6);
        let (shard_bytes, index_bytes) = place.split_at_mut(2);
        shard_bytes.copy_from_slice(&shard.to_be_bytes());
        index_bytes.copy_from_slice(&index.to_be_bytes());
        secret.copy_from_slice(&random);
        Self(bytes)
    }

    /// Reads a sid back from its text. `None` for anything [`Sid`]'s `Display` cannot have produced: such a sid names
    /// no session.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; LEN];
        if text.len() != TEXT_LEN {
            return None;
        }
        (URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) == Ok(LEN)).then_some(Self(bytes))
    }

    /// The shard that owns the session.
    #[must_use]
    pub const fn shard(&self) -> u16 {
        u16::from_be_bytes([self.0[0], self.0[1]])
    }

    /// The session's index in its shard's slab.
    #[must_use]
    pub const fn index(&self) -> u32 {
        u32::from_be_bytes([self.0[2], self.0[3], self.0[4], self.0[5]])
    }

    /// Whether the secret part equals `random`, in a time that does not depend on where they differ.
    #[must_use]
    pub fn proves(&self, random: &[u8; RANDOM_LEN]) -> bool {
        self.0.iter().skip(LEN - RANDOM_LEN).zip(random).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
    }
}

impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; TEXT_LEN];
        let written = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(text.get(..written).unwrap_or_default()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Sid {
    /// Only where the session lives: the secret part never reaches a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sid({}.{})", self.shard(), self.index())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_carries_the_place() {
        let sid = Sid::new(3, 70_000, [0xa5; RANDOM_LEN]);
        let text = sid.to_string();
        assert_eq!(text.len(), 28);
        let back = Sid::parse(&text).unwrap();
        assert_eq!((back, back.shard(), back.index()), (sid, 3, 70_000));
        assert!(back.proves(&[0xa5; RANDOM_LEN]));
        assert!(!back.proves(&[0xa4; RANDOM_LEN]));
    }

    #[test]
    fn what_no_server_issued_is_no_sid() {
        for text in
            ["", "zzz", "__proto__", "constructor", &"A".repeat(27), &"A".repeat(29), &"!".repeat(28), &"é".repeat(14)]
        {
            assert_eq!(Sid::parse(text), None, "{text}");
        }
    }

    #[test]
    fn debug_keeps_the_secret() {
        assert_eq!(format!("{:?}", Sid::new(0, 7, [9; RANDOM_LEN])), "Sid(0.7)");
    }
}
