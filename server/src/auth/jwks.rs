//! [`Jwks`]: the keys that an issuer publishes, in a file or at a URL, fetched by a thread of its own.
//!
//! The last set that could be read stays until another one can. It is fetched again every `auth.jwks_refresh`; after a failure
//! sooner, but ever more seldom; and when a token names a key that is not in it, at most once in [`ASK_AGAIN`], since anybody can
//! make such a token.

use std::{
    fmt, io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;

use super::{
    jwk_set::{self, JwkSet},
    jwks_source::JwksSource,
    key::Key,
};

/// How often unknown keys may have the set fetched.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// How long after the first failure in a row the set is fetched again; each further one doubles it.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The longest that it is waited for after a failure.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// A set of keys that is kept fresh. The thread ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Jwks {
    source: JwksSource,
    refresh: Duration,
    begun: Instant,
    shared: Arc<Shared>,
    wake: SyncSender<()>,
}

/// What the thread and the shards share.
#[derive(Default)]
struct Shared {
    keys: ArcSwap<Vec<Key>>,
    state: Mutex<State>,
    fetched: Condvar,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("keys", &self.keys.load().len()).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    /// A fetch is on its way, or about to be.
    is_fetching: bool,
    /// How the last one ended; `None` before the first end.
    last: Option<Result<(), ()>>,
    /// When an unknown key last had the set fetched.
    asked: Option<Instant>,
    /// When the set that there is was fetched.
    fetched_at: Option<Instant>,
    failures: u64,
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
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done by a panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Jwks {
    /// Begins to fetch.
    ///
    /// # Errors
    /// The operating system gives no thread.
    pub(crate) fn start(source: JwksSource, refresh: Duration) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        shared.state().is_fetching = true;
        // One wake-up that waits says as much as many.
        let (wake, woken) = sync_channel(1);
        let fetcher = Fetcher { source: source.clone(), refresh, shared: Arc::clone(&shared), woken };
        std::thread::Builder::new().name("jwks".to_owned()).spawn(move || fetcher.run())?;
        Ok(Self { source, refresh, begun: Instant::now(), shared, wake })
    }

    /// Whether this is what `source` and `refresh` ask for.
    pub(crate) fn is_of(&self, source: &JwksSource, refresh: Duration) -> bool {
        self.source == *source && self.refresh == refresh
    }

    /// How the fetching goes; `None` of a file.
    pub(super) fn counts(&self) -> Option<JwksCounts> {
        let JwksSource::Url(_) = self.source else { return None };
        let state = self.shared.state();
        let age = state.fetched_at.unwrap_or(self.begun).elapsed();
        Some(JwksCounts { age, failures: state.failures })
    }

    /// Waits for the end of the first fetch, but no longer than this.
    pub(crate) fn wait_for_first(&self, within: Duration) {
        let state = self.shared.state();
        drop(self.shared.fetched.wait_timeout_while(state, within, |state| state.last.is_none()));
    }

    /// Has the set fetched without waiting for its turn.
    pub(crate) fn refresh_now(&self) {
        // A full queue wakes the thread as well.
        let _ = self.wake.try_send(());
    }

    /// The keys that there are now.
    pub(super) fn keys(&self) -> arc_swap::Guard<Arc<Vec<Key>>> {
        self.shared.keys.load()
    }

    /// A key is not in the set. Whether it may come: the set is being fetched, or could not be, or is now about to be. If not,
    /// the set is as new as it gets.
    pub(super) fn may_get_key(&self, now: Instant) -> bool {
        let mut state = self.shared.state();
        if state.is_fetching || state.last == Some(Err(())) {
            return true;
        }
        if state.asked.is_some_and(|asked| now.saturating_duration_since(asked) < ASK_AGAIN) {
            return false;
        }
        state.asked = Some(now);
        state.is_fetching = true;
        // The thread ends only after this.
        !matches!(self.wake.try_send(()), Err(TrySendError::Disconnected(())))
    }
}

/// The thread that fetches.
struct Fetcher {
    source: JwksSource,
    refresh: Duration,
    shared: Arc<Shared>,
    woken: Receiver<()>,
}

impl Fetcher {
    fn run(self) {
        let mut failures = 0;
        loop {
            self.shared.state().is_fetching = true;
            let fetched = self.source.read().and_then(|json| jwk_set::read(&json));
            let wait = match &fetched {
                Ok(_) => self.refresh,
                // Whoever wants fresh keys often wants them soon after a failure as well.
                Err(_) => retry_after(failures).min(self.refresh),
            };
            let had_failed = failures > 0;
            failures = if fetched.is_ok() { 0 } else { failures + 1 };
            self.take(fetched, had_failed, wait);
            match self.woken.recv_timeout(wait) {
                Ok(()) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Puts a new set in the place of the old one, and says what is new about it.
    fn take(&self, fetched: Result<JwkSet, String>, had_failed: bool, wait: Duration) {
        let old = self.shared.keys.load_full();
        let is_first = self.shared.state().last.is_none();
        let outcome = fetched.map_err(|reason| {
            tracing::warn!(
                from = %self.source, reason, kept = old.len(), again_in = ?wait, "auth.jwks: not fetched; the last keys stay"
            );
        });
        let outcome = outcome.map(|set| {
            if is_first || had_failed || !is_same(&old, &set.keys) {
                let kids: Vec<&str> = set.keys.iter().map(|key| key.kid().unwrap_or("(no kid)")).collect();
                tracing::info!(from = %self.source, keys = set.keys.len(), ?kids, "auth.jwks: fetched");
                for line in &set.ignored {
                    tracing::warn!(from = %self.source, "auth.jwks: {line}");
                }
            }
            self.shared.keys.store(Arc::new(set.keys));
        });
        let mut state = self.shared.state();
        state.is_fetching = false;
        match outcome {
            Ok(()) => state.fetched_at = Some(Instant::now()),
            Err(()) => state.failures += 1,
        }
        state.last = Some(outcome);
        drop(state);
        self.shared.fetched.notify_all();
    }
}

fn is_same(old: &[Key], new: &[Key]) -> bool {
    old.len() == new.len() && old.iter().zip(new).all(|(old, new)| old.is_same(new))
}

/// How long to wait after this many failures before the last one.
fn retry_after(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(2_u32.saturating_pow(failures)).min(LAST_RETRY)
}
