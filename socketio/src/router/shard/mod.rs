//! [`RouterShard`]: the router as the [`Handler`] of one shard. It finds the handlers of the application, runs them, and carries out
//! their commands.

mod carry_out;
mod run;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::SystemTime,
};

use engineio::{ConnKey, JobId, ShardMessage, job::JobPanicked};
use tokio::sync::oneshot;

use self::run::{run_authorize, run_connect, run_disconnect};
use super::{
    app::App,
    commands::{Command, Commands},
    context::ConnectContext,
    error::{AnswerError, EventError},
    event::{OwnedEvent, report},
    handshake::Handshake,
    io::SocketIo,
    payload::Answer,
    remote::describe,
    routes::NamespaceRoutes,
    socket::{Place, Socket},
    tasks::{self, Finished, Task},
    type_map::TypeMap,
};
use crate::{
    adapter::{EventData, Reply, ServerReply},
    error::{AckError, ConnectError, DisconnectReason},
    handler::{ConnectRequest, Decision, Handler},
    io::Io,
    packet::{AckId, Args, Event},
    state::{
        ids::{PendingConnect, RequestId, SocketKey},
        report::{RoomChange, RoomEvent},
    },
};

/// A client that an authorisation let in.
pub struct Admission {
    context: ConnectContext,
    routes: Arc<NamespaceRoutes>,
}

/// A socket of this shard.
struct Entry {
    socket: Socket,
    /// Whether an event is being handled whose end the others wait for; only where events are handled in order.
    is_busy: bool,
    waiting: VecDeque<OwnedEvent>,
}

/// What a job is.
enum JobKind {
    Authorize { pending: PendingConnect, conn: ConnKey, routes: Arc<NamespaceRoutes> },
    Task { socket: Socket, conn: Option<ConnKey>, name: Box<str> },
}

/// See the module.
pub struct RouterShard {
    app: Arc<App>,
    /// By the connection's index.
    handshakes: Vec<Option<Arc<Handshake>>>,
    /// By the socket's index.
    sockets: Vec<Option<Entry>>,
    answers: HashMap<AckId, oneshot::Sender<Result<Answer, AnswerError>>>,
    /// Who waits for replies of many sockets.
    replies: HashMap<RequestId, oneshot::Sender<Reply>>,
    jobs: HashMap<JobId, JobKind>,
    /// Empty between calls.
    commands: Vec<Command>,
}

impl std::fmt::Debug for RouterShard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RouterShard").field("app", &self.app).finish_non_exhaustive()
    }
}

impl RouterShard {
    pub(crate) fn new(app: Arc<App>) -> Self {
        let (answers, replies, jobs) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { app, handshakes: Vec::new(), sockets: Vec::new(), answers, replies, jobs, commands: Vec::new() }
    }

    fn entry(&mut self, key: SocketKey) -> Option<&mut Entry> {
        self.sockets.get_mut(key.index() as usize)?.as_mut().filter(|entry| entry.socket.key() == key)
    }

