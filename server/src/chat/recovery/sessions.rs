//! [`Sessions`]: the sessions without a connection, known to all shards together. Of a session with a connection only the shard of its
//! socket knows.
//!
//! A lock is taken when a socket disconnects or is claimed, and held for one look into a map.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use socketio::SocketId;

use super::Pid;
use crate::{
    room::Room,
    store::{Position, SessionId, SessionSecret},
};

/// So many sessions without a connection are kept. The oldest go first.
const ENDED: usize = 262_144;

/// A session whose connection has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chat) struct Session {
    /// Of its socket.
    pub(in crate::chat) id: SocketId,
    /// Its rooms. It has what came up to the position, or need not have it.
    pub(in crate::chat) rooms: Vec<(Room, Position)>,
    /// Whether the store was told that it began.
    pub(in crate::chat) saved: bool,
}

#[derive(Debug)]
enum State {
    /// Its connection ended then.
    Ended { session: Box<Session>, at: Instant },
    /// Somebody is claiming it.
    Claimed,
    /// It began in an earlier run, and has a connection in this one: what the store knows of it is not true any more.
    Resumed,
}

#[derive(Debug)]
struct Entry {
    secret: SessionSecret,
    /// The id of its user.
    user: Arc<str>,
    state: State,
}

#[derive(Debug, Default)]
struct Known {
    sessions: HashMap<SessionId, Entry>,
    /// Sessions of earlier runs that went on in this one and are over. The store may not have been told yet. They are forgotten when
    /// sessions of earlier runs cannot be claimed any more.
    over: HashSet<SessionId>,
}

/// What is known of a session that somebody claims.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::chat) enum Claim {
    /// It is the claimant's now.
    Taken(Box<Session>),
    /// It is nobody's to claim.
    Refused,
    /// The same client claims it already, on a connection that it must have lost since.
    UnderWay,
    /// It is not known here. It may have a connection, and if it is of an earlier run the store may know it.
    Unknown,
}

/// See the module.
#[derive(Debug)]
pub(in crate::chat) struct Sessions {
    run: u32,
    /// For how long a session without a connection can be claimed.
    window: Duration,
    number: AtomicU64,
    /// Until then sessions of earlier runs can be claimed.
    claimable_until: Instant,
    known: Mutex<Known>,
    /// When connections ended, and of which sessions. A session that was claimed since is still in it.
    ended: Mutex<VecDeque<(Instant, SessionId)>>,
}

