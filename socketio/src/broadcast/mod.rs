//! [`Broadcast`]: an event for many sockets, encoded once.
//!
//! It reaches the sockets of every shard. Here it is sent to this shard's; `relay` sends it to the others, where the
//! same frame goes to the same targets. An adapter, if there is one, gets it for other servers.
//!
//! `operations` has what else can be done to many sockets.

pub(crate) mod gather;
pub(crate) mod numbered;
pub(crate) mod one_socket;
pub(crate) mod operations;
mod recipients;

use std::sync::Arc;

use bytes::Bytes;
use engineio::{Outbox, SharedFrame};
use smallvec::SmallVec;

use self::{
    gather::Delivery,
    recipients::{Recipients, Target},
};
use crate::{
    adapter::{Action, EventData, Flags, Operation, Targets},
    error::EmitError,
    packet::{AckId, is_reserved},
    relay::{RelayedBroadcast, send_to_other_shards},
    state::{
        State,
        ids::{Member, NspKey, SocketId, SocketKey},
        room::handle::RoomHandle,
    },
};

/// Sockets of a namespace that are being chosen, for [`Broadcast::emit`] or another operation.
///
/// `to` narrows it to rooms; a socket that is in several of them is reached once. `except` leaves out rooms or sockets,
/// `volatile` leaves out sockets that have much unread, `this_server` leaves out other servers, and `local` the other shards too.
///
/// Broadcasts of one shard arrive in the order in which they were emitted. Those of different shards may arrive in different
/// orders at different sockets. Where that matters, let one shard do all broadcasts to a room.
#[must_use = "nothing is done before `emit` or another operation"]
pub struct Broadcast<'a> {
    state: &'a mut State,
    outbox: &'a mut dyn Outbox,
    /// The namespace on this shard. A dynamic one need not exist here, and may have sockets on other shards.
    nsp: Option<NspKey>,
    nsp_name: Arc<str>,
    recipients: Recipients,
    flags: Flags,
    /// The targets by name, for the other shards and servers; `None` when the broadcast is for this shard alone.
    names: Option<Names>,
    /// Whether other shards and servers are left out.
    local: bool,
    /// Whether other servers are left out.
    this_server: bool,
}

/// The rooms and sockets that a broadcast was given, by name.
#[derive(Debug, Default)]
struct Names {
    to: Vec<Arc<str>>,
    except: Vec<Arc<str>>,
}

impl std::fmt::Debug for Broadcast<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (recipients, flags) = (&self.recipients, &self.flags);
        f.debug_struct("Broadcast").field("recipients", recipients).field("flags", flags).finish_non_exhaustive()
    }
}

impl<'a> Broadcast<'a> {
    pub(crate) fn new(state: &'a mut State, outbox: &'a mut dyn Outbox, nsp: &str) -> Self {
        let key = state.namespaces.find(nsp);
        let nsp_name = key.and_then(|key| state.namespaces.get(key)).map(|nsp| Arc::clone(&nsp.name));
        let nsp_name = nsp_name.unwrap_or_else(|| nsp.into());
        // With recovery, events are kept, with the names of their targets.
        let keeps_names = outbox.shards() > 1 || state.config.adapter.is_some() || state.recovery.is_some();
        let names = keeps_names.then(Names::default);
        let (recipients, flags) = (Recipients::default(), Flags::default());
        Self { state, outbox, nsp: key, nsp_name, recipients, flags, names, local: false, this_server: false }
    }

    /// The targets that another shard or server named, on this shard alone.
    pub(crate) fn of_targets(state: &'a mut State, outbox: &'a mut dyn Outbox, targets: &Targets) -> Self {
        let mut broadcast = Self::new(state, outbox, &targets.nsp).local();
        broadcast.names = None;
        broadcast.recipients.narrowed = targets.rooms.is_some();
        for name in targets.rooms.iter().flatten() {
            broadcast = broadcast.to(name);
        }
        for name in &targets.except {
            broadcast = broadcast.except(name);
        }
        broadcast
    }

    /// Sends a broadcast of another shard to its targets here.
    pub(crate) fn apply_relayed(state: &'a mut State, outbox: &'a mut dyn Outbox, relayed: &RelayedBroadcast) {
        let mut broadcast = Self::of_targets(state, outbox, &relayed.targets);
        broadcast.flags.volatile = relayed.volatile;
        broadcast.emit_frame(&relayed.frame);
    }

