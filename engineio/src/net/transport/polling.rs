//! The two requests of HTTP long-polling: a GET waits for packets, a POST brings some.
//! Engine.IO protocol v4, "HTTP long-polling".
//!
//! The session may be on a different shard than the connection. What concerns the session runs on the session's shard
//! ([`SessionShard`]). The body of a POST is read here, and a GET waits here for what the session's shard sends.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;

use super::{
    super::{
        peer::send_queue::PollBody,
        shard::{application::Shard, turn::ShardRef},
        shards::session_request::{BegunPost, PostedPackets, SessionQuery},
    },
    session_shard::SessionShard,
};
use crate::{
    Config, ConnKey, Handler, Sid,
    http::{PostBody, Refused, jsonp},
    payload::{self, AnyPackets, Form},
};

/// How many packets of one body are passed on in one turn, before other tasks run.
const BUDGET: usize = 64;

/// Waits for packets and returns the body of the answer.
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

/// Reads a body and passes its packets on. `form` says how to read it; `None`: its content type does not fit this
/// session.
pub(in crate::net) async fn post<H: Handler, B: Body<Data = Bytes> + Unpin>(
    session: &SessionShard<'_, H>,
    query: SessionQuery,
    form: Option<PostBody>,
    body: B,
    config: &Config,
) -> Result<(), Refused> {
    let guard = AbortGuard { session, sid: query.sid, armed: true };
    let BegunPost { conn, form, max_body, max_read } =
        match session.begin_post(query, form, body.size_hint().lower()).await {
            Ok(begun) => begun,
            Err(refused) => {
                guard.disarm();
                return Err(refused);
            }
        };
    let body = tokio::time::timeout(config.body_timeout, read(body, max_body, max_read)).await;
    let result = match body.unwrap_or(Err(Refused::TimedOut)) {
        Ok(Some(body)) => deliver_body(session, conn, form, body).await,
        // After 413 an official client would not read why: it gives up its poll, and comes back with the same message.
        Ok(None) => {
            session.end_post(conn, true).await;
            Ok(())
        }
        Err(Refused::TooLarge) => {
            session.end_post(conn, false).await;
            Err(Refused::TooLarge)
        }
        // Truncated or timed out: dropping the guard closes the session.
        Err(refused) => return Err(refused),
    };
    guard.disarm();
    result
}

/// Reads a body of at most `max` bytes. What is longer is read up to `max_read` bytes and dropped: `None`.
pub(in crate::net) async fn read(
    mut body: impl Body<Data = Bytes> + Unpin,
    max: usize,
    max_read: usize,
) -> Result<Option<Bytes>, Refused> {
    let (mut whole, mut count) = (BytesMut::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refused::BrokenBody)?.into_data() else { continue };
        count = count.saturating_add(data.len());
        if count > max_read {
            return Err(Refused::TooLarge);
        }
        if count > max {
            whole = BytesMut::new();
            continue;
        }
        if whole.is_empty() && body.is_end_stream() {
            return Ok(Some(data));
        }
        whole.extend_from_slice(&data);
    }
    Ok((count <= max).then(|| whole.freeze()))
}

/// Sends the body of a POST that has begun to the session's shard. The POST ends when that shard has handled it.
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
    // The asking side may be gone; then a request follows that ends the session.
    let _ = answer.send(deliver(&shard, conn, form, &body).await);
}

/// Passes the packets on, at most [`BUDGET`] in a turn. A faulty packet ends the session after the packets before it.
async fn deliver<H: Handler>(shard: &ShardRef<H>, key: ConnKey, form: Form, body: &[u8]) -> Result<(), Refused> {
    // The session has ended since the POST began: its packets cannot be delivered, so the client must not be told `ok`.
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

/// Passes on all packets of a POST that has begun, in this turn. The body must be short ([`is_short`]).
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

/// Whether a body has so few packets that one turn can pass them all on.
pub(in crate::net) fn is_short(form: Form, body: &[u8]) -> bool {
    form == Form::V4 && body.iter().filter(|byte| **byte == payload::SEPARATOR).count() < BUDGET - 1
}

/// Passes on at most [`BUDGET`] packets; `None` when there may be more.
fn deliver_some<H: Handler>(
    shard: &mut Shard<H>,
    key: ConnKey,
    packets: &mut AnyPackets<'_>,
) -> Option<Result<(), Refused>> {
    for _ in 0..BUDGET {
        // Nothing is processed after a close packet.
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

/// Ends the session if its request is dropped before it is complete, because the client disconnected.
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
