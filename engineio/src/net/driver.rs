//! The driver of a shard: the task that ends its turns, runs its timers, and runs the commands of other shards and
//! threads.
//!
//! Tokio polls tasks in the order in which they were woken. The driver is woken by the first turn that leaves something
//! to do, so it runs after all sockets that had input at that time. Each connection is therefore written to once a
//! turn, however many packets were queued for it, and each other shard gets its commands together.

use std::{
    collections::VecDeque,
    pin::{Pin, pin},
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

/// How much is dealt with of what other shards and threads ask for before sockets have their turn, as [`Command::cost`] counts it:
/// 256 messages that weigh nothing, or a few large ones.
const COMMANDS_A_TURN: usize = 1 << 20;

/// Longer than any process runs, and too short to overflow the clock.
const LONGEST_DRAIN: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The driver's task. See the module.
#[derive(Debug)]
pub(super) struct Driver<H> {
    shard: ShardRef<H>,
    id: u16,
    registry: Arc<Registry>,
    /// Taken from the mailbox, and not dealt with.
    commands: VecDeque<Command>,
    /// Empty between calls; kept for its memory.
    taken: Vec<Command>,
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
        Self { shard, id, registry, commands: VecDeque::new(), taken: Vec::new(), sleep, drain: None, accepting }
    }

    /// Runs until the shard has shut down.
    pub(super) async fn run(mut self) {
        std::future::poll_fn(|cx| self.poll(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.run_commands(cx);
        let (next, sample, drained) = self.shard.turn(|shard| {
            if !shard.io.driver.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                shard.io.driver = Some(cx.waker().clone());
            }
            // Timers first: a pong that is unread because the shard was busy is excused here.
            shard.run_timers();
            let sample = shard.io.watching.sample_lag(shard.io.now);
            shard.io.recheck_congestion();
            shard.end_turn();
            shard.io.armed = shard.next_deadline();
            (shard.io.armed, sample, shard.io.is_drained())
        });
        if let Some(drain) = self.drain
            && (drained || drain <= Instant::now())
        {
            return Poll::Ready(());
        }
        let next = next.map_or(sample, |next| next.min(sample)).into();
        let next = self.drain.map_or(next, |drain| drain.min(next));
        if self.sleep.deadline() != next {
            self.sleep.as_mut().reset(next);
        }
        if self.sleep.as_mut().poll(cx).is_ready() {
            // The deadline has come already: run again, after every other task that is ready.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Deals with the commands that lie there now, or with as many as one turn may bring. Comes back for the others after all
    /// sockets that have something to say.
    fn run_commands(&mut self, cx: &mut Context<'_>) {
        let registry = Arc::clone(&self.registry);
        let Some(mailbox) = registry.mailbox(self.id) else { return };
        let takes = self.commands.is_empty();
        if takes {
            mailbox.take(&mut self.taken, cx.waker());
            self.commands.extend(self.taken.drain(..));
        }
        let (mut progress, mut done) = (Progress::new(mailbox), 0);
        while done < COMMANDS_A_TURN
            && let Some(command) = self.commands.pop_front()
        {
            let cost = command.cost();
            self.run_command(command);
            progress.add(cost);
            done += cost;
        }
        // A mailbox that was not empty wakes nobody: what came while these were dealt with is looked for.
        if !self.commands.is_empty() || !takes {
            // A plain wake would come before the runtime asks the operating system which sockets are readable; this one comes
            // after that.
            let _ = pin!(tokio::task::yield_now()).poll(cx);
        }
    }

    fn run_command(&mut self, command: Command) {
        match command {
            Command::JobDone(job, result) => self.shard.turn(|shard| shard.receive_job(job, result)),
            Command::Message(message) => self.shard.turn(|shard| shard.receive_shard_message(message)),
            Command::Stats(answer) => drop(answer.send(self.shard.turn(|shard| shard.io.stats()))),
            Command::Session(request) => self.shard.turn(|shard| shard.io.answer_request(request)),
            Command::Stream(passed) => connection::begin_passed(&self.shard, *passed),
            Command::Packets(packets) => {
                tokio::task::spawn_local(polling::deliver_posted(self.shard.clone(), packets));
            }
            #[cfg(feature = "tower")]
            Command::Request(passed) => super::accept::tower::serve(&self.shard, *passed),
            Command::Reconfigure(config) => self.shard.turn(|shard| shard.io.reconfigure(&config)),
            Command::Drained => self.shard.turn(|shard| shard.io.on_no_sessions()),
            Command::Drain { over } => self.shard.turn(|shard| shard.io.end_gradually(over.min(LONGEST_DRAIN))),
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
