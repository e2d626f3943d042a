//! [`Position`]: what a shard has delivered. [`Epoch`]: positions as text, the *offsets* of events.
//!
//! Shards deliver events in different orders, so one number cannot say what a client has seen. Each shard numbers the events
//! that it originates, and what one shard sends another keeps its order. So a position has one number for each shard: that of
//! the last event of that shard which was delivered here.

use smallvec::SmallVec;

/// For each shard the number of its last event that was delivered, or 0.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Position(SmallVec<[u64; 4]>);

impl Position {
    pub(crate) fn get(&self, origin: u16) -> u64 {
        self.0.get(usize::from(origin)).copied().unwrap_or_default()
    }

    /// Events of `origin` were delivered up to `number`. A lower number than before changes nothing.
    pub(crate) fn raise(&mut self, origin: u16, number: u64) {
        let index = usize::from(origin);
        if self.0.len() <= index {
            self.0.resize(index + 1, 0);
        }
        if let Some(last) = self.0.get_mut(index) {
            *last = number.max(*last);
        }
    }

    /// Whether everything that was delivered at `other` was delivered here too.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.behind(other).next().is_none()
    }

    /// The shards of which `other` has delivered more.
    pub(crate) fn behind(&self, other: &Self) -> impl Iterator<Item = u16> {
        other.iter().filter(|(origin, number)| self.get(*origin) < *number).map(|(origin, _)| origin)
    }

    /// For each shard the higher number.
    pub(crate) fn join(mut self, other: &Self) -> Self {
        for (origin, number) in other.iter() {
            self.raise(origin, number);
        }
        self
    }

    /// For each shard the lower number.
    pub(crate) fn meet(mut self, other: &Self) -> Self {
        for (origin, number) in (0..).zip(&mut self.0) {
            *number = other.get(origin).min(*number);
        }
        self
    }

    fn iter(&self) -> impl Iterator<Item = (u16, u64)> {
        (0..).zip(self.0.iter().copied())
    }

    /// How many bytes it takes outside of itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        if self.0.spilled() { self.0.capacity() * size_of::<u64>() } else { 0 }
    }
}

/// Digits and lower-case letters in an epoch's text.
const EPOCH_LEN: usize = 8;

/// One run of a server: a random number at the head of each of its offsets. The numbers of another run mean something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

/// What a client's offset says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Offset {
    /// It is of this run.
    Known(Position),
    /// It is of another run. Clients keep their last offset when they get a new session, so this client has seen no event of
    /// this run.
    OtherRun,
}

impl Epoch {
    /// Makes an epoch of random bytes.
    pub(crate) fn new(random: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(random) % 36_u64.pow(EPOCH_LEN as u32))
    }

    /// The offset of an event that left its receiver at `position`.
    pub(crate) fn offset(self, position: &Position) -> String {
        let mut text = String::with_capacity(EPOCH_LEN + 8 * position.0.len().max(1));
        push_base36(&mut text, self.0, EPOCH_LEN);
        // At least one number, so that every offset has the same form.
        for origin in 0..position.0.len().max(1) as u16 {
            text.push('.');
            push_base36(&mut text, position.get(origin), 1);
        }
        text
    }

    /// Reads an offset. `None` for any text that no server of so many shards writes.
    pub(crate) fn parse(self, text: &str, shards: u16) -> Option<Offset> {
        let mut parts = text.split('.');
        let epoch = parts.next().filter(|epoch| epoch.len() == EPOCH_LEN).and_then(parse_base36)?;
        if epoch != self.0 {
            let well_formed = parts.clone().next().is_some() && parts.all(|part| parse_base36(part).is_some());
            return well_formed.then_some(Offset::OtherRun);
        }
        let mut position = Position::default();
        for part in parts {
            if position.0.len() >= usize::from(shards) {
                return None;
            }
            position.0.push(parse_base36(part)?);
        }
        (!position.0.is_empty()).then_some(Offset::Known(position))
    }
}

/// Appends a number in base 36, with zeros in front up to `width` digits.
fn push_base36(text: &mut String, mut number: u64, width: usize) {
    /// `u64::MAX` has 13.
    const MOST: usize = 13;
    let mut digits = [b'0'; MOST];
    let mut start = MOST;
    for (index, digit) in digits.iter_mut().enumerate().rev() {
        if number == 0 {
            break;
        }
        let value = (number % 36) as u8;
        *digit = if value < 10 { b'0' + value } else { b'a' + value - 10 };
        start = index;
        number /= 36;
    }
    let start = start.min(MOST.saturating_sub(width));
    text.extend(digits.get(start..).unwrap_or_default().iter().map(|digit| char::from(*digit)));
}

fn parse_base36(text: &str) -> Option<u64> {
    // `from_str_radix` takes signs and capitals too.
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase());
    if plain { u64::from_str_radix(text, 36).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(numbers: &[u64]) -> Position {
        Position(numbers.iter().copied().collect())
    }

    const EPOCH: Epoch = Epoch(36 * 36 + 35);

    #[test]
    fn offsets_read_back() {
        for (numbers, text) in [
            (&[][..], "0000010z.0"),
            (&[7], "0000010z.7"),
            (&[36], "0000010z.10"),
            (&[0, 35, u64::MAX], "0000010z.0.z.3w5e11264sgsf"),
        ] {
            assert_eq!(EPOCH.offset(&position(numbers)), text);
            let Some(Offset::Known(back)) = EPOCH.parse(text, 3) else { panic!("{text}") };
            assert!(back.covers(&position(numbers)) && position(numbers).covers(&back), "{text}");
        }
        for random in [[0; 8], [0xff; 8], [1, 2, 3, 4, 5, 6, 7, 8]] {
            let epoch = Epoch::new(random);
            assert_eq!(epoch.parse(&epoch.offset(&position(&[1])), 1), Some(Offset::Known(position(&[1]))));
        }
    }

    #[test]
    fn texts_that_are_no_offset() {
        for (text, shards) in [
            ("", 1),
            (".", 1),
            ("hello", 1),
            ("0000010z", 1),
            ("0000010z.", 1),
            ("0000010z.1.", 2),
            ("0000010z.1.2", 1),
            ("0000010z.+1", 1),
            ("0000010z.-1", 1),
            ("0000010z.A", 1),
            ("0000010Z.1", 1),
            (" 0000010z.1", 1),
            ("10z.1", 1),
            ("0000010z.3w5e11264sgsg", 1),
            ("0000010z.é", 1),
            ("other00z", 1),
            ("other00z.", 1),
            ("other00z.!", 1),
        ] {
            assert_eq!(EPOCH.parse(text, shards), None, "{text}");
        }
        assert_eq!(EPOCH.parse("other00z.1.2.3", 1), Some(Offset::OtherRun));
    }

    #[test]
    fn positions_compare_by_shard() {
        let (a, b) = (position(&[1, 5]), position(&[2, 4, 1]));
        assert!(!a.covers(&b) && !b.covers(&a) && a.covers(&a) && a.covers(&Position::default()));
        assert_eq!(a.behind(&b).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(a.clone().join(&b), position(&[2, 5, 1]));
        assert_eq!(a.clone().meet(&b), position(&[1, 4]));
        let mut raised = a;
        raised.raise(3, 9);
        raised.raise(0, 0);
        assert_eq!(raised, position(&[1, 5, 0, 9]));
    }
}
