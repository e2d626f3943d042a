//! Waiting for shards, on any thread.

use std::{
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use engineio::{
    ShardMessage,
    net::{self, ShardGone},
};

use crate::adapter::{collector::Collector, reply::Gathered};

/// Messages for shards, one for each.
pub(super) type Messages = Vec<(u16, ShardMessage)>;

/// Sends each shard its message, all at a time: a shard whose queue is full keeps none of the others waiting. The error is of the
/// first one that is gone.
pub(super) async fn send_each(engine: &net::Handle, messages: Messages) -> Result<(), ShardGone> {
    let mut sending: Vec<_> =
        messages.into_iter().map(|(shard, message)| Some(Box::pin(engine.send(shard, message)))).collect();
    let mut gone: Option<ShardGone> = None;
    poll_fn(|context| {
        for slot in &mut sending {
            let Some(Poll::Ready(sent)) = slot.as_mut().map(|send| send.as_mut().poll(context)) else { continue };
            *slot = None;
            let error = sent.err().filter(|error| gone.is_none_or(|first| error.0 < first.0));
            gone = error.or(gone);
        }
        if sending.iter().all(Option::is_none) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    gone.map_or(Ok(()), Err)
}

/// A question to shards and servers, and what gathers their replies.
#[derive(Debug)]
pub(super) struct Asking<T> {
    pub(super) engine: net::Handle,
    pub(super) messages: Messages,
    pub(super) collector: Arc<Collector<T>>,
    pub(super) timeout: Duration,
}

impl<T: Gathered> Asking<T> {
    /// Asks, and waits for the replies. Returns what there is after the time.
    pub(super) async fn wait(self) -> T {
        let Self { engine, messages, collector, timeout } = self;
        // A shard that is gone is missing in the result.
        let _ = tokio::time::timeout(timeout, ask(&engine, messages, &collector)).await;
        collector.take()
    }

    /// [`Asking::wait`] for a thread that may block.
    pub(super) fn wait_blocking(self) -> T {
        let Self { engine, messages, collector, timeout } = self;
        block_on(ask(&engine, messages, &collector), Instant::now().checked_add(timeout));
        collector.take()
    }
}

async fn ask<T: Gathered>(engine: &net::Handle, messages: Messages, collector: &Collector<T>) {
    // A message that is not sent is dropped, and with it the shard's part: so the shard is missing.
    let _ = send_each(engine, messages).await;
    poll_fn(|context| collector.poll_done(context)).await;
}

/// Waits for a future on this thread; until the deadline, if there is one.
pub(super) fn block_on<R>(future: impl Future<Output = R>, deadline: Option<Instant>) -> Option<R> {
    let waker: Waker = Arc::new(Unpark(thread::current())).into();
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(result);
        }
        match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
            None => thread::park(),
            Some(Duration::ZERO) => return None,
            Some(left) => thread::park_timeout(left),
        }
    }
}

/// Wakes a parked thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
