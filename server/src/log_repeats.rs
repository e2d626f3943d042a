//! [`Repeats`]: events that repeat are counted, not repeated.
//!
//! Events of one place in the program with one message are of one *kind*, whatever their fields hold: a client chooses the fields. Of
//! each kind a few lines are written in each period; then one says how many there were beside them. Only what is for an operator is
//! held back, so not `debug` and `trace`. What whoever has a key of the API does ([`AUDIT`]) is always written: many lines of one kind
//! could hide one that matters.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

/// How long events are counted together.
const PERIOD: Duration = Duration::from_secs(30);

/// How many lines of one kind are written in that time.
const WRITTEN: u32 = 10;

/// How many kinds are told apart; the events of all others are of one kind.
const KINDS: usize = 256;

/// The longest part of a message that is kept.
const MESSAGE: usize = 200;

/// Which events are of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct KindKey(Option<(Identifier, String)>);

/// A kind of which events came in the current period.
#[derive(Debug)]
struct Kind {
    level: Level,
    since: Instant,
    written: u32,
    held: u64,
}

/// How often an event was not written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Repeated {
    pub(crate) level: Level,
    pub(crate) message: String,
    pub(crate) times: u64,
    pub(crate) seconds: u64,
}

/// See the module. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Repeats {
    kinds: Arc<Mutex<HashMap<KindKey, Kind>>>,
    /// Of how many kinds events are held back.
    holding: Arc<AtomicUsize>,
    /// Is told when the first event of a kind was held back.
    on_held: OnHeld,
}

#[derive(Clone)]
struct OnHeld(Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for OnHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnHeld")
    }
}

impl Repeats {
    /// Nothing has come yet. `on_held` is called when [`Repeats::take`] will have something to take at some time; it must not block.
    pub(crate) fn new(on_held: impl Fn() + Send + Sync + 'static) -> Self {
        Self { kinds: Arc::default(), holding: Arc::default(), on_held: OnHeld(Arc::new(on_held)) }
    }

    /// Whether something is held back.
    pub(crate) fn holds(&self) -> bool {
        self.holding.load(Ordering::Relaxed) > 0
    }

    /// Whether this event is to be written.
    fn admit(&self, key: impl FnOnce() -> KindKey, level: Level, now: Instant) -> bool {
        // Whoever logs never waits: not for another thread, and not for itself where it panics in here.
        let Ok(mut kinds) = self.kinds.try_lock() else { return true };
        let key = key();
        let key = if kinds.len() < KINDS || kinds.contains_key(&key) { key } else { KindKey(None) };
        let new = Kind { level, since: now, written: 0, held: 0 };
        let kind = kinds.entry(key).or_insert(new);
        if kind.held == 0 && now.saturating_duration_since(kind.since) >= PERIOD {
            *kind = Kind { level, since: now, written: 0, held: 0 };
        }
        if kind.written < WRITTEN {
            kind.written += 1;
            return true;
        }
        kind.held += 1;
        if kind.held == 1 {
            self.holding.fetch_add(1, Ordering::Relaxed);
            (self.on_held.0)();
        }
        false
    }

    /// What was held back in periods that are over, or also in those that are not (`all`). Forgets kinds that are quiet.
    pub(crate) fn take(&self, now: Instant, all: bool) -> Vec<Repeated> {
        let Ok(mut kinds) = self.kinds.lock() else { return Vec::new() };
        let mut taken = Vec::new();
        kinds.retain(|KindKey(key), kind| {
            let lasted = now.saturating_duration_since(kind.since);
            if lasted < PERIOD && !all {
                return true;
            }
            if kind.held > 0 {
                self.holding.fetch_sub(1, Ordering::Relaxed);
                let message = key.as_ref().map_or("events of other kinds", |(_, message)| message).to_owned();
                taken.push(Repeated { level: kind.level, message, times: kind.held, seconds: lasted.as_secs().max(1) });
            }
            false
        });
        taken
    }
}

impl Repeated {
    /// Writes the line.
    pub(crate) fn log(&self) {
        let Self { level, message, times, seconds } = self;
        match *level {
            Level::ERROR => tracing::error!(target: SUMMARY, "repeated {times} times in {seconds} s: {message}"),
            Level::WARN => tracing::warn!(target: SUMMARY, "repeated {times} times in {seconds} s: {message}"),
            _ => tracing::info!(target: SUMMARY, "repeated {times} times in {seconds} s: {message}"),
        }
    }
}

