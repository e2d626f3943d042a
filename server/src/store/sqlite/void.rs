//! [`VoidSessions`]: sessions of which the database does not know everything, because something could not be written. A client that
//! is recovered without a room that it is in misses messages and does not know it. So these are removed when the database can be written
//! again, and nothing more is written of them: what was told before and still waits, or is told later, would make a session again that
//! lacks something.

use std::{
    collections::HashSet,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use rusqlite::Connection;

use super::{super::types::SessionId, database::Write, sessions};

/// Above this many, all sessions that have begun are void.
const LISTED: usize = 65_536;

/// What is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Void {
    Session(SessionId),
    /// All sessions with this number or a lower one. Those that begin later have higher numbers.
    UpTo(SessionId),
}

impl Void {
    /// Removes them from the database.
    pub(crate) fn remove(self, connection: &Connection) -> rusqlite::Result<()> {
        match self {
            Self::Session(session) => sessions::remove(connection, session),
            Self::UpTo(last) => sessions::remove_until(connection, last),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    sessions: HashSet<SessionId>,
    until: Option<SessionId>,
    /// What is still to be removed.
    stored: Vec<Void>,
}

/// See the module. All threads share one value.
#[derive(Debug, Default)]
pub(crate) struct VoidSessions {
    state: Mutex<State>,
    /// Whether any session is void.
    exist: AtomicBool,
    /// Whether any is still to be removed.
    are_stored: AtomicBool,
}

impl VoidSessions {
    /// Something of this session could not be written.
    pub(crate) fn add(&self, session: SessionId) {
        let mut state = self.state();
        if state.until.is_some_and(|until| session <= until) || !state.sessions.insert(session) {
            return;
        }
        state.stored.push(Void::Session(session));
        if state.sessions.len() > LISTED {
            let until = std::mem::take(&mut state.sessions).into_iter().chain(state.until).max();
            state.until = until;
            state.stored = until.map(Void::UpTo).into_iter().collect();
        }
        self.exist.store(true, Ordering::Release);
        self.are_stored.store(true, Ordering::Release);
    }

    /// Takes the changes of void sessions out of a batch. Returns who waits for them.
    pub(crate) fn strip(&self, batch: &mut Vec<Write>) -> Vec<(u16, u64)> {
        let mut waiting = Vec::new();
        // Before each batch; mostly there is none.
        if self.exist.load(Ordering::Acquire) {
            let State { sessions, until, .. } = &*self.state();
            batch.retain(|write| {
                let Write::Session { change, told } = write else { return true };
                let session = change.session();
                let is_void = sessions.contains(&session) || until.is_some_and(|until| session <= until);
                if is_void {
                    waiting.extend(*told);
                }
                !is_void
            });
        }
        waiting
    }

    /// Has sessions removed. What could not be removed stays to be removed.
    pub(crate) fn take<E>(&self, mut remove: impl FnMut(Void) -> Result<(), E>) -> Result<(), E> {
        // After each batch; mostly there is none.
        if !self.are_stored.load(Ordering::Acquire) {
            return Ok(());
        }
        // The lock is not held meanwhile: a shard may be about to add one.
        while let Some(void) = self.last() {
            remove(void)?;
            let mut state = self.state();
            // All may have become void since.
            if state.stored.contains(&void) {
                state.stored.retain(|of| *of != void);
            }
            self.are_stored.store(!state.stored.is_empty(), Ordering::Release);
        }
        Ok(())
    }

    fn last(&self) -> Option<Void> {
        self.state().stored.last().copied()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{SessionChange, SessionSecret};

    fn session(number: u64) -> SessionId {
        SessionId::new(1, number)
    }

    fn began(number: u64) -> Write {
        let (sid, user) = ("sid".into(), "alice".into());
        let change = SessionChange::Began { session: session(number), secret: SessionSecret([1; 16]), sid, user };
        Write::Session { change, told: Some((0, number)) }
    }

    fn removed(void: &VoidSessions) -> HashSet<Void> {
        let mut removed = HashSet::new();
        let remove = |of| {
            removed.insert(of);
            Ok::<_, ()>(())
        };
        void.take(remove).unwrap();
        removed
    }

    #[test]
    fn sessions_are_removed_once_the_disk_works() {
        let void = VoidSessions::default();
        void.add(session(1));
        assert_eq!(void.take(|_| Err("the disk is full")), Err("the disk is full"));
        void.add(session(2));
        void.add(session(1));
        assert_eq!(removed(&void), HashSet::from([1, 2].map(session).map(Void::Session)));
        void.take(Err).unwrap();
    }

    #[test]
    fn nothing_more_is_written_of_a_session_that_was_removed() {
        let void = VoidSessions::default();
        let batch = || vec![began(1), began(2)];
        let mut before = batch();
        assert_eq!((void.strip(&mut before), before.len()), (vec![], 2));
        void.add(session(1));
        for _ in 0..2 {
            let mut later = batch();
            assert_eq!((void.strip(&mut later), later.len()), (vec![(0, 1)], 1));
            removed(&void);
        }
    }

    #[test]
    fn too_many_are_all_that_have_begun() {
        let void = VoidSessions::default();
        let last = LISTED as u64 + 1;
        (1..=last).for_each(|number| void.add(session(number)));
        assert_eq!(removed(&void), HashSet::from([Void::UpTo(session(last))]));
        void.add(session(5));
        void.add(session(last + 2));
        assert_eq!(removed(&void), HashSet::from([Void::Session(session(last + 2))]));
        let mut batch = vec![began(3), began(last), began(last + 1), began(last + 2)];
        assert_eq!(void.strip(&mut batch), [(0, 3), (0, last), (0, last + 2)]);
    }
}