    /// Whom a name stands for on this shard.
    fn target(&self, name: &str) -> Option<Target> {
        let nsp = self.nsp?;
        // The id comes first: a room that was named like it must not get what is meant for the socket.
        if let Some(member) = self.state.member_by_id(nsp, name) {
            return Some(Target::Socket(member));
        }
        let may_be_elsewhere = self.outbox.shards() > 1 || self.state.recovery.is_some();
        if may_be_elsewhere && SocketId::is_of(name, self.outbox.shards()) {
            return None;
        }
        self.state.namespaces.get(nsp)?.rooms.find(name).map(Target::Room)
    }

    /// Narrows the broadcast to a room. Several calls add up. If `room` is the id of a socket, it stands for that socket alone,
    /// even if a room is named like it.
    pub fn to(mut self, room: &str) -> Self {
        self.recipients.narrowed = true;
        if let Some(names) = &mut self.names {
            names.to.push(room.into());
        }
        self.recipients.to.extend(self.target(room));
        self
    }

    /// [`Broadcast::to`], by the other name that Node has for it.
    pub fn in_(self, room: &str) -> Self {
        self.to(room)
    }

    /// Narrows the broadcast to several rooms, as [`Broadcast::to`] for each does. With no room it reaches nobody.
    pub fn to_all<R: AsRef<str>>(mut self, rooms: impl IntoIterator<Item = R>) -> Self {
        self.recipients.narrowed = true;
        rooms.into_iter().fold(self, |broadcast, room| broadcast.to(room.as_ref()))
    }

    /// Narrows the broadcast to the room of a handle, as [`to`](Self::to) does with the room's name. A handle of another
    /// namespace stands for nobody: no socket of this one is in that room.
    ///
    /// # Panics
    /// With debug assertions, when the handle was made on another shard: its key may be another room's here.
    pub fn to_room(mut self, room: &RoomHandle) -> Self {
        debug_assert_eq!(room.shard, self.outbox.shard(), "a handle is for the shard that it was made on");
        self.recipients.narrowed = true;
        let Some(nsp) = self.nsp.filter(|nsp| *nsp == room.nsp) else { return self };
        if let Some(names) = &mut self.names {
            names.to.push(Arc::clone(&room.name));
        }
        let rooms = self.state.namespaces.get(nsp).map(|nsp| &nsp.rooms);
        match room.key.get().filter(|key| rooms.is_some_and(|rooms| rooms.exists(*key))) {
            Some(key) => self.recipients.to.push(Target::Room(key)),
            None => {
                let target = self.target(&room.name);
                // A socket's id is looked up each time: it may be gone the next time.
                room.key.set(if let Some(Target::Room(key)) = target { Some(key) } else { None });
                self.recipients.to.extend(target);
            }
        }
        self
    }

    /// Leaves out the members of a room, or the socket whose id is `room`.
    pub fn except(mut self, room: &str) -> Self {
        if let Some(names) = &mut self.names {
            names.except.push(room.into());
        }
        match self.target(room) {
            Some(Target::Room(room)) => self.recipients.except_rooms.push(room),
            Some(Target::Socket(member)) => self.recipients.except.push(member.socket),
            None => {}
        }
        self
    }

    /// Leaves out several rooms, as [`Broadcast::except`] for each does.
    pub fn except_all<R: AsRef<str>>(self, rooms: impl IntoIterator<Item = R>) -> Self {
        rooms.into_iter().fold(self, |broadcast, room| broadcast.except(room.as_ref()))
    }

    /// Leaves out one socket.
    pub fn except_socket(mut self, socket: SocketKey) -> Self {
        self.recipients.except.push(socket);
        // Without recovery the socket is on this shard or nowhere.
        if self.state.recovery.is_some()
            && let (Some(names), Some(socket)) = (&mut self.names, self.state.sockets.get(socket.0))
        {
            names.except.push(socket.id.to_string().into());
        }
        self
    }

    /// Leaves out sockets whose queue is above the engine's `outbound_soft`.
    pub const fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Whether the event may be compressed; it may, unless this says otherwise. It matters only where the engine's configuration
    /// has compression.
    pub const fn compress(mut self, compress: bool) -> Self {
        self.flags.compress = compress;
        self
    }

