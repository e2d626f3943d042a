//! [`Mailbox`]: the commands for one shard, from other shards and other threads.
//!
//! During its turn a shard collects its commands for each target ([`Outgoing`]), and puts them into the mailboxes at
//! the end. The target's driver takes everything from its mailbox at once. So a turn costs one lock and at most one
//! wake for each target, however many commands it produced, and the commands of one sender stay in order.
//!
//! Shards never wait for each other here: putting a command always succeeds, and tells whether the target has too much
//! to do. If it has, the *sender* reads no sockets until the target's load is below half of [`FULL`]
//! (`shard/congestion.rs`). Other threads do wait, or are refused, while a mailbox is full ([`super::handle::Handle`]).

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use tokio::sync::{Notify, futures::Notified};

use super::command::Command;

/// The most that a mailbox holds, in bytes as [`Command::cost`] counts them.
const FULL: usize = 4 << 20;

/// Commands in order, and their total cost.
#[derive(Debug, Default)]
struct Bundle {
    commands: Vec<Command>,
    cost: usize,
}

impl Bundle {
    fn push(&mut self, command: Command) {
        self.cost += command.cost();
        self.commands.push(command);
    }
}

/// The commands for one shard that it has not run yet.
#[derive(Debug, Default)]
pub(in crate::net) struct Mailbox {
    queue: Mutex<Queue>,
    /// Notified when there is room again for waiting threads.
    room: Notify,
}

/// The shard has ended: it runs no more commands.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::net) struct Closed;

/// Why a mailbox did not accept a command.
#[derive(Debug)]
pub(in crate::net) enum PutError {
    /// The shard has too much to do.
    Full(Command),
    Closed,
}

#[derive(Debug, Default)]
struct Queue {
    commands: Vec<Command>,
    /// The cost of all commands that have not been run: those in the queue, and those that the driver has taken.
    load: usize,
    /// The driver of the shard.
    driver: Option<Waker>,
    /// Shards that read no sockets until the load is below half of [`FULL`], with their drivers.
    waiting: Vec<(u16, Waker)>,
    /// The shard has ended: it runs no more commands.
    closed: bool,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No code that holds this lock panics half way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts one command in, from any thread, even if the mailbox is full.
    ///
    /// # Errors
    /// The shard has ended.
    pub(in crate::net) fn put(&self, command: Command) -> Result<(), Closed> {
        match self.insert(command, usize::MAX) {
            Ok(()) => Ok(()),
            Err(_) => Err(Closed),
        }
    }

    /// Puts one command in, unless the mailbox is full.
    ///
    /// # Errors
    /// The mailbox is full, or the shard has ended.
    pub(in crate::net) fn try_put(&self, command: Command) -> Result<(), PutError> {
        self.insert(command, FULL)
    }

