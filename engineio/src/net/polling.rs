//! The two requests of HTTP long-polling: GET waits for packets, POST brings some.
//! Engine.IO protocol v4, "HTTP long-polling".
//!
//! The session may be another shard's than the connection's. What concerns the session runs on its owner, in a visit;
//! the body of a POST is read here; a GET waits here for what its owner sends it.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::sync::oneshot;

use super::{
    conn::{End, Link, Phase, PollLink, Waiting},
    mailbox::{Letter, Packets},
    outq::PollBody,
    owner::Owner,
    shard::{Io, Shard, ShardRef},
};
use crate::{
    CloseReason, Config, ConnKey, Handler, Protocol, Sid,
    error::{ConnectionError, HandshakeError},
    http::{Action, PostBody, check_session, jsonp},
    payload::{self, AnyPackets, Form},
    ws,
};

/// How many packets of one body are handed on before the others have their turn.
const BUDGET: usize = 64;

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// With a code, and the application's message if it gave one.
    Coded(ConnectionError, Option<String>),
    /// It asks for a WebSocket, and not as RFC 6455 says.
    WebSocket(ws::handshake::HandshakeError),
    /// 400 without a body.
    BadRequest,
    /// 400 without a body, and the end of the connection: nobody knows where the body ends.
    BrokenBody,
    /// 408: the body did not come within `body_timeout`.
    TimedOut,
    /// 413; the session lives.
    TooLarge,
}

impl Refused {
    /// There is no such session.
    pub(super) const UNKNOWN: Self =
        Self::Coded(ConnectionError { error: HandshakeError::SidUnknown, context: None }, None);
}

impl<E: Into<ConnectionError>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Coded(error.into(), None)
    }
}

/// A request that names a session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visit {
    pub(super) sid: Sid,
    pub(super) action: Action,
    /// The revision that the request speaks.
    pub(super) protocol: Protocol,
}

/// Waits for packets: the body of the answer.
pub(super) async fn poll<H: Handler>(owner: &Owner<'_, H>, visit: Visit) -> Result<PollBody, Refused> {
    let guard = Guard { owner, sid: visit.sid, armed: true };
    let begun = owner.visit(move |io| {
        let key = io.visited(visit)?;
        io.begin_poll(key)
    });
    let result = match begun.await.unwrap_or(Err(Refused::UNKNOWN)) {
        Ok(waiting) => waiting.await.map_err(|_| Refused::BadRequest),
        Err(refused) => Err(refused),
    };
    guard.disarm();
    result
}

/// Takes the packets of a body in. `form` says how it is to be read; `None`: it has no place in this session.
pub(super) async fn post<H: Handler, B: Body<Data = Bytes> + Unpin>(
    owner: &Owner<'_, H>,
    visit: Visit,
    form: Option<PostBody>,
    body: B,
    config: &Config,
) -> Result<(), Refused> {
    let max = config.max_payload;
    let declared = body.size_hint().lower();
    let guard = Guard { owner, sid: visit.sid, armed: true };
    let begun = owner.visit(move |io| {
        let key = io.visited(visit)?;
        // Engine.IO v4 bodies are text; the reference closes the session on v3's binary type (A28).
        let Some(form) = form else {
            io.end(key, CloseReason::TransportError, End::Fault(None));
            return Err(Refused::BadRequest);
        };
        // Too large by its own word: refused before a byte is read, and the session lives (A29).
        if declared > max as u64 {
            return Err(Refused::TooLarge);
        }
        io.begin_post(key).map(|()| (key, form))
    });
    let (key, form) = match begun.await.unwrap_or(Err(Refused::UNKNOWN)) {
        Ok(begun) => begun,
        Err(refused) => {
            guard.disarm();
            return Err(refused);
        }
    };
    let body = tokio::time::timeout(config.body_timeout, read(body, max)).await.unwrap_or(Err(Refused::TimedOut));
    let result = match body {
        Ok(body) => hand_on(owner, key, form, body).await,
        Err(Refused::TooLarge) => {
            owner.visit(move |io| io.end_post(key)).await;
            Err(Refused::TooLarge)
        }
        // Truncated, or not coming: dropping the guard closes the session (A27).
        Err(refused) => return Err(refused),
    };
    guard.disarm();
    result
}

async fn read(mut body: impl Body<Data = Bytes> + Unpin, max: usize) -> Result<Bytes, Refused> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refused::BrokenBody)?.into_data() else { continue };
        if whole.len() + data.len() > max {
            return Err(Refused::TooLarge);
        }
        if whole.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// Gives the body of a POST that has begun to the session's shard; the POST is over when that has dealt with it.
async fn hand_on<H: Handler>(owner: &Owner<'_, H>, key: ConnKey, form: PostBody, body: Bytes) -> Result<(), Refused> {
    let (form, body) = match form {
        PostBody::Payload(form) => (form, body),
        PostBody::Jsonp => match jsonp::form_data(&body) {
            Some(payload) => (Form::V3Text, payload.into()),
            None => return owner.visit(move |io| Err(io.fail_post(key))).await.unwrap_or(Err(Refused::BadRequest)),
        },
    };
    if let Some(shard) = owner.here() {
        return deliver(shard, key, form, &body).await;
    }
    let (done, answer) = oneshot::channel();
    owner.post(Letter::Packets(Box::new(Packets { key, form, body, done })));
    answer.await.unwrap_or(Err(Refused::BadRequest))
}

/// [`deliver`], for a connection on another shard.
pub(super) async fn deliver_for_another<H: Handler>(shard: ShardRef<H>, packets: Box<Packets>) {
    let Packets { key, form, body, done } = *packets;
    // Whoever posted it may be gone; then a letter follows that ends the session.
    let _ = done.send(deliver(&shard, key, form, &body).await);
}

