//! From a handshake to a session: whether there is room, the application's say, the version, then the session itself.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use super::{
    conn::{Conn, Link, Phase},
    counts::Place,
    outq::OutQueue,
    shard::{Io, Shard},
};
use crate::{
    ConnKey, Handler, Handshake, Protocol, Refusal, SharedFrame,
    error::HandshakeError,
    hooks::SidPart,
    http::Query,
    packet::Outbound,
    session::{Session, Transport},
    sid::IssuedSid,
};

/// When a client that was refused for a reason of our own may come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Refused for a reason of our own.
pub(super) const UNAVAILABLE: HandshakeError = HandshakeError::Unavailable { retry_after: RETRY_AFTER };

/// What a handshake has settled about the session that it may open.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) place: Place,
    pub(super) protocol: Protocol,
    /// What the application chose of the sid.
    pub(super) id: Option<SidPart>,
    /// The 101, where it is to go out in one write with the OPEN packet.
    pub(super) answer: Option<Vec<u8>>,
}

impl<H: Handler> Shard<H> {
    /// All checks of a handshake that need no hooks.
    pub(super) fn admit(&mut self, handshake: &Handshake<'_>, query: &Query<'_>) -> Result<Admitted, HandshakeError> {
        let place = self.reserve()?;
        let protocol = self.ask_handler(handshake, query)?;
        Ok(Admitted { place, protocol, id: None, answer: None })
    }

    /// Whether there is room.
    pub(super) fn reserve(&self) -> Result<Place, HandshakeError> {
        let io = &self.io;
        let place = if io.draining { None } else { io.common.reserve(io.config.max_sessions) };
        place.ok_or(UNAVAILABLE)
    }

    /// The handler's say, then the version. When the handler panics, nobody knows what it would have said, and the client
    /// may come back.
    pub(super) fn ask_handler(
        &mut self,
        handshake: &Handshake<'_>,
        query: &Query<'_>,
    ) -> Result<Protocol, HandshakeError> {
        let Self { handler, io, .. } = self;
        match catch_unwind(AssertUnwindSafe(|| handler.on_handshake(io, handshake))) {
            Ok(Ok(())) => query.check_protocol(&io.config),
            Ok(Err(Refusal::Forbidden)) => Err(HandshakeError::Forbidden),
            Ok(Err(Refusal::Unavailable { retry_after })) => Err(HandshakeError::Unavailable { retry_after }),
            Err(_) => {
                tracing::error!("the handler panicked in a handshake; it is refused");
                Err(UNAVAILABLE)
            }
        }
    }

    /// Opens a session: its OPEN packet is queued first, then the configured message, then the handler is told.
    pub(super) fn open(&mut self, admitted: Admitted, link: Link, handshake: &Handshake<'_>) -> (ConnKey, IssuedSid) {
        let (key, sid) = self.io.insert(admitted, link, handshake.transport);
        self.guarded(key, |handler, io| handler.on_open(io, key, handshake));
        (key, sid)
    }
}

impl Io {
    fn insert(&mut self, admitted: Admitted, link: Link, transport: Transport) -> (ConnKey, IssuedSid) {
        let Admitted { place, protocol, id, answer } = admitted;
        let session = Session::with_protocol(self.now, transport, self.config.intervals(), protocol);
        let beat_at = session.next_beat();
        let conn = Conn {
            session,
            random: [0; crate::sid::RANDOM_LEN],
            out: OutQueue::default(),
            link,
            phase: Phase::Open,
            look_at: None,
            dirty: false,
            probe: None,
            _place: place,
        };
        let key = ConnKey(self.conns.insert(conn));
        let sid = self.issue_sid(key, id);
        if self.config.plain_websockets && transport == Transport::WebSocket {
            return (key, sid);
        }
        match protocol {
            Protocol::V4 => self.timers.pings.push(beat_at, key),
            // Not a queue: every ping moves the deadline, and a peer that pings all the time would fill it.
            Protocol::V3 => self.look_at(key, beat_at),
        }
        let json = crate::http::open_json(&sid, transport, &self.config);
        let open = Outbound::Open(&json);
        self.push(
            key,
            &answer.map_or_else(|| SharedFrame::packet(&open), |answer| SharedFrame::behind_101(answer, &open)),
        );
        if let Some(first) = self.initial.clone() {
            self.push(key, &first);
        }
        (key, sid)
    }

    fn issue_sid(&mut self, key: ConnKey, id: Option<SidPart>) -> IssuedSid {
        let sid = match id {
            Some(part) => IssuedSid::chosen(self.id, key.index(), part),
            None => {
                let mut random = [0; crate::sid::RANDOM_LEN];
                self.entropy.fill(&mut random);
                IssuedSid::random(self.id, key.index(), random)
            }
        };
        if let Some(conn) = self.conn(key) {
            conn.random = sid.sid().secret();
        }
        sid
    }

    /// Queues a frame that no limit is for.
    fn push(&mut self, key: ConnKey, frame: &SharedFrame) {
        let Some(conn) = self.conns.get_mut(key.0) else { return };
        conn.out.push(conn.link.adapt(frame, &self.config));
        self.mark_dirty(key);
    }
}
