//! The store by itself, on a clock that the test moves.

use engineio::slab::Slab;

use super::*;
use crate::{
    adapter::{EventData, Flags, Targets},
    recovery::Session,
};

const SECOND: Duration = Duration::from_secs(1);

/// A store, and what two shards would ask of it.
struct Bench {
    store: Store,
    now: Instant,
    /// What each shard originated.
    numbers: [u64; 2],
    /// What both have delivered: everything.
    seen: Position,
}

fn pid(number: u32) -> Pid {
    Pid::new(0, number, [7; 15])
}

fn id(number: u32) -> SocketId {
    SocketId::new(0, number, [9; 15])
}

impl Bench {
    fn new(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options::default();
        change(&mut options);
        Self {
            store: Store::new(options),
            now: Instant::now() + 3600 * SECOND,
            numbers: [0; 2],
            seen: Position::default(),
        }
    }

    fn emit(&mut self, origin: u16, (scope, targets): (Scope, Targets), name: &str) {
        let number = &mut self.numbers[usize::from(origin)];
        *number += 1;
        self.seen.raise(origin, *number);
        let (event, flags) = (EventData::new(name, "", &[]), Flags::default());
        let event = RecoverableEvent { targets, scope, event, flags, origin, number: *number };
        self.store.append(Arc::new(event), self.now);
    }

    fn broadcast(&mut self, origin: u16, to: &str, except: &str, name: &str) {
        self.emit(origin, names(to, except, Scope::Server), name);
    }

    /// A socket of shard 0 that connects now.
    fn connect(&self, number: u32) -> Session {
        let (pid, since) = (pid(number), Store::since(self.now));
        let session = Session { pid, base: self.seen.clone(), connected: self.now, since, ticket: 0 };
        self.store.begin(&session, "/".into(), 0, key());
        session
    }

    /// Its connection breaks.
    fn end(&self, session: &Session, rooms: &str) {
        self.store.save(Saved {
            session: session.clone(),
            id: id(session.pid.index()),
            nsp: "/".into(),
            rooms: words(rooms),
            data: Some("{}".into()),
            shard: 0,
            end: self.seen.clone(),
            ended: self.now,
        });
    }

    fn claim_with<'a>(
        &'a self,
        number: u32,
        offset: Option<&'a Position>,
        change: impl FnOnce(&mut Claim<'a>),
    ) -> Option<Claimed> {
        let mut claim = Claim {
            pid: pid(number),
            ticket: self.store.ticket(),
            nsp: "/",
            offset,
            shard: 0,
            shards: 2,
            seen: &self.seen,
            max_bytes: usize::MAX,
            now: self.now,
        };
        change(&mut claim);
        self.store.claim(&claim)
    }

    /// The names of the events that a client missed.
    fn claim(&self, number: u32, offset: Option<&Position>) -> Option<String> {
        self.claim_with(number, offset, |_| ()).map(|claimed| missed(&claimed))
    }

    /// How many events are kept, their bytes, and how many names they are for.
    fn log(&self) -> (usize, usize, usize) {
        self.store.lock().log.lens()
    }

    fn lens(&self) -> [usize; 4] {
        self.store.lock().sessions.lens()
    }
}

fn missed(claimed: &Claimed) -> String {
    claimed.missed.iter().map(|event| &*event.event.name).collect::<Vec<_>>().join(" ")
}

fn words(text: &str) -> Vec<Arc<str>> {
    text.split_whitespace().map(Arc::from).collect()
}

fn names(to: &str, except: &str, scope: Scope) -> (Scope, Targets) {
    let rooms = (!to.is_empty()).then(|| words(to));
    (scope, Targets { nsp: "/".into(), rooms, except: words(except) })
}

fn key() -> SocketKey {
    SocketKey(Slab::<()>::default().vacant_key().unwrap())
}

#[test]
fn a_claim_gives_what_the_socket_missed_in_order_and_once() {
    let mut bench = Bench::new(|_| ());
    bench.broadcast(0, "tea", "", "before");
    let session = bench.connect(1);
    bench.broadcast(0, "tea", "", "a");
    let offset = bench.seen.clone();
    bench.broadcast(1, "tea", "", "b");
    bench.end(&session, "tea milk");
    bench.broadcast(0, "coffee", "", "not its room");
    bench.broadcast(0, "", "", "c");
    bench.broadcast(0, "", "milk", "left out by room");
    bench.broadcast(0, "tea", &id(1).to_string(), "left out by id");
    bench.broadcast(1, &id(1).to_string(), "", "d");
    bench.broadcast(1, &id(2).to_string(), "", "somebody else's");
    bench.emit(0, names("", "", Scope::Socket(id(1))), "e");
    bench.emit(0, names("", "", Scope::Socket(id(2))), "somebody else's");
    bench.broadcast(1, "coffee milk", "", "f");
    assert_eq!(
        bench.store.find(pid(1), "/", 0),
        Some(Whereabouts::Saved(offset.clone().join(&{
            let mut end = Position::default();
            end.raise(1, 1);
            end
        })))
    );
    let claimed = bench.claim_with(1, Some(&offset), |_| ()).unwrap();
    assert_eq!(missed(&claimed), "b c d e f");
    assert_eq!((claimed.from, claimed.saved.data.as_deref()), (offset.clone(), Some("{}")));
    assert_eq!(bench.claim(1, Some(&offset)), None, "it is used once");
    assert_eq!(bench.lens()[..2], [0, 0]);
}

