//! [`RouterShard`]: the router as the [`Handler`] of one shard. It finds the handlers of the application, runs them, and carries out
//! their commands.

use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
    time::SystemTime,
};

use engineio::{ConnKey, JobId, ShardMessage, job::JobPanicked};
use tokio::sync::oneshot;

use super::{
    app::App,
    callback::{Called, OnEvent, Running},
    commands::{self, Command, Commands, Targets},
    context::{ConnectContext, DisconnectContext, EventContext},
    error::{AnswerError, EventError, SendError},
    event::{self, OwnedEvent, report},
    handshake::Handshake,
    payload::Answer,
    routes::NamespaceRoutes,
    socket::{Place, Socket},
    tasks::{self, Finished, Task},
};
use crate::{
    error::{AckError, ConnectError, DisconnectReason},
    handler::{ConnectRequest, Decision, Handler},
    io::Io,
    packet::{AckId, Args, Event},
    state::ids::{PendingConnect, SocketKey},
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
        let (answers, jobs) = (HashMap::new(), HashMap::new());
        Self { app, handshakes: Vec::new(), sockets: Vec::new(), answers, jobs, commands: Vec::new() }
    }

    fn entry(&mut self, key: SocketKey) -> Option<&mut Entry> {
        self.sockets.get_mut(key.index() as usize)?.as_mut().filter(|entry| entry.socket.key() == key)
    }

    /// Runs handlers, and then carries out what they want done. What they wanted before a panic is done too.
    fn run<R>(&mut self, io: &mut Io<'_>, event: &str, run: impl FnOnce() -> R) -> R {
        let (app, mut commands) = (Arc::clone(&self.app), std::mem::take(&mut self.commands));
        let result = catch_unwind(AssertUnwindSafe(|| {
            commands::collect(&app, io.shard(), &mut commands, || tasks::watch(&app, event, run))
        }));
        self.carry_out(io, &mut commands);
        self.commands = commands;
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn carry_out(&mut self, io: &mut Io<'_>, commands: &mut Vec<Command>) {
        for command in commands.drain(..) {
            // What cannot be delivered is for a socket that is gone: `on_disconnect` reports that.
            match command {
                Command::Emit { socket, event, volatile } => {
                    if !volatile || io.is_writable(socket) {
                        let _ = io.emit(socket, &event.name, &event.payload.args, event.attachments());
                    }
                }
                Command::EmitWithAck { socket, event, timeout, reply } => {
                    let args = &event.payload.args;
                    match io.emit_with_ack(socket, &event.name, args, event.attachments(), timeout) {
                        Ok(id) => drop(self.answers.insert(id, reply)),
                        // Whoever asked may have stopped waiting.
                        Err(error) => drop(reply.send(Err(SendError::from(error).into()))),
                    }
                }
                Command::Ack { socket, id, payload } => {
                    let _ = io.ack(socket, id, &payload.args, &payload.attachments);
                }
                Command::Join { socket, room } => drop(io.join(socket, &room)),
                Command::Leave { socket, room } => drop(io.leave(socket, &room)),
                Command::Disconnect { socket, close } => io.disconnect(socket, close),
                Command::Broadcast { targets, event } => {
                    let broadcast = narrow(io, &targets);
                    let _ = broadcast.emit(&event.name, &event.payload.args, event.attachments());
                }
            }
        }
    }

    /// Runs a task of a socket. If it waits, the rest is a job. Whether it is done.
    fn run_task(&mut self, io: &mut Io<'_>, socket: &Socket, name: &str, mut task: Task<()>) -> bool {
        if self.run(io, name, || tasks::begin(&mut task)).is_some() {
            return true;
        }
        self.spawn(io, socket, name, task)
    }

    /// Makes a task that waits a job. `true` when it cannot be: then it is dropped, and so is done.
    fn spawn(&mut self, io: &mut Io<'_>, socket: &Socket, name: &str, task: Task<()>) -> bool {
        let rest = tasks::rest(Arc::clone(&self.app), io.shard(), name.into(), task);
        let Ok(job) = io.start_job(rest) else {
            self.run(io, name, || report(socket, name, &EventError::TooMany, None));
            return true;
        };
        let kind = JobKind::Task { socket: socket.clone(), conn: io.conn(socket.key()), name: name.into() };
        self.jobs.insert(job, kind);
        false
    }

    /// Runs the handlers of an event that came now. Whether they are done.
    fn run_event(&mut self, io: &mut Io<'_>, socket: &Socket, event: &Event<'_>, ack: Option<AckId>) -> bool {
        let context = EventContext { socket, event, ack };
        let waits = self.run(io, &event.name, || run_direct(&context));
        match waits {
            None => true,
            Some((future, ends, position)) => {
                let owned = OwnedEvent::new(event, ack);
                let task = event::run(socket.clone(), owned, position, Some((future, ends)));
                self.spawn(io, socket, &event.name, Box::pin(task))
            }
        }
    }

    /// The next events of a socket whose event is done, where events are handled in order.
    fn run_waiting(&mut self, io: &mut Io<'_>, key: SocketKey) {
        loop {
            let Some(entry) = self.entry(key) else { return };
            let Some(event) = entry.waiting.pop_front() else {
                entry.is_busy = false;
                return;
            };
            let (socket, name) = (entry.socket.clone(), event.name().to_owned());
            let task = Box::pin(event::run(socket.clone(), event, 0, None));
            if !self.run_task(io, &socket, &name, task) {
                return;
            }
        }
    }

    fn admit(&mut self, io: &mut Io<'_>, key: SocketKey, admission: Admission) {
        let Some(id) = io.id(key) else { return };
        let Admission { context, routes } = admission;
        let place = Place { id, key, shard: io.shard(), is_recovered: false };
        let socket = Socket::new(context, Arc::clone(&routes), place);
        let index = key.index() as usize;
        if self.sockets.len() <= index {
            self.sockets.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.sockets.get_mut(index) {
            *slot = Some(Entry { socket: socket.clone(), is_busy: routes.ordered, waiting: VecDeque::new() });
        }
        let connected = socket.clone();
        let is_done = routes.connect.is_empty()
            || self.run_task(io, &socket, "connect", Box::pin(async move { run_connect(&connected).await }));
        if routes.ordered && is_done {
            self.run_waiting(io, key);
        }
    }
}

/// Calls the handlers of an event until one waits: its future, whether the event ends when that fails, and the position of the
/// next handler.
fn run_direct(context: &EventContext<'_>) -> Option<(Running<OnEvent>, bool, usize)> {
    let (socket, name) = (context.socket, &*context.event.name);
    let chain = socket.routes().chain(name);
    let mut position = 0;
    while let Some((handler, ends)) = chain.get(position) {
        position += 1;
        let result = match handler.call(context) {
            Called::Done(result) => result,
            Called::Waits(mut future) => match tasks::begin(&mut future) {
                Some(result) => result,
                None => return Some((future, ends, position)),
            },
        };
        if let Err(error) = result {
            report(socket, name, &error, context.ack);
            if ends {
                return None;
            }
        }
    }
    if chain.is_unhandled() {
        report(socket, name, &EventError::NoHandler, context.ack);
    }
    None
}

async fn run_connect(socket: &Socket) {
    for handler in &socket.routes().connect {
        let result = match handler.call(socket) {
            Called::Done(result) => result,
            Called::Waits(future) => future.await,
        };
        if let Err(error) = result {
            report(socket, "connect", &error, None);
        }
    }
}

async fn run_disconnect(socket: &Socket, reason: DisconnectReason) {
    for handler in &socket.routes().disconnect {
        let called = handler.call(&DisconnectContext { socket, reason });
        let result = match called {
            Called::Done(result) => result,
            Called::Waits(future) => future.await,
        };
        if let Err(error) = result {
            report(socket, "disconnect", &error, None);
        }
    }
}

async fn run_authorize(
    routes: Arc<NamespaceRoutes>,
    mut context: ConnectContext,
) -> Result<ConnectContext, ConnectError> {
    for handler in &routes.authorize {
        let admitted = match handler.call(&context) {
            Called::Done(result) => result,
            Called::Waits(future) => future.await,
        };
        context.add(admitted?);
    }
    Ok(context)
}

/// The broadcast to these targets.
fn narrow<'a>(io: &'a mut Io<'_>, targets: &Targets) -> crate::broadcast::Broadcast<'a> {
    let mut broadcast = io.of(&targets.nsp);
    for room in &targets.to {
        broadcast = broadcast.to(room);
    }
    for room in &targets.except {
        broadcast = broadcast.except(room);
    }
    if let Some(socket) = targets.except_socket {
        broadcast = broadcast.except_socket(socket);
    }
    if targets.volatile {
        broadcast = broadcast.volatile();
    }
    if targets.local { broadcast.local() } else { broadcast }
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
            extensions: super::type_map::TypeMap::default(),
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
            let _ = reply.send(answer.map(Answer::new).map_err(Into::into));
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
            self.run_task(io, &entry.socket, "disconnect", task);
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
