//! [`Sid`]: the id of an Engine.IO session.
//!
//! A sid is a bearer secret: anyone who knows it may poll the session. It says where the session lives (shard and slab
//! index), so that any shard can route a request without a global map, and holds 120 random bits that prove the right
//! to it. Instead of the random bits an application may choose a text ([`SidPart`]), which is kept as its hash.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha1::{Digest as _, Sha1};

/// How many random bytes a sid contains: 15, that is 120 bits.
pub const RANDOM_LEN: usize = 15;
const LOCATION_LEN: usize = 2 + 4;
const LEN: usize = LOCATION_LEN + RANDOM_LEN;
const TEXT_LEN: usize = LEN.div_ceil(3) * 4;
/// The characters of the location: its six bytes make exactly eight characters, so the rest of the text is the secret
/// alone.
const LOCATION_TEXT_LEN: usize = LOCATION_LEN / 3 * 4;

/// The id of a session: shard, slab index and 120 random bits; as text 28 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Sid([u8; LEN]);

impl Sid {
    /// Makes the sid of the session at `index` of shard `shard`; `random` comes from the caller's entropy.
    #[must_use]
    pub fn new(shard: u16, index: u32, random: [u8; RANDOM_LEN]) -> Self {
        let mut bytes = [0; LEN];
        let (location, secret) = bytes.split_at_mut(LOCATION_LEN);
        let (shard_bytes, index_bytes) = location.split_at_mut(2);
        shard_bytes.copy_from_slice(&shard.to_be_bytes());
        index_bytes.copy_from_slice(&index.to_be_bytes());
        secret.copy_from_slice(&random);
        Self(bytes)
    }

    /// Reads a sid back from its text. `None` for any text that `Display` cannot have produced: it names no session.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; LEN];
        if text.len() != TEXT_LEN {
            return None;
        }
        (URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) == Ok(LEN)).then_some(Self(bytes))
    }

    /// Reads a sid whose secret may be a text chosen by the application.
    #[must_use]
    pub fn parse_chosen(text: &str) -> Option<Self> {
        if let Some(sid) = Self::parse(text) {
            return Some(sid);
        }
        let (location_text, part) = text.split_at_checked(LOCATION_TEXT_LEN)?;
        let secret = secret_of(&SidPart::new(part).ok()?);
        let mut bytes = [0; LEN];
        let (location, rest) = bytes.split_at_mut(LOCATION_LEN);
        (URL_SAFE_NO_PAD.decode_slice(location_text, location) == Ok(LOCATION_LEN)).then_some(())?;
        rest.copy_from_slice(&secret);
        Some(Self(bytes))
    }

    /// The secret part.
    #[must_use]
    pub fn secret(&self) -> [u8; RANDOM_LEN] {
        self.0.last_chunk().copied().unwrap_or_default()
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

    /// Whether the secret part equals `random`, in constant time.
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
    /// Only the session's location: the secret part never reaches a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sid({}.{})", self.shard(), self.index())
    }
}

/// The secret for a chosen text. If the text looks like encoded random bits it is decoded, so that it reads back the
/// same way; otherwise it is hashed.
fn secret_of(part: &SidPart) -> [u8; RANDOM_LEN] {
    let mut secret = [0; RANDOM_LEN];
    let text = part.as_str();
    let plain =
        text.len() == TEXT_LEN - LOCATION_TEXT_LEN && URL_SAFE_NO_PAD.decode_slice(text, &mut secret) == Ok(RANDOM_LEN);
    if !plain {
        let hash = Sha1::digest(text);
        secret.iter_mut().zip(hash).for_each(|(secret, byte)| *secret = byte);
    }
    secret
}

/// A sid as the client gets it: with the application's text if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuedSid {
    sid: Sid,
    part: Option<SidPart>,
}

impl IssuedSid {
    /// The sid of the session at `index` of shard `shard`, with random bits.
    #[must_use]
    pub fn random(shard: u16, index: u32, random: [u8; RANDOM_LEN]) -> Self {
        Self { sid: Sid::new(shard, index, random), part: None }
    }

