//! The driver of a shard: the task that ends its turns, runs its timers, and runs the commands of other shards and
//! threads.
//!
//! Tokio polls tasks in the order in which they were woken. The driver is woken by the first turn that leaves something
//! to do, so it runs after all sockets that had input at that time. Each connection is therefore written to once a
//! turn, however many packets were queued for it, and each other shard gets its commands together.

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
    accept::connection,
    shard::{application::Shard, turn::ShardRef},
    shards::{command::Command, mailbox::Progress, registry::Registry},
    transport::polling,
};
use crate::Handler;

/// Longer than any process runs, and too short to overflow the clock.
const LONGEST_DRAIN: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The driver's task. See the module.
#[derive(Debug)]
pub(super) struct Driver<H> {
    shard: ShardRef<H>,
    id: u16,
    registry: Arc<Registry>,
    /// Empty between calls; kept to reuse its memory.
    commands: Vec<Command>,
    sleep: Pin<Box<Sleep>>,
    /// While shutting down: the latest time at which the shard stops.
    drain: Option<Instant>,
    /// The acceptor's task, on the shard that has it.
    accepting: Option<AbortHandle>,
}

impl<H: Handler + 'static> Driver<H> {
    pub(super) fn new(shard: ShardRef<H>, accepting: Option<AbortHandle>) -> Self {
        let sleep = Box::pin(tokio::time::sleep(Duration::ZERO));
        let (id, registry) = shard.turn(|shard| (shard.io.id, Arc::clone(&shard.io.registry)));
        Self { shard, id, registry, commands: Vec::new(), sleep, drain: None, accepting }
    }

    /// Runs until the shard has shut down.
    pub(super) async fn run(mut self) {
        std::future::poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.run_commands(cx);
        let (next, drained) = self.shard.turn(|shard| {
            if !shard.io.driver.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                shard.io.driver = Some(cx.waker().clone());
            }
            // Timers first: a pong that is unread because the shard was busy is excused here.
            shard.run_timers();
            shard.io.recheck_congestion();
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
            // The deadline has come already: run again, after every other task that is ready.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Runs all commands that are in the mailbox now.
    fn run_commands(&mut self, cx: &Context<'_>) {
        let registry = Arc::clone(&self.registry);
        let Some(mailbox) = registry.mailbox(self.id) else { return };
        let mut commands = std::mem::take(&mut self.commands);
        mailbox.take(&mut commands, cx.waker());
        let mut progress = Progress::new(mailbox);
        for command in commands.drain(..) {
            let cost = command.cost();
            self.run_command(command);
            progress.add(cost);
        }
        self.commands = commands;
    }

    fn run_command(&mut self, command: Command) {
        match command {
            Command::JobDone(job, result) => self.shard.turn(|shard| shard.receive_job(job, result)),
            Command::Message(message) => self.shard.turn(|shard| shard.receive_shard_message(message)),
            Command::Session(request) => self.shard.turn(|shard| shard.io.answer_request(request)),
            Command::Stream(passed) => connection::begin_passed(&self.shard, *passed),
            Command::Packets(packets) => {
                tokio::task::spawn_local(polling::deliver_posted(self.shard.clone(), packets));
            }
            #[cfg(feature = "tower")]
            Command::Request(passed) => super::accept::tower::serve(&self.shard, *passed),
            Command::Drained => self.shard.turn(|shard| shard.io.end_http_if_drained()),
            Command::Shutdown { within } => {
                self.drain = Some(Instant::now() + within.min(LONGEST_DRAIN));
                if let Some(accepting) = self.accepting.take() {
                    accepting.abort();
                }
                self.shard.turn(Shard::shut_down);
            }
        }
    }
}
