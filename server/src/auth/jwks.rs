//! [`Jwks`]: the keys that an issuer publishes, in a file or at a URL, fetched by a thread of its own.
//!
//! The last set that could be read stays until another one can. It is fetched again every `auth.jwks_refresh`; after a failure
//! sooner, but ever more seldom; and when a token names a key that is not in it, once in a while, since anybody can make such a token
//! (`jwks_schedule`).

use std::{
    fmt, io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

use super::{
    jwk_set::{self, JwkSet, MAX_KID},
    jwks_schedule::Schedule,
    jwks_source::JwksSource,
    key::Key,
};

/// A set of keys that is kept fresh. The thread ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Jwks {
    source: JwksSource,
    begun: Instant,
    shared: Arc<Shared>,
    wake: SyncSender<()>,
}

/// What the thread and the shards share.
struct Shared {
    keys: ArcSwap<Vec<Key>>,
    schedule: Mutex<Schedule>,
    fetched: Condvar,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("keys", &self.keys.load().len()).finish_non_exhaustive()
    }
}

/// How the fetching goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JwksCounts {
    /// How old the set is; before there is one, for how long it has been waited for.
    pub(crate) age: Duration,
    /// How many fetches failed.
    pub(crate) failures: u64,
}

impl Shared {
    fn schedule(&self) -> MutexGuard<'_, Schedule> {
        // Nothing is left half done by a panic.
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Jwks {
    /// Begins to fetch. Until that has succeeded the keys of `old` count, if there is one.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(crate) fn start(source: JwksSource, refresh: Duration, old: Option<&Self>) -> io::Result<Self> {
        let keys = old.map(|old| old.shared.keys.load_full()).unwrap_or_default();
        let schedule = Schedule::new(refresh, Instant::now());
        let shared =
            Arc::new(Shared { keys: keys.into(), schedule: Mutex::new(schedule), fetched: Condvar::default() });
        // One wake-up that waits says as much as many.
        let (wake, woken) = sync_channel(1);
        let fetcher = Fetcher { source: source.clone(), shared: Arc::clone(&shared), woken };
        std::thread::Builder::new().name("jwks".to_owned()).spawn(move || fetcher.run())?;
        Ok(Self { source, begun: Instant::now(), shared, wake })
    }

    /// Whether this is the set of `source`.
    pub(crate) fn is_of(&self, source: &JwksSource) -> bool {
        self.source == *source
    }

    /// How the fetching goes; `None` of a file.
    pub(super) fn counts(&self) -> Option<JwksCounts> {
        let JwksSource::Url(_) = self.source else { return None };
        let schedule = self.shared.schedule();
        let age = schedule.fetched_at().unwrap_or(self.begun).elapsed();
        Some(JwksCounts { age, failures: schedule.failed() })
    }

    /// Waits for the end of the first fetch, but no longer than this.
    pub(crate) fn wait_for_first(&self, within: Duration) {
        let schedule = self.shared.schedule();
        drop(self.shared.fetched.wait_timeout_while(schedule, within, |schedule| schedule.is_first()));
    }

    /// Has the set fetched now, and then in this interval.
    pub(crate) fn renew(&self, refresh: Duration) {
        self.shared.schedule().renew(refresh);
        self.wake();
    }

    /// The thread is to look at the schedule.
    fn wake(&self) {
        // A full queue wakes it as well, and it ends only after this.
        let _ = self.wake.try_send(());
    }

    /// The keys that there are now.
    pub(super) fn keys(&self) -> arc_swap::Guard<Arc<Vec<Key>>> {
        self.shared.keys.load()
    }

    /// Whether the keys are those of its own source, not of the one before.
    pub(super) fn has_fetched(&self) -> bool {
        self.shared.schedule().has_succeeded()
    }

    /// No key of this name is in the set. Whether that is certain, or it may come; then the set is fetched soon.
    pub(super) fn is_none_of_them(&self, kid: Option<&str>, now: Instant) -> bool {
        // Without a name it could be any.
        let Some(kid) = kid else { return false };
        if kid.len() > MAX_KID {
            return true;
        }
        let mut schedule = self.shared.schedule();
        let before = schedule.wait(now);
        let is_none = schedule.is_none_of_them(kid, now);
        let is_sooner = schedule.wait(now) != before;
        drop(schedule);
        if is_sooner {
            self.wake();
        }
        is_none
    }
}

/// The thread that fetches.
struct Fetcher {
    source: JwksSource,
    shared: Arc<Shared>,
    woken: Receiver<()>,
}

impl Fetcher {
    fn run(self) {
        loop {
            let now = Instant::now();
            let wait = self.shared.schedule().wait(now);
            match wait.map(|wait| self.woken.recv_timeout(wait)) {
                None => {
                    self.shared.schedule().begin(now);
                    self.take(self.source.read().and_then(|json| jwk_set::read(&json)));
                }
                Some(Ok(()) | Err(RecvTimeoutError::Timeout)) => {}
                Some(Err(RecvTimeoutError::Disconnected)) => return,
            }
        }
    }

    /// Puts a new set in the place of the old one, and says what is new about it.
    fn take(&self, fetched: Result<JwkSet, String>) {
        let old = self.shared.keys.load_full();
        match fetched {
            Ok(set) => self.replace(&old, set),
            Err(reason) => {
                let wait = self.shared.schedule().fail(Instant::now());
                let stays = if old.is_empty() { "there are no keys yet" } else { "the last keys stay" };
                tracing::warn!(
                    from = %self.source, reason, kept = old.len(), again_in = ?wait, "auth.jwks: not fetched; {stays}"
                );
            }
        }
        self.shared.fetched.notify_all();
    }

    fn replace(&self, old: &[Key], set: JwkSet) {
        let (is_first, is_failing) = {
            let schedule = self.shared.schedule();
            (schedule.is_first(), schedule.is_failing())
        };
        if is_first || is_failing || !is_same(old, &set.keys) {
            let kids: Vec<&str> = set.keys.iter().map(|key| key.kid().unwrap_or("(no kid)")).collect();
            let algorithms: Vec<_> = set.keys.iter().map(Key::algorithms).collect();
            tracing::info!(from = %self.source, keys = set.keys.len(), ?kids, ?algorithms, "auth.jwks: fetched");
            for line in &set.ignored {
                tracing::warn!(from = %self.source, "auth.jwks: {line}");
            }
        }
        let new = Arc::new(set.keys);
        self.shared.keys.store(Arc::clone(&new));
        let is_withdrawn = |kid: &&str| !new.iter().any(|key| key.kid() == Some(kid));
        let withdrawn = old.iter().filter_map(Key::kid).filter(is_withdrawn);
        self.shared.schedule().succeed(Instant::now(), withdrawn);
    }
}

fn is_same(old: &[Key], new: &[Key]) -> bool {
    old.len() == new.len()
        && old.iter().zip(new).all(|(old, new)| old.is_same(new) && old.algorithms() == new.algorithms())
}
