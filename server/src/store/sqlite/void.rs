//! [`VoidSessions`]: sessions of which the database does not know everything, because something could not be written. A client that
//! is recovered without a room that it is in misses messages and does not know it. So these are removed when the database can be written
//! again.

use std::{
    collections::HashSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::super::types::SessionId;

/// Above this many, all sessions are void.
const LISTED: usize = 65_536;

#[derive(Debug, Default)]
struct State {
    sessions: HashSet<SessionId>,
    all: bool,
}

/// See the module. All threads share one value.
#[derive(Debug, Default)]
pub(super) struct VoidSessions {
    state: Mutex<State>,
    is_empty: AtomicBool,
}

impl VoidSessions {
    /// Something of this session could not be written.
    pub(super) fn add(&self, session: SessionId) {
        let mut state = self.state();
        if state.sessions.len() < LISTED {
            state.sessions.insert(session);
        } else {
            *state = State { sessions: HashSet::new(), all: true };
        }
        self.is_empty.store(false, Ordering::Release);
    }

    /// Has sessions removed: those that are named, or all of them. They stay until that has succeeded.
    pub(super) fn take<E>(&self, mut remove: impl FnMut(Option<SessionId>) -> Result<(), E>) -> Result<(), E> {
        // After each batch; mostly there is none.
        if self.is_empty.load(Ordering::Acquire) {
            return Ok(());
        }
        // The lock is not held meanwhile: a shard may be about to add one.
        while let Some(void) = self.first() {
            remove(void)?;
            let mut state = self.state();
            match void {
                Some(session) => drop(state.sessions.remove(&session)),
                None => state.all = false,
            }
            self.is_empty.store(state.sessions.is_empty() && !state.all, Ordering::Release);
        }
        Ok(())
    }

    /// All of them (`None`), or one; `None` when there is nothing to remove.
    fn first(&self) -> Option<Option<SessionId>> {
        let state = self.state();
        if state.all { Some(None) } else { state.sessions.iter().next().copied().map(Some) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_are_void_until_they_are_removed() {
        let void = VoidSessions::default();
        let [one, two] = [1, 2].map(|number| SessionId::new(1, number));
        void.add(one);
        assert_eq!(void.take(|_| Err("the disk is full")), Err("the disk is full"));
        void.add(two);
        let mut removed = HashSet::new();
        void.take(|session| {
            removed.insert(session);
            Ok::<_, ()>(())
        })
        .unwrap();
        assert_eq!(removed, HashSet::from([Some(one), Some(two)]));
        void.take(Err).unwrap();
    }

    #[test]
    fn too_many_are_all() {
        let void = VoidSessions::default();
        (0..=LISTED as u64).for_each(|number| void.add(SessionId::new(1, number + 1)));
        let mut removed = Vec::new();
        void.take(|session| {
            removed.push(session);
            Ok::<_, ()>(())
        })
        .unwrap();
        assert_eq!(removed, [None]);
    }
}