/// Hands the packets on in turns of at most [`BUDGET`]. A fault ends the session after the packets before it (A30).
async fn deliver<H: Handler>(shard: &ShardRef<H>, key: ConnKey, form: Form, body: &[u8]) -> Result<(), Refused> {
    // Over since the POST began: its packets reach nobody, and it is not told that they did.
    if !shard.turn(|shard| shard.io.is_open(key)) {
        return Err(Refused::BadRequest);
    }
    let Ok(mut packets) = form.decode(body) else {
        return Err(shard.turn(|shard| shard.io.fail_post(key)));
    };
    loop {
        shard.uncongested().await;
        if let Some(result) = shard.turn(|shard| deliver_some(shard, key, &mut packets)) {
            return result;
        }
        tokio::task::yield_now().await;
    }
}

/// Delivers a body of at most [`BUDGET`] packets, all in this turn; [`is_short`] tells which are.
pub(super) fn deliver_short<H: Handler>(
    shard: &mut Shard<H>,
    key: ConnKey,
    form: Form,
    body: &[u8],
) -> Result<(), Refused> {
    let Ok(mut packets) = form.decode(body) else { return Err(shard.io.fail_post(key)) };
    // Once more than there are packets: the last look sees the end of the body.
    deliver_some(shard, key, &mut packets).unwrap_or(Err(Refused::BadRequest))
}

/// Whether a body has so few packets that one turn takes them in.
pub(super) fn is_short(form: Form, body: &[u8]) -> bool {
    form == Form::V4 && body.iter().filter(|byte| **byte == payload::SEPARATOR).count() < BUDGET - 1
}

/// Hands at most [`BUDGET`] packets on; `None` when there may be more.
fn deliver_some<H: Handler>(
    shard: &mut Shard<H>,
    key: ConnKey,
    packets: &mut AnyPackets<'_>,
) -> Option<Result<(), Refused>> {
    for _ in 0..BUDGET {
        // After a close packet nothing is processed.
        if !shard.io.is_open(key) {
            return Some(Ok(()));
        }
        match packets.next() {
            Some(Ok(packet)) => shard.receive(key, packet),
            Some(Err(_)) => return Some(Err(shard.io.fail_post(key))),
            None => {
                shard.io.end_post(key);
                return Some(Ok(()));
            }
        }
    }
    None
}

impl Io {
    /// The session that a request names, if the request has a place there.
    pub(super) fn visited(&mut self, visit: Visit) -> Result<ConnKey, Refused> {
        let Visit { sid, action, protocol } = visit;
        let key = self.lookup(&sid, action).ok_or(Refused::UNKNOWN)?;
        let session = &self.conn(key).ok_or(Refused::UNKNOWN)?.session;
        check_session(action, protocol, session.transport(), session.protocol())?;
        Ok(key)
    }

    fn begin_poll(&mut self, key: ConnKey) -> Result<oneshot::Receiver<PollBody>, Refused> {
        let (answer, body) = oneshot::channel();
        self.wait_for_packets(key, Waiting::Request(answer)).map(|()| body)
    }

    /// A GET of this session waits from now on.
    pub(super) fn wait_for_packets(&mut self, key: ConnKey, request: Waiting) -> Result<(), Refused> {
        let conn = self.conn(key).ok_or(Refused::BadRequest)?;
        let Link::Polling(PollLink { waiting, last, .. }) = &mut conn.link else { return Err(Refused::BadRequest) };
        if let Err(reason) = conn.session.begin_poll() {
            // A second waiting poll: this one gets 400, the first one a close packet (A24).
            self.end(key, reason, End::Fault(None));
            return Err(Refused::BadRequest);
        }
        *waiting = Some(request);
        if conn.phase != Phase::Closing && (last.is_some() || !conn.out.is_empty()) {
            self.mark_dirty(key);
        }
        Ok(())
    }

    /// A request of this session was dropped. Once the session is on WebSocket, that is of no account.
    fn abort_polling(&mut self, sid: &Sid) {
        if let Some(key) = self.lookup(sid, Action::Post) {
            self.abort_polling_of(key);
        }
    }

    /// [`Io::abort_polling`], by the session.
    pub(super) fn abort_polling_of(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get(key.0).filter(|conn| conn.is_open()) else { return };
        let Link::Polling(PollLink { waiting, .. }) = &conn.link else { return };
        // When a POST was dropped, a poll that still waits hears of it.
        let waits = waiting.as_ref().is_some_and(|waiting| self.is_waiting(waiting));
        self.end(key, CloseReason::TransportError, if waits { End::Fault(None) } else { End::Gone });
    }

    pub(super) fn begin_post(&mut self, key: ConnKey) -> Result<(), Refused> {
        let conn = self.conn(key).filter(|conn| conn.is_open()).ok_or(Refused::BadRequest)?;
        conn.session.begin_post().map_err(|reason| {
            self.end(key, reason, End::Fault(None));
            Refused::BadRequest
        })
    }

    fn end_post(&mut self, key: ConnKey) {
        if let Some(conn) = self.conn(key) {
            conn.session.end_post();
        }
    }

    fn fail_post(&mut self, key: ConnKey) -> Refused {
        self.end(key, CloseReason::ParseError, End::Fault(None));
        Refused::BadRequest
    }
}

/// Ends the session when its request is dropped half way: the client went away (A25).
struct Guard<'a, H: Handler> {
    owner: &'a Owner<'a, H>,
    sid: Sid,
    armed: bool,
}

impl<H: Handler> Guard<'_, H> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl<H: Handler> Drop for Guard<'_, H> {
    fn drop(&mut self) {
        if self.armed {
            let sid = self.sid;
            self.owner.tell(move |io| io.abort_polling(&sid));
        }
    }
}
