//! [`Collector`]: gathers what several shards and servers say, and wakes who waits for it.
//!
//! Whoever is asked gets a [`Part`]. It adds what it has to say and then says that it is done. A part that is dropped before
//! counts as missing: so a shard that breaks keeps nobody waiting.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

#[cfg(feature = "net")]
use super::reply::{Answer, Answers};
use super::reply::{Gathered, Source};

/// How much longer than the recipients' time the asking side waits for the shards and servers: those that are well say in this
/// time who did not answer, so that only the others are missing.
pub(crate) const GRACE: Duration = Duration::from_millis(250);

/// See the module.
pub(crate) struct Collector<T>(Mutex<Inner<T>>);

struct Inner<T> {
    gathered: T,
    /// Who has said nothing so far, or will say no more although it was not done.
    missing: Vec<Source>,
    /// Parts that are not done.
    open: usize,
    /// Nobody waits any more: what comes now is dropped.
    closed: bool,
    waker: Option<Waker>,
    /// Whether who waits is woken for everything that is added, not only at the end.
    wakes_for_each: bool,
    /// How many more bytes of answers are kept.
    budget: usize,
}

impl<T> fmt::Debug for Collector<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}

impl<T> Collector<T> {
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        // What panicked while it added something has added a part of it: the rest is missing, and nothing else is wrong.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Gathered> Collector<T> {
    pub(crate) fn new() -> Arc<Self> {
        Self::with_budget(usize::MAX)
    }

    /// One that keeps so many bytes of answers ([`Part::spend`]).
    pub(crate) fn with_budget(budget: usize) -> Arc<Self> {
        let (gathered, missing) = (T::default(), Vec::new());
        Arc::new(Self(Mutex::new(Inner {
            gathered,
            missing,
            open: 0,
            closed: false,
            waker: None,
            wakes_for_each: false,
            budget,
        })))
    }

    /// What `source` is asked with. All parts are made before somebody waits, or while another one is open.
    pub(crate) fn part(self: &Arc<Self>, source: Source) -> Part<T> {
        let mut inner = self.lock();
        inner.open += 1;
        inner.missing.push(source.clone());
        drop(inner);
        Part { collector: Arc::clone(self), source, was_heard: false, is_done: false }
    }

    /// Takes what was gathered. What comes later is dropped.
    pub(crate) fn take(&self) -> T {
        let mut inner = self.lock();
        inner.closed = true;
        let mut gathered = mem::take(&mut inner.gathered);
        let mut missing = mem::take(&mut inner.missing);
        drop(inner);
        missing.sort_unstable();
        gathered.set_missing(missing);
        gathered
    }

    /// Waits until everybody is done or the time is up.
    pub(crate) fn poll_done(&self, context: &Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.closed || inner.open == 0 {
            return Poll::Ready(());
        }
        inner.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// Whether it is gathered for nobody.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }
}

#[cfg(feature = "net")]
impl Collector<Answers> {
    /// From now on who waits is woken for each answer.
    pub(crate) fn wake_for_each(&self) {
        self.lock().wakes_for_each = true;
    }

    /// Waits for more answers, and, unless they were `told`, for the number of recipients of all who were asked. `None`: everybody is
    /// done.
    pub(crate) fn poll_answers(&self, context: &Context<'_>, told: bool) -> Poll<Option<(Option<usize>, Vec<Answer>)>> {
        let mut inner = self.lock();
        let recipients = (!told && inner.missing.is_empty()).then_some(inner.gathered.recipients);
        let answers = mem::take(&mut inner.gathered.answers);
        if recipients.is_some() || !answers.is_empty() {
            return Poll::Ready(Some((recipients, answers)));
        }
        if inner.closed || inner.open == 0 {
            return Poll::Ready(None);
        }
        inner.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// A [`Collector`] of anything, for who knows the time.
pub(crate) trait Close: fmt::Debug + Send + Sync {
    /// The time is up.
    fn close(&self);
}

impl<T: Gathered> Close for Collector<T> {
    fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        let waker = inner.waker.take();
        drop(inner);
        waker.into_iter().for_each(Waker::wake);
    }
}

/// What one of those who are asked adds with.
pub(crate) struct Part<T> {
    collector: Arc<Collector<T>>,
    source: Source,
    was_heard: bool,
    is_done: bool,
}

impl<T> fmt::Debug for Part<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("source", &self.source).finish_non_exhaustive()
    }
}

impl<T: Gathered> Part<T> {
    /// Adds something. From now on the source is not missing, unless the part is dropped before it is done.
    pub(crate) fn add(&mut self, add: impl FnOnce(&mut T)) {
        let mut inner = self.collector.lock();
        if inner.closed {
            return;
        }
        if !mem::replace(&mut self.was_heard, true)
            && let Some(position) = inner.missing.iter().position(|source| *source == self.source)
        {
            inner.missing.swap_remove(position);
        }
        add(&mut inner.gathered);
        let waker = if inner.wakes_for_each { inner.waker.take() } else { None };
        drop(inner);
        waker.into_iter().for_each(Waker::wake);
    }

    /// Whether an answer of so many bytes may be kept; it counts then.
    pub(crate) fn spend(&self, bytes: usize) -> bool {
        let mut inner = self.collector.lock();
        let left = inner.budget.checked_sub(bytes);
        inner.budget = left.unwrap_or(inner.budget);
        left.is_some()
    }

    /// Nothing more comes.
    pub(crate) fn done(mut self) {
        self.add(|_| ());
        self.is_done = true;
    }

    /// Who is asked.
    pub(crate) const fn source(&self) -> &Source {
        &self.source
    }

    /// A part for another one, of the same question.
    pub(crate) fn sibling(&self, source: Source) -> Self {
        self.collector.part(source)
    }

    /// Whether nobody waits for it any more.
    pub(crate) fn is_late(&self) -> bool {
        self.collector.is_closed()
    }
}

impl<T> Drop for Part<T> {
    fn drop(&mut self) {
        let mut inner = self.collector.lock();
        if self.was_heard && !self.is_done {
            inner.missing.push(self.source.clone());
        }
        inner.open = inner.open.saturating_sub(1);
        let waker = if inner.open == 0 { inner.waker.take() } else { None };
        drop(inner);
        waker.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::reply::{RemoteSocket, Sockets};

    fn is_done(collector: &Collector<Sockets>) -> bool {
        collector.poll_done(&Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn who_is_dropped_before_it_is_done_is_missing() {
        let collector = Collector::<Sockets>::new();
        assert!(is_done(&collector), "nobody was asked");
        let [mut first, mut second, third] = [0, 1, 2].map(|shard| collector.part(Source::Shard(shard)));
        first.add(|sockets| sockets.sockets.push(RemoteSocket::new("a", "/")));
        second.add(|sockets| sockets.sockets.push(RemoteSocket::new("b", "/")));
        first.done();
        drop(second);
        assert!(!is_done(&collector));
        drop(third);
        assert!(is_done(&collector));
        let Sockets { sockets, missing } = collector.take();
        assert_eq!((sockets.len(), missing), (2, vec![Source::Shard(1), Source::Shard(2)]));
    }

    #[test]
    fn what_comes_after_the_time_is_dropped() {
        let collector = Collector::<Sockets>::new();
        let mut part = collector.part(Source::Shard(0));
        collector.close();
        assert!(is_done(&collector) && part.is_late());
        part.add(|sockets| sockets.sockets.push(RemoteSocket::new("a", "/")));
        part.done();
        assert_eq!(collector.take(), Sockets { missing: vec![Source::Shard(0)], ..Sockets::default() });
    }
}