    /// Completes when it is worth trying again after [`PutError::Full`]. Create and enable it before the attempt.
    pub(in crate::net) fn room(&self) -> Notified<'_> {
        self.room.notified()
    }

    fn insert(&self, command: Command, limit: usize) -> Result<(), PutError> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(PutError::Closed);
        }
        if queue.load > limit {
            return Err(PutError::Full(command));
        }
        let wake = queue.commands.is_empty();
        queue.load += command.cost();
        queue.commands.push(command);
        let driver = queue.driver.as_ref().filter(|_| wake).cloned();
        drop(queue);
        if let Some(driver) = driver {
            driver.wake();
        }
        Ok(())
    }

    /// Moves all of `bundle` in. Returns whether the shard has too much to do.
    fn put_all(&self, bundle: &mut Bundle) -> bool {
        let Bundle { commands, cost } = bundle;
        let cost = std::mem::take(cost);
        let mut queue = self.lock();
        if queue.closed {
            drop(queue);
            commands.clear();
            return false;
        }
        let wake = queue.commands.is_empty();
        if wake {
            std::mem::swap(&mut queue.commands, commands);
        } else {
            queue.commands.append(commands);
        }
        queue.load += cost;
        let full = queue.load > FULL;
        let driver = queue.driver.as_ref().filter(|_| wake).cloned();
        drop(queue);
        if let Some(driver) = driver {
            driver.wake();
        }
        full
    }

    /// Takes all commands into `taken`, which must be empty. `driver` is woken when there are new ones.
    pub(in crate::net) fn take(&self, taken: &mut Vec<Command>, driver: &Waker) {
        let mut queue = self.lock();
        if !queue.driver.as_ref().is_some_and(|known| known.will_wake(driver)) {
            queue.driver = Some(driver.clone());
        }
        std::mem::swap(&mut queue.commands, taken);
    }

    /// Commands of this total cost have been run.
    fn done(&self, cost: usize) {
        let mut queue = self.lock();
        queue.load = queue.load.saturating_sub(cost);
        if queue.load >= FULL / 2 {
            return;
        }
        let waiting = std::mem::take(&mut queue.waiting);
        drop(queue);
        waiting.into_iter().for_each(|(_, driver)| driver.wake());
        self.room.notify_waiters();
    }

    /// Whether a sender that found the shard full may go on. If not, `driver` is woken when it should ask again.
    pub(in crate::net) fn has_room_for(&self, sender: u16, driver: &Waker) -> bool {
        let mut queue = self.lock();
        if queue.load < FULL / 2 {
            return true;
        }
        queue.waiting.retain(|(other, _)| *other != sender);
        queue.waiting.push((sender, driver.clone()));
        false
    }

    /// The shard has ended.
    pub(in crate::net) fn close(&self) {
        let mut queue = self.lock();
        queue.closed = true;
        queue.load = 0;
        let (commands, waiting) = (std::mem::take(&mut queue.commands), std::mem::take(&mut queue.waiting));
        queue.driver = None;
        drop(queue);
        // Senders that wait for an answer to one of them learn that none will come.
        drop(commands);
        waiting.into_iter().for_each(|(_, driver)| driver.wake());
        self.room.notify_waiters();
    }
}

/// Tells the mailbox how much was run: in portions, so not for every command, and not only after all of them.
pub(in crate::net) struct Progress<'a> {
    mailbox: &'a Mailbox,
    cost: usize,
}

impl<'a> Progress<'a> {
    pub(in crate::net) const fn new(mailbox: &'a Mailbox) -> Self {
        Self { mailbox, cost: 0 }
    }

    /// A command of this cost has been run.
    pub(in crate::net) fn add(&mut self, cost: usize) {
        self.cost += cost;
        if self.cost > FULL / 16 {
            self.mailbox.done(std::mem::take(&mut self.cost));
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if self.cost > 0 {
            self.mailbox.done(self.cost);
        }
    }
}

/// The commands that a shard has produced in this turn, for each target.
#[derive(Debug)]
pub(in crate::net) struct Outgoing {
    by_target: Vec<Bundle>,
    /// Targets that have commands.
    targets: Vec<u16>,
    cost: usize,
}

impl Outgoing {
    pub(in crate::net) fn new(shards: u16) -> Self {
        Self { by_target: (0..shards).map(|_| Bundle::default()).collect(), targets: Vec::new(), cost: 0 }
    }

    /// Keeps a command until the end of the turn. Returns `false` and drops the command when there is no such shard.
    pub(in crate::net) fn push(&mut self, target: u16, command: Command) -> bool {
        let Some(bundle) = self.by_target.get_mut(usize::from(target)) else { return false };
        if bundle.commands.is_empty() {
            self.targets.push(target);
        }
        self.cost += command.cost();
        bundle.push(command);
        true
    }

    /// Whether this turn has produced so much already that the shard should read nothing that leads to more.
    pub(in crate::net) const fn is_too_much(&self) -> bool {
        self.cost > FULL / 2
    }

