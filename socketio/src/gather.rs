//! What is broadcast to a room within a turn, gathered: a broadcast costs its bytes once, not a queue entry for each
//! member, and each member is written to once a turn.
//!
//! A gathered broadcast is a frame and its number. A member whose connection is to get something else within the turn (a
//! direct event, another kind of broadcast), or whose membership changes, is *settled* first: its connection is sent what its
//! rooms hold back for it, in the order of the numbers, and the flush leaves out what it has. So each connection sees what a
//! queue for each member would have shown it.

use engineio::{Batch, Outbox, SharedFrame, slab::Slab};
use smallvec::SmallVec;

use crate::{
    namespace::{Namespaces, NspIndex},
    room::RoomKey,
    socket::{Socket, SocketKey},
};

/// A room this small is sent to directly.
const SMALL_ROOM: usize = 2;

/// A larger frame goes to each member as it is: copying it costs more than a write of its own.
const LARGE_FRAME: usize = 16 * 1024;

/// A room that gathered this much is flushed within the turn.
const FULL: usize = 256 * 1024;

/// The broadcasts that a room holds back.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    batch: Batch,
    numbers: Vec<u64>,
}

impl Gathered {
    /// The place of the first broadcast after number `settled`.
    fn after(&self, settled: u64) -> usize {
        self.numbers.partition_point(|number| *number <= settled)
    }

    fn clear(&mut self) {
        self.batch.clear();
        self.numbers.clear();
    }
}

/// Which rooms hold something back.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    rooms: Vec<(NspIndex, RoomKey)>,
    /// Emptied ones, for the next rooms.
    #[expect(clippy::vec_box, reason = "the box moves to a room and back: a room without one has a pointer only")]
    spare: Vec<Box<Gathered>>,
    /// Numbers broadcasts, in the order in which connections must see them.
    broadcasts: u64,
    flushes: u64,
}

/// Everything a flush touches.
pub(crate) struct Rooms<'a> {
    pub(crate) gathering: &'a mut Gathering,
    pub(crate) namespaces: &'a mut Namespaces,
    pub(crate) sockets: &'a mut Slab<Socket>,
    pub(crate) outbox: &'a mut dyn Outbox,
}

impl Gathering {
    pub(crate) fn is_empty(&self) -> bool {
        self.rooms.is_empty()
    }

    /// The number of the next broadcast.
    pub(crate) const fn next_number(&mut self) -> u64 {
        self.broadcasts += 1;
        self.broadcasts
    }
}

impl Rooms<'_> {
    /// Holds a broadcast to one room back until the end of the turn. `false` when it must be sent to each member instead.
    pub(crate) fn gather(&mut self, nsp: NspIndex, room: RoomKey, frame: &SharedFrame) -> bool {
        if frame.websocket().len() > LARGE_FRAME {
            return false;
        }
        let Some(rooms) = self.namespaces.get_mut(nsp).map(|nsp| &mut nsp.rooms) else { return false };
        if rooms.members(room).len() <= SMALL_ROOM {
            return false;
        }
        let Some(slot) = rooms.gathered(room) else { return false };
        let number = self.gathering.next_number();
        let gathered = slot.get_or_insert_with(|| {
            self.gathering.rooms.push((nsp, room));
            self.gathering.spare.pop().unwrap_or_default()
        });
        gathered.batch.push(frame.clone());
        gathered.numbers.push(number);
        if gathered.batch.len() > FULL {
            self.flush();
        }
        true
    }

    /// Sends a socket's connection what its rooms hold back for it.
    pub(crate) fn settle(&mut self, key: SocketKey) {
        if self.gathering.is_empty() {
            return;
        }
        let Some(socket) = self.sockets.get_mut(key.0) else { return };
        let settled = std::mem::replace(&mut socket.settled, self.gathering.broadcasts);
        let Some(nsp) = self.namespaces.get(socket.nsp) else { return };
        let mut owed: SmallVec<[(u64, &SharedFrame); 8]> = SmallVec::new();
        for gathered in socket.rooms.iter().filter_map(|membership| nsp.rooms.held(membership)) {
            let first = gathered.after(settled);
            let numbers = gathered.numbers.get(first..).unwrap_or_default();
            owed.extend(numbers.iter().copied().zip(gathered.batch.frames(first)));
        }
        owed.sort_unstable_by_key(|(number, _)| *number);
        for (_, frame) in owed {
            // A connection that is closing, or full, is told of by its own end.
            let _ = self.outbox.send(socket.conn, frame);
        }
    }

    /// The end of the turn: each member of each room that holds something back gets it in one write.
    pub(crate) fn flush(&mut self) {
        let dirty = std::mem::take(&mut self.gathering.rooms);
        if dirty.len() > 1 {
            self.settle_shared(&dirty);
        }
        for (nsp, room) in &dirty {
            let Some(rooms) = self.namespaces.get_mut(*nsp).map(|nsp| &mut nsp.rooms) else { continue };
            let Some(mut gathered) = rooms.gathered(*room).and_then(Option::take) else { continue };
            for member in rooms.members(*room) {
                let settled = self.sockets.get(member.socket.0).map_or(u64::MAX, |socket| socket.settled);
                let first = gathered.after(settled);
                if first < gathered.numbers.len() {
                    self.outbox.send_batch(member.conn, &gathered.batch, first);
                }
            }
            gathered.clear();
            self.gathering.spare.push(gathered);
        }
        // The allocation serves the next turn.
        self.gathering.rooms = dirty;
        self.gathering.rooms.clear();
    }

    /// Settles the sockets that are in several of these rooms.
    fn settle_shared(&mut self, dirty: &[(NspIndex, RoomKey)]) {
        self.gathering.flushes += 1;
        let flush = self.gathering.flushes;
        let mut shared = Vec::new();
        for (nsp, room) in dirty {
            let Some(nsp) = self.namespaces.get(*nsp) else { continue };
            for member in nsp.rooms.members(*room) {
                let Some(socket) = self.sockets.get_mut(member.socket.0) else { continue };
                if std::mem::replace(&mut socket.flush, flush) == flush {
                    shared.push(member.socket);
                }
            }
        }
        // `settle` looks at whether anything is held back.
        self.gathering.rooms.extend_from_slice(dirty);
        for socket in shared {
            self.settle(socket);
        }
        self.gathering.rooms.clear();
    }
}
