//! The kit behaves as the real engine does.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    CloseReason, ConnKey, Handler, Handshake, Job, JobId, Message, Outbox, Protocol, Refusal, SendError, ShardMessage,
    SharedFrame, Wire, job::JobPanicked,
};

/// Does what the text of a message says, and records its calls.
#[derive(Default)]
struct Puppet {
    calls: Vec<String>,
    deadline: Option<Instant>,
    held_back: Vec<ConnKey>,
    refuses: bool,
}

impl Handler for Puppet {
    fn on_handshake(&mut self, _: &mut dyn Outbox, _: &Handshake<'_>) -> Result<(), Refusal> {
        if self.refuses { Err(Refusal::Forbidden) } else { Ok(()) }
    }

    fn on_open(&mut self, _: &mut dyn Outbox, conn: ConnKey, _: &Handshake<'_>) {
        self.calls.push(format!("open {}", conn.index()));
    }

    fn on_message(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, message: Message<'_>) {
        let Message::Text(text) = message else { panic!("only text is expected") };
        match &*text {
            "close" => {
                outbox.close(conn, CloseReason::ForcedClose);
                outbox.close(conn, CloseReason::ForcedClose);
                assert_eq!(outbox.send(conn, &frame("late")), Err(SendError::Closed));
            }
            "hold" => self.held_back.push(conn),
            "panic" => panic!("as the test wants"),
            text => {
                (0..outbox.shards()).for_each(|shard| outbox.send_to_shard(shard, ShardMessage::new(text.to_owned())))
            }
        }
        self.calls.push(format!("message {text}"));
    }

    fn on_close(&mut self, _: &mut dyn Outbox, conn: ConnKey, reason: CloseReason) {
        self.calls.push(format!("close {} {}", conn.index(), reason.as_str()));
    }

    fn on_shard_message(&mut self, _: &mut dyn Outbox, message: ShardMessage) {
        self.calls.push(message.downcast::<String>().unwrap());
    }

    fn on_job_done(&mut self, _: &mut dyn Outbox, _: JobId, result: Result<ShardMessage, JobPanicked>) {
        self.calls.push(format!("job {:?}", result.map(|result| result.downcast::<u32>().unwrap())));
    }

    fn wants_flush(&self) -> bool {
        !self.held_back.is_empty()
    }

    fn on_flush(&mut self, outbox: &mut dyn Outbox) {
        for conn in self.held_back.drain(..) {
            outbox.send(conn, &frame("held back")).unwrap();
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    fn on_timeout(&mut self, outbox: &mut dyn Outbox) {
        let late = outbox.now() - self.deadline.unwrap();
        self.deadline = None;
        self.calls.push(format!("timeout, late by {late:?}"));
        if outbox.shards() > 1 {
            outbox.send_to_shard(0, ShardMessage::new(format!("timeout of {}", outbox.shard())));
        }
    }
}

fn frame(text: &str) -> SharedFrame {
    SharedFrame::message(&[text.as_bytes()], &[])
}

fn calls(shard: &mut Shard<Puppet>) -> Vec<String> {
    std::mem::take(&mut shard.handler.calls)
}

#[test]
fn a_close_is_reported_once_after_the_call_and_nothing_arrives_after_it() {
    let mut shard = Shard::new(Puppet::default());
    let conn = shard.open();
    let closes = Rc::new(RefCell::new(Vec::new()));
    shard.engine.watch_closes({
        let closes = Rc::clone(&closes);
        move |conn, reason| closes.borrow_mut().push((conn, reason))
    });
    shard.text(conn, "close");
    shard.text(conn, "hold");
    assert_eq!(calls(&mut shard), ["open 0", "message close", "close 0 forced close"]);
    assert_eq!(*closes.borrow(), [(conn, CloseReason::ForcedClose)]);
    assert_eq!((shard.sent(conn), shard.engine.sessions()), (vec![], 0));
    // The index is free again; the old key is not valid.
    let next = shard.open();
    assert_eq!(next.index(), conn.index());
    assert!(shard.engine.is_open(next) && !shard.engine.is_open(conn));
    shard.close(next, CloseReason::TransportClose);
    assert_eq!(calls(&mut shard), ["open 0", "close 0 transport close"]);
}

#[test]
fn held_back_frames_leave_when_the_turn_ends() {
    let mut shard = Shard::new(Puppet::default());
    let conn = shard.open();
    shard.text(conn, "hold");
    assert!(shard.engine.sent(conn).is_empty());
    assert_eq!(shard.sent(conn), ["4held back"]);
    assert_eq!(shard.sent(conn), [""; 0]);
}

#[test]
fn a_handshake_may_be_refused() {
    let mut shard = Shard::new(Puppet { refuses: true, ..Puppet::default() });
    let (uri, headers) = (http::Uri::from_static("/"), http::HeaderMap::new());
    let remote = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let handshake = Handshake {
        transport: crate::session::Transport::Polling,
        protocol: Protocol::V4,
        sid: None,
        uri: &uri,
        headers: &headers,
        remote,
        client: Some(remote.ip()),
    };
    assert_eq!(shard.open_with(&handshake), Err(Refusal::Forbidden));
    assert_eq!((calls(&mut shard), shard.engine.sessions()), (vec![], 0));
}

#[test]
fn a_panic_ends_the_session_or_the_test() {
    let mut shard = Shard::new(Puppet::default()).catching_panics();
    let conn = shard.open();
    shard.text(conn, "panic");
    assert_eq!(calls(&mut shard), ["open 0", "close 0 internal error"]);
    let mut shard = Shard::new(Puppet::default());
    let conn = shard.open();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| shard.text(conn, "panic")));
    assert!(caught.is_err());
}

