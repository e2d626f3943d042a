//! The state machine on a fake clock.

use super::*;

/// A session and a clock that only moves when told to.
struct Bench {
    session: Session,
    now: Instant,
}

impl Bench {
    fn new(transport: Transport) -> Self {
        let now = Instant::now();
        let intervals =
            Intervals { ping_interval: Duration::from_millis(300), ping_timeout: Duration::from_millis(200) };
        Self { session: Session::new(now, transport, intervals), now }
    }

    fn v3(transport: Transport) -> Self {
        let Self { session, now } = Self::new(transport);
        Self { session: Session::with_protocol(now, transport, session.intervals, Protocol::V3), now }
    }

    fn advance(&mut self, ms: u64) -> &mut Self {
        self.now += Duration::from_millis(ms);
        self
    }

    fn timeout(&mut self) -> Result<Option<SessionEvent<'static>>, CloseReason> {
        self.session.handle_timeout(self.now)
    }

    fn forgive(&mut self) {
        self.session.forgive_stall(self.now);
    }

    fn receive<'i>(&mut self, text: &'i str) -> Result<Option<SessionEvent<'i>>, CloseReason> {
        self.session.handle_packet(self.now, crate::packet::decode(text).unwrap())
    }

    fn probe(&mut self, text: &str) -> Result<ProbeStep, UpgradeError> {
        self.session.handle_probe(self.now, &crate::packet::decode(text).unwrap())
    }

    fn upgrade(&mut self) -> Result<(), UpgradeError> {
        self.session.begin_upgrade(self.now, Duration::from_secs(10))
    }
}

#[test]
fn the_first_ping_comes_one_interval_after_the_handshake() {
    let mut bench = Bench::new(Transport::WebSocket);
    assert_eq!(bench.advance(299).timeout(), Ok(None));
    assert_eq!(bench.advance(1).timeout(), Ok(Some(SessionEvent::Ping)));
    assert_eq!(bench.timeout(), Ok(None));
}

#[test]
fn a_missing_pong_ends_the_session_at_interval_plus_timeout_even_when_the_ping_was_late() {
    let mut bench = Bench::new(Transport::Polling);
    assert_eq!(bench.advance(390).timeout(), Ok(Some(SessionEvent::Ping)));
    assert_eq!(bench.advance(109).timeout(), Ok(None));
    assert_eq!(bench.advance(1).timeout(), Err(CloseReason::PingTimeout));
}

#[test]
fn after_a_stall_the_peer_still_has_half_the_timeout() {
    let mut bench = Bench::new(Transport::Polling);
    assert_eq!(bench.advance(60_000).timeout(), Ok(Some(SessionEvent::Ping)));
    assert_eq!(bench.timeout(), Ok(None));
    assert_eq!(bench.advance(99).timeout(), Ok(None));
    assert_eq!(bench.advance(1).timeout(), Err(CloseReason::PingTimeout));
}

#[test]
fn after_a_stall_an_unread_pong_has_half_the_timeout_once_more() {
    let mut bench = Bench::new(Transport::WebSocket);
    bench.advance(300).timeout().unwrap();
    bench.advance(60_000).forgive();
    assert_eq!(bench.timeout(), Ok(None));
    assert_eq!(bench.advance(99).receive("3"), Ok(Some(SessionEvent::Pong)));
    bench.advance(300).timeout().unwrap();
    bench.advance(199).forgive();
    assert_eq!(bench.session.next_beat(), bench.now + Duration::from_millis(1), "it has not passed");
    bench.advance(1).forgive();
    assert_eq!(bench.session.next_beat(), bench.now + Duration::from_millis(100));
    bench.advance(100).forgive();
    assert_eq!(bench.timeout(), Err(CloseReason::PingTimeout), "once for each ping");
}

#[test]
fn after_a_stall_an_unread_ping_has_half_the_timeout_once_more() {
    let mut bench = Bench::v3(Transport::Polling);
    bench.advance(500).forgive();
    assert_eq!(bench.timeout(), Ok(None));
    assert_eq!(bench.advance(99).receive("2"), Ok(Some(SessionEvent::Answer(""))));
    bench.advance(600).forgive();
    assert_eq!(bench.timeout(), Ok(None));
    bench.advance(100).forgive();
    assert_eq!(bench.timeout(), Err(CloseReason::PingTimeout), "once for each ping");
}