#[test]
fn without_an_offset_the_position_at_the_connect_counts() {
    let mut bench = Bench::new(|_| ());
    bench.broadcast(0, "", "", "before");
    let session = bench.connect(1);
    bench.broadcast(0, "", "", "a");
    bench.end(&session, "");
    assert_eq!(bench.claim(1, None).unwrap(), "a");
    // The offset of an earlier session is lower.
    let session = bench.connect(1);
    bench.broadcast(0, "", "", "b");
    bench.end(&session, "");
    let mut offset = Position::default();
    offset.raise(0, 1);
    assert_eq!(bench.claim(1, Some(&offset)).unwrap(), "b");
    // And what no shard has delivered, nobody has seen.
    let session = bench.connect(1);
    offset.raise(0, 1000);
    bench.end(&session, "");
    let claimed = bench.claim_with(1, Some(&offset), |_| ()).unwrap();
    assert_eq!(claimed.from, bench.seen);
}

#[test]
fn events_that_the_claiming_shard_has_not_delivered_are_left_to_it() {
    let mut bench = Bench::new(|_| ());
    let session = bench.connect(1);
    bench.broadcast(0, "", "", "a");
    bench.end(&session, "");
    let seen = bench.seen.clone();
    bench.broadcast(0, "", "", "on its way");
    let claimed = bench.claim_with(1, None, |claim| claim.seen = &seen).unwrap();
    assert_eq!(missed(&claimed), "a");
}

#[test]
fn local_events_concern_the_sockets_of_their_shard() {
    for (shard, expected) in [(0, "a b"), (1, "a")] {
        let mut bench = Bench::new(|_| ());
        let session = bench.connect(1);
        bench.emit(0, names("", "", Scope::Shard), "a");
        bench.emit(1, names("", "", Scope::Shard), "elsewhere");
        bench.end(&session, "");
        bench.emit(0, names("", "", Scope::Shard), "b");
        bench.emit(1, names("", "", Scope::Shard), "elsewhere");
        let claimed = bench.claim_with(1, None, |claim| claim.shard = shard).unwrap();
        assert_eq!(missed(&claimed), expected);
    }
}

#[test]
fn a_room_named_like_a_socket_gets_nothing_of_it() {
    let mut bench = Bench::new(|_| ());
    let session = bench.connect(1);
    bench.end(&session, &id(2).to_string());
    bench.broadcast(0, &id(2).to_string(), "", "secret");
    assert_eq!(bench.claim(1, None).unwrap(), "");
}

#[test]
fn another_namespace_or_pid_finds_nothing_and_uses_nothing_up() {
    let mut bench = Bench::new(|_| ());
    let session = bench.connect(1);
    assert_eq!(bench.store.find(pid(1), "/", 0), Some(Whereabouts::Live(0, key())));
    assert_eq!(bench.store.find(pid(1), "/chat", 0), None);
    assert_eq!(bench.claim(1, None), None, "it is connected");
    bench.broadcast(0, "", "", "a");
    bench.end(&session, "");
    assert!(bench.claim_with(1, None, |claim| claim.nsp = "/chat").is_none());
    assert_eq!(bench.claim(2, None), None);
    assert_eq!(bench.claim(1, None).unwrap(), "a");
    bench.connect(3);
    bench.store.forget(pid(3));
    assert_eq!((bench.store.find(pid(3), "/", 0), bench.lens()[0]), (None, 0));
}

#[test]
fn a_client_that_comes_too_late_gets_nothing() {
    for (late, found) in [(Duration::ZERO, true), (Duration::from_millis(1), false)] {
        let mut bench = Bench::new(|_| ());
        let session = bench.connect(1);
        bench.end(&session, "");
        bench.now += 120 * SECOND + late;
        assert_eq!(bench.claim(1, None).is_some(), found);
    }
    // It is dropped when the next one is saved.
    let mut bench = Bench::new(|_| ());
    let session = bench.connect(1);
    bench.end(&session, "");
    bench.now += 121 * SECOND;
    let session = bench.connect(2);
    bench.end(&session, "");
    assert_eq!(bench.lens()[1..3], [1, 1]);
}

#[test]
fn the_log_is_bounded_in_bytes_and_time() {
    let mut bench = Bench::new(|options| options.log_bytes = 100_000);
    for number in 0..10_000 {
        bench.broadcast(0, &format!("tea tea {number}"), "", "x");
        bench.emit(0, names("", "", Scope::Socket(id(number))), "x");
    }
    let (len, bytes, names) = bench.log();
    assert_eq!(names, len + 1);
    assert!(bytes <= 100_000 && bytes > 99_000 && len > 100, "{bytes} {len}");
    bench.now += 186 * SECOND;
    bench.broadcast(0, "", "", "last");
    let (len, bytes, names) = bench.log();
    assert!(len == 1 && names == 0 && bytes < 1000);
}

