//! Who else must hear of a broadcast: today the other shards of this server.
//!
//! A broadcast reaches the sockets of its own shard directly. Everyone else gets it as a [`RelayedBroadcast`]: the encoded
//! frame, and the names of its targets. `broadcast` turns that into a broadcast of the receiving shard.
//!
//! Shards are the only others so far, so there is no trait here yet. What has to be sent to another process would be the
//! same data.

mod relayed;
mod shards;

pub(crate) use relayed::{RelayedBroadcast, TargetNames};
#[cfg(feature = "net")]
pub(crate) use shards::owners;
pub(crate) use shards::send_to_other_shards;
