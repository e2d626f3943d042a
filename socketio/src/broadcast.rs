//! [`Broadcast`]: an event for many sockets, encoded once.
//!
//! It reaches the sockets of every shard. Here it is sent to this shard's; what the others need to do the same goes to each
//! of them as one `Relay`, with the same encoded frame.

use std::sync::Arc;

use bytes::Bytes;
use engineio::{Outbox, ShardMessage, SharedFrame};
use smallvec::SmallVec;

use crate::{
    core::Core,
    error::EmitError,
    gather::Rooms,
    namespace::NspIndex,
    packet::is_reserved,
    parser::encode,
    room::{Member, RoomKey},
    socket::{SocketId, SocketKey},
};

/// Whom a broadcast names: a room, or the one socket whose id is the name.
#[derive(Debug, Clone, Copy)]
enum Target {
    Room(RoomKey),
    Socket(Member),
}

/// Where a room is on this shard, as [`Broadcast::to_known`] found it. Stale once the room is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomPlace {
    nsp: NspIndex,
    room: RoomKey,
}

/// A broadcast on its way to another shard: names instead of keys, which mean nothing there.
#[derive(Debug, Clone)]
pub(crate) struct Relay(Arc<Relayed>);

#[derive(Debug)]
struct Relayed {
    nsp: NspIndex,
    narrowed: bool,
    to: Vec<Box<str>>,
    except: Vec<Box<str>>,
    volatile: bool,
    frame: SharedFrame,
}

/// A broadcast that is being put together; [`Broadcast::emit`] sends it.
///
/// `to` narrows it to rooms (each socket is reached once, in however many of them it is), `except` takes rooms or sockets
/// out, `volatile` leaves out sockets that have much unread, `local` leaves out the other shards.
///
/// Broadcasts of one shard arrive in order. Those of different shards may arrive in different orders at different sockets;
/// where that matters, let one shard do all broadcasts to a room.
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
    /// What other shards need to find the same targets; empty where there are none.
    names: Names,
}

