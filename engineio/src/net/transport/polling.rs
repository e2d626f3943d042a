//! The two requests of HTTP long-polling: GET waits for packets, POST brings some.
//! Engine.IO protocol v4, "HTTP long-polling".
//!
//! The session may be another shard's than the connection's. What concerns the session runs on its own shard
//! ([`SessionShard`]); the body of a POST is read here; a GET waits here for what the session's shard sends it.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;

use super::{
    super::{
        peer::send_queue::PollBody,
        shard::{application::Shard, turn::ShardRef},
        shards::session_request::{PostedPackets, SessionQuery},
    },
    session_shard::SessionShard,
};
use crate::{
    Config, ConnKey, Handler, Sid,
    http::{PostBody, Refused, jsonp},
    payload::{self, AnyPackets, Form},
};

/// How many packets of one body are handed on before the others have their turn.
const BUDGET: usize = 64;

/// Waits for packets: the body of the answer.
pub(in crate::net) async fn poll<H: Handler>(
    session: &SessionShard<'_, H>,
    query: SessionQuery,
) -> Result<PollBody, Refused> {
    let guard = AbortGuard { session, sid: query.sid, armed: true };
    let result = match session.begin_poll(query).await {
        Ok(waiting) => waiting.await.map_err(|_| Refused::BadRequest),
        Err(refused) => Err(refused),
    };
    guard.disarm();
    result
}

/// Takes the packets of a body in. `form` says how it is to be read; `None`: it has no place in this session.
pub(in crate::net) async fn post<H: Handler, B: Body<Data = Bytes> + Unpin>(
    session: &SessionShard<'_, H>,
    query: SessionQuery,
    form: Option<PostBody>,
    body: B,
    config: &Config,
) -> Result<(), Refused> {
    let guard = AbortGuard { session, sid: query.sid, armed: true };
    let (conn, form) = match session.begin_post(query, form, body.size_hint().lower()).await {
        Ok(begun) => begun,
        Err(refused) => {
            guard.disarm();
            return Err(refused);
        }
    };
    let body = tokio::time::timeout(config.body_timeout, read(body, config.max_payload)).await;
    let result = match body.unwrap_or(Err(Refused::TimedOut)) {
        Ok(body) => deliver_body(session, conn, form, body).await,
        Err(Refused::TooLarge) => {
            session.end_post(conn).await;
            Err(Refused::TooLarge)
        }
        // Truncated, or not coming: dropping the guard closes the session.
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
pub(in crate::net) async fn deliver_body<H: Handler>(
    session: &SessionShard<'_, H>,
    conn: ConnKey,
    form: PostBody,
    body: Bytes,
) -> Result<(), Refused> {
    let (form, body) = match form {
        PostBody::Payload(form) => (form, body),
        PostBody::Jsonp => match jsonp::form_data(&body) {
            Some(payload) => (Form::V3Text, payload.into()),
            None => {
                session.fail_post(conn).await;
                return Err(Refused::BadRequest);
            }
        },
    };
    match session.here() {
        Some(shard) => deliver(shard, conn, form, &body).await,
        None => session.post_packets(conn, form, body).await,
    }
}

/// [`deliver`], for a connection on another shard.
pub(in crate::net) async fn deliver_posted<H: Handler>(shard: ShardRef<H>, packets: Box<PostedPackets>) {
    let PostedPackets { conn, form, body, answer } = *packets;
    // Whoever posted it may be gone; then a request follows that ends the session.
    let _ = answer.send(deliver(&shard, conn, form, &body).await);
}

/// Hands the packets on in turns of at most [`BUDGET`]. A fault ends the session after the packets before it.
async fn deliver<H: Handler>(shard: &ShardRef<H>, key: ConnKey, form: Form, body: &[u8]) -> Result<(), Refused> {
    // Over since the POST began: its packets reach nobody, and it is not told that they did.
    if !shard.turn(|shard| shard.io.is_open(key)) {
        return Err(Refused::BadRequest);
    }
    let Ok(mut packets) = form.decode(body) else {
        shard.turn(|shard| shard.io.fail_post(key));
        return Err(Refused::BadRequest);
    };
    loop {
        shard.uncongested().await;
        if let Some(result) = shard.turn(|shard| deliver_some(shard, key, &mut packets)) {
            return result;
        }
        tokio::task::yield_now().await;
    }
}

/// Delivers the body of a POST that has begun, all in this turn. [`is_short`] tells which bodies that can be done with.
pub(in crate::net) fn deliver_short<H: Handler>(
    shard: &mut Shard<H>,
    key: ConnKey,
    form: Form,
    body: &[u8],
) -> Result<(), Refused> {
    let Ok(mut packets) = form.decode(body) else {
        shard.io.fail_post(key);
        return Err(Refused::BadRequest);
    };
    deliver_some(shard, key, &mut packets).unwrap_or(Err(Refused::BadRequest))
}

/// Whether a body has so few packets that one turn takes them in, and sees that there are no more.
pub(in crate::net) fn is_short(form: Form, body: &[u8]) -> bool {
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
            Some(Err(_)) => {
                shard.io.fail_post(key);
                return Some(Err(Refused::BadRequest));
            }
            None => {
                shard.io.end_post(key);
                return Some(Ok(()));
            }
        }
    }
    None
}

/// Ends the session when its request is dropped half way: the client went away.
struct AbortGuard<'a, H: Handler> {
    session: &'a SessionShard<'a, H>,
    sid: Sid,
    armed: bool,
}

impl<H: Handler> AbortGuard<'_, H> {
    fn disarm(mut self) {
        self.armed = false;
    }
}

impl<H: Handler> Drop for AbortGuard<'_, H> {
    fn drop(&mut self) {
        if self.armed {
            self.session.abort_polling(self.sid);
        }
    }
}
