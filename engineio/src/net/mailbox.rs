//! What shards tell each other, and what reaches them from other threads: one mailbox a shard.
//!
//! A sender collects its letters per target ([`Outgoing`]) and hands them over at the end of its turn; the target's driver
//! takes all that lies there at once. So a turn costs one lock and at most one wake per target, however many letters it
//! brought, and letters of one sender keep their order.
//!
//! Nobody waits for anybody here: handing over always succeeds, and tells whether the target has too much to do. Then
//! the *sender* reads no sockets until the target is below half of [`FULL`] (see [`super::congestion`]).

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{counts::Connected, peer_wire::PeerWire, polling::Refused, shard::Io};
use crate::{ConnKey, JobId, ShardMessage, job::JobPanicked, payload::Form};

/// What may lie in front of a shard, in bytes as [`Letter::cost`] counts them.
const FULL: usize = 4 << 20;

/// What a letter costs beside its weight: 1,024 that weigh nothing are as much as 4 MiB.
const LETTER_COST: usize = 4096;

/// One thing for a shard to deal with.
pub(super) enum Letter {
    /// For the handler.
    ShardMessage(ShardMessage),
    /// The result of a job that the handler started.
    JobDone(JobId, Result<ShardMessage, JobPanicked>),
    /// A TCP connection to go on with.
    Stream(Box<Handover>),
    /// A look at a session, for a request that came in on another shard.
    Visit(Box<dyn FnOnce(&mut Io) + Send>),
    /// A body that was posted to a session on another shard.
    Packets(Box<Packets>),
    /// A request that another server passes on.
    #[cfg(feature = "tower")]
    Request(Box<super::tower::Passed>),
    /// Every session of a server that shuts down is gone.
    Drained,
    /// End every session at its transport; stop once all are gone, or after this time.
    Shutdown { within: Duration },
}

/// A TCP connection on its way from one shard to another.
#[derive(Debug)]
pub(super) struct Handover {
    pub(super) stream: std::net::TcpStream,
    pub(super) remote: std::net::SocketAddr,
    /// What was read of it already.
    pub(super) early: Bytes,
    pub(super) connected: Connected,
    pub(super) errand: Errand,
}

/// What a connection that is handed over has come to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Errand {
    /// Nothing yet: it is to be served from its first byte.
    Serve,
    /// The WebSocket of probe number so-and-so, answered 101.
    Probe(ConnKey, u64, PeerWire),
}

/// The body of a POST whose session is another shard's.
#[derive(Debug)]
pub(super) struct Packets {
    pub(super) key: ConnKey,
    pub(super) form: Form,
    pub(super) body: Bytes,
    pub(super) done: oneshot::Sender<Result<(), Refused>>,
}

impl Letter {
    /// What it counts for among what lies in front of a shard.
    pub(super) fn cost(&self) -> usize {
        LETTER_COST
            + match self {
                Self::ShardMessage(remote) => remote.weight(),
                Self::JobDone(_, result) => result.as_ref().map_or(0, ShardMessage::weight),
                Self::Stream(handover) => handover.early.len(),
                Self::Packets(packets) => packets.body.len(),
                #[cfg(feature = "tower")]
                Self::Request(_) => 0,
                Self::Visit(_) | Self::Drained | Self::Shutdown { .. } => 0,
            }
    }
}

impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ShardMessage(_) => "ShardMessage",
            Self::JobDone(..) => "JobDone",
            Self::Stream(_) => "Stream",
            Self::Visit(_) => "Visit",
            Self::Packets(_) => "Packets",
            #[cfg(feature = "tower")]
            Self::Request(_) => "Request",
            Self::Drained => "Drained",
            Self::Shutdown { .. } => "Shutdown",
        })
    }
}

/// Letters in order, and what they cost together.
#[derive(Debug, Default)]
struct Bundle {
    letters: Vec<Letter>,
    cost: usize,
}

impl Bundle {
    fn push(&mut self, letter: Letter) {
        self.cost += letter.cost();
        self.letters.push(letter);
    }
}

/// The letters in front of one shard.
#[derive(Debug, Default)]
pub(super) struct Mailbox(Mutex<Pile>);

