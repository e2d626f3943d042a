//! [`Broadcast`]: an event for many sockets, encoded once.

use bytes::Bytes;
use engineio::Outbox;
use smallvec::SmallVec;

use crate::{
    error::EmitError,
    io::Core,
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
        let outbox = self.outbox;
        let mut send = |member: &Member| {
            let wanted = !self.volatile || outbox.is_writable(member.conn);
            wanted && outbox.send(member.conn, &frame).is_ok()
        };
        // One room and nobody left out, the common case: straight through its members.
        if let ([Target::Room(room)], true) = (&*self.to, self.except.is_empty() && self.except_rooms.is_empty()) {
            return Ok(nsp.rooms.members(*room).iter().filter(|member| send(member)).count());
        }
        // Otherwise each socket carries the number of the last broadcast that reached it, or was told to leave it out.
        let stamp = self.core.next_broadcast();
        let Core { namespaces, sockets, .. } = self.core;
        let Some(nsp) = namespaces.get(nsp_index) else { return Ok(0) };
        let left_out = self.except_rooms.iter().flat_map(|room| nsp.rooms.members(*room)).map(|member| member.socket);
        for key in left_out.chain(self.except) {
            if let Some(socket) = sockets.get_mut(key.0) {
                socket.stamp = stamp;
            }
        }
        let mut reach = |member: &Member| {
            let fresh = sockets
                .get_mut(member.socket.0)
                .is_some_and(|socket| std::mem::replace(&mut socket.stamp, stamp) != stamp);
            fresh && send(member)
        };
        if self.narrowed {
            let mut reached = 0;
            for target in &self.to {
                reached += match target {
                    Target::Room(room) => nsp.rooms.members(*room).iter().filter(|member| reach(member)).count(),
                    Target::Socket(member) => usize::from(reach(member)),
                };
            }
            return Ok(reached);
        }
        let everyone = sockets.iter().filter(|(_, socket)| socket.nsp == nsp_index && socket.stamp != stamp);
        let members = everyone.map(|(key, socket)| Member { socket: SocketKey(key), conn: socket.conn });
        Ok(members.filter(|member| send(member)).count())
    }
}