impl Sessions {
    /// None yet. Runs of one store are counted; in memory there is only one.
    pub(in crate::chat) fn new(run: u32, window: Duration) -> Self {
        let claimable_until = Instant::now() + window;
        let (known, ended) = (Mutex::default(), Mutex::default());
        Self { run, window, number: AtomicU64::new(1), claimable_until, known, ended }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A panic under the lock leaves a map that is whole: entries are changed by plain assignments.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new session's private id.
    pub(in crate::chat) fn next(&self, secret: SessionSecret) -> Pid {
        let session = SessionId::new(self.run, self.number.fetch_add(1, Ordering::Relaxed));
        Pid { session, secret }
    }

    /// A client of this user claims a session. Nobody else can claim one that is [`Claim::Taken`], until it is kept or forgotten.
    pub(in crate::chat) fn claim(&self, Pid { session, secret }: Pid, user: &str, now: Instant) -> Claim {
        let mut known = self.known();
        let Some(entry) = known.sessions.get_mut(&session) else { return Claim::Unknown };
        let is_late = matches!(&entry.state, State::Ended { at, .. } if now.duration_since(*at) > self.window);
        if entry.secret != secret || *entry.user != *user || is_late {
            return Claim::Refused;
        }
        if matches!(entry.state, State::Resumed) {
            return Claim::Unknown;
        }
        match std::mem::replace(&mut entry.state, State::Claimed) {
            State::Ended { session, .. } => Claim::Taken(session),
            State::Claimed | State::Resumed => Claim::UnderWay,
        }
    }

    /// Whether the store may know a session, because it began in an earlier run.
    pub(in crate::chat) fn may_be_stored(&self, session: SessionId, now: Instant) -> bool {
        session.run() != self.run && now <= self.claimable_until && self.known().is_new(session)
    }

    /// The session of a connection is the claimant's, who has ended that connection.
    pub(in crate::chat) fn claim_released(&self, Pid { session, secret }: Pid, user: &Arc<str>) {
        self.known().sessions.insert(session, Entry { secret, user: Arc::clone(user), state: State::Claimed });
    }

    /// The store knows the session, and its secret and user are right. Whether nobody else has claimed it in this run.
    pub(in crate::chat) fn claim_stored(&self, Pid { session, secret }: Pid, user: &Arc<str>) -> bool {
        let mut known = self.known();
        let is_new = known.is_new(session);
        if is_new {
            known.sessions.insert(session, Entry { secret, user: Arc::clone(user), state: State::Claimed });
        }
        is_new
    }

    /// The claimant has a connection.
    pub(in crate::chat) fn resume(&self, session: SessionId) {
        let mut known = self.known();
        if session.run() == self.run {
            known.sessions.remove(&session);
        } else if let Some(entry) = known.sessions.get_mut(&session) {
            entry.state = State::Resumed;
        }
    }

    /// The connection of a session has ended, or its claim was not finished. It can be claimed for a while. Returns whether others are
    /// to be forgotten at once, because there are too many.
    pub(in crate::chat) fn keep(&self, pid: Pid, user: &Arc<str>, session: Session, now: Instant) -> bool {
        let state = State::Ended { session: Box::new(session), at: now };
        self.known().sessions.insert(pid.session, Entry { secret: pid.secret, user: Arc::clone(user), state });
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.push_back((now, pid.session));
        ended.len() > ENDED
    }

    /// The session is over.
    pub(in crate::chat) fn forget(&self, session: SessionId) {
        self.known().forget(session, self.run);
    }

    /// A session that can be claimed no longer, or need not be, because there are too many. It is forgotten.
    pub(in crate::chat) fn next_expired(&self, now: Instant) -> Option<SessionId> {
        loop {
            let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
            let (since, session) = *ended.front()?;
            if now.duration_since(since) <= self.window && ended.len() <= ENDED {
                return None;
            }
            ended.pop_front();
            drop(ended);
            let mut known = self.known();
            if now > self.claimable_until && !known.over.is_empty() {
                known.over = HashSet::new();
            }
            // It may have been claimed, and have ended again, since.
            let is_over = |entry: &Entry| matches!(&entry.state, State::Ended { at, .. } if *at == since);
            if known.sessions.get(&session).is_some_and(is_over) {
                known.forget(session, self.run);
                return Some(session);
            }
        }
    }

    /// When the next session can be claimed no longer.
    pub(in crate::chat) fn next_expiry(&self) -> Option<Instant> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // A moment later than the last at which it can.
        ended.front().map(|(since, _)| *since + self.window + Duration::from_millis(1))
    }

    /// How many are known.
    #[cfg(test)]
    pub(in crate::chat) fn len(&self) -> usize {
        self.known().sessions.len() + self.ended.lock().unwrap().len()
    }
}

impl Known {
    /// Whether nobody has claimed it in this run.
    fn is_new(&self, session: SessionId) -> bool {
        !self.sessions.contains_key(&session) && !self.over.contains(&session)
    }

