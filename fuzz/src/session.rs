//! `engineio::session`: operations in any order on a fake clock, compared with a model of its contract.
//!
//! The first byte chooses the transport and the revision. Then each operation is a byte, with a second one if it needs
//! a value.

use std::time::{Duration, Instant};

use engineio::{
    CloseReason, Message, Protocol,
    packet::Inbound,
    session::{Intervals, ProbeStep, Session, SessionEvent, Transport, UpgradeError},
};

use crate::input::Input;

const INTERVALS: Intervals =
    Intervals { ping_interval: Duration::from_millis(300), ping_timeout: Duration::from_millis(200) };
const UPGRADE_TIMEOUT: Duration = Duration::from_millis(250);

/// How far an upgrade has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upgrade {
    Idle,
    Opened,
    Probed,
}

/// The session's contract, written differently from its code.
#[derive(Debug)]
struct Model {
    now: Instant,
    protocol: Protocol,
    transport: Transport,
    upgrade: Upgrade,
    upgrade_by: Instant,
    /// The time of the next ping, or, while one is out, the latest time of its pong. In v3 the latest time of the
    /// client's next ping.
    beat: Instant,
    awaits_pong: bool,
    /// A packet has extended the deadline since the ping.
    refreshed: bool,
    /// A stall has extended the deadline since the ping.
    forgiven: bool,
    polling: bool,
    posting: bool,
}

/// Runs the target. See the module.
pub fn session(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let transport = if choice & 1 == 0 { Transport::Polling } else { Transport::WebSocket };
    let protocol = if choice & 2 == 0 { Protocol::V4 } else { Protocol::V3 };
    let now = Instant::now();
    let mut session = Session::with_protocol(now, transport, INTERVALS, protocol);
    let mut model = Model {
        now,
        protocol,
        transport,
        upgrade: Upgrade::Idle,
        upgrade_by: now,
        beat: now
            + INTERVALS.ping_interval
            + if protocol == Protocol::V3 { INTERVALS.ping_timeout } else { Duration::ZERO },
        awaits_pong: false,
        refreshed: false,
        forgiven: false,
        polling: false,
        posting: false,
    };
    while !input.is_empty() {
        let over = model.step(&mut session, &mut input);
        if over {
            return;
        }
        model.check(&session);
    }
}

impl Model {
    /// Runs one operation. Returns whether it ended the session.
    fn step(&mut self, session: &mut Session, input: &mut Input<'_>) -> bool {
        let operation = input.byte();
        match operation % 11 {
            0 => {
                self.now += Duration::from_millis(input.byte().into());
                false
            }
            1 => {
                if operation >= 128 {
                    self.forgive(session);
                }
                self.timeouts(session)
            }
            2 => {
                let choice = input.byte();
                self.packet(session, choice)
            }
            3 => {
                session.excuse_pong(self.now);
                let later = self.now + INTERVALS.ping_timeout;
                match self.protocol {
                    Protocol::V3 => self.beat = self.beat.max(later),
                    Protocol::V4 if self.awaits_pong => self.beat = later,
                    Protocol::V4 => {}
                }
                false
            }
            4 => {
                let second = std::mem::replace(&mut self.polling, true);
                assert_eq!(session.begin_poll(), if second { Err(CloseReason::TransportError) } else { Ok(()) });
                second
            }
            5 => {
                session.end_poll();
                self.polling = false;
                false
            }
            6 => {
                let second = std::mem::replace(&mut self.posting, true);
                assert_eq!(session.begin_post(), if second { Err(CloseReason::TransportError) } else { Ok(()) });
                second
            }
            7 => {
                session.end_post();
                self.posting = false;
                false
            }
            8 => {
                let taken = self.transport == Transport::WebSocket || self.upgrade != Upgrade::Idle;
                let result = session.begin_upgrade(self.now, UPGRADE_TIMEOUT);
                assert_eq!(result, if taken { Err(UpgradeError::Taken) } else { Ok(()) });
                if !taken {
                    (self.upgrade, self.upgrade_by) = (Upgrade::Opened, self.now + UPGRADE_TIMEOUT);
                }
                false
            }
            9 => {
                self.probe(session, &inbound(input.byte()));
                false
            }
            _ => {
                session.abandon_upgrade();
                self.upgrade = Upgrade::Idle;
                false
            }
        }
    }

    /// A stall gives a peer that is due half of the timeout more, once for each ping.
    fn forgive(&mut self, session: &mut Session) {
        session.forgive_stall(self.now);
        let owed = self.awaits_pong || self.protocol == Protocol::V3;
        if owed && self.now >= self.beat && !std::mem::replace(&mut self.forgiven, true) {
            self.beat = self.now + INTERVALS.ping_timeout / 2;
        }
    }

