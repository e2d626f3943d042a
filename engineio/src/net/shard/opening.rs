//! Turns an admitted handshake into a session.

use std::net::IpAddr;

use super::{
    super::{peer::send_queue::SendQueue, shards::registry::SessionPermit},
    conn::{Conn, Phase},
    io::ShardIo,
    transport::ActiveTransport,
};
use crate::{
    ConnKey, Protocol, SharedFrame,
    hooks::SidPart,
    http::{admission::Terms, open_json},
    packet::Outbound,
    session::{Session, Transport},
    sid::{IssuedSid, RANDOM_LEN},
};

/// A handshake that may become a session.
#[derive(Debug)]
pub(in crate::net) struct Admitted {
    pub(in crate::net) permit: SessionPermit,
    pub(in crate::net) terms: Terms,
    /// [`Handshake::client`](crate::Handshake::client): to look for it in the headers is slow, so it is done once.
    pub(in crate::net) client: Option<IpAddr>,
    /// The answer 101, if it is sent in one write with the OPEN packet.
    pub(in crate::net) answer: Option<Vec<u8>>,
}

impl ShardIo {
    /// Makes a session and its sid, and queues its OPEN packet, then the configured message.
    pub(super) fn insert(
        &mut self,
        admitted: Admitted,
        active: ActiveTransport,
        transport: Transport,
    ) -> (ConnKey, IssuedSid) {
        let Admitted { permit, terms: Terms { protocol, sid_part }, answer, .. } = admitted;
        let session = Session::with_protocol(self.now, transport, self.config.intervals(), protocol);
        let beat_at = session.next_beat();
        let conn = Conn {
            session,
            random: [0; RANDOM_LEN],
            out: SendQueue::default(),
            transport: active,
            phase: Phase::Open,
            look_at: None,
            dirty: false,
            probe: None,
            accepted: false,
            _permit: permit,
        };
        let key = ConnKey(self.conns.insert(conn));
        let sid = self.issue_sid(key, sid_part);
        if self.config.plain_websockets && transport == Transport::WebSocket {
            return (key, sid);
        }
        match protocol {
            Protocol::V4 => self.timers.pings.push(beat_at, key),
            // Not a queue: every ping moves the deadline, and a peer that pings all the time would fill the queue.
            Protocol::V3 => self.look_at(key, beat_at),
        }
        let json = open_json(&sid, transport, &self.config);
        let open = Outbound::Open(&json);
        if let (Some(answer), Some(conn)) = (answer, self.conn(key)) {
            conn.out.set_preamble(answer);
        }
        self.push(key, &SharedFrame::packet(&open));
        if let Some(first) = self.initial.clone() {
            self.push(key, &first);
        }
        (key, sid)
    }

    fn issue_sid(&mut self, key: ConnKey, part: Option<SidPart>) -> IssuedSid {
        let sid = match part {
            Some(part) => IssuedSid::chosen(self.id, key.index(), part),
            None => {
                let mut random = [0; RANDOM_LEN];
                self.entropy.fill(&mut random);
                IssuedSid::random(self.id, key.index(), random)
            }
        };
        if let Some(conn) = self.conn(key) {
            conn.random = sid.sid().secret();
        }
        sid
    }

    /// Queues a frame without checking limits.
    pub(super) fn push(&mut self, key: ConnKey, frame: &SharedFrame) {
        let Some(conn) = self.conns.get_mut(key.0) else { return };
        conn.out.push(conn.transport.adapt(frame, &self.config));
        self.mark_dirty(key);
    }
}