#[test]
fn events_that_were_dropped_cost_the_session_if_the_client_may_have_missed_them() {
    let mut bench = Bench::new(|options| options.log_bytes = 50_000);
    let flood = |bench: &mut Bench| (0..1000).for_each(|_| bench.broadcast(0, "other", "", "flood"));
    let mut offset = Position::default();
    // Dropped before it connected.
    flood(&mut bench);
    bench.now += 10 * SECOND;
    let session = bench.connect(1);
    bench.broadcast(0, "", "", "a");
    bench.end(&session, "");
    assert_eq!(bench.claim(1, None).unwrap(), "a");
    // While it was connected, so long ago that it must have arrived.
    let session = bench.connect(1);
    offset.raise(0, bench.numbers[0]);
    flood(&mut bench);
    bench.now += 70 * SECOND;
    bench.broadcast(0, "", "", "b");
    bench.end(&session, "");
    assert_eq!(bench.claim(1, Some(&offset)).unwrap(), "b");
    // And shortly before its end.
    let session = bench.connect(1);
    offset.raise(0, bench.numbers[0]);
    bench.now += 70 * SECOND;
    flood(&mut bench);
    bench.end(&session, "");
    assert_eq!(bench.claim(1, Some(&offset)), None);
    // Unless the client says that it has seen later ones.
    let session = bench.connect(1);
    flood(&mut bench);
    offset.raise(0, bench.numbers[0]);
    bench.broadcast(0, "", "", "c");
    bench.end(&session, "");
    assert_eq!(bench.claim(1, Some(&offset)).unwrap(), "c");
}

/// The events that a client missed are logged before it connects again. If that connection breaks at once, they are as old, and
/// still missed.
#[test]
fn what_was_sent_again_and_lost_again_is_sent_a_third_time() {
    let mut bench = Bench::new(|_| ());
    let session = bench.connect(1);
    bench.end(&session, "");
    bench.broadcast(0, "", "", "a");
    bench.now += 100 * SECOND;
    let claimed = bench.claim_with(1, None, |_| ()).unwrap();
    assert_eq!(missed(&claimed), "a");
    let session = Session { base: claimed.from, connected: bench.now, since: claimed.since, ..session };
    bench.end(&session, "");
    assert_eq!(bench.claim(1, None).unwrap(), "a");
}

#[test]
fn saved_sessions_are_bounded_in_number_and_bytes() {
    let bench = Bench::new(|options| options.sessions = 10);
    for number in 0..100 {
        bench.end(&bench.connect(number), "tea");
    }
    assert_eq!(bench.lens()[..3], [0, 10, 10]);
    assert_eq!((bench.claim(89, None), bench.claim(90, None).as_deref()), (None, Some("")));

    let bench = Bench::new(|options| options.session_bytes = 10_000);
    for number in 0..100 {
        bench.end(&bench.connect(number), &"r".repeat(1000));
        assert!(bench.lens()[3] <= 10_000);
    }
    assert!(bench.lens()[1] > 3);
    bench.end(&bench.connect(200), &"r".repeat(20_000));
    assert_eq!(bench.lens(), [0, 0, 0, 0]);
    // One that comes and goes leaves nothing behind.
    for _ in 0..1000 {
        bench.end(&bench.connect(7), "");
        bench.claim(7, None).unwrap();
    }
    assert!(bench.lens()[2] <= 64 + 2 && bench.lens()[3] == 0, "{:?}", bench.lens());
}

/// The client's connection broke while the first claim waited for another shard.
#[test]
fn an_earlier_claim_takes_nothing_from_a_later_one() {
    let bench = Bench::new(|_| ());
    let session = bench.connect(1);
    bench.end(&session, "");
    let [first, second, third] = [(); 3].map(|()| bench.store.ticket());
    let claimed = bench.claim_with(1, None, |claim| claim.ticket = second).unwrap();
    let session = Session { ticket: claimed.ticket, ..session };
    bench.store.begin(&session, "/".into(), 0, key());
    for ends in [false, true] {
        if ends {
            bench.end(&session, "");
        }
        assert!(bench.store.find(pid(1), "/", first).is_none());
        assert!(bench.store.find(pid(1), "/", third).is_some());
    }
    assert!(bench.claim_with(1, None, |claim| claim.ticket = first).is_none());
    assert!(bench.claim_with(1, None, |claim| claim.ticket = third).is_some());
}

#[test]
fn more_than_may_be_queued_is_not_recovered() {
    let mut bench = Bench::new(|_| ());
    for (max_bytes, found) in [(2 * (EVENT + 4), true), (2 * (EVENT + 4) - 1, false)] {
        let session = bench.connect(1);
        bench.broadcast(0, "", "", "1234");
        bench.broadcast(0, "", "", "5678");
        bench.end(&session, "");
        assert_eq!(bench.claim_with(1, None, |claim| claim.max_bytes = max_bytes).is_some(), found);
    }
}