    /// Leaves out the sockets of other shards, and those of other servers.
    pub fn local(mut self) -> Self {
        self.local = true;
        // Recovery keeps events with the names of their targets, whoever gets them.
        if self.state.recovery.is_none() {
            self.names = None;
        }
        self
    }

    /// Leaves out the sockets of other servers: what Node calls `local`.
    pub const fn this_server(mut self) -> Self {
        self.this_server = true;
        self
    }

    /// The targets by name, for others.
    fn targets(&self, names: Names) -> Targets {
        let rooms = self.recipients.narrowed.then_some(names.to);
        Targets { nsp: Arc::clone(&self.nsp_name), rooms, except: names.except }
    }

    fn check_namespace(&self) -> Result<(), EmitError> {
        let exists = self.nsp.is_some() || self.state.config.is_dynamic_namespace(&self.nsp_name);
        if exists { Ok(()) } else { Err(EmitError::UnknownNamespace) }
    }

    fn encode(&self, ack: Option<AckId>, name: &str, args: &str, attachments: &[Bytes]) -> SharedFrame {
        let frame = self.state.config.encoder().event(&self.nsp_name, ack, name, args, attachments);
        if self.flags.compress { frame } else { frame.without_compression() }
    }

    /// Sends the event. `args` are JSON values joined by commas, with a [placeholder](crate::parser::attachments::placeholder)
    /// for each attachment. Returns how many sockets of this shard it was queued for; how many it reaches on other shards is
    /// known only there.
    ///
    /// # Errors
    /// [`EmitError::ReservedName`] when servers and clients keep the name for themselves, [`EmitError::UnknownNamespace`] when
    /// the configuration has no such namespace.
    pub fn emit(self, name: &str, args: &str, attachments: &[Bytes]) -> Result<usize, EmitError> {
        if is_reserved(name) {
            return Err(EmitError::ReservedName);
        }
        self.check_namespace()?;
        if let Some((adapter, targets)) = self.servers() {
            let (flags, event) = (self.flags, EventData::new(name, args, attachments));
            adapter.send(Operation { targets, action: Action::Emit { event, flags } }, None);
        }
        if self.state.recovery.is_some() {
            return Ok(self.emit_numbered(EventData::new(name, args, attachments)));
        }
        let frame = self.encode(None, name, args, attachments);
        Ok(self.emit_frame(&frame))
    }

    /// Sends an event that was encoded before ([`Encoder::event`](crate::parser::Encoder::event)
    /// of [`Io::encoder`](crate::Io::encoder), for this namespace and without an `ack`), so that several
    /// broadcasts of one event encode it once. It reaches this server alone: an adapter needs the event's parts. For the same reason it is
    /// not kept for [`recovery`](crate::recovery), and gets no offset. Returns what [`Broadcast::emit`] does.
    pub fn emit_frame(mut self, frame: &SharedFrame) -> usize {
        if !self.local
            && self.names.is_some()
            && self.outbox.shards() > 1
            && let Some(names) = self.names.take()
        {
            let (targets, volatile, frame) = (self.targets(names), self.flags.volatile, frame.clone());
            let sockets_move = self.state.config.sockets_move();
            send_to_other_shards(self.outbox, RelayedBroadcast { targets, volatile, frame }, sockets_move);
        }
        self.nsp.map_or(0, |nsp| self.emit_here(nsp, frame))
    }

    /// Sends the frame to the recipients on this shard.
    fn emit_here(self, nsp: NspKey, frame: &SharedFrame) -> usize {
        let Self { state, outbox, recipients, flags: Flags { volatile, .. }, .. } = self;
        let mut delivery = Delivery::new(state, outbox);
        if let Some(room) = recipients.one_room() {
            // Its members get it together at the end of the turn.
            if !volatile && delivery.gather(nsp, room, frame) {
                return delivery.members(nsp, room).len();
            }
            let members = SmallVec::<[Member; 2]>::from_slice(delivery.members(nsp, room));
            return members.iter().filter(|member| delivery.send(member, frame, volatile)).count();
        }
        let members = recipients.members(&mut delivery, nsp);
        members.iter().filter(|member| delivery.send(member, frame, volatile)).count()
    }
}
