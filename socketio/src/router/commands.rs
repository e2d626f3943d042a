//! [`Command`]: what the application wants done with sockets. Handlers have no [`Io`](crate::Io): a handler that waits would hold up
//! its shard. They write commands, and the shard carries them out.
//!
//! While a handler runs on its shard, its commands are collected in a variable of the thread, and carried out, in order, when
//! the handler returns or waits. A command that comes from any other thread travels to the shard through its mailbox.

use std::{cell::RefCell, sync::Arc, time::Duration};

use bytes::Bytes;
use engineio::{ShardMessage, net::TrySendError};
use serde::Serialize;
use tokio::sync::oneshot;

use super::{
    app::App,
    error::{AnswerError, SendError},
    payload::{Answer, PayloadError, Written},
};
use crate::{
    adapter::{EventData, Reply},
    packet::{AckId, is_reserved},
    state::ids::SocketKey,
};

/// An event that is about to be sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) name: Box<str>,
    pub(crate) payload: Written,
}

impl Outgoing {
    pub(crate) fn one<T: Serialize + ?Sized>(name: &str, value: &T) -> Result<Self, SendError> {
        Self::new(name, || Written::one(value))
    }

    pub(crate) fn all<T: Serialize + ?Sized>(name: &str, values: &T) -> Result<Self, SendError> {
        Self::new(name, || Written::all(values))
    }

    fn new(name: &str, write: impl FnOnce() -> Result<Written, PayloadError>) -> Result<Self, SendError> {
        if is_reserved(name) {
            return Err(SendError::ReservedName);
        }
        Ok(Self { name: name.into(), payload: write()? })
    }

    pub(crate) fn attachments(&self) -> &[Bytes] {
        &self.payload.attachments
    }

    /// The event as handlers of any event see it.
    pub(crate) fn raw(&self) -> EventData {
        EventData::new(&self.name, &self.payload.args, &self.payload.attachments)
    }

    /// Bytes of memory, for the limit of mailboxes.
    fn weight(&self) -> usize {
        self.name.len() + self.payload.len()
    }
}

/// Which sockets something is for.
#[derive(Debug, Clone)]
pub(crate) struct Targets {
    pub(crate) nsp: Arc<str>,
    pub(crate) to: Vec<Box<str>>,
    /// Whether targets were named: naming no room is not the same as naming none.
    pub(crate) narrowed: bool,
    pub(crate) except: Vec<Box<str>>,
    pub(crate) except_socket: Option<SocketKey>,
    pub(crate) volatile: bool,
    pub(crate) local: bool,
    pub(crate) compress: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) enum Command {
    Emit {
        socket: SocketKey,
        event: Outgoing,
        volatile: bool,
    },
    EmitWithAck {
        socket: SocketKey,
        event: Outgoing,
        timeout: Duration,
        reply: oneshot::Sender<Result<Answer, AnswerError>>,
    },
    Ack {
        socket: SocketKey,
        id: AckId,
        payload: Written,
    },
    Join {
        socket: SocketKey,
        room: Box<str>,
    },
    Leave {
        socket: SocketKey,
        room: Box<str>,
    },
    Disconnect {
        socket: SocketKey,
        close: bool,
    },
    /// Something for many sockets.
    OnAll {
        targets: Targets,
        action: Action,
    },
}

/// Where the reply of many sockets goes. It is dropped when the server ends.
pub(crate) type WhoAsks = oneshot::Sender<Result<Reply, SendError>>;

/// What is done with many sockets.
#[derive(Debug)]
pub(crate) enum Action {
    Emit(Outgoing),
    EmitWithAck { event: Outgoing, timeout: Duration, reply: WhoAsks },
    Join(Vec<Box<str>>),
    Leave(Vec<Box<str>>),
    Disconnect { close: bool },
    Fetch { timeout: Duration, reply: WhoAsks },
    ServerSideEmit(Outgoing),
    ServerSideEmitWithAck { event: Outgoing, timeout: Duration, reply: WhoAsks },
}

impl Command {
    fn weight(&self) -> usize {
        match self {
            Self::Emit { event, .. }
            | Self::EmitWithAck { event, .. }
            | Self::OnAll { action: Action::Emit(event) | Action::EmitWithAck { event, .. }, .. }
            | Self::OnAll {
                action: Action::ServerSideEmit(event) | Action::ServerSideEmitWithAck { event, .. }, ..
            } => event.weight(),
            Self::OnAll { action: Action::Join(rooms) | Action::Leave(rooms), .. } => {
                rooms.iter().map(|room| room.len()).sum()
            }
            Self::Ack { payload, .. } => payload.len(),
            Self::Join { room, .. } | Self::Leave { room, .. } => room.len(),
            Self::Disconnect { .. } | Self::OnAll { .. } => 0,
        }
    }
}

/// Commands on their way to a shard.
#[derive(Debug)]
pub(crate) struct Commands(pub(crate) Vec<Command>);

impl Commands {
    pub(crate) fn into_message(self) -> ShardMessage {
        let weight = self.0.iter().map(Command::weight).sum();
        ShardMessage::new(self).with_weight(weight)
    }
}

/// The shard whose handler this thread is running, and the handler's commands.
struct Current {
    app: u64,
    shard: u16,
    commands: Vec<Command>,
}

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// Runs a handler of a shard, and adds its commands to `commands`; also those of a handler that panics.
pub(crate) fn collect<R>(app: &App, shard: u16, commands: &mut Vec<Command>, run: impl FnOnce() -> R) -> R {
    /// Takes the commands out of the thread's variable whatever happens.
    struct Collected<'a>(&'a mut Vec<Command>, Option<Current>);
    impl Drop for Collected<'_> {
        fn drop(&mut self) {
            if let Some(current) = CURRENT.replace(self.1.take()) {
                *self.0 = current.commands;
            }
        }
    }
    let current = Current { app: app.number, shard, commands: std::mem::take(commands) };
    let outer = CURRENT.replace(Some(current));
    let _collected = Collected(commands, outer);
    run()
}

/// Gives a shard a command: at once when its handler is running on this thread, otherwise through its mailbox.
pub(crate) fn send(app: &App, shard: u16, command: Command) -> Result<(), SendError> {
    let command = CURRENT.with_borrow_mut(|current| match current {
        Some(current) if current.app == app.number && current.shard == shard => {
            current.commands.push(command);
            None
        }
        _ => Some(command),
    });
    let Some(command) = command else { return Ok(()) };
    let engine = app.engine.get().ok_or(SendError::NotRunning)?;
    engine.try_send(shard, Commands(vec![command]).into_message()).map_err(|error| match error {
        TrySendError::Full(_) => SendError::Busy,
        _ => SendError::NotRunning,
    })
}

/// The shard whose handler of this application this thread is running; otherwise the first.
pub(crate) fn nearest_shard(app: &App) -> u16 {
    CURRENT.with_borrow(|current| {
        current.as_ref().filter(|current| current.app == app.number).map_or(0, |current| current.shard)
    })
}

#[cfg(test)]
mod tests {
    use engineio::slab::Slab;

    use super::*;

    #[test]
    fn attachments_of_an_acknowledgement_count_in_the_mailbox() {
        let attachments = vec![Bytes::from(vec![0; 5_000_000])];
        let payload = Written { args: "1".to_owned(), attachments };
        let command = Command::Ack { socket: SocketKey(Slab::default().insert(())), id: AckId(1), payload };
        assert_eq!(command.weight(), 5_000_001);
    }
}
