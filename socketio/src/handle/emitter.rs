//! [`Emitter`]: sockets that any thread chooses, and what it does to them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    answer_stream::AnswerStream,
    types::{EmitterError, Handle},
};
use crate::adapter::{Action, Answers, EventData, Flags, Operation, Reply, ServerAnswers, Sockets, Targets};

/// Sockets of a namespace that another thread chooses, for [`Emitter::emit`] or another operation.
///
/// It narrows like [`Broadcast`](crate::broadcast::Broadcast): `to` to rooms or sockets (by id), each socket once; `except` leaves
/// some out, `volatile` those that have much unread. It can be kept, cloned, and used many times:
///
/// ```no_run
/// # async fn example(io: socketio::Handle) -> Result<(), socketio::EmitterError> {
/// let room = io.of("/").to("news");
/// room.emit("headline", r#""Tea is ready""#, &[]).await?;
/// room.sockets_join(["readers"]).await?;
/// for socket in room.fetch_sockets(std::time::Duration::from_secs(5)).await?.sockets {
///     println!("{} is in {:?}", socket.id, socket.rooms);
/// }
/// # Ok(())
/// # }
/// ```
///
/// Each operation has a form for async code and one for a thread that may block. The future of the former does nothing before it is
/// awaited; those that wait for replies need a tokio runtime with its timer. What waits for replies takes `timeout` at
/// most, and 250 ms more where the sockets have that time to answer.
#[derive(Debug, Clone)]
#[must_use = "nothing is done before `emit` or another operation"]
pub struct Emitter {
    handle: Handle,
    targets: Targets,
    flags: Flags,
    this_server: bool,
}

impl Handle {
    /// The sockets of a namespace, to be narrowed, for a broadcast or another operation. A namespace that exists only while clients are
    /// in it ([`dynamic_namespaces`](crate::Config::dynamic_namespaces)) may have none.
    pub fn of(&self, nsp: &str) -> Emitter {
        self.of_targets(Targets::everyone(nsp))
    }

    /// The sockets that are chosen by data.
    pub fn of_targets(&self, targets: Targets) -> Emitter {
        Emitter { handle: self.clone(), targets, flags: Flags::default(), this_server: false }
    }
}

impl Emitter {
    /// Narrows it to a room, or to the socket whose id this is. Several calls add up.
    pub fn to(mut self, room: &str) -> Self {
        self.targets.to(room);
        self
    }

    /// [`Emitter::to`], by the other name that Node has for it.
    pub fn in_(self, room: &str) -> Self {
        self.to(room)
    }

    /// Narrows it to several rooms, as [`Emitter::to`] for each does. With no room it reaches nobody.
    pub fn to_all<R: AsRef<str>>(mut self, rooms: impl IntoIterator<Item = R>) -> Self {
        self.targets.rooms.get_or_insert_default();
        rooms.into_iter().fold(self, |emitter, room| emitter.to(room.as_ref()))
    }

    /// Leaves out the members of a room, or the socket whose id this is.
    pub fn except(mut self, room: &str) -> Self {
        self.targets.except(room);
        self
    }

    /// Leaves out several rooms, as [`Emitter::except`] for each does.
    pub fn except_all<R: AsRef<str>>(self, rooms: impl IntoIterator<Item = R>) -> Self {
        rooms.into_iter().fold(self, |emitter, room| emitter.except(room.as_ref()))
    }

    /// Leaves out sockets whose queue is above the engine's `outbound_soft`.
    pub const fn volatile(mut self) -> Self {
        self.flags.volatile = true;
        self
    }

    /// Whether the event may be compressed; it may, unless this says otherwise. It matters only where the engine's configuration
    /// has compression.
    pub const fn compress(mut self, compress: bool) -> Self {
        self.flags.compress = compress;
        self
    }

    /// Leaves out the sockets of other servers: what Node calls `local`.
    pub const fn this_server(mut self) -> Self {
        self.this_server = true;
        self
    }

    /// Sends the event. `args` are JSON values joined by commas, with a [placeholder](crate::parser::attachments::placeholder)
    /// for each attachment. Waits while a shard has too much to do.
    ///
    /// # Errors
    /// [`EmitterError`] when it will not reach everybody.
    pub fn emit(
        &self,
        name: &str,
        args: &str,
        attachments: &[Bytes],
    ) -> impl Future<Output = Result<(), EmitterError>> + Send + use<> {
        let run = self.run(Action::Emit { event: EventData::new(name, args, attachments), flags: self.flags });
        async move { run.await.map(drop) }
    }

    /// [`Emitter::emit`] for a thread that may block.
    ///
    /// # Errors
    /// [`EmitterError`] when it will not reach everybody.
    pub fn emit_blocking(&self, name: &str, args: &str, attachments: &[Bytes]) -> Result<(), EmitterError> {
        self.run_blocking(Action::Emit { event: EventData::new(name, args, attachments), flags: self.flags }).map(drop)
    }

