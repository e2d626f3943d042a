//! An [`Operation`] becomes messages for the shards, and goes to the adapter.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use engineio::{ShardMessage, net};

use super::{
    types::{EmitterError, Handle},
    waiting::{Asking, Messages, block_on, send_each},
};
use crate::{
    adapter::{
        Action, Answers, EventData, Flags, Operation, Replies, Reply, ServerAnswers, Sockets, Source, Targets,
        collector::{Collector, GRACE, Part},
        reply::Gathered,
    },
    packet::{AckId, is_reserved},
    recovery::event::RecoveryMessage,
    relay::{Question, RelayedAction, RelayedBroadcast, RelayedOperation, wanted_shards},
    state::questions,
};

/// An operation that the adapter has, and the shards are about to get.
pub(super) enum Started {
    Sending(net::Handle, Messages),
    Sockets(Asking<Sockets>),
    Answers(Asking<Answers>),
    Servers(Asking<ServerAnswers>),
}

impl Started {
    pub(super) async fn finish(self) -> Result<Option<Reply>, EmitterError> {
        Ok(Some(match self {
            Self::Sending(engine, messages) => return Ok(send_each(&engine, messages).await.map(|()| None)?),
            Self::Sockets(asking) => Reply::Sockets(asking.wait().await),
            Self::Answers(asking) => Reply::Answers(asking.wait().await),
            Self::Servers(asking) => Reply::Servers(asking.wait().await),
        }))
    }

    pub(super) fn finish_blocking(self) -> Result<Option<Reply>, EmitterError> {
        Ok(Some(match self {
            Self::Sending(engine, messages) => {
                let sent = block_on(send_each(&engine, messages), None).unwrap_or(Ok(()));
                return Ok(sent.map(|()| None)?);
            }
            Self::Sockets(asking) => Reply::Sockets(asking.wait_blocking()),
            Self::Answers(asking) => Reply::Answers(asking.wait_blocking()),
            Self::Servers(asking) => Reply::Servers(asking.wait_blocking()),
        }))
    }
}

impl Handle {
    /// Does what another server asks for, on the shards of this server only: for an [`Adapter`](crate::adapter::Adapter). An operation
    /// that asks has a reply. A server that has stuck or broken shards replies what the others say, before the time of the
    /// server that asked is up.
    ///
    /// # Errors
    /// [`EmitterError`] when not all shards did it.
    pub async fn apply(&self, operation: Operation) -> Result<Option<Reply>, EmitterError> {
        self.start(operation, false)?.finish().await
    }

    /// [`Handle::apply`] for a thread that may block.
    ///
    /// # Errors
    /// [`EmitterError`] when not all shards did it.
    pub fn apply_blocking(&self, operation: Operation) -> Result<Option<Reply>, EmitterError> {
        self.start(operation, false)?.finish_blocking()
    }

    /// Makes the messages for the shards. With `servers` the adapter gets the operation; without, it came from another server.
    pub(super) fn start(&self, operation: Operation, servers: bool) -> Result<Started, EmitterError> {
        self.check(&operation)?;
        let Operation { targets, action } = &operation;
        Ok(match action {
            Action::Emit { event, flags } => {
                let messages = self.broadcast(targets, event, *flags);
                self.sending(operation, servers, messages)
            }
            Action::Join { rooms } => self.each(&operation, servers, || RelayedAction::Join(rooms.as_slice().into())),
            Action::Leave { rooms } => self.each(&operation, servers, || RelayedAction::Leave(rooms.as_slice().into())),
            Action::Disconnect { close } => {
                self.each(&operation, servers, || RelayedAction::Disconnect { close: *close })
            }
            Action::ServerSideEmit { event } => {
                // This server is not among the others.
                let messages = if servers { Vec::new() } else { vec![(0, server_side(targets, event, None))] };
                self.sending(operation, servers, messages)
            }
            Action::FetchSockets { timeout } => {
                let messages = |collector: &_| self.to_shards(targets, RelayedAction::Fetch, collector);
                Started::Sockets(self.asking(&operation, servers, *timeout, Duration::ZERO, messages))
            }
            Action::EmitWithAck { event, flags, timeout } => {
                Started::Answers(self.ask(&operation, servers, event, *flags, *timeout))
            }
            Action::ServerSideEmitWithAck { event, timeout } => {
                let messages = |collector: &Arc<Collector<ServerAnswers>>| {
                    let part = collector.part(Source::Shard(0));
                    vec![(0, server_side(targets, event, Some(part)))]
                };
                let messages = |collector: &_| if servers { Vec::new() } else { messages(collector) };
                Started::Servers(self.asking(&operation, servers, *timeout, GRACE, messages))
            }
        })
    }

    /// [`Handle::start`] for [`Action::EmitWithAck`].
    pub(super) fn start_asking(
        &self,
        targets: Targets,
        servers: bool,
        event: &EventData,
        flags: Flags,
        timeout: Duration,
    ) -> Result<Asking<Answers>, EmitterError> {
        let action = Action::EmitWithAck { event: event.clone(), flags, timeout };
        let operation = Operation { targets, action };
        self.check(&operation)?;
        Ok(self.ask(&operation, servers, event, flags, timeout))
    }

