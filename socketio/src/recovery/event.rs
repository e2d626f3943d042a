//! [`RecoverableEvent`]: an event as it is kept and sent to other shards. [`RecoveryMessage`]: what shards say about recovery.

use std::sync::Arc;

use bytes::Bytes;

use crate::state::ids::{PendingConnect, Pid, SocketId};

/// An event before it is encoded. Each shard that delivers it appends an offset of its own, so there is no frame for all.
#[derive(Debug)]
pub(crate) struct RecoverableEvent {
    pub(crate) nsp: Arc<str>,
    pub(crate) target: Target,
    pub(crate) name: Box<str>,
    /// JSON values joined by commas, without the offset.
    pub(crate) args: Box<str>,
    pub(crate) attachments: Box<[Bytes]>,
    /// The shard that numbered it.
    pub(crate) origin: u16,
    /// Its number among the events of its origin. `None`: it is volatile, so it is delivered once or never.
    pub(crate) number: Option<u64>,
}

/// Whom an event is for.
#[derive(Debug)]
pub(crate) enum Target {
    /// One socket, by its key on its own shard. It is not sent to others.
    Socket(SocketId),
    /// A broadcast.
    Names {
        /// Whether `to` counts; without this it is for everyone in the namespace.
        narrowed: bool,
        to: Vec<Arc<str>>,
        except: Vec<Arc<str>>,
        /// Only for the sockets of its origin.
        local: bool,
    },
}

impl RecoverableEvent {
    /// How many bytes of memory it takes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let names = |names: &[Arc<str>]| names.iter().map(|name| name.len() + 32).sum::<usize>();
        let targets = match &self.target {
            Target::Socket(_) => 0,
            Target::Names { to, except, .. } => names(to) + names(except),
        };
        let attachments = self.attachments.iter().map(|bytes| bytes.len() + size_of::<Bytes>()).sum::<usize>();
        size_of::<Self>() + targets + self.name.len() + self.args.len() + attachments
    }

    /// How many bytes its text and attachments have.
    pub(crate) fn content_bytes(&self) -> usize {
        self.name.len() + self.args.len() + self.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    /// The arguments, with `offset` as the last one.
    pub(crate) fn args_with(&self, offset: &str) -> String {
        with_offset(&self.args, offset)
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
    Emit {
        event: Box<RecoverableEvent>,
        volatile: bool,
    },
    /// Shard `from` wants to know how far the events of this shard go. The answer comes behind all of them. If `pid` belongs to
    /// a socket of this shard, that socket is to end first: its client has come back on shard `from`.
    Ask { pid: Option<Pid>, pending: PendingConnect, from: u16 },
    /// The answer: the number of the last event.
    Answer { pending: PendingConnect, origin: u16, number: u64 },
}