#[derive(Debug, Default)]
struct Pile {
    letters: Vec<Letter>,
    /// The cost of all letters that are not dealt with: these, and those that the driver has taken and is busy with.
    load: usize,
    /// The driver of the shard.
    driver: Option<Waker>,
    /// Shards that do not read until the load is below half of [`FULL`], and their drivers.
    waiting: Vec<(u16, Waker)>,
    /// The shard has ended: nobody will deal with anything.
    closed: bool,
}

impl Mailbox {
    fn lock(&self) -> MutexGuard<'_, Pile> {
        // Nothing in here panics half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands one letter over, from whatever thread. Never waits.
    pub(super) fn put(&self, letter: Letter) {
        let mut bundle = Bundle::default();
        bundle.push(letter);
        self.put_all(&mut bundle);
    }

    /// Hands all of `bundle` over, and leaves it empty; whether the shard has too much to do.
    fn put_all(&self, bundle: &mut Bundle) -> bool {
        let Bundle { letters, cost } = bundle;
        let cost = std::mem::take(cost);
        let mut pile = self.lock();
        if pile.closed {
            drop(pile);
            letters.clear();
            return false;
        }
        let wake = pile.letters.is_empty();
        if wake {
            std::mem::swap(&mut pile.letters, letters);
        } else {
            pile.letters.append(letters);
        }
        pile.load += cost;
        let full = pile.load > FULL;
        let driver = pile.driver.as_ref().filter(|_| wake).cloned();
        drop(pile);
        if let Some(driver) = driver {
            driver.wake();
        }
        full
    }

    /// Takes all letters into `taken`, which is empty; `driver` is woken when there are new ones.
    pub(super) fn take(&self, taken: &mut Vec<Letter>, driver: &Waker) {
        let mut pile = self.lock();
        if !pile.driver.as_ref().is_some_and(|known| known.will_wake(driver)) {
            pile.driver = Some(driver.clone());
        }
        std::mem::swap(&mut pile.letters, taken);
    }

    /// Letters of this cost are dealt with.
    fn done(&self, cost: usize) {
        let mut pile = self.lock();
        pile.load = pile.load.saturating_sub(cost);
        let waiting = if pile.load < FULL / 2 { std::mem::take(&mut pile.waiting) } else { Vec::new() };
        drop(pile);
        waiting.into_iter().for_each(|(_, driver)| driver.wake());
    }

    /// Whether a sender that found the shard full may go on. If not, `driver` is woken when it is worth asking again.
    pub(super) fn has_room_for(&self, sender: u16, driver: &Waker) -> bool {
        let mut pile = self.lock();
        if pile.load < FULL / 2 {
            return true;
        }
        pile.waiting.retain(|(other, _)| *other != sender);
        pile.waiting.push((sender, driver.clone()));
        false
    }

    /// The shard has ended.
    pub(super) fn close(&self) {
        let mut pile = self.lock();
        pile.closed = true;
        pile.load = 0;
        let (letters, waiting) = (std::mem::take(&mut pile.letters), std::mem::take(&mut pile.waiting));
        pile.driver = None;
        drop(pile);
        // Whoever waits for an answer to one of them learns that there will be none.
        drop(letters);
        waiting.into_iter().for_each(|(_, driver)| driver.wake());
    }
}

/// Tells the mailbox what was dealt with: not every letter for itself, but not only at the end of a long pile either.
pub(super) struct Progress<'a> {
    mailbox: &'a Mailbox,
    cost: usize,
}

impl<'a> Progress<'a> {
    pub(super) const fn new(mailbox: &'a Mailbox) -> Self {
        Self { mailbox, cost: 0 }
    }

