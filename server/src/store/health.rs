//! [`Health`]: whether a store works, what it says of that in the log, and what it has done.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::timings::{Times, Timings};

/// How often the log says that a fault lasts.
const REPEAT: Duration = Duration::from_secs(30);

/// What a store does: each may fail while the other works.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    Writing,
    Reading,
}

/// A part, and what the log says of it.
#[derive(Debug, Default)]
struct State {
    fault: Option<Fault>,
    /// The reason that the log named last, and when. Kept when the fault is over: one that comes and goes fills no log.
    told: Option<(String, Instant)>,
}

/// A fault that lasts.
#[derive(Debug)]
struct Fault {
    reason: String,
    since: Instant,
    is_told: bool,
}

/// See the module. All threads share one value.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Of writing and of reading.
    parts: [Mutex<State>; 2],
    /// Whether writing fails.
    refuses: AtomicBool,
    /// How often a part was found at fault.
    failures: AtomicU64,
    messages: AtomicU64,
    batches: AtomicU64,
    commits: Timings,
    reads: Timings,
}

/// What a store has done since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StoreCounts {
    pub(crate) messages: u64,
    pub(crate) batches: u64,
    pub(crate) failures: u64,
}

impl Health {
    /// What is wrong, for an operator.
    pub(crate) fn fault(&self) -> Option<String> {
        self.parts.iter().find_map(|part| {
            let state = part.lock().unwrap_or_else(PoisonError::into_inner);
            state.fault.as_ref().map(|fault| fault.reason.clone())
        })
    }

    /// Whether messages are refused because writing fails.
    pub(super) fn refuses(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }

    /// What the store has done.
    pub(crate) fn counts(&self) -> StoreCounts {
        let [messages, batches, failures] =
            [&self.messages, &self.batches, &self.failures].map(|count| count.load(Ordering::Relaxed));
        StoreCounts { messages, batches, failures }
    }

    /// How long commits took, and how long questions did.
    pub(crate) fn times(&self) -> [Times; 2] {
        [&self.commits, &self.reads].map(Timings::times)
    }

    /// A batch was committed, which took so long.
    pub(super) fn count_batch(&self, messages: usize, took: Duration) {
        self.messages.fetch_add(messages as u64, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.commits.add(took);
    }

    /// A question was answered, which took so long.
    pub(super) fn count_read(&self, took: Duration) {
        self.reads.add(took);
    }

    /// A part failed. The log says so at once, and again as long as it lasts, but not each time.
    pub(super) fn fail(&self, part: Part, reason: String) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let now = Instant::now();
        if matches!(part, Part::Writing) {
            self.refuses.store(true, Ordering::Relaxed);
        }
        let [writing, reading] = &self.parts;
        let (state, what) = match part {
            Part::Writing => (writing, "the store cannot write: messages are refused until it can"),
            Part::Reading => (reading, "the store cannot read the history"),
        };
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, was_told) = state.fault.as_ref().map_or((now, false), |fault| (fault.since, fault.is_told));
        let is_known = state.told.as_ref().is_some_and(|(of, at)| *of == reason && now.duration_since(*at) < REPEAT);
        if !is_known {
            tracing::error!(reason, seconds = now.duration_since(since).as_secs(), "{what}");
            state.told = Some((reason.clone(), now));
        }
        state.fault = Some(Fault { reason, since, is_told: was_told || !is_known });
    }

    /// A part works.
    pub(super) fn recover(&self, part: Part) {
        let [writing, reading] = &self.parts;
        let (state, what) = match part {
            Part::Writing => (writing, "the store can write again"),
            Part::Reading => (reading, "the store can read the history again"),
        };
        let Some(fault) = state.lock().unwrap_or_else(PoisonError::into_inner).fault.take() else { return };
        if matches!(part, Part::Writing) {
            self.refuses.store(false, Ordering::Relaxed);
        }
        if fault.is_told {
            tracing::info!(seconds = fault.since.elapsed().as_secs(), "{what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_that_comes_and_goes_is_told_once() {
        let health = Health::default();
        let is_told = |part: usize| health.parts[part].lock().unwrap().fault.as_ref().map(|fault| fault.is_told);
        health.fail(Part::Writing, "the disk is full".into());
        assert_eq!(is_told(0), Some(true));
        health.recover(Part::Writing);
        health.fail(Part::Writing, "the disk is full".into());
        assert_eq!(is_told(0), Some(false));
        health.fail(Part::Writing, "an I/O error".into());
        assert_eq!((is_told(0), is_told(1)), (Some(true), None));
    }

    #[test]
    fn each_part_fails_and_recovers_by_itself() {
        let health = Health::default();
        health.recover(Part::Writing);
        assert_eq!((health.fault(), health.refuses()), (None, false));
        health.fail(Part::Reading, "cannot read".into());
        assert_eq!((health.fault().as_deref(), health.refuses()), (Some("cannot read"), false));
        health.fail(Part::Writing, "the disk is full".into());
        health.recover(Part::Reading);
        assert_eq!((health.fault().as_deref(), health.refuses()), (Some("the disk is full"), true));
        health.recover(Part::Writing);
        assert_eq!((health.fault(), health.refuses(), health.counts().failures), (None, false, 2));
    }
}