    fn admit(&mut self, io: &mut Io<'_>, key: SocketKey, admission: Admission) {
        let Some(id) = io.id(key) else { return };
        let Admission { context, routes } = admission;
        let place = Place { id, key, shard: io.shard(), is_recovered: false };
        let socket = Socket::new(context, Arc::clone(&routes), &place);
        let index = key.index() as usize;
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.sockets.get_mut(index) {
            *slot = Some(Entry { socket: socket.clone(), is_busy: routes.ordered, waiting: VecDeque::new() });
        }
        let connected = socket.clone();
        let is_done = routes.connect.is_empty()
            || self.run_task(io, &socket, "connect", None, Box::pin(async move { run_connect(&connected).await }));
        if routes.ordered && is_done {
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
        let ConnectRequest { conn, nsp, auth, pending, .. } = *request;
        let handshake = self.handshakes.get(conn.index() as usize).and_then(Clone::clone);
        let (Some((routes, params)), Some(handshake)) = (self.app.routes.find(nsp), handshake) else {
            return Decision::Refuse(ConnectError::new("Invalid namespace"));
        };
        let context = ConnectContext {
            app: Arc::clone(&self.app),
            handshake,
            nsp: nsp.into(),
            auth: auth.map(Into::into),
            params: Arc::new(params),
            extensions: TypeMap::default(),
        };
        if routes.authorize.is_empty() {
            return Decision::Admit(Admission { context, routes });
        }
        let mut task: Task<_> = Box::pin(run_authorize(Arc::clone(&routes), context));
        match self.run(io, "authorize", || tasks::begin(&mut task)) {
            Some(result) => result.map(|context| Admission { context, routes }).into(),
            None => {
                let rest = tasks::rest(Arc::clone(&self.app), io.shard(), "authorize".into(), task);
                match io.start_job(rest) {
                    Ok(job) => drop(self.jobs.insert(job, JobKind::Authorize { pending, conn, routes })),
                    // A refusal would be for ever, and this is temporary: the client comes back.
                    Err(_) => io.close(conn),
                }
                Decision::Later
            }
        }
    }

    fn on_connect(&mut self, io: &mut Io<'_>, socket: SocketKey, admission: Admission) {
        self.admit(io, socket, admission);
    }

    fn on_event(&mut self, io: &mut Io<'_>, key: SocketKey, event: &Event<'_>, ack: Option<AckId>) {
        let limit = self.app.settings.queued_events;
        let Some(entry) = self.entry(key) else { return };
        let socket = entry.socket.clone();
        if !socket.routes().ordered {
            self.run_event(io, &socket, event, ack);
            return;
        }
        if !std::mem::replace(&mut entry.is_busy, true) {
            if self.run_event(io, &socket, event, ack) {
                self.run_waiting(io, key);
            }
        } else if entry.waiting.len() < limit {
            entry.waiting.push_back(OwnedEvent::new(event, ack));
        } else {
            self.run(io, &event.name, || report(&socket, &event.name, &EventError::TooMany, ack));
        }
    }

    fn on_ack(&mut self, _: &mut Io<'_>, _: SocketKey, id: AckId, answer: Result<&Args<'_>, AckError>) {
        if let Some(reply) = self.answers.remove(&id) {
            // Whoever asked may have stopped waiting.
            let _ = reply.send(answer.map(|args| Answer(args.into())).map_err(Into::into));
        }
    }

    fn on_server_event(&mut self, io: &mut Io<'_>, nsp: &str, event: &EventData, reply: Option<ServerReply>) {
        let Some((routes, _)) = self.app.routes.find(nsp) else { return };
        if let Some(hook) = &routes.server_event {
            let (socket_io, event) = (SocketIo::new(Arc::clone(&self.app)), event.clone());
            self.run(io, "server event", || hook(socket_io, event, reply));
        }
    }

    fn on_reply(&mut self, _: &mut Io<'_>, request: RequestId, reply: Reply) {
        if let Some(waiting) = self.replies.remove(&request) {
            // Whoever asked may have stopped waiting.
            let _ = waiting.send(reply);
        }
    }

    fn socket_data(&self, _: &Io<'_>, key: SocketKey) -> Option<String> {
        let entry = self.sockets.get(key.index() as usize)?.as_ref();
        describe(&entry.filter(|entry| entry.socket.key() == key)?.socket)
    }

    fn on_room_event(&mut self, io: &mut Io<'_>, event: &RoomEvent) {
        // The rooms of a socket that is gone stay known to the handlers of its end.
        if io.id(event.socket).is_none() {
            return;
        }
        if let Some(entry) = self.entry(event.socket) {
            match event.change {
                RoomChange::Joined => entry.socket.add_room(&event.room),
                RoomChange::Left => entry.socket.remove_room(&event.room),
                RoomChange::Created | RoomChange::Deleted => {}
            }
        }
    }

    fn on_disconnect(&mut self, io: &mut Io<'_>, key: SocketKey, reason: DisconnectReason) {
        if self.entry(key).is_none() {
            return;
        }
        let Some(entry) = self.sockets.get_mut(key.index() as usize).and_then(Option::take) else { return };
        entry.socket.end();
        if !entry.socket.routes().disconnect.is_empty() {
            let socket = entry.socket.clone();
            let task = Box::pin(async move { run_disconnect(&socket, reason).await });
            self.run_task(io, &entry.socket, "disconnect", None, task);
        }
    }

    fn on_shard_message(&mut self, io: &mut Io<'_>, message: ShardMessage) {
        // The router sends nothing else.
        if let Ok(Commands(mut commands)) = message.downcast() {
            self.carry_out(io, &mut commands);
        }
    }

    fn on_job_done(&mut self, io: &mut Io<'_>, job: JobId, result: Result<ShardMessage, JobPanicked>) {
        match (self.jobs.remove(&job), result) {
            (Some(JobKind::Task { socket, .. }), Ok(message)) => {
                if let Ok(Finished::<()> { mut commands, .. }) = message.downcast() {
                    self.carry_out(io, &mut commands);
                }
                if socket.routes().ordered {
                    self.run_waiting(io, socket.key());
                }
            }
            (Some(JobKind::Authorize { pending, routes, .. }), Ok(message)) => {
                type Authorized = Finished<Result<ConnectContext, ConnectError>>;
                let Ok(Authorized { output, mut commands }) = message.downcast() else { return };
                self.carry_out(io, &mut commands);
                match output {
                    Ok(context) => {
                        if let Some(socket) = io.admit(pending) {
                            self.admit(io, socket, Admission { context, routes });
                        }
                    }
                    Err(error) => drop(io.refuse(pending, &error)),
                }
            }
            (Some(JobKind::Task { socket, conn, name }), Err(JobPanicked)) => {
                if let Some(conn) = conn {
                    io.close(conn);
                }
                self.run(io, &name, || report(&socket, &name, &EventError::Panicked, None));
            }
            (Some(JobKind::Authorize { conn, .. }), Err(JobPanicked)) => io.close(conn),
            (None, _) => {}
        }
    }
}

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admission").field("context", &self.context).finish_non_exhaustive()
    }
}