    /// The sid of the session at `index` of shard `shard`, with a text chosen by the application.
    #[must_use]
    pub fn chosen(shard: u16, index: u32, part: SidPart) -> Self {
        Self { sid: Sid::new(shard, index, secret_of(&part)), part: Some(part) }
    }

    /// The sid that requests are compared with.
    #[must_use]
    pub const fn sid(&self) -> Sid {
        self.sid
    }
}

impl fmt::Display for IssuedSid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(part) = &self.part else { return self.sid.fmt(f) };
        let text = self.sid.to_string();
        f.write_str(text.get(..LOCATION_TEXT_LEN).unwrap_or_default())?;
        f.write_str(part.as_str())
    }
}

/// The longest part of a sid that an application may choose, in bytes.
pub const MAX_SID_PART: usize = 128;

/// The part of a sid that the application chooses (`generateId` in Node). It follows the part that says where the
/// session lives, so it need not be unique. But it alone keeps others out of the session, so it must not be guessable.
#[derive(Clone, PartialEq, Eq)]
pub struct SidPart(String);

/// The text cannot be part of a sid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not 1 to {MAX_SID_PART} of the characters A-Z a-z 0-9 - . _ ~")]
pub struct InvalidSidPart;

impl SidPart {
    /// Takes a text of 1 to [`MAX_SID_PART`] characters, all of which are unreserved in URIs (RFC 3986, 2.3).
    ///
    /// # Errors
    /// When it is empty, too long, or has other characters.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidSidPart> {
        let text = text.into();
        let unreserved = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
        if unreserved && (1..=MAX_SID_PART).contains(&text.len()) { Ok(Self(text)) } else { Err(InvalidSidPart) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SidPart {
    /// Hides the text, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SidPart")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_text_reads_back_and_opens_only_its_session() {
        for text in ["alice-1", "x", &"y".repeat(128), &"A".repeat(20), "-._~-._~-._~-._~-._~"] {
            let issued = IssuedSid::chosen(3, 70_000, SidPart::new(text).unwrap());
            let shown = issued.to_string();
            assert!(shown.ends_with(text) && shown.len() == 8 + text.len(), "{shown}");
            let back = Sid::parse_chosen(&shown).unwrap();
            assert_eq!((back, back.shard(), back.index()), (issued.sid(), 3, 70_000), "{text}");
            assert!(back.proves(&issued.sid().secret()));
            let other = IssuedSid::chosen(3, 70_000, SidPart::new(format!("{text}z").get(1..).unwrap()).unwrap());
            assert!(!other.sid().proves(&back.secret()), "{text}");
        }
        let random = IssuedSid::random(3, 70_000, [9; RANDOM_LEN]);
        assert_eq!(Sid::parse_chosen(&random.to_string()), Some(random.sid()));
        for text in ["", "AAMAARFw", "AAMAARF", "!AMAARFwx", "AAMAARFwa b", &"é".repeat(9), &"A".repeat(200)] {
            assert_eq!(Sid::parse_chosen(text), None, "{text}");
        }
    }

    #[test]
    fn text_round_trips_and_carries_the_location() {
        let sid = Sid::new(3, 70_000, [0xa5; RANDOM_LEN]);
        let text = sid.to_string();
        assert_eq!(text.len(), 28);
        let back = Sid::parse(&text).unwrap();
        assert_eq!((back, back.shard(), back.index()), (sid, 3, 70_000));
        assert!(back.proves(&[0xa5; RANDOM_LEN]));
        assert!(!back.proves(&[0xa4; RANDOM_LEN]));
    }

    #[test]
    fn text_that_no_server_issued_is_not_a_sid() {
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

    #[test]
    fn a_part_of_a_sid_needs_no_escaping_in_a_query() {
        for (text, ok) in [
            ("a", true),
            ("user-1.2_3~", true),
            (&"x".repeat(MAX_SID_PART), true),
            ("", false),
            ("a b", false),
            ("a+b", false),
            ("a\"b", false),
            ("é", false),
            (&"x".repeat(MAX_SID_PART + 1), false),
        ] {
            assert_eq!(SidPart::new(text).is_ok(), ok, "{text}");
        }
        assert_eq!(format!("{:?}", SidPart::new("secret")), "Ok(SidPart)");
    }
}