/// The names a broadcast was given, kept only when it goes to other shards.
#[derive(Debug, Default)]
struct Names {
    wanted: bool,
    to: Vec<Box<str>>,
    except: Vec<Box<str>>,
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
        let names = Names { wanted: outbox.shards() > 1, ..Names::default() };
        Self {
            core,
            outbox,
            nsp,
            narrowed: false,
            to: SmallVec::new(),
            except_rooms: SmallVec::new(),
            except: SmallVec::new(),
            volatile: false,
            names,
        }
    }

    /// Does here what another shard's broadcast asks for.
    pub(crate) fn take_over(core: &'a mut Core, outbox: &'a mut dyn Outbox, relay: &Relay) {
        let relayed = &*relay.0;
        let mut broadcast = Self::new(core, outbox, Some(relayed.nsp)).local();
        broadcast.narrowed = relayed.narrowed;
        broadcast.volatile = relayed.volatile;
        for name in &relayed.to {
            broadcast = broadcast.to(name);
        }
        for name in &relayed.except {
            broadcast = broadcast.except(name);
        }
        broadcast.emit_frame(&relayed.frame);
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
        if self.names.wanted {
            self.names.to.push(room.into());
        }
        self.to.extend(self.target(room));
        self
    }

    /// Like [`to`](Self::to), for whoever broadcasts to a room often: `place`, kept for this room by the caller, spares the
    /// look for its name as long as the room exists.
    pub fn to_known(mut self, room: &str, place: &mut Option<RoomPlace>) -> Self {
        let exists = |place: &RoomPlace| {
            let rooms = self.core.namespaces.get(place.nsp).map(|nsp| &nsp.rooms);
            Some(place.nsp) == self.nsp && rooms.is_some_and(|rooms| rooms.exists(place.room))
        };
        let Some(known) = place.filter(exists) else {
            *place = self.nsp.and_then(|nsp| match self.target(room)? {
                Target::Room(room) => Some(RoomPlace { nsp, room }),
                Target::Socket(_) => None,
            });
            return self.to(room);
        };
        self.narrowed = true;
        if self.names.wanted {
            self.names.to.push(room.into());
        }
        self.to.push(Target::Room(known.room));
        self
    }

    /// Leaves out the members of a room, or the socket whose id is `room`.
    pub fn except(mut self, room: &str) -> Self {
        if self.names.wanted {
            self.names.except.push(room.into());
        }
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

    /// Leaves out the sockets of other shards.
    pub fn local(mut self) -> Self {
        self.names = Names::default();
        self
    }

    /// Sends the event. `args` are JSON values joined by commas. Returns how many sockets of this shard it was queued for;
    /// how many other shards have is known only there.
    ///
    /// # Errors
    /// [`EmitError::ReservedName`].
    pub fn emit(self, name: &str, args: &str, attachments: &[Bytes]) -> Result<usize, EmitError> {
        if is_reserved(name) {
            return Err(EmitError::ReservedName);
        }
        let Some(nsp) = self.nsp.and_then(|nsp| self.core.namespaces.get(nsp)) else { return Ok(0) };
        let frame = encode::event(&nsp.name, None, name, args, attachments);
        Ok(self.emit_frame(&frame))
    }

    /// Likewise with an event that was encoded before ([`encode::event`], for this namespace and without an `ack`): for
    /// whoever sends one event by several broadcasts.
    pub fn emit_frame(mut self, frame: &SharedFrame) -> usize {
        let Some(nsp) = self.nsp else { return 0 };
        self.relay(nsp, frame);
        self.emit_here(nsp, frame)
    }

    /// Posts the broadcast to the other shards that may have one of its targets.
    fn relay(&mut self, nsp: NspIndex, frame: &SharedFrame) {
        if !self.names.wanted {
            return;
        }
        let (here, shards) = (self.outbox.shard(), self.outbox.shards());
        let Names { to, except, .. } = std::mem::take(&mut self.names);
        // A socket's id names its shard.
        let owner = |name: &str| SocketId::parse(name).map(|id| id.shard()).filter(|shard| *shard < shards);
        let only: Option<SmallVec<[u16; 4]>> = self.narrowed.then(|| to.iter().map(|to| owner(to)).collect()).flatten();
        let (narrowed, volatile, frame) = (self.narrowed, self.volatile, frame.clone());
        let weight = frame.websocket().len();
        let relay = Relay(Arc::new(Relayed { nsp, narrowed, to, except, volatile, frame }));
        for shard in (0..shards).filter(|shard| *shard != here) {
            if only.as_ref().is_none_or(|only| only.contains(&shard)) {
                self.outbox.send_to_shard(shard, ShardMessage::new(relay.clone()).with_weight(weight));
            }
        }
    }

    fn emit_here(self, nsp_index: NspIndex, frame: &SharedFrame) -> usize {
        let one_room = if let [Target::Room(room)] = &*self.to { Some(*room) } else { None };
        let Self { core, outbox, to, except, except_rooms, volatile, narrowed, .. } = self;
        let mut rooms = core.rooms(outbox);
        // One room and nobody left out, the common case: nobody can be reached twice.
        if let (Some(room), true, true) = (one_room, except.is_empty(), except_rooms.is_empty()) {
            // Its members get it together at the end of the turn.
            if !volatile && rooms.gather(nsp_index, room, frame) {
                return rooms.members(nsp_index, room).len();
            }
            let members = SmallVec::<[Member; 2]>::from_slice(rooms.members(nsp_index, room));
            return members.iter().filter(|member| rooms.send(member, frame, volatile)).count();
        }
        let reached = rooms.reach(nsp_index, narrowed.then_some(&to), &except_rooms, &except);
        reached.iter().filter(|member| rooms.send(member, frame, volatile)).count()
    }
}
