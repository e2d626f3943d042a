//! Whom a broadcast reaches on this shard.

use smallvec::SmallVec;

use super::gather::Delivery;
use crate::state::ids::{Member, NspKey, RoomKey, SocketKey};

/// Whom a broadcast names: a room, or the one socket whose id is the name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Target {
    Room(RoomKey),
    Socket(Member),
}

/// What a broadcast was narrowed to, and what it leaves out.
#[derive(Debug, Default)]
pub(super) struct Recipients {
    /// Whether targets were named: without this, naming only rooms that do not exist would reach everyone.
    pub(super) narrowed: bool,
    pub(super) to: SmallVec<[Target; 2]>,
    pub(super) except_rooms: SmallVec<[RoomKey; 2]>,
    pub(super) except: SmallVec<[SocketKey; 4]>,
}

impl Recipients {
    /// The room, when the broadcast goes to one room and leaves nobody out. That is the common case, in which nobody can be
    /// reached twice.
    pub(super) fn one_room(&self) -> Option<RoomKey> {
        match &*self.to {
            [Target::Room(room)] if self.except.is_empty() && self.except_rooms.is_empty() => Some(*room),
            _ => None,
        }
    }

    /// The members to send to, each once. A socket remembers the number of the last broadcast that chose it or left it out,
    /// so no set is built.
    pub(super) fn members(&self, delivery: &mut Delivery<'_>, nsp: NspKey) -> Vec<Member> {
        let number = delivery.gathered.next_broadcast();
        let Delivery { namespaces, sockets, .. } = delivery;
        let Some(rooms) = namespaces.get(nsp).map(|nsp| &nsp.rooms) else { return Vec::new() };
        let mut is_first = |key: SocketKey| {
            let socket = sockets.get_mut(key.0);
            socket.is_some_and(|socket| std::mem::replace(&mut socket.last_broadcast, number) != number)
        };
        let left_out = self.except_rooms.iter().flat_map(|room| rooms.members(*room)).map(|member| member.socket);
        for key in left_out.chain(self.except.iter().copied()) {
            is_first(key);
        }
        if !self.narrowed {
            let here = sockets.iter().filter(|(_, socket)| socket.nsp == nsp && socket.last_broadcast != number);
            return here.map(|(key, socket)| Member { socket: SocketKey(key), conn: socket.conn }).collect();
        }
        let mut members = Vec::new();
        for target in &self.to {
            let named = match target {
                Target::Room(room) => rooms.members(*room),
                Target::Socket(member) => std::slice::from_ref(member),
            };
            members.extend(named.iter().filter(|member| is_first(member.socket)));
        }
        members
    }
}
