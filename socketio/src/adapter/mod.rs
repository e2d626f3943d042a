//! [`Adapter`]: how the operations of this server reach other servers.
//!
//! The shards of this server are no matter of an adapter: they get what is meant for them as encoded frames (`relay`), with the
//! messages between shards and in their order. An adapter carries the same operations, as plain data, to other processes.
//!
//! | direction | how |
//! |---|---|
//! | from here to the others | [`Adapter::send`], called for each operation that is not for this server alone |
//! | from the others to here | [`Handle::apply`](crate::Handle::apply), which reaches the shards of this server only |
//! | the others' answers | [`Replies`], which `send` gets with an operation that asks |
//! | the answers to the others | what `apply` returns |

pub(crate) mod collector;
mod operation;
mod replies;
pub(crate) mod reply;

use std::fmt;

pub use operation::{Action, EventData, Flags, Operation, Targets};
pub use replies::{Replies, ServerReply};
pub use reply::{Answer, Answers, OwnedArgs, RemoteSocket, Reply, ServerAnswer, ServerAnswers, Sockets, Source};

/// The way to other servers ([`Config::adapter`](crate::Config::adapter)). All shards and all handles of a server use one.
///
/// Its methods are called on shards' threads, within turns, and on the threads that use a [`Handle`](crate::Handle): they must not
/// block. An implementation puts what it gets into a bounded queue of its own, and a task of its own does the rest.
pub trait Adapter: fmt::Debug + Send + Sync {
    /// The other servers are to do this too. Operations of one shard, and those of one thread, come in their order.
    ///
    /// `replies` is there for an operation that asks ([`Action::EmitWithAck`], [`Action::FetchSockets`],
    /// [`Action::ServerSideEmitWithAck`]). The asking side waits until it is done, or until the operation's time is up.
    fn send(&self, operation: Operation, replies: Option<Replies>);

    /// Whether [`Adapter::room_created`] and [`Adapter::room_deleted`] are to be called.
    fn wants_rooms(&self) -> bool {
        false
    }

    /// A shard of this server has the first member of a room. Other shards may have had one before.
    fn room_created(&self, shard: u16, nsp: &str, room: &str) {
        let _ = (shard, nsp, room);
    }

    /// A shard of this server has no member of a room any more. Other shards may have some.
    fn room_deleted(&self, shard: u16, nsp: &str, room: &str) {
        let _ = (shard, nsp, room);
    }
}
