//! Both stores against a plain list: the same calls, the same answers.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use proptest::prelude::*;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    administration::Change,
    filling::Filling,
    memory::MemoryStore,
    message_ids::{MessageIds, Position, Receipt},
    sqlite::{Bounds, Database, Left, Location, Moment, Sweep, Write, Written, missed, page},
    types::{Append, Deleted, Draft, MissedEvents, MissedQuery, PageLimit, PageQuery, Side, Stored, Taken},
};
use crate::{config::Durability, room::Room};

/// When a test begins, by the wall clock.
const START: Duration = Duration::from_secs(2_000_000_000);

const MAX_AGE: Duration = Duration::from_secs(900);

/// In one room, of the file.
const MAX_COUNT: usize = 12;
const BOUNDS: Bounds =
    Bounds { max_age: MAX_AGE, max_count: MAX_COUNT, claimable: Duration::ZERO, begun: Duration::ZERO };

#[derive(Debug, Clone)]
struct Said {
    room: usize,
    user: usize,
    client_id: Option<u8>,
    len: usize,
    attachments: usize,
}

#[derive(Debug, Clone)]
enum Step {
    /// A batch arrives.
    Append(Vec<Said>),
    /// Time passes.
    Wait(Duration),
    /// The process ends, and another one begins. The store in memory lives on, as the list does.
    Reopen,
    /// The file forgets what is too old or too much.
    Sweep,
    /// Somebody asks. A bound is a message by its number, or any id.
    Ask { room: usize, after: Option<Bound>, before: Option<Bound>, until: Option<usize>, side: Side, limit: PageLimit },
}

#[derive(Debug, Clone)]
enum Bound {
    Message(usize),
    Any(u128),
}

fn said() -> impl Strategy<Value = Said> {
    let client_id = prop_oneof![3 => Just(None), 1 => (0..3_u8).prop_map(Some)];
    let attachments = prop_oneof![4 => Just(0), 1 => 1..4_usize];
    (0..3_usize, 0..2_usize, client_id, 0..50_usize, attachments)
        .prop_map(|(room, user, client_id, len, attachments)| Said { room, user, client_id, len, attachments })
}