    fn forget(&mut self, session: SessionId, run: u32) {
        self.sessions.remove(&session);
        if session.run() != run {
            self.over.insert(session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(120);

    fn session() -> Session {
        Session { id: SocketId::parse(&"A".repeat(28)).unwrap(), rooms: Vec::new(), saved: true }
    }

    /// A session of an earlier run whose connection has just ended.
    fn kept(sessions: &Sessions, number: u64, user: &Arc<str>, now: Instant) -> Pid {
        let pid = Pid { session: SessionId::new(1, number), secret: SessionSecret([1; 16]) };
        assert!(sessions.claim_stored(pid, user));
        sessions.keep(pid, user, session(), now);
        pid
    }

    #[test]
    fn a_session_is_claimed_once_by_its_user_with_its_secret() {
        let (sessions, now, alice) = (Sessions::new(2, WINDOW), Instant::now(), Arc::<str>::from("alice"));
        let pid = kept(&sessions, 1, &alice, now);
        let guess = Pid { secret: SessionSecret([2; 16]), ..pid };
        let wrong = [sessions.claim(guess, "alice", now), sessions.claim(pid, "bob", now)];
        assert_eq!(wrong, [Claim::Refused, Claim::Refused]);
        assert_eq!(sessions.claim(pid, "alice", now), Claim::Taken(Box::new(session())));
        assert_eq!(sessions.claim(pid, "alice", now), Claim::UnderWay);
        let of_this_run = sessions.next(SessionSecret([1; 16]));
        assert_eq!(sessions.claim(of_this_run, "alice", now), Claim::Unknown);
        assert!(!sessions.may_be_stored(of_this_run.session, now));
        sessions.resume(pid.session);
        assert!(!sessions.may_be_stored(pid.session, now) && !sessions.claim_stored(pid, &alice));
        assert_eq!(sessions.claim(pid, "alice", now), Claim::Unknown, "its connection knows it");
        // The store may not know yet that it is over.
        sessions.forget(pid.session);
        assert!(!sessions.may_be_stored(pid.session, now) && !sessions.claim_stored(pid, &alice));
    }

    #[test]
    fn a_session_of_an_earlier_run_can_be_claimed_as_long_as_any_other() {
        let (sessions, now) = (Sessions::new(2, WINDOW), Instant::now());
        let old = SessionId::new(1, 1);
        assert!(sessions.may_be_stored(old, now));
        assert!(!sessions.may_be_stored(old, now + WINDOW + Duration::from_secs(1)));
    }

    #[test]
    fn no_more_are_kept_than_may_be_although_none_is_late() {
        let (sessions, now, alice) = (Sessions::new(1, WINDOW), Instant::now(), Arc::<str>::from("alice"));
        for _ in 0..ENDED {
            assert!(!sessions.keep(sessions.next(SessionSecret([1; 16])), &alice, session(), now));
        }
        assert!(sessions.keep(sessions.next(SessionSecret([1; 16])), &alice, session(), now), "one too many");
        assert!(sessions.next_expired(now).is_some() && sessions.next_expired(now).is_none());
    }

    #[test]
    fn a_session_ends_after_the_window_unless_it_went_on() {
        let (sessions, start, alice) = (Sessions::new(2, WINDOW), Instant::now(), Arc::<str>::from("alice"));
        let [one, two] = [1, 2].map(|number| kept(&sessions, number, &alice, start));
        assert_eq!(sessions.claim(one, "alice", start + WINDOW), Claim::Taken(Box::new(session())));
        sessions.keep(one, &alice, session(), start + WINDOW);
        assert_eq!(sessions.next_expired(start + WINDOW), None);
        let later = sessions.next_expiry().unwrap();
        assert_eq!(sessions.claim(two, "alice", later), Claim::Refused);
        assert_eq!((sessions.next_expired(later), sessions.next_expired(later)), (Some(two.session), None));
        assert_eq!(sessions.next_expired(later + WINDOW), Some(one.session));
        assert_eq!((sessions.next_expired(later + WINDOW), sessions.next_expiry(), sessions.len()), (None, None, 0));
    }

    #[test]
    fn of_two_who_claim_a_session_of_an_earlier_run_one_gets_it() {
        let (sessions, now, alice) = (Sessions::new(2, WINDOW), Instant::now(), Arc::<str>::from("alice"));
        let pid = Pid { session: SessionId::new(1, 1), secret: SessionSecret([1; 16]) };
        assert_eq!([(); 2].map(|()| sessions.claim(pid, "alice", now)), [Claim::Unknown, Claim::Unknown]);
        assert_eq!([(); 2].map(|()| sessions.claim_stored(pid, &alice)), [true, false]);
        assert_eq!(sessions.claim(pid, "alice", now), Claim::UnderWay);
    }
}