#[test]
fn a_peer_that_does_not_read_is_first_not_writable_then_closed() {
    let mut shard = Shard::new(Puppet::default());
    let config = crate::Config { outbound_soft: 10, outbound_hard: 20, ..crate::Config::default() };
    shard.engine = Engine::new().with_limits_of(&config);
    let conn = shard.open();
    // The WebSocket header has two bytes, the packet type one.
    let seven = frame("1234");
    for _ in 0..5 {
        assert_eq!(shard.engine.send(conn, &seven), Ok(()));
    }
    shard.engine.stop_reading(conn);
    let mut states = Vec::new();
    for _ in 0..3 {
        states.push((shard.engine.send(conn, &seven), shard.engine.is_writable(conn)));
    }
    assert_eq!(states, [(Ok(()), true), (Ok(()), false), (Err(SendError::Full), false)]);
    assert_eq!(shard.engine.pop_closed(), Some((conn, CloseReason::SlowConsumer)));
    assert_eq!(shard.engine.take_sent(conn).len(), 7);
    let conn = shard.open();
    shard.engine.set_queued(conn, 20);
    shard.engine.resume_reading(conn);
    assert!(shard.engine.is_writable(conn));
    shard.engine.stop_reading(conn);
    assert_eq!(shard.engine.send(conn, &frame(&"x".repeat(100))), Ok(()), "the queue was empty");
    assert!(!shard.engine.is_writable(conn));
}

#[test]
fn frames_are_recorded_as_the_peer_gets_them() {
    let mut engine = Engine::new();
    let conn = engine.open();
    let binary = SharedFrame::packet(&crate::packet::Outbound::Message(Message::Binary(vec![1].into())));
    engine.send(conn, &binary).unwrap();
    engine.set_wire(conn, Wire { protocol: Protocol::V3, ..Wire::default() });
    engine.send(conn, &binary).unwrap();
    let sent: Vec<_> = engine.take_sent(conn).iter().map(|frame| frame.websocket().to_vec()).collect();
    assert_eq!(sent, [vec![0x82, 1, 1], vec![0x82, 2, 4, 1]]);
}

#[test]
fn random_bytes_repeat_by_seed_and_differ_by_shard() {
    let bytes = |mut engine: Engine| {
        let mut bytes = [0; 16];
        engine.fill_random(&mut bytes);
        bytes
    };
    assert_eq!(bytes(Engine::new()), bytes(Engine::new()));
    assert_ne!(bytes(Engine::of_shard(0, 2)), bytes(Engine::of_shard(1, 2)));
    let mut seeded = Engine::new();
    seeded.seed(7);
    assert_ne!(bytes(seeded), bytes(Engine::new()));
}