#[test]
fn a_pong_restarts_the_interval() {
    let mut bench = Bench::new(Transport::WebSocket);
    assert_eq!(bench.advance(300).timeout(), Ok(Some(SessionEvent::Ping)));
    assert_eq!(bench.advance(100).receive("3"), Ok(Some(SessionEvent::Pong)));
    assert_eq!(bench.advance(299).timeout(), Ok(None));
    assert_eq!(bench.advance(1).timeout(), Ok(Some(SessionEvent::Ping)));
}

#[test]
fn an_unsolicited_pong_moves_nothing() {
    let mut bench = Bench::new(Transport::WebSocket);
    assert_eq!(bench.advance(200).receive("3"), Ok(None));
    assert_eq!(bench.advance(100).timeout(), Ok(Some(SessionEvent::Ping)));
}

#[test]
fn other_packets_count_as_life_once_per_ping() {
    let mut bench = Bench::new(Transport::WebSocket);
    bench.advance(300).timeout().unwrap();
    assert!(bench.advance(150).receive("4a").is_ok());
    assert_eq!(bench.advance(199).timeout(), Ok(None));
    assert!(bench.receive("4b").is_ok());
    assert_eq!(bench.advance(1).timeout(), Err(CloseReason::PingTimeout));
}

#[test]
fn a_peer_that_is_not_read_from_is_excused() {
    let mut bench = Bench::new(Transport::WebSocket);
    bench.advance(300).timeout().unwrap();
    bench.advance(150);
    bench.session.excuse_pong(bench.now);
    assert_eq!(bench.advance(199).timeout(), Ok(None));
    assert_eq!(bench.advance(1).timeout(), Err(CloseReason::PingTimeout));
}

#[test]
fn packets_of_an_open_session() {
    for (text, expected) in [
        ("4hi", Ok(Some(SessionEvent::Message(Message::Text("hi".into()))))),
        ("bAQ==", Ok(Some(SessionEvent::Message(Message::Binary(vec![1].into()))))),
        ("0", Ok(None)),
        ("5", Ok(None)),
        ("6", Ok(None)),
        ("3", Ok(None)),
        ("2", Err(CloseReason::TransportError)),
        ("1", Err(CloseReason::TransportClose)),
    ] {
        assert_eq!(Bench::new(Transport::WebSocket).receive(text), expected, "{text}");
    }
}

#[test]
fn in_v3_the_client_pings_and_gets_its_data_back() {
    let mut bench = Bench::v3(Transport::WebSocket);
    assert_eq!(bench.session.next_beat(), bench.now + Duration::from_millis(500));
    assert_eq!(bench.advance(300).timeout(), Ok(None), "the server does not ping");
    assert_eq!(bench.advance(199).receive("2"), Ok(Some(SessionEvent::Answer(""))));
    assert_eq!(bench.advance(499).receive("2data"), Ok(Some(SessionEvent::Answer("data"))));
    assert_eq!(bench.advance(499).timeout(), Ok(None));
    assert_eq!(bench.advance(1).timeout(), Err(CloseReason::PingTimeout));
}

#[test]
fn in_v3_only_a_ping_is_a_sign_of_life() {
    let mut bench = Bench::v3(Transport::Polling);
    assert!(bench.advance(400).receive("4a").is_ok());
    assert_eq!(bench.advance(100).timeout(), Err(CloseReason::PingTimeout));
    assert_eq!(Bench::v3(Transport::Polling).receive("3"), Err(CloseReason::TransportError));
}

#[test]
fn in_v3_a_peer_that_is_not_read_from_is_excused_and_an_upgrade_moves_no_deadline() {
    let mut bench = Bench::v3(Transport::Polling);
    bench.session.excuse_pong(bench.now);
    assert_eq!(bench.session.next_beat(), bench.now + Duration::from_millis(500));
    bench.upgrade().unwrap();
    assert_eq!(bench.probe("2probe"), Ok(ProbeStep::Pong));
    assert_eq!(bench.probe("5"), Ok(ProbeStep::Upgraded));
    bench.advance(450);
    bench.session.excuse_pong(bench.now);
    assert_eq!(bench.advance(199).timeout(), Ok(None));
    assert_eq!(bench.advance(1).timeout(), Err(CloseReason::PingTimeout));
}

