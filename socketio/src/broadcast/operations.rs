//! What can be done to many sockets beside sending them an event.
//!
//! This shard does it at once, the others as soon as they get the message.

use std::{collections::HashSet, future::poll_fn, sync::Arc, time::Duration};

use bytes::Bytes;
use engineio::Job;

use super::{Broadcast, gather::Delivery, one_socket};
use crate::{
    adapter::{
        Action, Adapter, EventData, Operation, Replies, Reply, ServerAnswers, Sockets, Source, Targets,
        collector::{Collector, GRACE, Part},
        reply::Gathered,
    },
    error::EmitError,
    packet::is_reserved,
    relay::{Question, RelayedAction, send_to_shards},
    state::{
        deadlines::Deadline,
        ids::{Member, RequestId},
        questions,
        report::Report,
    },
};

/// What the job of a request brings back to its shard.
pub(crate) struct Completed {
    pub(crate) deadline: Deadline,
    pub(crate) reply: Reply,
}

impl Broadcast<'_> {
    /// The sockets join rooms.
    ///
    /// # Errors
    /// [`EmitError::UnknownNamespace`].
    pub fn sockets_join<R: AsRef<str>>(self, rooms: impl IntoIterator<Item = R>) -> Result<(), EmitError> {
        let rooms = names(rooms);
        self.operate(|| Action::Join { rooms: rooms.to_vec() }, || RelayedAction::Join(Arc::clone(&rooms)))
    }

    /// The sockets leave rooms.
    ///
    /// # Errors
    /// [`EmitError::UnknownNamespace`].
    pub fn sockets_leave<R: AsRef<str>>(self, rooms: impl IntoIterator<Item = R>) -> Result<(), EmitError> {
        let rooms = names(rooms);
        self.operate(|| Action::Leave { rooms: rooms.to_vec() }, || RelayedAction::Leave(Arc::clone(&rooms)))
    }

    /// Disconnects the sockets, as [`Io::disconnect`](crate::Io::disconnect) does each.
    ///
    /// # Errors
    /// [`EmitError::UnknownNamespace`].
    pub fn disconnect_sockets(self, close: bool) -> Result<(), EmitError> {
        self.operate(|| Action::Disconnect { close }, || RelayedAction::Disconnect { close })
    }

    /// Lists the sockets. [`Handler::on_reply`](crate::Handler::on_reply) gets [`Reply::Sockets`], after `timeout` at the latest.
    ///
    /// # Errors
    /// [`EmitError::UnknownNamespace`], [`EmitError::TooManyRequests`].
    pub fn fetch_sockets(mut self, timeout: Duration) -> Result<RequestId, EmitError> {
        self.check_namespace()?;
        let collector = Collector::new();
        let request = self.request(&collector, timeout)?;
        if let Some((adapter, targets)) = self.servers() {
            let replies = Replies::from(collector.part(Source::OtherServers));
            adapter.send(Operation { targets, action: Action::FetchSockets { timeout } }, Some(replies));
        }
        self.send_to_other_shards(|shard| RelayedAction::Fetch(collector.part(Source::Shard(shard))));
        let here = collector.part(Source::Shard(self.outbox.shard()));
        self.fetch(here);
        Ok(request)
    }

    /// Sends the event, and gathers what the sockets answer. [`Handler::on_reply`](crate::Handler::on_reply) gets
    /// [`Reply::Answers`] when all have answered, or else after `timeout`. With no recipients that is at once. With
    /// [`Duration::MAX`] answers may come as long as the sockets are connected.
    ///
    /// # Errors
    /// [`EmitError::ReservedName`], [`EmitError::UnknownNamespace`], [`EmitError::TooManyRequests`].
    pub fn emit_with_ack(
        mut self,
        name: &str,
        args: &str,
        attachments: &[Bytes],
        timeout: Duration,
    ) -> Result<RequestId, EmitError> {
        if is_reserved(name) {
            return Err(EmitError::ReservedName);
        }
        self.check_namespace()?;
        let collector = Collector::with_budget(self.state.config.broadcast_answers);
        let request = self.request(&collector, timeout.saturating_add(GRACE))?;
        if let Some((adapter, targets)) = self.servers() {
            let replies = Replies::from(collector.part(Source::OtherServers));
            let (event, flags) = (EventData::new(name, args, attachments), self.flags);
            adapter.send(Operation { targets, action: Action::EmitWithAck { event, flags, timeout } }, Some(replies));
        }
        let id = questions::next_id();
        let frame = self.encode(Some(id), name, args, attachments);
        let (volatile, deadline) = (self.flags.volatile, self.outbox.now().checked_add(timeout));
        let question = |shard| {
            let part = collector.part(Source::Shard(shard));
            RelayedAction::Ask(Question { frame: frame.clone(), volatile, id, deadline, part })
        };
        self.send_to_other_shards(question);
        let here = question(self.outbox.shard());
        self.perform(here);
        Ok(request)
    }

    /// Sends an event to the handlers of the other servers ([`Handler::on_server_event`](crate::Handler::on_server_event)). Targets
    /// do not count. Without an [`Adapter`] there are no other servers, and nothing happens.
    ///
    /// # Errors
    /// [`EmitError::UnknownNamespace`].
    pub fn server_side_emit(self, name: &str, args: &str, attachments: &[Bytes]) -> Result<(), EmitError> {
        self.check_namespace()?;
        if let Some(adapter) = &self.state.config.adapter {
            let action = Action::ServerSideEmit { event: EventData::new(name, args, attachments) };
            adapter.send(Operation { targets: Targets::everyone(&self.nsp_name), action }, None);
        }
        Ok(())
    }

    /// [`Broadcast::server_side_emit`], with the answers of the servers: [`Handler::on_reply`](crate::Handler::on_reply) gets
    /// [`Reply::Servers`].
    ///
    /// # Errors
    /// [`EmitError::UnknownNamespace`], [`EmitError::TooManyRequests`].
    pub fn server_side_emit_with_ack(
        mut self,
        name: &str,
        args: &str,
        attachments: &[Bytes],
        timeout: Duration,
    ) -> Result<RequestId, EmitError> {
        self.check_namespace()?;
        let collector = Collector::<ServerAnswers>::new();
        let request = self.request(&collector, timeout.saturating_add(GRACE))?;
        if let Some(adapter) = &self.state.config.adapter {
            let event = EventData::new(name, args, attachments);
            let action = Action::ServerSideEmitWithAck { event, timeout };
            let replies = Replies::from(collector.part(Source::OtherServers));
            adapter.send(Operation { targets: Targets::everyone(&self.nsp_name), action }, Some(replies));
        }
        Ok(request)
    }

    /// What is done to sockets and brings nothing back.
    fn operate(
        mut self,
        action: impl FnOnce() -> Action,
        relayed: impl Fn() -> RelayedAction,
    ) -> Result<(), EmitError> {
        self.check_namespace()?;
        if let Some((adapter, targets)) = self.servers() {
            adapter.send(Operation { targets, action: action() }, None);
        }
        self.send_to_other_shards(|_| relayed());
        self.perform(relayed());
        Ok(())
    }

    /// The way to other servers, and the targets, if it may have some there.
    pub(super) fn servers(&self) -> Option<(&dyn Adapter, Targets)> {
        let adapter = self.state.config.adapter.as_deref().filter(|_| !self.this_server && !self.local)?;
        let names = self.names.as_ref()?;
        let rooms = self.recipients.narrowed.then(|| names.to.clone());
        let targets = Targets { nsp: Arc::clone(&self.nsp_name), rooms, except: names.except.clone() };
        (!targets.is_nobody()).then_some((adapter, targets))
    }

    fn send_to_other_shards(&mut self, action: impl FnMut(u16) -> RelayedAction) {
        if let Some(names) = self.names.take().filter(|_| !self.local) {
            let (targets, here) = (Arc::new(self.targets(names)), self.outbox.shard());
            send_to_shards(self.outbox, &targets, here, self.state.config.sockets_move(), action);
        }
    }

    /// Starts to wait for what a collector gathers.
    fn request<T: Gathered>(
        &mut self,
        collector: &Arc<Collector<T>>,
        timeout: Duration,
    ) -> Result<RequestId, EmitError> {
        let deadline = self.outbox.now().checked_add(timeout);
        let waiting = Arc::clone(collector);
        let job = Job::future(async move {
            poll_fn(|context| waiting.poll_done(context)).await;
            Completed { deadline, reply: waiting.take().into_reply() }
        });
        let job = self.outbox.start_job(job).map_err(|_| EmitError::TooManyRequests)?;
        self.state.deadlines.add_request(deadline, job, collector);
        Ok(RequestId(job))
    }

    /// Does on this shard what was asked for here or on another one.
    pub(crate) fn perform(mut self, action: RelayedAction) {
        let members = match action {
            RelayedAction::Ask(question) => return self.ask(question),
            RelayedAction::Fetch(part) => return self.fetch(part),
            // It is for the handler, which `server` calls.
            RelayedAction::ServerSide(..) => return,
            RelayedAction::Join(_) | RelayedAction::Leave(_) | RelayedAction::Disconnect { .. } => self.members(),
        };
        let Self { state, outbox, .. } = self;
        for Member { socket, .. } in members {
            match &action {
                RelayedAction::Join(rooms) => {
                    for room in rooms.iter() {
                        one_socket::join(state, outbox, socket, room);
                    }
                }
                RelayedAction::Leave(rooms) => {
                    for room in rooms.iter() {
                        one_socket::leave(state, outbox, socket, room);
                    }
                }
                RelayedAction::Disconnect { close } => one_socket::disconnect(state, outbox, socket, *close),
                _ => {}
            }
        }
    }

    /// The recipients on this shard, each once.
    fn members(&mut self) -> Vec<Member> {
        let Some(nsp) = self.nsp else { return Vec::new() };
        self.recipients.members(&mut Delivery::new(self.state, self.outbox), nsp)
    }

    /// The application is asked about the sockets when it is not being called.
    fn fetch(mut self, part: Part<Sockets>) {
        let sockets = self.members().into_iter().map(|member| member.socket).collect();
        self.state.reports.push_back(Report::Fetch(sockets, part));
    }

    /// Sends a question, and waits for the answers of those who got it.
    fn ask(mut self, question: Question) {
        let Question { frame, volatile, id, deadline, mut part } = question;
        let members = self.members();
        let Self { state, outbox, .. } = self;
        let limit = state.config.acks_per_socket;
        let mut waiting = HashSet::new();
        let mut refused = Vec::new();
        for member in members {
            let Some(socket) = state.sockets.get(member.socket.0) else { continue };
            if socket.acks.len() >= limit {
                refused.push(socket.id.to_string());
            } else if Delivery::new(state, outbox).send(&member, &frame, volatile) {
                waiting.insert(member.socket);
                if let Some(socket) = state.sockets.get_mut(member.socket.0) {
                    socket.acks.push((id, None));
                }
            }
        }
        part.add(|answers| {
            answers.recipients += waiting.len() + refused.len();
            answers.unanswered.extend(refused);
        });
        state.questions.add(id, part, deadline, waiting);
    }
}

fn names<R: AsRef<str>>(names: impl IntoIterator<Item = R>) -> Arc<[Arc<str>]> {
    names.into_iter().map(|name| Arc::from(name.as_ref())).collect()
}