#[test]
fn jobs_run_when_the_test_says_so() {
    let mut shard = Shard::new(Puppet::default());
    let config = crate::Config { max_jobs: 4, ..crate::Config::default() };
    shard.engine = Engine::new().with_limits_of(&config);
    let mut polls = 0;
    let twice = std::future::poll_fn(move |_| {
        polls += 1;
        if polls < 2 { std::task::Poll::Pending } else { std::task::Poll::Ready(8_u32) }
    });
    let panics: fn() -> u32 = || panic!("as the test wants");
    let jobs = [Job::blocking(|| 7_u32), Job::future(twice), Job::blocking(panics), Job::blocking(|| 9_u32)];
    let ids = jobs.map(|job| shard.engine.start_job(job).unwrap());
    assert!(shard.engine.start_job(Job::blocking(|| ())).is_err());
    assert_eq!(shard.engine.jobs().collect::<Vec<_>>(), ids);
    assert!(shard.run_job(ids[2]) && !shard.run_job(ids[1]) && shard.run_job(ids[0]) && shard.run_job(ids[1]));
    assert!(!shard.run_job(ids[1]), "it is done");
    assert!(shard.engine.take_job(ids[3]).is_some() && !shard.run_job(ids[3]));
    assert_eq!(calls(&mut shard), ["job Err(JobPanicked)", "job Ok(7)", "job Ok(8)"]);
}

#[test]
fn all_jobs_run_that_can_be_done() {
    let mut shard = Shard::new(Puppet::default());
    let never = shard.engine.start_job(Job::future(std::future::pending::<u32>())).unwrap();
    for number in [1_u32, 2] {
        shard.engine.start_job(Job::blocking(move || number)).unwrap();
    }
    assert_eq!((shard.run_jobs(), shard.run_jobs()), (2, 0));
    assert_eq!(calls(&mut shard), ["job Ok(1)", "job Ok(2)"]);
    assert_eq!(shard.engine.jobs().collect::<Vec<_>>(), [never]);
}

#[test]
fn the_clock_stops_at_each_deadline() {
    let mut shard = Shard::new(Puppet::default());
    let start = shard.engine.now();
    shard.handler.deadline = Some(start + Duration::from_secs(2));
    shard.advance(Duration::from_secs(1));
    assert_eq!(calls(&mut shard), [""; 0]);
    shard.advance(Duration::from_secs(9));
    assert_eq!(calls(&mut shard), ["timeout, late by 0ns"]);
    assert_eq!(shard.engine.now(), start + Duration::from_secs(10));
}

#[test]
fn messages_between_two_shards_keep_their_order_and_the_rest_is_the_tests_choice() {
    let mut shards = Shards::new(3, |_| Puppet::default());
    for (shard, text) in [(0, "a"), (1, "b"), (0, "c")] {
        let conn = shards[shard].open();
        shards[shard].text(conn, text);
    }
    shards.iter_mut().for_each(|shard| drop(calls(shard)));
    assert_eq!(Vec::from_iter(shards.in_flight()), [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]);
    assert!(shards.deliver(1, 2) && !shards.deliver(1, 2) && !shards.deliver(2, 0));
    shards.deliver_all();
    assert!(!shards.deliver_next() && shards.in_flight().is_empty());
    let got: Vec<_> = shards.iter_mut().map(|shard| calls(shard).concat()).collect();
    assert_eq!(got, ["abc", "abc", "bac"]);
}

#[test]
fn shards_share_a_clock_and_the_earliest_deadline_comes_first() {
    let mut shards = Shards::new(2, |_| Puppet::default());
    let start = shards[0].engine.now();
    for (shard, seconds) in [(0, 3), (1, 2)] {
        shards[shard].handler.deadline = Some(start + Duration::from_secs(seconds));
    }
    shards.advance(Duration::from_secs(5));
    assert_eq!(shards[0].engine.now(), shards[1].engine.now());
    let late = "timeout, late by 0ns";
    assert_eq!(calls(&mut shards[0]), ["timeout of 1", late, "timeout of 0"]);
    assert_eq!(calls(&mut shards[1]), [late]);
}

#[test]
fn a_frame_larger_than_the_queue_does_not_count_against_the_next() {
    let mut shard = Shard::new(Puppet::default());
    let conn = shard.open();
    let hard = shard.engine.send_room(conn);
    shard.engine.stop_reading(conn);
    let (large, small) = (frame(&"x".repeat(2 * hard)), frame(&"x".repeat(hard / 2)));
    assert_eq!(shard.engine.send(conn, &large), Ok(()));
    assert_eq!((shard.engine.send_room(conn), shard.engine.is_writable(conn)), (hard, false));
    assert_eq!(shard.engine.send(conn, &small), Ok(()));
    assert!(shard.engine.send_room(conn) < hard / 2);
    assert_eq!(shard.engine.send(conn, &small), Err(SendError::Full), "the frames behind it count");
    assert_eq!(shard.engine.send_room(conn), 0, "it is closed");
}
