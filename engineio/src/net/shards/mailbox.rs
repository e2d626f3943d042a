//! [`Mailbox`]: what lies in front of a shard, from other shards and other threads.
//!
//! A shard collects its commands per target ([`Outgoing`]) and puts them into the mailboxes at the end of its turn; the target's
//! driver takes all that lies there at once. So a turn costs one lock and at most one wake per target, however many commands
//! it brought, and commands of one sender keep their order.
//!
//! Shards never wait for each other here: putting always succeeds, and tells whether the target has too much to do. Then the
//! *sender* reads no sockets until the target is below half of [`FULL`] (`shard/congestion.rs`). Other threads do wait, or
//! are refused, while a mailbox is full ([`super::handle::Handle`]).

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use tokio::sync::{Notify, futures::Notified};

use super::command::Command;

/// What may lie in front of a shard, in bytes as [`Command::cost`] counts them.
const FULL: usize = 4 << 20;

/// Commands in order, and what they cost together.
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

/// The commands in front of one shard.
#[derive(Debug, Default)]
pub(in crate::net) struct Mailbox {
    queue: Mutex<Queue>,
    /// Told when there is room again for threads that wait.
    room: Notify,
}

/// The shard has ended: nobody deals with commands.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::net) struct Closed;

/// Why a mailbox did not take a command.
#[derive(Debug)]
pub(in crate::net) enum PutError {
    /// The shard has too much to do.
    Full(Command),
    Closed,
}

#[derive(Debug, Default)]
struct Queue {
    commands: Vec<Command>,
    /// The cost of all commands that are not dealt with: these, and those that the driver has taken and is busy with.
    load: usize,
    /// The driver of the shard.
    driver: Option<Waker>,
    /// Shards that do not read until the load is below half of [`FULL`], and their drivers.
    waiting: Vec<(u16, Waker)>,
    /// The shard has ended: nobody will deal with anything.
    closed: bool,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing in here panics half way.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts one command in, from whatever thread, however much lies there.
    ///
    /// # Errors
    /// The shard has ended.
    pub(in crate::net) fn put(&self, command: Command) -> Result<(), Closed> {
        match self.insert(command, usize::MAX) {
            Ok(()) => Ok(()),
            Err(_) => Err(Closed),
        }
    }

    /// Puts one command in unless the shard has too much to do.
    ///
    /// # Errors
    /// The mailbox is full, or the shard has ended.
    pub(in crate::net) fn try_put(&self, command: Command) -> Result<(), PutError> {
        self.insert(command, FULL)
    }

    /// Ends when it is worth trying again after [`PutError::Full`]. To be made before the attempt, and enabled.
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

    /// Puts all of `bundle` in, and leaves it empty; whether the shard has too much to do.
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

    /// Takes all commands into `taken`, which is empty; `driver` is woken when there are new ones.
    pub(in crate::net) fn take(&self, taken: &mut Vec<Command>, driver: &Waker) {
        let mut queue = self.lock();
        if !queue.driver.as_ref().is_some_and(|known| known.will_wake(driver)) {
            queue.driver = Some(driver.clone());
        }
        std::mem::swap(&mut queue.commands, taken);
    }

    /// Commands of this cost are dealt with.
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

    /// Whether a sender that found the shard full may go on. If not, `driver` is woken when it is worth asking again.
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
        // Whoever waits for an answer to one of them learns that there will be none.
        drop(commands);
        waiting.into_iter().for_each(|(_, driver)| driver.wake());
        self.room.notify_waiters();
    }
}

/// Tells the mailbox what was dealt with: not every command for itself, but not only at the end of a long queue either.
pub(in crate::net) struct Progress<'a> {
    mailbox: &'a Mailbox,
    cost: usize,
}

impl<'a> Progress<'a> {
    pub(in crate::net) const fn new(mailbox: &'a Mailbox) -> Self {
        Self { mailbox, cost: 0 }
    }

    /// A command of this cost is dealt with.
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

/// The commands that a shard has written in this turn.
#[derive(Debug)]
pub(in crate::net) struct Outgoing {
    by_target: Vec<Bundle>,
    /// Targets with commands.
    targets: Vec<u16>,
    cost: usize,
}

impl Outgoing {
    pub(in crate::net) fn new(shards: u16) -> Self {
        Self { by_target: (0..shards).map(|_| Bundle::default()).collect(), targets: Vec::new(), cost: 0 }
    }

    /// Keeps a command until the end of the turn; `false` when there is no such shard, and the command is dropped.
    pub(in crate::net) fn push(&mut self, target: u16, command: Command) -> bool {
        let Some(bundle) = self.by_target.get_mut(usize::from(target)) else { return false };
        if bundle.commands.is_empty() {
            self.targets.push(target);
        }
        self.cost += command.cost();
        bundle.push(command);
        true
    }

    /// Whether so much was written in this turn already that nothing should be read that leads to more.
    pub(in crate::net) const fn is_too_much(&self) -> bool {
        self.cost > FULL / 2
    }

    pub(in crate::net) const fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Puts all commands into their mailboxes, and calls `full` with each target that has too much to do.
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
        assert_eq!((drivers[0].get(), drivers[1].get()), (0, 1), "nothing was taken in between");
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
            // Asked twice, woken once.
            assert!(!mailboxes[0].has_room_for(7, &waker) && !mailboxes[0].has_room_for(7, &waker));
            let mut taken = Vec::new();
            mailboxes[0].take(&mut taken, &driver.into());
            assert!(!mailboxes[0].has_room_for(7, &waker), "taken is not dealt with");
            let mut progress = Progress::new(&mailboxes[0]);
            taken.drain(..).for_each(|command| progress.add(command.cost()));
            drop(progress);
            assert_eq!(sender.get(), 1);
            assert!(mailboxes[0].has_room_for(7, &waker));
            assert_eq!(mailboxes[0].lock().load, 0);
        }
    }

    #[test]
    fn a_shard_that_has_ended_swallows_commands_and_holds_nobody() {
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
            Command::Session(SessionRequest::EndPost { conn: ConnKey::new(Slab::default().insert(())), answer: done })
        ));
        post(&mut outgoing, 0, 0, FULL);
        outgoing.flush_to_mailboxes(&mailboxes, |_| panic!("not full"));
        assert!(answer.blocking_recv().is_err());
        assert!(mailboxes[0].has_room_for(1, &sender.into()));
    }
}
