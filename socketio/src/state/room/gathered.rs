//! [`Gathered`]: the broadcasts that a room holds back until the end of the turn. [`GatheredRooms`]: which rooms do.
//!
//! When a room gathers, and when its members get what it gathered, is decided in `broadcast::gather`.

use engineio::{Batch, SharedFrame};

use crate::state::ids::{NspKey, RoomKey};

/// Frames that a room holds back, each with the number of its broadcast. The numbers rise.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    batch: Batch,
    numbers: Vec<u64>,
}

impl Gathered {
    /// Adds the frame of a broadcast.
    pub(crate) fn push(&mut self, number: u64, frame: SharedFrame) {
        self.batch.push(frame);
        self.numbers.push(number);
    }

    /// How many bytes it holds back.
    pub(crate) fn bytes(&self) -> usize {
        self.batch.len()
    }

    /// The frames, and the numbers of their broadcasts.
    pub(crate) fn parts(&self) -> (&Batch, &[u64]) {
        (&self.batch, &self.numbers)
    }

    /// The frames after number `delivered`, with their numbers.
    pub(crate) fn after(&self, delivered: u64) -> impl Iterator<Item = (u64, &SharedFrame)> {
        let first = first_after(&self.numbers, delivered);
        let numbers = self.numbers.get(first..).unwrap_or_default();
        numbers.iter().copied().zip(self.batch.frames(first))
    }

    fn clear(&mut self) {
        self.batch.clear();
        self.numbers.clear();
    }
}

/// The position of the first of these rising numbers that comes after `delivered`; their count when there is none.
pub(crate) fn first_after(numbers: &[u64], delivered: u64) -> usize {
    match numbers.first() {
        // Most members have had nothing of it.
        Some(first) if delivered < *first => 0,
        _ => numbers.partition_point(|number| *number <= delivered),
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct GatheredRooms {
    /// The rooms that hold something back, in the order in which they began to.
    rooms: Vec<(NspKey, RoomKey)>,
    /// Emptied ones, for the next rooms.
    #[expect(clippy::vec_box, reason = "the box moves to a room and back: a room without one has a pointer only")]
    spare: Vec<Box<Gathered>>,
    /// Numbers broadcasts, in the order in which connections must see them.
    broadcasts: u64,
    flushes: u64,
}

impl GatheredRooms {
    /// Whether no room holds anything back.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// The number of the next broadcast.
    pub(crate) const fn next_broadcast(&mut self) -> u64 {
        self.broadcasts += 1;
        self.broadcasts
    }

    /// The number of the last broadcast.
    pub(crate) const fn last_broadcast(&self) -> u64 {
        self.broadcasts
    }

    /// The number of the next flush.
    pub(crate) const fn next_flush(&mut self) -> u64 {
        self.flushes += 1;
        self.flushes
    }

    /// A room begins to hold something back: in what is returned.
    pub(crate) fn begin(&mut self, nsp: NspKey, room: RoomKey) -> Box<Gathered> {
        self.rooms.push((nsp, room));
        self.spare.pop().unwrap_or_default()
    }

    /// A room holds back nothing any more: its frames are sent.
    pub(crate) fn recycle(&mut self, mut gathered: Box<Gathered>) {
        gathered.clear();
        self.spare.push(gathered);
    }

    /// The rooms that hold something back, and rooms that did and are gone.
    pub(crate) fn rooms(&self) -> &[(NspKey, RoomKey)] {
        &self.rooms
    }

    /// Takes the list of rooms, for a flush. [`GatheredRooms::put_back`] ends the flush.
    pub(crate) fn take_rooms(&mut self) -> Vec<(NspKey, RoomKey)> {
        std::mem::take(&mut self.rooms)
    }

    /// Gives the list back, for its allocation. Nothing is held back any more.
    pub(crate) fn put_back(&mut self, mut rooms: Vec<(NspKey, RoomKey)>) {
        rooms.clear();
        self.rooms = rooms;
    }
}
