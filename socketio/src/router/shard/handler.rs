//! The calls that the shard makes.

use std::{sync::Arc, time::SystemTime};

use engineio::{ConnKey, JobId, ShardMessage, job::JobPanicked};

use super::{
    super::{
        app::Settings,
        callback::Task,
        commands::Commands,
        context::{AckSlot, ConnectContext},
        error::EventError,
        event::{OwnedEvent, Routed, report},
        handshake::Handshake,
        io::SocketIo,
        payload::Answer,
        remote::{Kept, describe},
        routes::NamespaceRoutes,
        socket::{Parts, Restored, Socket},
        tasks::{self, Finished},
        type_map::TypeMap,
    },
    run::{run_authorize, run_connect, run_disconnect},
    state::{Admission, Entry, JobKind, RouterShard},
};
use crate::{
    adapter::{EventData, Reply, ServerReply},
    error::{AckError, ConnectError, DisconnectReason},
    handler::{ConnectRequest, Decision, Handler},
    io::Io,
    packet::{AckId, Args, Event},
    state::{
        ids::{RequestId, SocketKey},
        report::{RoomChange, RoomEvent},
    },
};

impl RouterShard {
    /// What a CONNECT comes with, and who handles it. `None` when the router knows no such namespace.
    fn connect_context(&self, request: &ConnectRequest<'_>) -> Option<(ConnectContext, Arc<NamespaceRoutes>)> {
        let handshake = self.handshakes.get(request.conn.index() as usize)?.clone()?;
        let (routes, params) = self.routes.find(request.nsp)?;
        let context = ConnectContext {
            app: Arc::clone(&self.app),
            handshake,
            nsp: request.nsp.into(),
            auth: request.auth.map(Into::into),
            params: Arc::new(params),
            extensions: TypeMap::default(),
        };
        Some((context, routes))
    }

    fn admit(&mut self, io: &mut Io<'_>, key: SocketKey, admission: Admission) {
        let Some(id) = io.id(key) else { return };
        let Admission { context, routes } = admission;
        let ConnectContext { app, handshake, nsp, auth, params, extensions } = context;
        let shard = io.shard();
        let recovered = io.is_recovered(key).then(|| {
            let kept = io.recovered_data(key).and_then(|kept| serde_json::from_str::<Kept>(kept).ok());
            let data = kept.and_then(|kept| kept.data).map(|data| data.get().into());
            Restored { rooms: io.rooms(key).map(Into::into).collect(), data }
        });
        let parts = Parts { app, id, key, shard, nsp, handshake, auth, params, extensions, recovered };
        let of = Routed { socket: Socket::new(parts), routes };
        let index = key.index() as usize;
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.sockets.get_mut(index) {
            *slot = Some(Entry::new(of.clone()));
        }
        let connected = of.clone();
        let is_done = of.routes.connect.is_empty()
            || self.run_task(
                io,
                &of,
                "connect",
                &AckSlot::default(),
                Box::pin(async move { run_connect(&connected).await }),
            );
        if is_done {
            // There was no task, or it was dropped because there were too many.
            of.socket.forget_auth();
        }
        if of.routes.ordered && is_done {
            self.run_waiting(io, key);
        }
    }
}

impl Handler for RouterShard {
    type Admission = Admission;