    /// A letter of this cost is dealt with.
    pub(super) fn add(&mut self, cost: usize) {
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

/// The letters that a shard has written in this turn.
#[derive(Debug)]
pub(super) struct Outgoing {
    by_target: Vec<Bundle>,
    /// Targets with letters.
    targets: Vec<u16>,
    cost: usize,
}

impl Outgoing {
    pub(super) fn new(shards: u16) -> Self {
        Self { by_target: (0..shards).map(|_| Bundle::default()).collect(), targets: Vec::new(), cost: 0 }
    }

    /// Keeps a letter until the end of the turn; `false` when there is no such shard, and the letter is dropped.
    pub(super) fn push(&mut self, target: u16, letter: Letter) -> bool {
        let Some(bundle) = self.by_target.get_mut(usize::from(target)) else { return false };
        if bundle.letters.is_empty() {
            self.targets.push(target);
        }
        self.cost += letter.cost();
        bundle.push(letter);
        true
    }

    /// Whether so much was written in this turn already that nothing should be read that leads to more.
    pub(super) const fn is_too_much(&self) -> bool {
        self.cost > FULL / 2
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Hands all letters over, and calls `full` with each target that has too much to do.
    pub(super) fn hand_over(&mut self, mailboxes: &[Mailbox], mut full: impl FnMut(u16)) {
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

    use super::*;

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
        assert!(outgoing.push(target, Letter::ShardMessage(ShardMessage::new(number).with_weight(weight))));
    }

    fn numbers(letters: &mut Vec<Letter>) -> Vec<usize> {
        let number = |letter| match letter {
            Letter::ShardMessage(remote) => remote.downcast::<usize>().unwrap(),
            other => panic!("{other:?}"),
        };
        letters.drain(..).map(number).collect()
    }

    #[test]
    fn a_turn_wakes_each_target_once_and_letters_keep_their_order() {
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
            outgoing.hand_over(&mailboxes, |_| panic!("not full"));
            assert!(outgoing.is_empty());
        }
        assert_eq!((drivers[0].get(), drivers[1].get()), (0, 1), "nothing was taken in between");
        mailboxes[1].take(&mut taken, &Arc::clone(&drivers[1]).into());
        assert_eq!(numbers(&mut taken), (0..300).collect::<Vec<_>>());
        post(&mut outgoing, 1, 0, 0);
        outgoing.hand_over(&mailboxes, |_| panic!("not full"));
        assert_eq!(drivers[1].get(), 2);
        assert!(!outgoing.push(2, Letter::Drained), "there is no shard 2");
    }

    #[test]
    fn a_full_mailbox_holds_its_senders_until_it_is_below_half() {
        for (count, weight) in [(FULL / LETTER_COST + 1, 0), (2, FULL / 2), (1, FULL)] {
            let mailboxes = [Mailbox::default()];
            let (driver, sender) = (Arc::<Count>::default(), Arc::<Count>::default());
            let waker: Waker = Arc::clone(&sender).into();
            let mut outgoing = Outgoing::new(1);
            let mut full = 0;
            for number in 0..count {
                assert_eq!(full, 0, "before letter {number} of {count}");
                post(&mut outgoing, 0, number, weight);
                outgoing.hand_over(&mailboxes, |_| full += 1);
            }
            assert_eq!(full, 1);
            // Asked twice, woken once.
            assert!(!mailboxes[0].has_room_for(7, &waker) && !mailboxes[0].has_room_for(7, &waker));
            let mut taken = Vec::new();
            mailboxes[0].take(&mut taken, &driver.into());
            assert!(!mailboxes[0].has_room_for(7, &waker), "taken is not dealt with");
            let mut progress = Progress::new(&mailboxes[0]);
            taken.drain(..).for_each(|letter| progress.add(letter.cost()));
            drop(progress);
            assert_eq!(sender.get(), 1);
            assert!(mailboxes[0].has_room_for(7, &waker));
            assert_eq!(mailboxes[0].lock().load, 0);
        }
    }

    #[test]
    fn a_shard_that_has_ended_swallows_letters_and_holds_nobody() {
        let mailboxes = [Mailbox::default()];
        let mut outgoing = Outgoing::new(1);
        let sender = Arc::<Count>::default();
        post(&mut outgoing, 0, 0, FULL);
        outgoing.hand_over(&mailboxes, |_| {});
        assert!(!mailboxes[0].has_room_for(1, &Arc::clone(&sender).into()));
        mailboxes[0].close();
        assert_eq!(sender.get(), 1);
        let (done, answer) = oneshot::channel::<()>();
        assert!(outgoing.push(0, Letter::Visit(Box::new(move |_| drop(done)))));
        post(&mut outgoing, 0, 0, FULL);
        outgoing.hand_over(&mailboxes, |_| panic!("not full"));
        assert!(answer.blocking_recv().is_err());
        assert!(mailboxes[0].has_room_for(1, &sender.into()));
    }
}