    /// The sockets join rooms.
    ///
    /// # Errors
    /// [`EmitterError`] when not all of them will.
    pub fn sockets_join<R: AsRef<str>, I: IntoIterator<Item = R>>(
        &self,
        rooms: I,
    ) -> impl Future<Output = Result<(), EmitterError>> + Send + use<R, I> {
        let run = self.run(Action::Join { rooms: names(rooms) });
        async move { run.await.map(drop) }
    }

    /// [`Emitter::sockets_join`] for a thread that may block.
    ///
    /// # Errors
    /// [`EmitterError`] when not all of them will.
    pub fn sockets_join_blocking<R: AsRef<str>, I: IntoIterator<Item = R>>(
        &self,
        rooms: I,
    ) -> Result<(), EmitterError> {
        self.run_blocking(Action::Join { rooms: names(rooms) }).map(drop)
    }

    /// The sockets leave rooms.
    ///
    /// # Errors
    /// [`EmitterError`] when not all of them will.
    pub fn sockets_leave<R: AsRef<str>, I: IntoIterator<Item = R>>(
        &self,
        rooms: I,
    ) -> impl Future<Output = Result<(), EmitterError>> + Send + use<R, I> {
        let run = self.run(Action::Leave { rooms: names(rooms) });
        async move { run.await.map(drop) }
    }

    /// [`Emitter::sockets_leave`] for a thread that may block.
    ///
    /// # Errors
    /// [`EmitterError`] when not all of them will.
    pub fn sockets_leave_blocking<R: AsRef<str>, I: IntoIterator<Item = R>>(
        &self,
        rooms: I,
    ) -> Result<(), EmitterError> {
        self.run_blocking(Action::Leave { rooms: names(rooms) }).map(drop)
    }

    /// Disconnects the sockets, as [`Io::disconnect`](crate::Io::disconnect) does each.
    ///
    /// # Errors
    /// [`EmitterError`] when not all of them will be.
    pub fn disconnect_sockets(&self, close: bool) -> impl Future<Output = Result<(), EmitterError>> + Send + use<> {
        let run = self.run(Action::Disconnect { close });
        async move { run.await.map(drop) }
    }

    /// [`Emitter::disconnect_sockets`] for a thread that may block.
    ///
    /// # Errors
    /// [`EmitterError`] when not all of them will be.
    pub fn disconnect_sockets_blocking(&self, close: bool) -> Result<(), EmitterError> {
        self.run_blocking(Action::Disconnect { close }).map(drop)
    }

    /// Lists the sockets. Who does not answer within `timeout` is in [`Sockets::missing`].
    ///
    /// # Errors
    /// [`EmitterError::UnknownNamespace`].
    pub fn fetch_sockets(
        &self,
        timeout: Duration,
    ) -> impl Future<Output = Result<Sockets, EmitterError>> + Send + use<> {
        let run = self.run(Action::FetchSockets { timeout });
        async move { Ok(sockets(run.await?)) }
    }

    /// [`Emitter::fetch_sockets`] for a thread that may block.
    ///
    /// # Errors
    /// [`EmitterError::UnknownNamespace`].
    pub fn fetch_sockets_blocking(&self, timeout: Duration) -> Result<Sockets, EmitterError> {
        Ok(sockets(self.run_blocking(Action::FetchSockets { timeout })?))
    }

    /// Sends the event, and gathers what the sockets answer within `timeout`. With no recipients it is done at once.
    ///
    /// # Errors
    /// [`EmitterError::ReservedName`], [`EmitterError::UnknownNamespace`].
    pub fn emit_with_ack(
        &self,
        name: &str,
        args: &str,
        attachments: &[Bytes],
        timeout: Duration,
    ) -> impl Future<Output = Result<Answers, EmitterError>> + Send + use<> {
        let run = self.run(Action::EmitWithAck {
            event: EventData::new(name, args, attachments),
            flags: self.flags,
            timeout,
        });
        async move { Ok(answers(run.await?)) }
    }

    /// [`Emitter::emit_with_ack`] for a thread that may block.
    ///
    /// # Errors
    /// [`EmitterError::ReservedName`], [`EmitterError::UnknownNamespace`].
    pub fn emit_with_ack_blocking(
        &self,
        name: &str,
        args: &str,
        attachments: &[Bytes],
        timeout: Duration,
    ) -> Result<Answers, EmitterError> {
        Ok(answers(self.run_blocking(Action::EmitWithAck {
            event: EventData::new(name, args, attachments),
            flags: self.flags,
            timeout,
        })?))
    }