/// The target of the lines that say how often something repeated.
const SUMMARY: &str = "chat_server::repeated";

/// The target of the audit trail. Only whoever has a key of the API has such a line written.
pub(crate) const AUDIT: &str = "chat_server::audit";

fn is_held_back(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::INFO && ![SUMMARY, AUDIT].contains(&metadata.target())
}

impl<S: Subscriber> Layer<S> for Repeats {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let key = || {
            let mut message = Message(String::new());
            event.record(&mut message);
            KindKey(Some((metadata.callsite(), message.0)))
        };
        !is_held_back(metadata) || self.admit(key, *metadata.level(), Instant::now())
    }
}

/// The beginning of an event's message.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            // It does not fail but where it has enough.
            let _ = write!(Beginning(&mut self.0), "{value:?}");
        }
    }
}

/// Takes [`MESSAGE`] bytes, and then refuses.
struct Beginning<'a>(&'a mut String);

impl fmt::Write for Beginning<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.0.len() + c.len_utf8() > MESSAGE {
                return Err(fmt::Error);
            }
            self.0.push(c);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Notes every event that gets as far as it.
    #[derive(Clone, Default)]
    struct Seen(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Seen {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut message = Message(String::new());
            event.record(&mut message);
            self.0.lock().unwrap().push(message.0);
        }
    }

    #[test]
    fn a_kind_is_written_a_few_times_and_counted_from_then_on() {
        let (held, was_held) = channel();
        let repeats = Repeats::new(move || held.send(()).unwrap());
        let seen = Seen::default();
        let subscriber = tracing_subscriber::registry().with(repeats.clone()).with(seen.clone());
        let begun = Instant::now();
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..1000 {
                tracing::warn!(origin = n, "a page is refused");
                tracing::debug!(n, "details");
                tracing::info!(target: AUDIT, n, "API");
            }
            for n in 0..3 {
                tracing::warn!("warning {n} of the configuration");
            }
        });
        let seen = std::mem::take(&mut *seen.0.lock().unwrap());
        let count = |message: &str| seen.iter().filter(|of| *of == message).count();
        assert_eq!((count("a page is refused"), count("details"), count("API")), (10, 1000, 1000));
        assert!((0..3).all(|n| count(&format!("warning {n} of the configuration")) == 1), "{seen:?}");
        assert!(was_held.try_recv().is_ok() && was_held.try_recv().is_err(), "told once");
        assert_eq!(repeats.take(begun, false), []);
        assert!(repeats.holds());
        let until = Instant::now() + PERIOD;
        let repeated = Repeated { level: Level::WARN, message: "a page is refused".into(), times: 990, seconds: 30 };
        assert_eq!(repeats.take(until, false), [repeated]);
        assert!(repeats.take(until, true).is_empty() && !repeats.holds(), "said once");
    }

    #[test]
    fn a_period_that_is_over_begins_anew_and_kinds_are_bounded() {
        let (repeats, now) = (Repeats::new(|| {}), Instant::now());
        let admit = |n: usize, now| {
            repeats.admit(|| KindKey(Some((CALLSITE.metadata().callsite(), n.to_string()))), Level::INFO, now)
        };
        assert_eq!((0..20).filter(|_| admit(0, now)).count(), 10);
        repeats.take(now + PERIOD, false);
        assert!(admit(0, now + PERIOD), "a new period");
        let written = (0..10 * KINDS).filter(|n| admit(*n, now + PERIOD)).count();
        assert!(written < KINDS + 2 * WRITTEN as usize && repeats.kinds.lock().unwrap().len() <= KINDS + 1);
    }

    use tracing::callsite::Callsite as _;

    static CALLSITE: tracing::callsite::DefaultCallsite = tracing::callsite::DefaultCallsite::new(&METADATA);
    static METADATA: Metadata<'static> = tracing::metadata! {
        name: "test", target: "test", level: Level::INFO, fields: &[], callsite: &CALLSITE,
        kind: tracing::metadata::Kind::EVENT
    };
}