#[test]
fn an_upgrade_goes_by_probe_and_upgrade_packet() {
    let mut bench = Bench::new(Transport::Polling);
    bench.upgrade().unwrap();
    assert_eq!(bench.probe("2probe"), Ok(ProbeStep::Pong));
    assert_eq!(bench.session.transport(), Transport::Polling);
    assert_eq!(bench.probe("5"), Ok(ProbeStep::Upgraded));
    assert_eq!((bench.session.transport(), bench.session.is_upgrading()), (Transport::WebSocket, false));
    assert_eq!(bench.upgrade(), Err(UpgradeError::Taken));
}

#[test]
fn a_failed_upgrade_leaves_polling_and_may_be_tried_again() {
    for packet in ["2", "5", "4hi", "2other", "3probe"] {
        let mut bench = Bench::new(Transport::Polling);
        bench.upgrade().unwrap();
        assert_eq!(bench.upgrade(), Err(UpgradeError::Taken));
        assert_eq!(bench.probe(packet), Err(UpgradeError::UnexpectedPacket), "{packet}");
        assert_eq!(bench.session.transport(), Transport::Polling);
        assert_eq!(bench.upgrade(), Ok(()));
    }
}

#[test]
fn a_waiting_poll_is_released_every_100_ms_while_probed() {
    let mut bench = Bench::new(Transport::Polling);
    bench.upgrade().unwrap();
    bench.probe("2probe").unwrap();
    assert_eq!(bench.advance(99).timeout(), Ok(None));
    assert_eq!(bench.advance(1).timeout(), Ok(Some(SessionEvent::Noop)));
    assert_eq!(bench.session.poll_timeout(), bench.now + Duration::from_millis(100));
}

#[test]
fn an_upgrade_that_takes_too_long_expires_and_the_heartbeat_is_not_moved() {
    let mut bench = Bench::new(Transport::Polling);
    bench.session.begin_upgrade(bench.now, Duration::from_millis(250)).unwrap();
    assert_eq!(bench.advance(250).timeout(), Ok(Some(SessionEvent::UpgradeExpired)));
    assert!(!bench.session.is_upgrading());
    assert_eq!(bench.advance(50).timeout(), Ok(Some(SessionEvent::Ping)));
}

#[test]
fn a_pong_deadline_survives_the_switch_of_transports() {
    let mut bench = Bench::new(Transport::Polling);
    bench.advance(300).timeout().unwrap();
    bench.upgrade().unwrap();
    bench.probe("2probe").unwrap();
    bench.probe("5").unwrap();
    assert_eq!(bench.advance(200).timeout(), Err(CloseReason::PingTimeout));
}

#[test]
fn a_second_poll_or_an_overlapping_post_ends_the_session() {
    let mut bench = Bench::new(Transport::Polling);
    assert_eq!(bench.session.begin_poll(), Ok(()));
    assert_eq!(bench.session.begin_poll(), Err(CloseReason::TransportError));
    let mut bench = Bench::new(Transport::Polling);
    assert_eq!(bench.session.begin_post(), Ok(()));
    bench.session.end_post();
    assert_eq!(bench.session.begin_post(), Ok(()));
    assert_eq!(bench.session.begin_post(), Err(CloseReason::TransportError));
}

#[test]
fn the_heartbeat_says_when_the_peer_was_last_heard_of() {
    let mut bench = Bench::new(Transport::WebSocket);
    let start = bench.now;
    bench.advance(300).timeout().unwrap();
    assert_eq!(bench.session.last_heartbeat(), start, "the ping is out");
    bench.advance(50).receive("3").unwrap();
    let pong = bench.now;
    assert_eq!(bench.session.last_heartbeat(), pong);
    bench.advance(300).timeout().unwrap();
    assert_eq!(bench.session.last_heartbeat(), pong);
    // A message is a sign of life while a pong is awaited.
    bench.advance(100).receive("4x").unwrap();
    assert_eq!(bench.session.last_heartbeat(), bench.now);
    let mut bench = Bench::v3(Transport::WebSocket);
    let start = bench.now;
    bench.advance(100);
    assert_eq!(bench.session.last_heartbeat(), start);
    bench.receive("2").unwrap();
    assert_eq!(bench.session.last_heartbeat(), bench.now);
}
