//! [`Broadcast`]: an event for many sockets, encoded once.
//!
//! It reaches the sockets of every shard. Here it is sent to this shard's; `adapter` sends it to the others, where the
//! same frame goes to the same targets.

pub(crate) mod gather;
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
    adapter::{RelayedBroadcast, TargetNames, send_to_other_shards},
    error::EmitError,
    packet::is_reserved,
    state::{
        State,
        ids::{Member, NspKey, SocketKey},
        room::handle::RoomHandle,
    },
};

/// A broadcast that is being put together; [`Broadcast::emit`] sends it.
///
/// `to` narrows it to rooms; a socket that is in several of them is reached once. `except` leaves out rooms or sockets,
/// `volatile` leaves out sockets that have much unread, `local` leaves out the other shards.
///
/// Broadcasts of one shard arrive in the order in which they were emitted. Those of different shards may arrive in different
/// orders at different sockets. Where that matters, let one shard do all broadcasts to a room.
#[must_use = "nothing is sent before `emit`"]
pub struct Broadcast<'a> {
    state: &'a mut State,
    outbox: &'a mut dyn Outbox,
    /// The namespace on this shard. A dynamic one need not exist here, and may have sockets on other shards.
    nsp: Option<NspKey>,
    nsp_name: Arc<str>,
    recipients: Recipients,
    volatile: bool,
    /// The targets by name, for the other shards; `None` when the broadcast is for this shard alone.
    names: Option<TargetNames>,
}

impl std::fmt::Debug for Broadcast<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (recipients, volatile) = (&self.recipients, &self.volatile);
        f.debug_struct("Broadcast").field("recipients", recipients).field("volatile", volatile).finish_non_exhaustive()
    }
}

impl<'a> Broadcast<'a> {
    pub(crate) fn new(state: &'a mut State, outbox: &'a mut dyn Outbox, nsp: &str) -> Self {
        let key = state.namespaces.find(nsp);
        let nsp_name = key.and_then(|key| state.namespaces.get(key)).map(|nsp| Arc::clone(&nsp.name));
        let nsp_name = nsp_name.unwrap_or_else(|| nsp.into());
        let names = (outbox.shards() > 1).then(TargetNames::default);
        Self { state, outbox, nsp: key, nsp_name, recipients: Recipients::default(), volatile: false, names }
    }

    /// Sends a broadcast of another shard to its targets here.
    pub(crate) fn apply_relayed(state: &'a mut State, outbox: &'a mut dyn Outbox, relayed: &RelayedBroadcast) {
        let mut broadcast = Self::new(state, outbox, &relayed.nsp).local();
        broadcast.recipients.narrowed = relayed.narrowed;
        broadcast.volatile = relayed.volatile;
        for name in &relayed.names.to {
            broadcast = broadcast.to(name);
        }
        for name in &relayed.names.except {
            broadcast = broadcast.except(name);
        }
        broadcast.emit_frame(&relayed.frame);
    }

    /// Whom a name stands for on this shard.
    fn target(&self, name: &str) -> Option<Target> {
        let nsp = self.nsp?;
        // The id comes first: a room that was named like it must not get what is meant for the socket.
        if let Some(member) = self.state.member_by_id(nsp, name) {
            return Some(Target::Socket(member));
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

    /// Leaves out one socket.
    pub fn except_socket(mut self, socket: SocketKey) -> Self {
        self.recipients.except.push(socket);
        self
    }

    /// Leaves out sockets whose queue is above the engine's `outbound_soft`.
    pub const fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Leaves out the sockets of other shards.
    pub fn local(mut self) -> Self {
        self.names = None;
        self
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
        if self.nsp.is_none() && !self.state.config.is_dynamic_namespace(&self.nsp_name) {
            return Err(EmitError::UnknownNamespace);
        }
        let frame = self.state.config.encoder().event(&self.nsp_name, None, name, args, attachments);
        Ok(self.emit_frame(&frame))
    }

    /// Sends an event that was encoded before ([`Encoder::event`](crate::parser::Encoder::event) of [`Io::encoder`](crate::Io::encoder), for this namespace and without an `ack`), so that several
    /// broadcasts of one event encode it once. Returns what [`Broadcast::emit`] does.
    pub fn emit_frame(mut self, frame: &SharedFrame) -> usize {
        if let Some(names) = self.names.take() {
            let nsp = Arc::clone(&self.nsp_name);
            let (narrowed, volatile, frame) = (self.recipients.narrowed, self.volatile, frame.clone());
            send_to_other_shards(self.outbox, RelayedBroadcast { nsp, narrowed, names, volatile, frame });
        }
        self.nsp.map_or(0, |nsp| self.emit_here(nsp, frame))
    }

    /// Sends the frame to the recipients on this shard.
    fn emit_here(self, nsp: NspKey, frame: &SharedFrame) -> usize {
        let Self { state, outbox, recipients, volatile, .. } = self;
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