    /// Handles deadlines until none is due.
    fn timeouts(&mut self, session: &mut Session) -> bool {
        for _ in 0..4 {
            let due = self.now >= session.poll_timeout();
            let beat = self.now >= self.beat;
            match session.handle_timeout(self.now) {
                Ok(None) => {
                    assert!(!due, "an early call is harmless, and a due one does something");
                    return false;
                }
                Ok(Some(SessionEvent::Ping)) => {
                    assert!(beat && !self.awaits_pong && self.protocol == Protocol::V4, "one ping for each pong");
                    let half = self.now + INTERVALS.ping_timeout / 2;
                    self.beat = (self.beat + INTERVALS.ping_timeout).max(half);
                    (self.awaits_pong, self.refreshed, self.forgiven) = (true, false, false);
                }
                Err(reason) => {
                    assert_eq!(reason, CloseReason::PingTimeout);
                    let owed = self.awaits_pong || self.protocol == Protocol::V3;
                    assert!(beat && owed, "a session lives as long as its pong, or ping, may take");
                    return true;
                }
                Ok(Some(SessionEvent::Noop)) => {
                    assert_eq!((beat, self.upgrade), (false, Upgrade::Probed));
                    assert!(self.now < self.upgrade_by);
                }
                Ok(Some(SessionEvent::UpgradeExpired)) => {
                    assert!(!beat && self.upgrade != Upgrade::Idle && self.now >= self.upgrade_by);
                    self.upgrade = Upgrade::Idle;
                }
                Ok(Some(event)) => panic!("no deadline brings {event:?}"),
            }
        }
        panic!("the same deadline is due again and again");
    }

    fn packet(&mut self, session: &mut Session, choice: u8) -> bool {
        let packet = inbound(choice);
        let result = session.handle_packet(self.now, packet.clone());
        if self.awaits_pong && !std::mem::replace(&mut self.refreshed, true) {
            self.beat = self.now + INTERVALS.ping_timeout;
        }
        match packet {
            Inbound::Message(message) => assert_eq!(result, Ok(Some(SessionEvent::Message(message)))),
            Inbound::Ping(data) if self.protocol == Protocol::V3 => {
                assert_eq!(result, Ok(Some(SessionEvent::Answer(data))));
                self.forgiven = false;
                self.beat = self.now + INTERVALS.ping_interval + INTERVALS.ping_timeout;
            }
            Inbound::Pong(_) if self.protocol == Protocol::V3 => {
                assert_eq!(result, Err(CloseReason::TransportError));
                return true;
            }
            Inbound::Pong(_) if self.awaits_pong => {
                assert_eq!(result, Ok(Some(SessionEvent::Pong)));
                self.awaits_pong = false;
                self.beat = self.now + INTERVALS.ping_interval;
            }
            Inbound::Pong(_) | Inbound::Upgrade | Inbound::Noop => assert_eq!(result, Ok(None)),
            Inbound::Ping(_) => {
                assert_eq!(result, Err(CloseReason::TransportError));
                return true;
            }
            Inbound::Close => {
                assert_eq!(result, Err(CloseReason::TransportClose));
                return true;
            }
        }
        false
    }

    fn probe(&mut self, session: &mut Session, packet: &Inbound<'_>) {
        let expected = match (self.upgrade, packet) {
            (Upgrade::Opened | Upgrade::Probed, Inbound::Ping("probe")) => {
                self.upgrade = Upgrade::Probed;
                Ok(ProbeStep::Pong)
            }
            (Upgrade::Probed, Inbound::Upgrade) => {
                (self.upgrade, self.transport) = (Upgrade::Idle, Transport::WebSocket);
                Ok(ProbeStep::Upgraded)
            }
            _ => {
                self.upgrade = Upgrade::Idle;
                Err(UpgradeError::UnexpectedPacket)
            }
        };
        assert_eq!(session.handle_probe(self.now, packet), expected);
    }

    fn check(&self, session: &Session) {
        assert_eq!((session.transport(), session.protocol()), (self.transport, self.protocol));
        assert_eq!(session.is_upgrading(), self.upgrade != Upgrade::Idle);
        assert_eq!(session.awaits_pong(), self.awaits_pong);
        assert!(!session.is_upgrading() || session.transport() == Transport::Polling);
        // A caller that sleeps until then misses nothing that the contract promises.
        assert!(session.poll_timeout() <= self.beat);
        assert!(self.upgrade == Upgrade::Idle || session.poll_timeout() <= self.upgrade_by);
    }
}

fn inbound(choice: u8) -> Inbound<'static> {
    match choice % 8 {
        0 => Inbound::Message(Message::Text("hi".into())),
        1 => Inbound::Message(Message::Binary(vec![choice].into())),
        2 => Inbound::Pong(""),
        3 => Inbound::Upgrade,
        4 => Inbound::Noop,
        5 => Inbound::Ping("probe"),
        6 => Inbound::Ping(""),
        _ => Inbound::Close,
    }
}
