//! The other shards of this server.

use std::sync::Arc;

use engineio::{Outbox, ShardMessage};
use smallvec::SmallVec;

use super::relayed::RelayedBroadcast;
use crate::state::ids::SocketId;

/// Sends a broadcast to the other shards that may have one of its targets: as an `Arc<RelayedBroadcast>`.
pub(crate) fn send_to_other_shards(outbox: &mut dyn Outbox, broadcast: RelayedBroadcast) {
    let (here, shards) = (outbox.shard(), outbox.shards());
    let weight = broadcast.frame.websocket().len();
    let owners = owners(&broadcast, shards);
    let broadcast = Arc::new(broadcast);
    for shard in (0..shards).filter(|shard| *shard != here) {
        if owners.as_ref().is_none_or(|owners| owners.contains(&shard)) {
            outbox.send_to_shard(shard, ShardMessage::new(Arc::clone(&broadcast)).with_weight(weight));
        }
    }
}

/// The shards that own the targets, when all of them are sockets: a socket's id names its shard. `None`: any shard may have a
/// target.
pub(crate) fn owners(broadcast: &RelayedBroadcast, shards: u16) -> Option<SmallVec<[u16; 4]>> {
    let owner = |name: &str| SocketId::parse(name).map(|id| id.shard()).filter(|shard| *shard < shards);
    broadcast.narrowed.then(|| broadcast.names.to.iter().map(|name| owner(name)).collect()).flatten()
}
