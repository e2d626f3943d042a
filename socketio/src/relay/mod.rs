//! What the shards of a server send each other about many sockets.
//!
//! A broadcast reaches the sockets of its own shard directly. The other shards get it as a [`RelayedBroadcast`]: the encoded
//! frame, and the names of its targets. Everything else that is done to many sockets goes as a [`RelayedOperation`].
//! `broadcast` turns both into what the receiving shard does. Other processes get the same by an
//! [`Adapter`](crate::adapter::Adapter).

mod relayed;
mod shards;

pub(crate) use relayed::{Question, RelayedAction, RelayedBroadcast, RelayedOperation};
#[cfg(feature = "net")]
pub(crate) use shards::wanted_shards;
pub(crate) use shards::{send_to_other_shards, send_to_shards};