    pub(in crate::net) const fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Moves all commands into their mailboxes, and calls `full` with each target that has too much to do.
    pub(in crate::net) fn flush_to_mailboxes(&mut self, mailboxes: &[Mailbox], mut full: impl FnMut(u16)) {
        self.cost = 0;
        for target in self.targets.drain(..) {
            let index = usize::from(target);
            if let (Some(bundle), Some(mailbox)) = (self.by_target.get_mut(index), mailboxes.get(index))
                && mailbox.put_all(bundle)
            {
                full(target);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use tokio::sync::oneshot;

    use super::{super::command::COMMAND_COST, super::session_request::SessionRequest, *};
    use crate::{ConnKey, ShardMessage, slab::Slab};

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Count {
        fn get(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn post(outgoing: &mut Outgoing, target: u16, number: usize, weight: usize) {
        assert!(outgoing.push(target, Command::Message(ShardMessage::new(number).with_weight(weight))));
    }

    fn numbers(commands: &mut Vec<Command>) -> Vec<usize> {
        let number = |command| match command {
            Command::Message(remote) => remote.downcast::<usize>().unwrap(),
            other => panic!("{other:?}"),
        };
        commands.drain(..).map(number).collect()
    }

    #[test]
    fn a_turn_wakes_each_target_once_and_commands_keep_their_order() {
        let mailboxes = [Mailbox::default(), Mailbox::default()];
        let drivers = [Arc::<Count>::default(), Arc::<Count>::default()];
        let mut taken = Vec::new();
        for (mailbox, driver) in mailboxes.iter().zip(&drivers) {
            mailbox.take(&mut taken, &Arc::clone(driver).into());
        }
        let mut outgoing = Outgoing::new(2);
        for turn in 0..3 {
            for number in 0..100 {
                post(&mut outgoing, 1, turn * 100 + number, 0);
            }
            outgoing.flush_to_mailboxes(&mailboxes, |_| panic!("not full"));
            assert!(outgoing.is_empty());
        }
        assert_eq!((drivers[0].get(), drivers[1].get()), (0, 1), "commands already wait, so no second wake");
        mailboxes[1].take(&mut taken, &Arc::clone(&drivers[1]).into());
        assert_eq!(numbers(&mut taken), (0..300).collect::<Vec<_>>());
        post(&mut outgoing, 1, 0, 0);
        outgoing.flush_to_mailboxes(&mailboxes, |_| panic!("not full"));
        assert_eq!(drivers[1].get(), 2);
        assert!(!outgoing.push(2, Command::Drained), "there is no shard 2");
    }

    #[test]
    fn a_full_mailbox_holds_its_senders_until_it_is_below_half() {
        for (count, weight) in [(FULL / COMMAND_COST + 1, 0), (2, FULL / 2), (1, FULL)] {
            let mailboxes = [Mailbox::default()];
            let (driver, sender) = (Arc::<Count>::default(), Arc::<Count>::default());
            let waker: Waker = Arc::clone(&sender).into();
            let mut outgoing = Outgoing::new(1);
            let mut full = 0;
            for number in 0..count {
                assert_eq!(full, 0, "before command {number} of {count}");
                post(&mut outgoing, 0, number, weight);
                outgoing.flush_to_mailboxes(&mailboxes, |_| full += 1);
            }
            assert_eq!(full, 1);
            // It asks twice, and is woken once.
            assert!(!mailboxes[0].has_room_for(7, &waker) && !mailboxes[0].has_room_for(7, &waker));
            let mut taken = Vec::new();
            mailboxes[0].take(&mut taken, &driver.into());
            assert!(!mailboxes[0].has_room_for(7, &waker), "a command that is taken has not been run");
            let mut progress = Progress::new(&mailboxes[0]);
            taken.drain(..).for_each(|command| progress.add(command.cost()));
            drop(progress);
            assert_eq!(sender.get(), 1);
            assert!(mailboxes[0].has_room_for(7, &waker));
            assert_eq!(mailboxes[0].lock().load, 0);
        }
    }

    #[test]
    fn a_shard_that_has_ended_drops_commands_and_holds_no_sender() {
        let mailboxes = [Mailbox::default()];
        let mut outgoing = Outgoing::new(1);
        let sender = Arc::<Count>::default();
        post(&mut outgoing, 0, 0, FULL);
        outgoing.flush_to_mailboxes(&mailboxes, |_| {});
        assert!(!mailboxes[0].has_room_for(1, &Arc::clone(&sender).into()));
        mailboxes[0].close();
        assert_eq!(sender.get(), 1);
        let (done, answer) = oneshot::channel::<()>();
        assert!(outgoing.push(
            0,
            Command::Session(SessionRequest::EndPost {
                conn: ConnKey::new(Slab::default().insert(())),
                too_long: false,
                answer: done,
            })
        ));
        post(&mut outgoing, 0, 0, FULL);
        outgoing.flush_to_mailboxes(&mailboxes, |_| panic!("not full"));
        assert!(answer.blocking_recv().is_err());
        assert!(mailboxes[0].has_room_for(1, &sender.into()));
    }
}
