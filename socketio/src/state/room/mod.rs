//! [`RoomTable`]: who is in which room of one namespace.
//!
//! A room is a dense array of its members, so that a broadcast walks memory in order. A member knows its position in each
//! of its rooms, so that leaving is a swap with the last one. An empty room does not exist.

pub(crate) mod gathered;
pub(crate) mod handle;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use engineio::slab::Slab;

use self::gathered::Gathered;
use super::{
    ids::{Member, Membership, RoomKey, SocketKey},
    socket::Socket,
};

/// A room that has members.
#[derive(Debug)]
struct Room {
    name: Arc<str>,
    members: Vec<Member>,
    /// What was broadcast to it in this turn and not sent yet.
    gathered: Option<Box<Gathered>>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct RoomTable {
    names: HashMap<Arc<str>, RoomKey>,
    rooms: Slab<Room>,
}

impl RoomTable {
    pub(crate) fn find(&self, name: &str) -> Option<RoomKey> {
        self.names.get(name).copied()
    }

    pub(crate) fn exists(&self, room: RoomKey) -> bool {
        self.rooms.get(room.0).is_some()
    }

    pub(crate) fn members(&self, room: RoomKey) -> &[Member] {
        self.rooms.get(room.0).map_or(&[], |room| &room.members)
    }

    pub(crate) fn name(&self, membership: &Membership) -> Option<&str> {
        self.rooms.get(membership.room.0).map(|room| &*room.name)
    }

    pub(crate) fn shared_name(&self, membership: &Membership) -> Option<Arc<str>> {
        self.rooms.get(membership.room.0).map(|room| Arc::clone(&room.name))
    }

    /// What a room holds back, to be changed; `None` when there is no such room.
    pub(crate) fn gathered_mut(&mut self, room: RoomKey) -> Option<&mut Option<Box<Gathered>>> {
        self.rooms.get_mut(room.0).map(|room| &mut room.gathered)
    }

    /// What the room of a membership holds back.
    pub(crate) fn gathered(&self, membership: &Membership) -> Option<&Gathered> {
        self.rooms.get(membership.room.0)?.gathered.as_deref()
    }

    /// Puts a socket into a room; `false` when it was there.
    pub(crate) fn join(&mut self, sockets: &mut Slab<Socket>, key: SocketKey, name: &str) -> bool {
        let Some(socket) = sockets.get_mut(key.0) else { return false };
        let room = match self.find(name) {
            Some(room) if socket.rooms.iter().any(|membership| membership.room == room) => return false,
            Some(room) => room,
            None => {
                let name: Arc<str> = name.into();
                let room =
                    RoomKey(self.rooms.insert(Room { name: Arc::clone(&name), members: Vec::new(), gathered: None }));
                self.names.insert(name, room);
                room
            }
        };
        let Some(Room { members, .. }) = self.rooms.get_mut(room.0) else { return false };
        let position = u32::try_from(members.len()).unwrap_or(u32::MAX);
        members.push(Member { socket: key, conn: socket.conn });
        socket.rooms.push(Membership { room, position });
        true
    }

    /// Takes a socket out of a room; `false` when it was not there.
    pub(crate) fn leave(&mut self, sockets: &mut Slab<Socket>, key: SocketKey, name: &str) -> bool {
        let (Some(room), Some(socket)) = (self.find(name), sockets.get_mut(key.0)) else { return false };
        let Some(index) = socket.rooms.iter().position(|membership| membership.room == room) else { return false };
        let membership = socket.rooms.swap_remove(index);
        self.remove_member(sockets, membership);
        true
    }

    /// Takes a socket out of all its rooms.
    pub(crate) fn leave_all(&mut self, sockets: &mut Slab<Socket>, key: SocketKey) {
        let Some(socket) = sockets.get_mut(key.0) else { return };
        for membership in std::mem::take(&mut socket.rooms) {
            self.remove_member(sockets, membership);
        }
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.rooms.is_empty()
    }

    fn remove_member(&mut self, sockets: &mut Slab<Socket>, gone: Membership) {
        let Some(Room { name, members, .. }) = self.rooms.get_mut(gone.room.0) else { return };
        members.swap_remove(gone.position as usize);
        // Whoever was last has the free position now.
        if let Some(moved) = members.get(gone.position as usize)
            && let Some(socket) = sockets.get_mut(moved.socket.0)
            && let Some(membership) = socket.rooms.iter_mut().find(|membership| membership.room == gone.room)
        {
            membership.position = gone.position;
        }
        if members.is_empty() {
            self.names.remove(name);
            self.rooms.remove(gone.room.0);
        } else if members.capacity() > 4 * members.len() + 16 {
            members.shrink_to(2 * members.len());
        }
    }
}
