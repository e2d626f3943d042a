//! Handlers that wait. They run on their shard's own thread, between its turns, so they must not block it.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use engineio::Job;

use super::{
    app::App,
    callback::Task,
    commands::{self, Command, Commands},
};

/// What a task that waited brought.
#[derive(Debug)]
pub(crate) struct Finished<T> {
    pub(crate) output: T,
    /// What it wanted done since it waited last.
    pub(crate) commands: Vec<Command>,
}

/// Runs part of a handler. If that takes long, it has held up all connections of its shard, and is logged.
pub(crate) fn watch<R>(app: &App, event: &str, run: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let result = run();
    let took = start.elapsed();
    if took >= app.settings.blocking_after {
        tracing::warn!(event, ?took, "a handler blocked its shard: use tokio::task::spawn_blocking for such work");
    }
    result
}

/// Runs a task until it waits for the first time. Most never do.
pub(crate) fn begin<T>(task: &mut Task<T>) -> Option<T> {
    // Whoever polls it next wakes it.
    match task.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// The rest of a task that waits. Its commands go to its shard whenever it waits again.
pub(crate) fn rest<T: Send + 'static>(app: Arc<App>, shard: u16, event: Box<str>, mut task: Task<T>) -> Job {
    Job::future(async move {
        let mut commands = Vec::new();
        loop {
            let poll = poll_fn(|cx| {
                let poll =
                    commands::collect(&app, shard, &mut commands, || watch(&app, &event, || task.as_mut().poll(cx)));
                match poll {
                    Poll::Pending if commands.is_empty() || app.engine.get().is_none() => Poll::Pending,
                    poll => Poll::Ready(poll),
                }
            });
            match (poll.await, app.engine.get()) {
                (Poll::Ready(output), _) => return Finished { output, commands },
                (Poll::Pending, Some(engine)) => {
                    // A shard that has ended needs no commands. While it has too much to do, the handler waits.
                    let _ = engine.send(shard, Commands(std::mem::take(&mut commands)).into_message()).await;
                }
                (Poll::Pending, None) => {}
            }
        }
    })
}
