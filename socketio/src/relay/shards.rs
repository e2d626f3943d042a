//! The shards of this server that may have one of the targets.

use std::sync::Arc;

use engineio::{Outbox, ShardMessage};
use smallvec::SmallVec;

use super::relayed::{RelayedBroadcast, RelayedOperation};
use crate::{adapter::Targets, relay::RelayedAction, state::ids::SocketId};

/// Sends a broadcast to the other shards that may have one of its targets: as an `Arc<RelayedBroadcast>`.
pub(crate) fn send_to_other_shards(outbox: &mut dyn Outbox, broadcast: RelayedBroadcast, sockets_move: bool) {
    let (here, shards) = (outbox.shard(), outbox.shards());
    let weight = broadcast.frame.websocket().len();
    let wanted = wanted_shards(&broadcast.targets, shards, sockets_move);
    let broadcast = Arc::new(broadcast);
    for shard in wanted.filter(|shard| *shard != here) {
        outbox.send_to_shard(shard, ShardMessage::new(Arc::clone(&broadcast)).with_weight(weight));
    }
}

/// Sends an operation to the shards that may have one of its targets, each with an action of its own: all but this one.
pub(crate) fn send_to_shards(
    outbox: &mut dyn Outbox,
    targets: &Arc<Targets>,
    here: u16,
    sockets_move: bool,
    mut action: impl FnMut(u16) -> RelayedAction,
) {
    for shard in wanted_shards(targets, outbox.shards(), sockets_move).filter(|shard| *shard != here) {
        let operation = RelayedOperation { targets: Arc::clone(targets), action: action(shard) };
        outbox.send_to_shard(shard, operation.into());
    }
}

impl From<RelayedOperation> for ShardMessage {
    fn from(operation: RelayedOperation) -> Self {
        let weight = match &operation.action {
            RelayedAction::Ask(question) => question.frame.websocket().len(),
            RelayedAction::ServerSide(event, _) => event.len(),
            _ => 0,
        };
        Self::new(operation).with_weight(weight)
    }
}

/// The shards that may have one of the targets. With `sockets_move`, a socket may be on another shard than its id names.
pub(crate) fn wanted_shards(targets: &Targets, shards: u16, sockets_move: bool) -> impl Iterator<Item = u16> + use<> {
    let owners = if sockets_move { None } else { owners(targets, shards) };
    (0..shards).filter(move |shard| owners.as_ref().is_none_or(|owners| owners.contains(shard)))
}

/// The shards that own the targets, when all of them are sockets: a socket's id names its shard. `None`: any shard may have a
/// target.
fn owners(targets: &Targets, shards: u16) -> Option<SmallVec<[u16; 4]>> {
    let owner = |name: &str| SocketId::parse(name).map(|id| id.shard()).filter(|shard| *shard < shards);
    targets.rooms.as_ref()?.iter().map(|name| owner(name)).collect()
}
