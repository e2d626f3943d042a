//! How handlers are run: at once, or as a job if they wait.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::Arc,
};

use engineio::ConnKey;

use super::{
    super::{
        callback::{Called, OnEvent, Running, Task},
        commands,
        context::{AckSlot, ConnectContext, DisconnectContext, EventContext},
        error::EventError,
        event::{self, OwnedEvent, Routed, report},
        routes::NamespaceRoutes,
        tasks,
    },
    state::{JobKind, RouterShard},
};
use crate::{
    error::{ConnectError, DisconnectReason},
    io::Io,
    packet::Event,
    state::ids::SocketKey,
};

impl RouterShard {
    /// Runs handlers, and then carries out what they want done. What they wanted before a panic is done too.
    pub(super) fn run<R>(&mut self, io: &mut Io<'_>, event: &str, run: impl FnOnce() -> R) -> R {
        let (app, mut commands) = (Arc::clone(&self.app), std::mem::take(&mut self.commands));
        let result = catch_unwind(AssertUnwindSafe(|| {
            commands::collect(&app, io.shard(), &mut commands, || tasks::watch(&app, event, run))
        }));
        self.carry_out(io, &mut commands);
        self.commands = commands;
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// [`RouterShard::run`] for handlers of a socket. The application hears of a panic.
    fn run_for<R>(&mut self, io: &mut Io<'_>, of: &Routed, name: &str, ack: &AckSlot, run: impl FnOnce() -> R) -> R {
        catch_unwind(AssertUnwindSafe(|| self.run(io, name, run))).unwrap_or_else(|panic| {
            self.run(io, name, || report(of, name, &EventError::Panicked, ack));
            resume_unwind(panic)
        })
    }

    /// Runs a task of a socket. If it waits, the rest is a job. Whether it is done.
    pub(super) fn run_task(
        &mut self,
        io: &mut Io<'_>,
        of: &Routed,
        name: &str,
        ack: &AckSlot,
        mut task: Task<()>,
    ) -> bool {
        if self.run_for(io, of, name, ack, || tasks::begin(&mut task)).is_some() {
            return true;
        }
        self.spawn(io, of, name, ack, task)
    }

    /// Makes a task that waits a job. `true` when it cannot be: then it is dropped, and so is done.
    pub(super) fn spawn(&mut self, io: &mut Io<'_>, of: &Routed, name: &str, ack: &AckSlot, task: Task<()>) -> bool {
        let rest = tasks::rest(Arc::clone(&self.app), io.shard(), name.into(), task);
        let kind =
            JobKind::Task { of: of.clone(), conn: io.conn(of.socket.key()), name: name.into(), ack: ack.clone() };
        if self.start_job(io, kind, rest).is_err() {
            self.run(io, name, || report(of, name, &EventError::TooMany, ack));
            return true;
        }
        false
    }

    /// Goes on for a connection when a job is done. The engine does not know the connection here, so after a panic it would not
    /// end it.
    pub(super) fn go_on(&mut self, io: &mut Io<'_>, conn: Option<ConnKey>, go_on: impl FnOnce(&mut Self, &mut Io<'_>)) {
        if catch_unwind(AssertUnwindSafe(|| go_on(self, &mut *io))).is_err()
            && let Some(conn) = conn
        {
            io.close(conn);
        }
    }

    /// Runs the handlers of an event that came now. Whether they are done.
    pub(super) fn run_event(&mut self, io: &mut Io<'_>, of: &Routed, event: &Event<'_>, ack: &AckSlot) -> bool {
        let waits = self.run_for(io, of, &event.name, ack, || run_direct(of, event, ack));
        match waits {
            None => true,
            Some((future, ends, position)) => {
                let owned = OwnedEvent::new(event, ack.clone());
                let task = event::run(of.clone(), owned, position, Some((future, ends)));
                self.spawn(io, of, &event.name, ack, Box::pin(task))
            }
        }
    }

    /// The next events of a socket whose event is done, where events are handled in order.
    pub(super) fn run_waiting(&mut self, io: &mut Io<'_>, key: SocketKey) {
        // What comes behind an event whose handler disconnects is not handled. The entry lives until `on_disconnect`.
        while io.id(key).is_some() {
            let Some(entry) = self.entry(key) else { return };
            let Some(event) = entry.pop() else {
                entry.is_busy = false;
                return;
            };
            let (of, name, ack) = (entry.of.clone(), event.name().to_owned(), event.ack.clone());
            let task = Box::pin(event::run(of.clone(), event, 0, None));
            if !self.run_task(io, &of, &name, &ack, task) {
                return;
            }
        }
    }
}

/// Calls the handlers of an event until one waits: its future, whether the event ends when that fails, and the position of the
/// next handler.
fn run_direct(of: &Routed, event: &Event<'_>, ack: &AckSlot) -> Option<(Running<OnEvent>, bool, usize)> {
    let context = &EventContext { socket: &of.socket, event, ack: ack.clone() };
    let name = &*event.name;
    let chain = of.routes.chain(name);
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
            report(of, name, &error, ack);
            if ends {
                return None;
            }
        }
    }
    if chain.is_unhandled() {
        report(of, name, &EventError::NoHandler, ack);
    }
    None
}

pub(super) async fn run_connect(of: &Routed) {
    for handler in &of.routes.connect {
        let result = match handler.call(&of.socket) {
            Called::Done(result) => result,
            Called::Waits(future) => future.await,
        };
        if let Err(error) = result {
            report(of, "connect", &error, &AckSlot::default());
        }
    }
    of.socket.forget_auth();
}

pub(super) async fn run_disconnect(of: &Routed, reason: DisconnectReason) {
    for handler in &of.routes.disconnect {
        let called = handler.call(&DisconnectContext { socket: &of.socket, reason });
        let result = match called {
            Called::Done(result) => result,
            Called::Waits(future) => future.await,
        };
        if let Err(error) = result {
            report(of, "disconnect", &error, &AckSlot::default());
        }
    }
}

pub(super) async fn run_authorize(
    routes: Arc<NamespaceRoutes>,
    mut context: ConnectContext,
) -> Result<ConnectContext, ConnectError> {
    for handler in &routes.authorize {
        let admitted = match handler.call(&context) {
            Called::Done(result) => result,
            Called::Waits(future) => future.await,
        };
        drop(context.extensions.insert_any(admitted?.0));
    }
    Ok(context)
}
