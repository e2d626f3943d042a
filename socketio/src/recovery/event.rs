//! [`RecoverableEvent`]: an event as it is kept and sent to other shards. [`RecoveryMessage`]: what shards say about recovery.

use std::sync::Arc;

use crate::{
    adapter::{EventData, Flags, Targets},
    state::ids::{PendingConnect, Pid, SocketId, SocketKey},
};

/// An event before it is encoded. Each shard that delivers it appends an offset of its own, so there is no frame for all.
#[derive(Debug)]
pub(crate) struct RecoverableEvent {
    /// The namespace, and for a broadcast the names of its targets.
    pub(crate) targets: Targets,
    pub(crate) scope: Scope,
    pub(crate) event: EventData,
    pub(crate) flags: Flags,
    /// The shard that numbered it.
    pub(crate) origin: u16,
    /// Its number among the events of its origin. A volatile event has one too, so that it is not delivered twice; but it is not
    /// kept.
    pub(crate) number: u64,
}

/// Where an event is delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// To its targets on every shard.
    Server,
    /// To its targets on its origin.
    Shard,
    /// To one socket of its origin, whatever the targets.
    Socket(SocketId),
}

impl RecoverableEvent {
    /// How many bytes of memory it takes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let names = self.targets.rooms.iter().flatten().chain(&self.targets.except);
        size_of::<Self>() + names.map(|name| name.len() + 32).sum::<usize>() + self.event.len()
    }
}

/// Appends an offset to arguments. It has no character that JSON would escape.
pub(crate) fn with_offset(args: &str, offset: &str) -> String {
    let comma = if args.is_empty() { "" } else { "," };
    [args, comma, "\"", offset, "\""].concat()
}

/// What shards send each other when recovery is on.
#[derive(Debug)]
pub(crate) enum RecoveryMessage {
    /// An event of the sending shard.
    Event(Arc<RecoverableEvent>),
    /// An event from another thread. The shard that gets it numbers it as its own.
    #[cfg_attr(not(any(test, feature = "net")), expect(dead_code, reason = "handles need the engine's sockets"))]
    Emit { targets: Targets, event: EventData, flags: Flags },
    /// Shard `from` wants to know how far the events of this shard go. The answer comes behind all of them. `old` is a socket of
    /// this shard that is to end first: its client has come back on shard `from`.
    Ask { old: Option<(Pid, SocketKey)>, pending: PendingConnect, from: u16 },
    /// The answer: the number of the last event.
    Answer { pending: PendingConnect, origin: u16, number: u64 },
}