    fn check(&self, Operation { targets, action }: &Operation) -> Result<(), EmitterError> {
        if let Action::Emit { event, .. } | Action::EmitWithAck { event, .. } = action
            && is_reserved(&event.name)
        {
            return Err(EmitterError::ReservedName);
        }
        let exists = self.config.is_namespace(&targets.nsp);
        if exists { Ok(()) } else { Err(EmitterError::UnknownNamespace) }
    }

    fn ask(
        &self,
        operation: &Operation,
        servers: bool,
        event: &EventData,
        flags: Flags,
        timeout: Duration,
    ) -> Asking<Answers> {
        let (id, targets, volatile) = (questions::next_id(), &operation.targets, flags.volatile);
        let (frame, deadline) = (self.encoded(targets, Some(id), event, flags), Instant::now().checked_add(timeout));
        let question = |part| {
            let frame = frame.clone();
            RelayedAction::Ask(Question { frame, volatile, id, deadline, part })
        };
        let messages = |collector: &_| self.to_shards(targets, question, collector);
        self.asking(operation, servers, timeout, GRACE, messages)
    }

    fn sending(&self, operation: Operation, servers: bool, messages: Messages) -> Started {
        self.tell_servers(servers, operation, None);
        Started::Sending(self.engine.clone(), messages)
    }

    fn each(&self, operation: &Operation, servers: bool, action: impl Fn() -> RelayedAction) -> Started {
        let targets = Arc::new(operation.targets.clone());
        let wanted = wanted_shards(&targets, self.engine.shards(), self.config.sockets_move());
        let message = |shard| (shard, RelayedOperation { targets: Arc::clone(&targets), action: action() }.into());
        self.sending(operation.clone(), servers, wanted.map(message).collect())
    }

    fn broadcast(&self, targets: &Targets, event: &EventData, flags: Flags) -> Messages {
        if self.config.recovery.as_ref().is_some_and(|recovery| recovery.store().is_some()) {
            // One shard numbers what other threads emit, and sends it to the others.
            let (targets, event) = (targets.clone(), event.clone());
            let weight = event.len();
            let message = RecoveryMessage::Emit { targets, event, flags };
            return vec![(0, ShardMessage::new(message).with_weight(weight))];
        }
        let frame = self.encoded(targets, None, event, flags);
        let weight = frame.websocket().len();
        let broadcast = RelayedBroadcast { targets: targets.clone(), volatile: flags.volatile, frame };
        let wanted = wanted_shards(&broadcast.targets, self.engine.shards(), self.config.sockets_move());
        let broadcast = Arc::new(broadcast);
        wanted.map(|shard| (shard, ShardMessage::new(Arc::clone(&broadcast)).with_weight(weight))).collect()
    }

    fn to_shards<T: Gathered>(
        &self,
        targets: &Targets,
        action: impl Fn(Part<T>) -> RelayedAction,
        collector: &Arc<Collector<T>>,
    ) -> Messages {
        let targets = Arc::new(targets.clone());
        let message = |shard| {
            let action = action(collector.part(Source::Shard(shard)));
            (shard, RelayedOperation { targets: Arc::clone(&targets), action }.into())
        };
        wanted_shards(&targets, self.engine.shards(), self.config.sockets_move()).map(message).collect()
    }

    /// A question: `timeout` for those who answer, and `grace` more for the shards and servers to say who did not.
    fn asking<T: Gathered>(
        &self,
        operation: &Operation,
        servers: bool,
        timeout: Duration,
        grace: Duration,
        messages: impl FnOnce(&Arc<Collector<T>>) -> Messages,
    ) -> Asking<T>
    where
        Replies: From<Part<T>>,
    {
        let collector = Collector::with_budget(self.config.broadcast_answers);
        if servers && self.config.adapter.is_some() {
            let replies = Replies::from(collector.part(Source::OtherServers));
            self.tell_servers(true, operation.clone(), Some(replies));
        }
        let messages = messages(&collector);
        // What another server asked for must be on its way back before that server's time is up.
        let timeout = match (servers, grace) {
            (true, grace) => timeout.saturating_add(grace),
            (false, Duration::ZERO) => timeout - timeout / 4,
            (false, grace) => timeout.saturating_add(grace / 2),
        };
        Asking { engine: self.engine.clone(), messages, collector, timeout }
    }

    fn encoded(&self, targets: &Targets, ack: Option<AckId>, event: &EventData, flags: Flags) -> engineio::SharedFrame {
        let encoder = self.config.encoder();
        let frame = encoder.event(&targets.nsp, ack, &event.name, &event.args, &event.attachments);
        if flags.compress { frame } else { frame.without_compression() }
    }

    fn tell_servers(&self, servers: bool, operation: Operation, replies: Option<Replies>) {
        match &self.config.adapter {
            Some(adapter) if servers && operation.reaches_servers() => adapter.send(operation, replies),
            _ => replies.into_iter().for_each(Replies::done),
        }
    }
}

fn server_side(targets: &Targets, event: &EventData, part: Option<Part<ServerAnswers>>) -> ShardMessage {
    let action = RelayedAction::ServerSide(Arc::new(event.clone()), part);
    RelayedOperation { targets: Arc::new(Targets::everyone(&targets.nsp)), action }.into()
}
