//! [`Broadcast`]: an event for many sockets, encoded once.

use bytes::Bytes;
use engineio::{Outbox, SharedFrame};
use smallvec::SmallVec;

use crate::{
    core::Core,
    error::EmitError,
    gather::Rooms,
    namespace::NspIndex,
    packet::is_reserved,
    parser::encode,
    room::{Member, RoomKey},
    socket::SocketKey,
};

/// Whom a broadcast names: a room, or the one socket whose id is the name.
#[derive(Debug, Clone, Copy)]
enum Target {
    Room(RoomKey),
    Socket(Member),
}

/// A broadcast that is being put together; [`Broadcast::emit`] sends it.
///
/// `to` narrows it to rooms (each socket is reached once, in however many of them it is), `except` takes rooms or sockets
/// out, `volatile` leaves out sockets that have much unread.
#[must_use = "nothing is sent before `emit`"]
pub struct Broadcast<'a> {
    core: &'a mut Core,
    outbox: &'a mut dyn Outbox,
    nsp: Option<NspIndex>,
    /// Rooms were named: without this, naming only rooms that do not exist would reach everyone.
    narrowed: bool,
    to: SmallVec<[Target; 2]>,
    except_rooms: SmallVec<[RoomKey; 2]>,
    except: SmallVec<[SocketKey; 4]>,
    volatile: bool,
}

impl std::fmt::Debug for Broadcast<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broadcast").field("to", &self.to).field("volatile", &self.volatile).finish_non_exhaustive()
    }
}

impl Rooms<'_> {
    fn members(&self, nsp: NspIndex, room: RoomKey) -> &[Member] {
        self.namespaces.get(nsp).map_or(&[], |nsp| nsp.rooms.members(room))
    }

    /// Whom a broadcast reaches, each once: a socket carries the number of the last broadcast that chose it, or was told
    /// to leave it out, so that no set is built.
    fn reach(
        &mut self,
        nsp: NspIndex,
        to: Option<&SmallVec<[Target; 2]>>,
        except_rooms: &[RoomKey],
        except: &[SocketKey],
    ) -> Vec<Member> {
        let stamp = self.gathering.next_number();
        let Self { namespaces, sockets, .. } = self;
        let Some(rooms) = namespaces.get(nsp).map(|nsp| &nsp.rooms) else { return Vec::new() };
        let mut fresh = |key: SocketKey| {
            sockets.get_mut(key.0).is_some_and(|socket| std::mem::replace(&mut socket.stamp, stamp) != stamp)
        };
        let left_out = except_rooms.iter().flat_map(|room| rooms.members(*room)).map(|member| member.socket);
        for key in left_out.chain(except.iter().copied()) {
            fresh(key);
        }
        let Some(to) = to else {
            let here = sockets.iter().filter(|(_, socket)| socket.nsp == nsp && socket.stamp != stamp);
            return here.map(|(key, socket)| Member { socket: SocketKey(key), conn: socket.conn }).collect();
        };
        let mut reached = Vec::new();
        for target in to {
            let members = match target {
                Target::Room(room) => rooms.members(*room),
                Target::Socket(member) => std::slice::from_ref(member),
            };
            reached.extend(members.iter().filter(|member| fresh(member.socket)));
        }
        reached
    }

    /// Sends a frame to one member, after what its rooms hold back.
    fn send(&mut self, member: &Member, frame: &SharedFrame, volatile: bool) -> bool {
        if volatile && !self.outbox.is_writable(member.conn) {
            return false;
        }
        self.settle(member.socket);
        self.outbox.send(member.conn, frame).is_ok()
    }
}

impl<'a> Broadcast<'a> {
    pub(crate) fn new(core: &'a mut Core, outbox: &'a mut dyn Outbox, nsp: Option<NspIndex>) -> Self {
        Self {
            core,
            outbox,
            nsp,
            narrowed: false,
            to: SmallVec::new(),
            except_rooms: SmallVec::new(),
            except: SmallVec::new(),
            volatile: false,
        }
    }

    fn target(&self, name: &str) -> Option<Target> {
        let nsp = self.nsp?;
        // The id first: a room that somebody named like it must not take what is meant for the socket.
        if let Some(member) = self.core.member_by_id(nsp, name) {
            return Some(Target::Socket(member));
        }
        self.core.namespaces.get(nsp)?.rooms.find(name).map(Target::Room)
    }

    /// Narrows the broadcast to a room, or to the socket whose id is `room` (that one alone, even if a room is named
    /// like it). Several calls add up.
    pub fn to(mut self, room: &str) -> Self {
        self.narrowed = true;
        self.to.extend(self.target(room));
        self
    }

    /// Leaves out the members of a room, or the socket whose id is `room`.
    pub fn except(mut self, room: &str) -> Self {
        match self.target(room) {
            Some(Target::Room(room)) => self.except_rooms.push(room),
            Some(Target::Socket(member)) => self.except.push(member.socket),
            None => {}
        }
        self
    }

    /// Leaves out one socket.
    pub fn except_socket(mut self, socket: SocketKey) -> Self {
        self.except.push(socket);
        self
    }

    /// Leaves out sockets whose queue is above the engine's `outbound_soft`.
    pub const fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Sends the event. `args` are JSON values joined by commas. Returns how many sockets it was queued for.
    ///
    /// # Errors
    /// [`EmitError::ReservedName`].
    pub fn emit(self, name: &str, args: &str, attachments: &[Bytes]) -> Result<usize, EmitError> {
        if is_reserved(name) {
            return Err(EmitError::ReservedName);
        }
        let Some(nsp_index) = self.nsp else { return Ok(0) };
        let Some(nsp) = self.core.namespaces.get(nsp_index) else { return Ok(0) };
        let frame = encode::event(&nsp.name, None, name, args, attachments);
        let one_room = if let [Target::Room(room)] = &*self.to { Some(*room) } else { None };
        let Self { core, outbox, to, except, except_rooms, volatile, narrowed, .. } = self;
        let mut rooms = core.rooms(outbox);
        // One room and nobody left out, the common case: its members get it together at the end of the turn.
        if let (Some(room), false, true, true) = (one_room, volatile, except.is_empty(), except_rooms.is_empty())
            && rooms.gather(nsp_index, room, &frame)
        {
            return Ok(rooms.members(nsp_index, room).len());
        }
        let reached = rooms.reach(nsp_index, narrowed.then_some(&to), &except_rooms, &except);
        Ok(reached.iter().filter(|member| rooms.send(member, &frame, volatile)).count())
    }
}
