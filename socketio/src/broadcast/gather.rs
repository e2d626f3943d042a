//! Broadcasts to a room are gathered within a turn: a broadcast costs its bytes once, not a queue entry for each member, and
//! each member is written to once a turn.
//!
//! A room *holds back* the frames of its broadcasts until the turn ends. Then [`Delivery::flush`] sends them to its members.
//! Some members cannot wait that long: their connection is about to get something else in the same turn (an event for them
//! alone, a broadcast to several rooms), or they are about to join or leave a room. [`Delivery::flush_held_frames`] sends
//! such a member what its rooms hold back for it first, in the order of the broadcasts, and the flush leaves that out later.
//! So each connection sees what a queue for each member would have shown it.

use engineio::{Outbox, SharedFrame, slab::Slab};
use smallvec::SmallVec;

use crate::state::{
    State,
    ids::{Member, NspKey, RoomKey, SocketKey},
    namespace::Namespaces,
    room::gathered::{GatheredRooms, first_after},
    socket::Socket,
};

/// A room with no more members than this is sent to at once.
const SMALL_ROOM: usize = 2;

/// A larger frame, in bytes, goes to each member as it is: copying it costs more than a write of its own.
const LARGE_FRAME: usize = 16 * 1024;

/// A room that holds back more bytes than this is flushed within the turn.
const FULL: usize = 256 * 1024;

/// Everything that sending to members touches.
pub(crate) struct Delivery<'a> {
    pub(super) gathered: &'a mut GatheredRooms,
    pub(super) namespaces: &'a mut Namespaces,
    pub(super) sockets: &'a mut Slab<Socket>,
    outbox: &'a mut dyn Outbox,
}

impl<'a> Delivery<'a> {
    pub(crate) fn new(state: &'a mut State, outbox: &'a mut dyn Outbox) -> Self {
        let State { gathered, namespaces, sockets, .. } = state;
        Self { gathered, namespaces, sockets, outbox }
    }

    /// The members of a room.
    pub(super) fn members(&self, nsp: NspKey, room: RoomKey) -> &[Member] {
        self.namespaces.get(nsp).map_or(&[], |nsp| nsp.rooms.members(room))
    }

    /// Holds a broadcast to one room back until the end of the turn. `false` when it must be sent to each member instead.
    pub(super) fn gather(&mut self, nsp: NspKey, room: RoomKey, frame: &SharedFrame) -> bool {
        if frame.websocket().len() > LARGE_FRAME {
            return false;
        }
        let Some(rooms) = self.namespaces.get_mut(nsp).map(|nsp| &mut nsp.rooms) else { return false };
        if rooms.members(room).len() <= SMALL_ROOM {
            return false;
        }
        let Some(slot) = rooms.gathered_mut(room) else { return false };
        let number = self.gathered.next_broadcast();
        let gathered = slot.get_or_insert_with(|| self.gathered.begin(nsp, room));
        gathered.push(number, frame.clone());
        if gathered.bytes() > FULL {
            self.flush();
        }
        true
    }

    /// Sends a frame to one member, after what its rooms hold back. Whether the connection took it.
    pub(super) fn send(&mut self, member: &Member, frame: &SharedFrame, volatile: bool) -> bool {
        if volatile && !self.outbox.is_writable(member.conn) {
            return false;
        }
        self.flush_held_frames(member.socket);
        self.outbox.send(member.conn, frame).is_ok()
    }

    /// Sends a socket's connection what its rooms hold back for it.
    pub(crate) fn flush_held_frames(&mut self, key: SocketKey) {
        if self.gathered.is_empty() {
            return;
        }
        let Some(socket) = self.sockets.get_mut(key.0) else { return };
        let delivered = std::mem::replace(&mut socket.delivered, self.gathered.last_broadcast());
        let Some(nsp) = self.namespaces.get(socket.nsp) else { return };
        let mut owed: SmallVec<[(u64, &SharedFrame); 8]> = SmallVec::new();
        for gathered in socket.rooms.iter().filter_map(|membership| nsp.rooms.gathered(membership)) {
            owed.extend(gathered.after(delivered));
        }
        owed.sort_unstable_by_key(|(number, _)| *number);
        for (_, frame) in owed {
            // A connection that takes nothing more is closed, and that is reported by itself.
            let _ = self.outbox.send(socket.conn, frame);
        }
    }

    /// The end of the turn: each member of each room that holds something back gets it, in one write.
    pub(crate) fn flush(&mut self) {
        if self.gathered.rooms().len() > 1 {
            self.flush_members_of_several();
        }
        let rooms = self.gathered.take_rooms();
        for (nsp, room) in &rooms {
            let Some(table) = self.namespaces.get_mut(*nsp).map(|nsp| &mut nsp.rooms) else { continue };
            let Some(gathered) = table.gathered_mut(*room).and_then(Option::take) else { continue };
            let (batch, numbers) = gathered.parts();
            for member in table.members(*room) {
                let delivered = self.sockets.get(member.socket.0).map_or(u64::MAX, |socket| socket.delivered);
                let first = first_after(numbers, delivered);
                if first < numbers.len() {
                    self.outbox.send_batch(member.conn, batch, first);
                }
            }
            self.gathered.recycle(gathered);
        }
        self.gathered.put_back(rooms);
    }

    /// Sends the sockets that are in several rooms which hold something back all of it: it must be in one order.
    fn flush_members_of_several(&mut self) {
        let flush = self.gathered.next_flush();
        let mut shared = Vec::new();
        for (nsp, room) in self.gathered.rooms() {
            let Some(nsp) = self.namespaces.get(*nsp) else { continue };
            for member in nsp.rooms.members(*room) {
                let Some(socket) = self.sockets.get_mut(member.socket.0) else { continue };
                if std::mem::replace(&mut socket.last_flush, flush) == flush {
                    shared.push(member.socket);
                }
            }
        }
        for socket in shared {
            self.flush_held_frames(socket);
        }
    }
}
