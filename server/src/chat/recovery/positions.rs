//! [`Positions`]: what a socket has, and as a text the offset of a `message`.
//!
//! Shards hear of the messages of different homes in different orders, so one position does not say what a socket has. It takes one for
//! each home: of the messages of its rooms whose home that is, the socket has those up to the position, and none after.

use smallvec::SmallVec;

use super::digits;
use crate::store::Position;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chat) struct Positions(SmallVec<[Position; 4]>);

/// A server has far fewer shards; so many positions are read of a client.
const HOMES: usize = 1024;

impl Positions {
    /// Nothing of any of so many homes.
    pub(in crate::chat) fn new(homes: u16) -> Self {
        Self(SmallVec::from_elem(Position::START, usize::from(homes)))
    }

    /// How many homes there were.
    pub(in crate::chat) fn homes(&self) -> u16 {
        u16::try_from(self.0.len()).unwrap_or(u16::MAX)
    }

    /// What there is of a home.
    pub(in crate::chat) fn get(&self, home: u16) -> Position {
        self.0.get(usize::from(home)).copied().unwrap_or(Position::START)
    }

    /// A message of a home was added, or there is nothing else up to this position.
    pub(in crate::chat) fn raise(&mut self, home: u16, position: Position) {
        if let Some(known) = self.0.get_mut(usize::from(home)) {
            *known = position.max(*known);
        }
    }

    /// There is everything up to this position, of all homes.
    pub(in crate::chat) fn raise_all(&mut self, position: Position) {
        for known in &mut self.0 {
            *known = position.max(*known);
        }
    }

    /// Appends the offset: the last position, and with several homes by how much each is less.
    pub(in crate::chat) fn write(&self, text: &mut String) {
        let newest = self.0.iter().max().map_or(0, |position| position.bits());
        digits::write(newest, text);
        if self.0.len() > 1 {
            for position in &self.0 {
                text.push('.');
                digits::write(newest - position.bits(), text);
            }
        }
    }

    /// Reads an offset. `None` for anything else.
    pub(in crate::chat) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(digits::read);
        let newest = parts.next()??;
        let position = |less: Option<u64>| Position::from_bits(newest.checked_sub(less?)?);
        let mut positions: SmallVec<_> = parts.take(HOMES + 1).map(position).collect::<Option<_>>()?;
        if positions.is_empty() {
            positions.push(Position::from_bits(newest)?);
        }
        (positions.len() <= HOMES).then_some(Self(positions))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(of: &[u64]) -> Positions {
        Positions(of.iter().map(|bits| Position::from_bits(*bits).unwrap()).collect())
    }

    #[test]
    fn an_offset_is_read_as_it_was_written() {
        for (of, text) in [
            (&[0][..], ""),
            (&[63], "-"),
            (&[7_300_000_000_000_000], "PvUF-84G00"),
            (&[64, 63, 0], "10..1.10"),
            (&[0, 0], ".."),
        ] {
            let mut written = String::new();
            positions(of).write(&mut written);
            assert_eq!((Positions::parse(&written), of), (Some(positions(of)), of), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_offset() {
        for text in ["é", "1..2", "a b", "zzzzzzzzzzzzzzz", "zzzzzzzzzz-", &".".repeat(HOMES + 1)] {
            assert_eq!(Positions::parse(text), None, "{text}");
        }
        assert!(Positions::parse(&".".repeat(HOMES)).is_some());
    }

    #[test]
    fn positions_only_grow() {
        let mut of = positions(&[5, 7]);
        of.raise(1, Position::from_bits(6).unwrap());
        of.raise(0, Position::from_bits(6).unwrap());
        of.raise(2, Position::from_bits(6).unwrap());
        assert_eq!((of, positions(&[5, 7]).homes()), (positions(&[6, 7]), 2));
    }
}