    /// Sends an event to the handlers of the other servers ([`Handler::on_server_event`](crate::Handler::on_server_event)). Targets
    /// do not count. Without an [`Adapter`](crate::adapter::Adapter) there are no other servers, and nothing happens.
    ///
    /// # Errors
    /// [`EmitterError::UnknownNamespace`].
    pub fn server_side_emit(
        &self,
        name: &str,
        args: &str,
        attachments: &[Bytes],
    ) -> impl Future<Output = Result<(), EmitterError>> + Send + use<> {
        let run = self.run(Action::ServerSideEmit { event: EventData::new(name, args, attachments) });
        async move { run.await.map(drop) }
    }

    /// [`Emitter::server_side_emit`] for a thread that may block.
    ///
    /// # Errors
    /// [`EmitterError::UnknownNamespace`].
    pub fn server_side_emit_blocking(&self, name: &str, args: &str, attachments: &[Bytes]) -> Result<(), EmitterError> {
        self.run_blocking(Action::ServerSideEmit { event: EventData::new(name, args, attachments) }).map(drop)
    }

    /// [`Emitter::server_side_emit`], with the answers that come within `timeout`.
    ///
    /// # Errors
    /// [`EmitterError::UnknownNamespace`].
    pub fn server_side_emit_with_ack(
        &self,
        name: &str,
        args: &str,
        attachments: &[Bytes],
        timeout: Duration,
    ) -> impl Future<Output = Result<ServerAnswers, EmitterError>> + Send + use<> {
        let run = self.run(Action::ServerSideEmitWithAck { event: EventData::new(name, args, attachments), timeout });
        async move { Ok(servers(run.await?)) }
    }

    /// [`Emitter::server_side_emit_with_ack`] for a thread that may block.
    ///
    /// # Errors
    /// [`EmitterError::UnknownNamespace`].
    pub fn server_side_emit_with_ack_blocking(
        &self,
        name: &str,
        args: &str,
        attachments: &[Bytes],
        timeout: Duration,
    ) -> Result<ServerAnswers, EmitterError> {
        Ok(servers(
            self.run_blocking(Action::ServerSideEmitWithAck {
                event: EventData::new(name, args, attachments),
                timeout,
            })?,
        ))
    }

    /// [`Emitter::emit_with_ack`], with each answer as soon as it comes: for an adapter, whose peers want to hear of each, and for an
    /// application that need not wait for all.
    ///
    /// ```no_run
    /// # async fn example(io: socketio::Handle) -> Result<(), socketio::EmitterError> {
    /// use socketio::AnswerProgress;
    ///
    /// let mut stream = io.of("/").stream_answers("ready?", "", &[], std::time::Duration::from_secs(5)).await?;
    /// while let Some(progress) = stream.next().await {
    ///     if let AnswerProgress::Answer(answer) = progress {
    ///         println!("{:?}", answer.args.first());
    ///     }
    /// }
    /// println!("no answer from {:?}", stream.finish().unanswered);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`EmitterError::ReservedName`], [`EmitterError::UnknownNamespace`].
    pub fn stream_answers(
        &self,
        name: &str,
        args: &str,
        attachments: &[Bytes],
        timeout: Duration,
    ) -> impl Future<Output = Result<AnswerStream, EmitterError>> + Send + use<> {
        let (handle, servers) = (self.handle.clone(), !self.this_server);
        let (targets, flags, event) = (self.targets.clone(), self.flags, EventData::new(name, args, attachments));
        async move { Ok(AnswerStream::start(handle.start_asking(targets, servers, &event, flags, timeout)?).await) }
    }

    fn run_blocking(&self, action: Action) -> Result<Option<Reply>, EmitterError> {
        let operation = Operation { targets: self.targets.clone(), action };
        self.handle.start(operation, !self.this_server)?.finish_blocking()
    }

    /// Does it when it is polled.
    fn run(&self, action: Action) -> impl Future<Output = Result<Option<Reply>, EmitterError>> + Send + use<> {
        let (handle, servers) = (self.handle.clone(), !self.this_server);
        let operation = Operation { targets: self.targets.clone(), action };
        async move { handle.start(operation, servers)?.finish().await }
    }
}

fn names<R: AsRef<str>>(names: impl IntoIterator<Item = R>) -> Vec<Arc<str>> {
    names.into_iter().map(|name| Arc::from(name.as_ref())).collect()
}

fn sockets(reply: Option<Reply>) -> Sockets {
    if let Some(Reply::Sockets(sockets)) = reply { sockets } else { Sockets::default() }
}

fn answers(reply: Option<Reply>) -> Answers {
    if let Some(Reply::Answers(answers)) = reply { answers } else { Answers::default() }
}

fn servers(reply: Option<Reply>) -> ServerAnswers {
    if let Some(Reply::Servers(servers)) = reply { servers } else { ServerAnswers::default() }
}
