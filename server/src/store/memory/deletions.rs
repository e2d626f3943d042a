//! [`Deletions`]: which messages were deleted a short time ago, for clients that were away meanwhile.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use uuid::Uuid;

use super::super::message_ids::Position;
use crate::room::Room;

/// How many are remembered.
const MAX: usize = 16_384;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Deletions {
    /// Oldest first, each with the position of the last message before it.
    rooms: HashMap<Room, VecDeque<(Position, Uuid)>>,
    /// Oldest first, each with the time until which a client may ask for it.
    order: VecDeque<(Instant, Room)>,
    /// The newest one that had to make room for others, and until when a client may ask for it.
    forgotten: Option<(Position, Instant)>,
}

impl Deletions {
    /// Remembers one for the time `kept`, of the room's home, whose last message is at `after`.
    pub(super) fn insert(&mut self, now: Instant, kept: Duration, after: Position, room: &Room, id: Uuid) {
        self.expire(now);
        let Some(until) = now.checked_add(kept) else { return };
        if self.order.len() >= MAX
            && let Some((after, _)) = self.forget_oldest()
        {
            self.forgotten = Some((after, until));
        }
        self.rooms.entry(room.clone()).or_default().push_back((after, id));
        self.order.push_back((until, room.clone()));
    }

    /// Forgets what no client can ask for any more, and that something was forgotten.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(until, _)| *until < now) {
            self.forget_oldest();
        }
        self.forgotten = self.forgotten.filter(|(_, until)| *until >= now);
    }

    fn forget_oldest(&mut self) -> Option<(Position, Uuid)> {
        let (_, room) = self.order.pop_front()?;
        let of_room = self.rooms.get_mut(&room)?;
        let oldest = of_room.pop_front();
        if of_room.is_empty() {
            self.rooms.remove(&room);
        }
        oldest
    }

    /// Those of a room after this position or at it (whether that message or the deletion came first, nobody knows), with their positions.
    /// `None` when some of them may be forgotten.
    pub(super) fn since(&self, room: &Room, since: Position) -> Option<impl Iterator<Item = (Position, Uuid)>> {
        if self.forgotten.is_some_and(|(after, _)| after >= since) {
            return None;
        }
        let of_room = self.rooms.get(room).into_iter().flatten();
        Some(of_room.copied().filter(move |(after, _)| *after >= since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Duration = Duration::from_secs(100);

    fn at(bits: u64) -> Position {
        Position::from_bits(bits).unwrap()
    }

    fn since(deletions: &Deletions, room: &str, position: u64) -> Option<Vec<u128>> {
        Some(deletions.since(&Room::new(room), at(position))?.map(|(_, id)| id.as_u128()).collect())
    }

    #[test]
    fn what_was_deleted_since_is_known_by_room_for_some_time() {
        let now = Instant::now();
        let mut deletions = Deletions::default();
        for (after, room, id) in [(5, "a", 1), (5, "b", 2), (7, "a", 3)] {
            deletions.insert(now, KEPT, at(after), &Room::new(room), Uuid::from_u128(id));
        }
        for (position, expected) in [(4, vec![1, 3]), (5, vec![1, 3]), (6, vec![3]), (8, vec![])] {
            assert_eq!(since(&deletions, "a", position), Some(expected), "{position}");
        }
        assert_eq!((since(&deletions, "b", 0), since(&deletions, "c", 0)), (Some(vec![2]), Some(vec![])));
        let later = now + KEPT + Duration::from_secs(1);
        deletions.insert(later, KEPT, at(8), &Room::new("a"), Uuid::from_u128(4));
        assert_eq!((since(&deletions, "a", 0), since(&deletions, "b", 0)), (Some(vec![4]), Some(vec![])));
        assert_eq!((deletions.rooms.len(), deletions.order.len()), (1, 1));
    }

    #[test]
    fn of_too_many_it_is_known_that_some_are_forgotten() {
        let now = Instant::now();
        let mut deletions = Deletions::default();
        for n in 1..=MAX + 10 {
            deletions.insert(now, KEPT, at(n as u64), &Room::new(&(n % 7).to_string()), Uuid::from_u128(n as u128));
        }
        let later = now + KEPT + Duration::from_secs(1);
        assert_eq!(since(&deletions, "0", 10), None);
        assert_eq!(since(&deletions, "0", 11).map(|ids| ids[0]), Some(14));
        deletions.expire(later);
        assert_eq!(since(&deletions, "0", 10), Some(vec![]), "by the clock alone");
    }
}
