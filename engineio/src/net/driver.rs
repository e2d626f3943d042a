//! The driver of a shard: the task that ends its turns, runs what is due, and deals with letters.
//!
//! Tokio polls tasks in the order they were woken, so the driver, woken by the first visit that leaves something to do,
//! comes after all sockets that had something to say at that time: each connection is written to once a turn, however many
//! packets were queued for it, and each other shard gets its letters together.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    task::AbortHandle,
    time::{Instant, Sleep},
};

use super::{
    arrival,
    conn::End,
    counts::Common,
    mailbox::{Letter, Progress},
    polling,
    shard::{Shard, ShardRef},
};
use crate::{CloseReason, ConnKey, Handler};

/// See the module.
#[derive(Debug)]
pub(super) struct Driver<H> {
    shard: ShardRef<H>,
    id: u16,
    common: Arc<Common>,
    /// Empty between visits; kept for its memory.
    letters: Vec<Letter>,
    sleep: Pin<Box<Sleep>>,
    /// Shutting down: the end comes then at the latest.
    drain: Option<Instant>,
    /// The acceptor, on the shard that has it.
    accepting: Option<AbortHandle>,
}

impl<H: Handler + 'static> Driver<H> {
    pub(super) fn new(shard: ShardRef<H>, accepting: Option<AbortHandle>) -> Self {
        let sleep = Box::pin(tokio::time::sleep(Duration::ZERO));
        let (id, common) = shard.turn(|shard| (shard.io.id, Arc::clone(&shard.io.common)));
        Self { shard, id, common, letters: Vec::new(), sleep, drain: None, accepting }
    }

    /// Runs until the shard has shut down.
    pub(super) async fn run(mut self) {
        std::future::poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.read_letters(cx);
        let (next, drained) = self.shard.turn(|shard| {
            if !shard.io.driver.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                shard.io.driver = Some(cx.waker().clone());
            }
            // First the timers: a pong that was not read while others had too much to do is excused by that.
            shard.run_timers();
            shard.io.ask_again();
            shard.end_turn();
            shard.io.armed = shard.next_deadline();
            (shard.io.armed, shard.io.is_drained())
        });
        if let Some(drain) = self.drain
            && (drained || drain <= Instant::now())
        {
            return Poll::Ready(());
        }
        let next = [next.map(Instant::from_std), self.drain].into_iter().flatten().min();
        let Some(next) = next else { return Poll::Pending };
        if self.sleep.deadline() != next {
            self.sleep.as_mut().reset(next);
        }
        if self.sleep.as_mut().poll(cx).is_ready() {
            // Due already: once more, after everything else that is ready had its say.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Deals with all letters that lie there now.
    fn read_letters(&mut self, cx: &Context<'_>) {
        let common = Arc::clone(&self.common);
        let Some(mailbox) = common.mailboxes.get(usize::from(self.id)) else { return };
        let mut letters = std::mem::take(&mut self.letters);
        mailbox.take(&mut letters, cx.waker());
        let mut progress = Progress::new(mailbox);
        for letter in letters.drain(..) {
            let cost = letter.cost();
            self.open(letter);
            progress.add(cost);
        }
        self.letters = letters;
    }

    fn open(&mut self, letter: Letter) {
        match letter {
            Letter::JobDone(job, result) => self.shard.turn(|shard| shard.receive_job(job, result)),
            Letter::ShardMessage(remote) => self.shard.turn(|shard| shard.receive_shard_message(remote)),
            Letter::Visit(visit) => self.shard.turn(|shard| visit(&mut shard.io)),
            Letter::Stream(handover) => arrival::take_over(&self.shard, *handover),
            Letter::Packets(packets) => {
                tokio::task::spawn_local(polling::deliver_for_another(self.shard.clone(), packets));
            }
            #[cfg(feature = "tower")]
            Letter::Request(passed) => super::tower::serve(&self.shard, *passed),
            Letter::Drained => self.shard.turn(|shard| shard.io.end_http_if_drained()),
            Letter::Shutdown { within } => {
                self.drain = Some(Instant::now() + within);
                if let Some(accepting) = self.accepting.take() {
                    accepting.abort();
                }
                self.shard.turn(Shard::shut_down);
            }
        }
    }
}

impl<H: Handler> Shard<H> {
    /// The end of a turn: what was queued goes to sockets and other shards.
    pub(super) fn end_turn(&mut self) {
        self.heard = 0;
        // Flushing can close (a broken stream), closing queues (a close frame) and posts: until all are quiet.
        while self.handler.wants_flush() || !self.io.dirty.is_empty() {
            // Letters before sockets, which the handler's flush writes to as well: other shards may work while this one
            // writes, and whoever reads an answer may rely on what was posted before it.
            self.io.hand_over();
            self.flush_handler();
            self.io.hand_over();
            self.io.flush_dirty();
            self.settle();
        }
        self.io.hand_over();
    }

    /// No new session; every open one is told to come back elsewhere.
    fn shut_down(&mut self) {
        // What was said before is still heard.
        self.flush_handler();
        self.io.draining = true;
        let keys: Vec<_> = self.io.conns.keys().map(ConnKey).collect();
        for key in keys {
            self.io.end(key, CloseReason::ServerShuttingDown, End::of(CloseReason::ServerShuttingDown));
        }
        self.io.end_http_if_drained();
    }
}
