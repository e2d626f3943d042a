//! Events while recovery is on: each is numbered and kept, and gets an offset as its last argument.
//!
//! A volatile event is not kept. But it gets an offset: clients take the last argument of whatever comes for the offset, if it is a
//! string.

use std::sync::Arc;

use bytes::Bytes;
use engineio::{Outbox, ShardMessage};

use super::{Broadcast, one_socket};
use crate::{
    adapter::{EventData, Flags, Targets},
    error::EmitError,
    recovery::event::{RecoverableEvent, RecoveryMessage, Scope, with_offset},
    state::{State, ids::SocketKey},
};

impl Broadcast<'_> {
    /// Sends an event to its targets on every shard, and keeps it. Returns how many sockets of this shard it was queued for.
    pub(super) fn emit_numbered(mut self, event: EventData) -> usize {
        let scope = if self.local { Scope::Shard } else { Scope::Server };
        let names = self.names.take().unwrap_or_default();
        let (targets, flags) = (self.targets(names), self.flags);
        let event = keep(self.state, self.outbox, scope, targets, event, flags);
        if let Some(event) = &event
            && event.scope == Scope::Server
        {
            let weight = event.bytes();
            for shard in (0..self.outbox.shards()).filter(|shard| *shard != event.origin) {
                let message = ShardMessage::new(RecoveryMessage::Event(Arc::clone(event))).with_weight(weight);
                self.outbox.send_to_shard(shard, message);
            }
        }
        event.map_or(0, |event| self.emit_with_position(&event.event))
    }

    /// Sends an event to its targets here, with this shard's position as its offset.
    fn emit_with_position(self, event: &EventData) -> usize {
        let (Some(nsp), Some(recovery)) = (self.nsp, &self.state.recovery) else { return 0 };
        let args = with_offset(&event.args, &recovery.offset(&recovery.seen));
        let frame = self.encode(None, &event.name, &args, &event.attachments);
        self.emit_here(nsp, &frame)
    }
}

/// Numbers an event and keeps it, unless it is volatile.
fn keep(
    state: &mut State,
    outbox: &mut dyn Outbox,
    scope: Scope,
    targets: Targets,
    event: EventData,
    flags: Flags,
) -> Option<Arc<RecoverableEvent>> {
    let recovery = state.recovery.as_mut()?;
    recovery.start(outbox);
    let number = recovery.next_number();
    let event = Arc::new(RecoverableEvent { targets, scope, event, flags, origin: recovery.shard, number });
    if !flags.volatile {
        recovery.store.append(Arc::clone(&event), outbox.now());
    }
    Some(event)
}

/// Delivers an event of another shard.
pub(crate) fn apply_event(state: &mut State, outbox: &mut dyn Outbox, event: &RecoverableEvent) {
    let Some(recovery) = &mut state.recovery else { return };
    recovery.start(outbox);
    recovery.seen.raise(event.origin, event.number);
    let mut broadcast = Broadcast::of_targets(state, outbox, &event.targets);
    broadcast.flags = event.flags;
    broadcast.emit_with_position(&event.event);
}

/// Sends what another thread emitted, as an event of this shard.
pub(crate) fn emit_from_outside(
    state: &mut State,
    outbox: &mut dyn Outbox,
    targets: &Targets,
    event: EventData,
    flags: Flags,
) {
    let mut broadcast = Broadcast::new(state, outbox, &targets.nsp);
    if let Some(rooms) = &targets.rooms {
        broadcast = broadcast.to_all(rooms);
    }
    broadcast = broadcast.except_all(&targets.except);
    broadcast.flags = flags;
    broadcast.emit_numbered(event);
}

/// Sends an event to one socket, and keeps it for that.
pub(crate) fn emit_to_socket(
    state: &mut State,
    outbox: &mut dyn Outbox,
    key: SocketKey,
    name: &str,
    args: &str,
    attachments: &[Bytes],
) -> Result<(), EmitError> {
    one_socket::flush_held_frames(state, outbox, key);
    let State { recovery, sockets, namespaces, .. } = state;
    let socket = sockets.get(key.0).ok_or(EmitError::Disconnected)?;
    let nsp = &namespaces.get(socket.nsp).ok_or(EmitError::Disconnected)?.name;
    let recovery = recovery.as_mut().ok_or(EmitError::Disconnected)?;
    recovery.start(outbox);
    let number = recovery.next_number();
    let offset = recovery.offset(&recovery.seen);
    outbox
        .send(socket.conn, &state.config.encoder().event(nsp, None, name, &with_offset(args, &offset), attachments))?;
    // Only now: what the application is told is not sent must not arrive later.
    let event = RecoverableEvent {
        targets: Targets { nsp: Arc::clone(nsp), rooms: None, except: Vec::new() },
        scope: Scope::Socket(socket.id.clone()),
        event: EventData::new(name, args, attachments),
        flags: Flags::default(),
        origin: recovery.shard,
        number,
    };
    recovery.store.append(Arc::new(event), outbox.now());
    Ok(())
}