fn bound() -> impl Strategy<Value = Bound> {
    let around = START.as_millis() << 80;
    prop_oneof![
        4 => (0..60_usize).prop_map(Bound::Message),
        1 => any::<u128>().prop_map(Bound::Any),
        1 => (0..1_u128 << 92).prop_map(move |more| Bound::Any(around + more)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let side = prop_oneof![Just(Side::Oldest), Just(Side::Newest)];
    let limit = (0..8_usize, prop_oneof![Just(usize::MAX), 0..500_usize], any::<bool>())
        .prop_map(|(messages, bytes, one_at_least)| PageLimit { messages, bytes, one_at_least });
    let until = proptest::option::weighted(0.3, 0..60_usize);
    let bounds = (proptest::option::of(bound()), proptest::option::of(bound()), until);
    prop_oneof![
        4 => proptest::collection::vec(said(), 1..6).prop_map(Step::Append),
        2 => (0..300_000_u64).prop_map(|millis| Step::Wait(Duration::from_millis(millis))),
        1 => Just(Step::Reopen),
        1 => Just(Step::Sweep),
        6 => (0..3_usize, bounds, side, limit).prop_map(|(room, (after, before, until), side, limit)| {
            Step::Ask { room, after, before, until, side, limit }
        }),
    ]
}

/// A message of the list.
struct Listed {
    said: Said,
    at: Duration,
    /// As the file has it, and its time.
    stored: Stored,
    receipt: Receipt,
    /// Its id in memory.
    in_memory: Uuid,
    /// Whether the file may have forgotten it.
    forgotten: bool,
}

struct Model {
    list: Vec<Listed>,
    location: Location,
    database: Option<Database>,
    memory: MemoryStore,
    memory_ids: MessageIds,
    begun: Instant,
    elapsed: Duration,
    users: [Arc<str>; 2],
    _directory: tempfile::TempDir,
}

fn room(number: usize) -> Room {
    Room::new(["lobby", "r", "other room"][number])
}

fn client_id(number: u8) -> String {
    format!("client {number}")
}

impl Model {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chat.db");
        let location = Location { path, durability: Durability::None, page_cache: 1 << 20 };
        Self {
            list: Vec::new(),
            database: Some(Database::new(location.open_writer().unwrap()).unwrap()),
            location,
            memory: MemoryStore::new(MAX_AGE, usize::MAX, 1),
            memory_ids: MessageIds::default(),
            begun: Instant::now(),
            elapsed: Duration::ZERO,
            users: ["alice", "bob"].map(Into::into),
            _directory: directory,
        }
    }

    fn now(&self) -> Duration {
        START + self.elapsed
    }

    fn append(&mut self, batch: Vec<Said>) {
        let append = |said: &Said| Append {
            shard: said.room as u16,
            room: room(said.room),
            user: Arc::clone(&self.users[said.user]),
            client_id: said.client_id.map(|id| client_id(id).into()),
            draft: Draft::new(
                &["{\"id\":\""],
                &["\",\"at\":\""],
                &["\",\"x\":\"", &"x".repeat(said.len), "\"}"],
                vec![Bytes::from(vec![7; said.len]); said.attachments].into(),
            ),
        };
        let writes: Vec<Write> = batch.iter().map(|said| Write::Message(append(said))).collect();
        let moment = Moment { wall: self.now(), random: [3; 16] };
        let written = self.database.as_mut().unwrap().write(moment, writes).unwrap();
        assert_eq!(written.len(), batch.len());
        for (said, written) in batch.into_iter().zip(written) {
            let Written::Message(shard, taken) = written else { panic!("{written:?} is no message") };
            assert_eq!(usize::from(shard), said.room);
            self.append_one(said, taken);
        }
    }

    fn append_one(&mut self, said: Said, taken: Taken) {
        let (now, instant) = (self.now(), self.begun + self.elapsed);
        let is_same = |listed: &&Listed| {
            let Said { room, user, client_id, .. } = listed.said;
            client_id.is_some()
                && (room, user, client_id) == (said.room, said.user, said.client_id)
                && now - listed.at <= Duration::from_secs(600)
        };
        let (of, user) = (room(said.room), &self.users[said.user]);
        let remembered = said.client_id.and_then(|id| self.memory.receipt(instant, &of, user, &client_id(id)));
        if let Some(first) = self.list.iter().rev().find(is_same) {
            assert_eq!(taken, Taken::Repeated(first.receipt));
            assert_eq!(remembered.unwrap().id, first.in_memory);
            return;
        }
        assert_eq!(remembered, None);
        let Taken::New { receipt, stored } = taken else { panic!("{taken:?} is no repetition") };
        assert!(self.list.last().is_none_or(|last| last.stored.id < receipt.id), "ids grow");
        assert_eq!((stored.id, u128::from(receipt.millis)), (receipt.id, now.as_millis()));
        let time = humantime::format_rfc3339_millis(std::time::UNIX_EPOCH + now);
        let text = "x".repeat(said.len);
        assert_eq!(*stored.json, format!(r#"{{"id":"{}","at":"{time}","x":"{text}"}}"#, receipt.id));
        let in_memory = self.memory_ids.next(now, [1; 10]);
        let kept = Stored { id: in_memory.id, ..stored.clone() };
        self.memory.append(instant, &of, &mut None, said.user as u64, kept);
        if let Some(id) = said.client_id {
            self.memory.remember(instant, &of, user, &client_id(id), in_memory);
        }
        self.list.push(Listed { said, at: now, stored, receipt, in_memory: in_memory.id, forgotten: false });
    }

    fn sweep(&mut self) {
        let now = self.now();
        let (mut sweep, bounds) = (Sweep::start(), BOUNDS);
        while sweep.step(self.database.as_mut().unwrap(), &bounds, now).unwrap() != Left::Nothing {}
        for of in 0..3 {
            let mut kept = 0;
            for listed in self.list.iter_mut().rev().filter(|listed| listed.said.room == of) {
                kept += 1;
                listed.forgotten |= kept > MAX_COUNT || now - listed.at > MAX_AGE;
            }
        }
    }

    /// What the list answers: the numbers of the messages, oldest first, and whether there are more.
    fn choose(&self, candidates: Vec<usize>, side: Side, limit: PageLimit) -> (Vec<usize>, bool) {
        let (mut filling, mut chosen, all) = (Filling::new(limit), Vec::new(), candidates.len());
        let in_order: Vec<usize> =
            if side == Side::Newest { candidates.into_iter().rev().collect() } else { candidates };
        for number in in_order {
            if !filling.takes(&self.list[number].stored) {
                break;
            }
            chosen.push(number);
        }
        if side == Side::Newest {
            chosen.reverse();
        }
        let more = chosen.len() < all;
        (chosen, more)
    }

    /// The numbers of the messages in a room between two ids, of those that are not forgotten.
    fn between(
        &self,
        of: usize,
        id: impl Fn(&Listed) -> Uuid,
        is_gone: impl Fn(&Listed) -> bool,
        bounds: [Option<Uuid>; 3],
    ) -> Vec<usize> {
        let [after, before, until] = bounds;
        let all = self.list.iter().enumerate().filter(|(_, listed)| {
            let own = id(listed);
            listed.said.room == of
                && self.now() - listed.at <= MAX_AGE
                && !is_gone(listed)
                && after.is_none_or(|after| own > after)
                && before.is_none_or(|before| own < before)
                && until.is_none_or(|until| own <= until)
        });
        all.map(|(number, _)| number).collect()
    }

    fn ask(
        &mut self,
        of: usize,
        after: Option<&Bound>,
        before: Option<&Bound>,
        until: Option<usize>,
        side: Side,
        limit: PageLimit,
    ) {
        let bound = |bound: Option<&Bound>, id: fn(&Listed) -> Uuid| match bound? {
            Bound::Any(any) => Some(Uuid::from_u128(*any)),
            Bound::Message(number) => self.list.get(*number).map(id),
        };
        // The file.
        let id: fn(&Listed) -> Uuid = |listed| listed.stored.id;
        let last = until.and_then(|number| self.list.get(number)).map(id);
        let bounds = [bound(after, id), bound(before, id), last];
        let expected = self.choose(self.between(of, id, |listed| listed.forgotten, bounds), side, limit);
        let newest = self.database.as_ref().unwrap().newest().unwrap();
        let [after_id, before_id, until_id] = bounds;
        let query = PageQuery {
            shard: 0,
            ticket: 0,
            room: room(of),
            after: after_id,
            before: before_id,
            until: until_id.unwrap_or(newest),
            side,
            limit,
        };
        let connection = self.location.open_reader().unwrap();
        let chosen = page(&connection, &query, BOUNDS.oldest(self.now())).unwrap();
        let listed = expected.0.iter().map(|number| &self.list[*number].stored);
        assert!(chosen.messages.iter().eq(listed) && chosen.more == expected.1, "{chosen:?}, not {expected:?}");
        // Memory.
        let id: fn(&Listed) -> Uuid = |listed| listed.in_memory;
        let bounds = [bound(after, id), bound(before, id), None];
        let expected = self.between(of, id, |_| false, bounds);
        self.memory.expire(self.begun + self.elapsed);
        let [after_id, before_id, _] = bounds;
        let found: Vec<Uuid> = self.memory.between(&room(of), after_id, before_id).map(|stored| stored.id).collect();
        assert_eq!(found, expected.iter().map(|number| self.list[*number].in_memory).collect::<Vec<_>>());
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Append(batch) => self.append(batch),
            Step::Wait(time) => self.elapsed += time,
            Step::Reopen => {
                self.database = None;
                self.database = Some(Database::new(self.location.open_writer().unwrap()).unwrap());
            }
            Step::Sweep => self.sweep(),
            Step::Ask { room, after, before, until, side, limit } => {
                self.ask(room, after.as_ref(), before.as_ref(), until, side, limit);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_stores_answer_as_a_plain_list_does(steps in proptest::collection::vec(step(), 1..40)) {
        let mut model = Model::new();
        for step in steps {
            model.run(step);
        }
    }
}

#[test]
fn deletions_are_known_for_as_long_as_a_client_may_ask_for_them() {
    let directory = tempfile::tempdir().unwrap();
    let location =
        Location { path: directory.path().join("chat.db"), durability: Durability::None, page_cache: 1 << 20 };
    let mut database = Database::new(location.open_writer().unwrap()).unwrap();
    let draft = || Draft::new(&["{\"id\":\""], &["\",\"at\":\""], &["\"}"], Box::default());
    let append = |n| Append { shard: 0, room: room(n), user: "alice".into(), client_id: None, draft: draft() };
    let moment = Moment { wall: Duration::from_secs(1000), random: [3; 16] };
    let writes = [0, 0, 1].map(|n| Write::Message(append(n))).into();
    let ids: Vec<Uuid> = database
        .write(moment, writes)
        .unwrap()
        .into_iter()
        .map(|written| match written {
            Written::Message(_, Taken::New { receipt, .. }) => receipt.id,
            other => panic!("{other:?}"),
        })
        .collect();
    let after = Position::of(database.newest().unwrap());
    // All that there were of the room, and one that there was not.
    let change = Change::Delete { room: room(0), ids: vec![ids[0], ids[1], ids[2]], answer: oneshot::channel().0 };
    database.change(Duration::from_secs(1500), change).unwrap();
    let missed_since = |since: Position| {
        let rooms = vec![(room(0), since), (room(1), after)];
        let query = MissedQuery { shard: 0, ticket: 0, home: 0, rooms, until: after, max_bytes: 1000 };
        missed(&location.open_reader().unwrap(), &query).unwrap().unwrap()
    };
    let deleted = ids[..2].iter().map(|id| Deleted { room: room(0), id: *id, after }).collect();
    let expected = MissedEvents { messages: Vec::new(), deleted };
    assert_eq!(missed_since(Position::START), expected);
    assert_eq!(missed_since(after), expected);
    // A client that has a message of long after the deletion has heard of it.
    let later = MessageIds::after(0).next(Duration::from_secs(1000 + 61), [0; 10]).id;
    assert_eq!(missed_since(Position::of(later)), MissedEvents::default());
    let bounds = Bounds {
        max_age: Duration::ZERO,
        max_count: 10,
        claimable: Duration::from_secs(120),
        begun: Duration::from_secs(1900),
    };
    // For ten minutes the end of a connection may go unnoticed, and then its session can be claimed for two.
    for (at, expected) in [(2000, &expected), (2219, &expected), (2221, &MissedEvents::default())] {
        let mut sweep = Sweep::start();
        while sweep.step(&mut database, &bounds, Duration::from_secs(at)).unwrap() != Left::Nothing {}
        assert_eq!(missed_since(after), *expected, "at {at}");
    }
    let count = |table| {
        let sql = format!("SELECT count(*) FROM {table}");
        database.connection().query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    assert_eq!((count("deleted"), count("room")), (0, 1), "and the room is gone with them");
}

#[test]
fn what_a_client_may_have_missed_is_not_forgotten_without_a_trace() {
    let directory = tempfile::tempdir().unwrap();
    let location =
        Location { path: directory.path().join("chat.db"), durability: Durability::None, page_cache: 1 << 20 };
    let mut database = Database::new(location.open_writer().unwrap()).unwrap();
    let draft = Draft::new(&["{\"id\":\""], &["\",\"at\":\""], &["\"}"], Box::default());
    let append = Append { shard: 0, room: room(0), user: "alice".into(), client_id: None, draft };
    let moment = Moment { wall: Duration::from_secs(1000), random: [3; 16] };
    database.write(moment, vec![Write::Message(append)]).unwrap();
    let bounds = Bounds {
        max_age: Duration::from_secs(10),
        max_count: 10,
        claimable: Duration::from_secs(120),
        begun: Duration::from_secs(1050),
    };
    let query = MissedQuery {
        shard: 0,
        ticket: 0,
        home: 0,
        rooms: vec![(room(0), Position::START)],
        until: Position::of(database.newest().unwrap()),
        max_bytes: 1000,
    };
    for (at, expected) in [(1060, None), (1130, None), (1180, Some(MissedEvents::default()))] {
        let mut sweep = Sweep::start();
        while sweep.step(&mut database, &bounds, Duration::from_secs(at)).unwrap() != Left::Nothing {}
        assert_eq!(missed(&location.open_reader().unwrap(), &query).unwrap(), expected, "at {at}");
    }
}