    fn on_open(&mut self, _: &mut Io<'_>, conn: ConnKey, handshake: &engineio::Handshake<'_>) {
        let index = conn.index() as usize;
        if self.handshakes.len() <= index {
            self.handshakes.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.handshakes.get_mut(index) {
            *slot = Some(Arc::new(Handshake::new(handshake, SystemTime::now())));
        }
    }

    fn on_close(&mut self, _: &mut Io<'_>, conn: ConnKey) {
        if let Some(slot) = self.handshakes.get_mut(conn.index() as usize) {
            *slot = None;
        }
    }

    fn authorize(&mut self, io: &mut Io<'_>, request: &ConnectRequest<'_>) -> Decision<Admission> {
        let ConnectRequest { conn, pending, .. } = *request;
        let Some((context, routes)) = self.connect_context(request) else {
            return Decision::Refuse(ConnectError::new("Invalid namespace"));
        };
        if routes.authorize.is_empty() {
            return Decision::Admit(Admission { context, routes });
        }
        let mut task: Task<_> = Box::pin(run_authorize(Arc::clone(&routes), context));
        match self.run(io, "authorize", || tasks::begin(&mut task)) {
            Some(result) => result.map(|context| Admission { context, routes }).into(),
            None => {
                let rest = tasks::rest(Arc::clone(&self.app), io.shard(), "authorize".into(), task);
                if self.start_job(io, JobKind::Authorize { pending, conn, routes }, rest).is_err() {
                    // A refusal would be for ever, and this is temporary: the client comes back.
                    io.close(conn);
                }
                Decision::Later
            }
        }
    }

    fn readmit(&mut self, _: &mut Io<'_>, request: &ConnectRequest<'_>, data: Option<&str>) -> Option<Admission> {
        let Kept { id, .. } = serde_json::from_str(data?).ok()?;
        let (mut context, routes) = self.connect_context(request)?;
        // Without what the authorisations brought, they are to be asked again.
        context.extensions = self.app.recoverable.take(&id)?;
        Some(Admission { context, routes })
    }

    fn on_connect(&mut self, io: &mut Io<'_>, socket: SocketKey, admission: Admission) {
        self.admit(io, socket, admission);
    }

    fn on_event(&mut self, io: &mut Io<'_>, key: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
        let Settings { queued_events, queued_bytes, .. } = self.app.settings;
        let ack = AckSlot::new(ack);
        let Some(entry) = self.entry(key) else { return };
        let of = entry.of.clone();
        if !of.routes.ordered {
            self.run_event(io, &of, event, &ack);
            return;
        }
        if !std::mem::replace(&mut entry.is_busy, true) {
            if self.run_event(io, &of, event, &ack) {
                self.run_waiting(io, key);
            }
        } else if !entry.push(OwnedEvent::new(event, ack.clone()), queued_events, queued_bytes) {
            self.run(io, &event.name, || report(&of, &event.name, &EventError::TooMany, &ack));
        }
    }

    fn on_ack(&mut self, _: &mut Io<'_>, _: SocketKey, id: AckId, answer: Result<&Args<'_>, AckError>) {
        if let Some(reply) = self.answers.remove(&id) {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(answer.map(|args| Answer(args.into())).map_err(Into::into));
        }
    }

    fn on_server_event(&mut self, io: &mut Io<'_>, nsp: &str, event: &EventData, reply: Option<ServerReply>) {
        let Some((routes, _)) = self.routes.find(nsp) else { return };
        if let Some(hook) = &routes.server_event {
            let (socket_io, event) = (SocketIo::new(Arc::clone(&self.app)), event.clone());
            self.run(io, "server event", || hook(socket_io, event, reply));
        }
    }

    fn on_reply(&mut self, _: &mut Io<'_>, request: RequestId, reply: Reply) {
        if let Some(waiting) = self.replies.remove(&request) {
            // Whoever asked may have stopped waiting.
            let _ = waiting.send(Ok(reply));
        }
    }

    fn socket_data(&self, _: &Io<'_>, key: SocketKey) -> Option<String> {
        let entry = self.sockets.get(key.index() as usize)?.as_ref();
        let socket = &entry.filter(|entry| entry.of.socket.key() == key)?.of.socket;
        describe(&socket.id().to_string(), socket.handshake(), socket.raw_data().as_deref())
    }

    fn on_room_event(&mut self, io: &mut Io<'_>, event: &RoomEvent) {
        // The rooms of a socket that is gone stay known to the handlers of its end.
        if io.id(event.socket).is_none() {
            return;
        }
        if let Some(entry) = self.entry(event.socket) {
            match event.change {
                RoomChange::Joined => entry.of.socket.add_room(&event.room),
                RoomChange::Left => entry.of.socket.remove_room(&event.room),
                RoomChange::Created | RoomChange::Deleted => {}
            }
        }
    }

    fn on_disconnect(&mut self, io: &mut Io<'_>, key: SocketKey, reason: DisconnectReason) {
        if self.entry(key).is_none() {
            return;
        }
        let Some(entry) = self.sockets.get_mut(key.index() as usize).and_then(Option::take) else { return };
        entry.of.socket.end();
        if let Some(options) = self.app.recovery().filter(|_| reason.is_recoverable()) {
            let socket = &entry.of.socket;
            self.app.recoverable.keep(&socket.id().to_string(), socket.extensions(), io.now(), options);
        }
        if !entry.of.routes.disconnect.is_empty() {
            let of = entry.of.clone();
            let task = Box::pin(async move { run_disconnect(&of, reason).await });
            self.run_task(io, &entry.of, "disconnect", &AckSlot::default(), task);
        }
    }

    fn on_shard_message(&mut self, io: &mut Io<'_>, message: ShardMessage) {
        // The router sends nothing else.
        if let Ok(Commands(mut commands)) = message.downcast() {
            self.carry_out(io, &mut commands);
        }
    }

    fn on_job_done(&mut self, io: &mut Io<'_>, job: JobId, result: Result<ShardMessage, JobPanicked>) {
        match (self.end_job(job), result) {
            (Some(JobKind::Task { of, conn, .. }), Ok(message)) => {
                if let Ok(Finished::<()> { mut commands, .. }) = message.downcast() {
                    self.carry_out(io, &mut commands);
                }
                if of.routes.ordered {
                    self.go_on(io, conn, |shard, io| shard.run_waiting(io, of.socket.key()));
                }
            }
            (Some(JobKind::Authorize { pending, conn, routes }), Ok(message)) => {
                type Authorized = Finished<Result<ConnectContext, ConnectError>>;
                let Ok(Authorized { output, mut commands }) = message.downcast() else { return };
                self.carry_out(io, &mut commands);
                match output {
                    Ok(context) => {
                        if let Some(socket) = io.admit(pending) {
                            let admission = Admission { context, routes };
                            self.go_on(io, Some(conn), |shard, io| shard.admit(io, socket, admission));
                        }
                    }
                    Err(error) => drop(io.refuse(pending, &error)),
                }
            }
            (Some(JobKind::Task { of, conn, name, ack }), Err(JobPanicked)) => {
                if let Some(conn) = conn {
                    io.close(conn);
                }
                self.run(io, &name, || report(&of, &name, &EventError::Panicked, &ack));
            }
            (Some(JobKind::Authorize { conn, .. }), Err(JobPanicked)) => io.close(conn),
            (None, _) => {}
        }
    }
}
