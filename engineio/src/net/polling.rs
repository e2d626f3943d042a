//! The two requests of HTTP long-polling: GET waits for packets, POST brings some.
//! Engine.IO protocol v4, "HTTP long-polling".

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::sync::oneshot;

use super::{
    conn::{End, Link, Phase, PollLink},
    shard::{Io, Shard, ShardRef},
};
use crate::{CloseReason, ConnKey, Handler, payload};

/// How many packets of one body are handed on before the others have their turn.
const BUDGET: usize = 64;

/// Why a polling request is refused: the status of an answer without a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PollError {
    /// 400.
    BadRequest,
    /// 408: the body did not come within `body_timeout`.
    TimedOut,
    /// 413; the session lives.
    TooLarge,
}

/// Waits for packets: the body of the answer.
pub(super) async fn poll<H: Handler>(shard: &ShardRef<H>, key: ConnKey) -> Result<Vec<u8>, PollError> {
    let waiting = shard.turn(|shard| shard.io.begin_poll(key))?;
    let guard = Guard { shard, key, armed: true };
    let body = waiting.await;
    guard.disarm();
    body.map_err(|_| PollError::BadRequest)
}

/// Takes the packets of a body in.
pub(super) async fn post<H: Handler>(shard: &ShardRef<H>, key: ConnKey, body: Incoming) -> Result<(), PollError> {
    let (max, patience) = shard.turn(|shard| (shard.io.config.max_payload, shard.io.config.body_timeout));
    // Too large by its own word: refused before a byte is read, and the session lives (A29).
    if body.size_hint().lower() > max as u64 {
        return Err(PollError::TooLarge);
    }
    shard.turn(|shard| shard.io.begin_post(key))?;
    let guard = Guard { shard, key, armed: true };
    let body = tokio::time::timeout(patience, read(body, max)).await.unwrap_or(Err(PollError::TimedOut));
    let result = match body {
        Ok(body) => deliver(shard, key, &body).await,
        Err(PollError::TooLarge) => Err(PollError::TooLarge),
        // Truncated, or not coming: dropping the guard closes the session (A27).
        Err(error) => return Err(error),
    };
    guard.disarm();
    shard.turn(|shard| {
        if let Some(conn) = shard.io.conn(key) {
            conn.session.end_post();
        }
    });
    result
}

async fn read(mut body: Incoming, max: usize) -> Result<Bytes, PollError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| PollError::BadRequest)?.into_data() else { continue };
        if whole.len() + data.len() > max {
            return Err(PollError::TooLarge);
        }
        if whole.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// Hands the packets on in turns of at most [`BUDGET`]. A fault ends the session after the packets before it (A30).
async fn deliver<H: Handler>(shard: &ShardRef<H>, key: ConnKey, body: &[u8]) -> Result<(), PollError> {
    let fail = || {
        shard.turn(|shard| shard.io.end(key, CloseReason::ParseError, End::Fault(None)));
        PollError::BadRequest
    };
    let mut packets = payload::decode(body).map_err(|_| fail())?;
    loop {
        let done = shard.turn(|shard: &mut Shard<H>| {
            for _ in 0..BUDGET {
                // After a close packet nothing is processed.
                if !shard.io.is_open(key) {
                    return Ok(true);
                }
                match packets.next() {
                    Some(Ok(packet)) => shard.receive(key, packet),
                    Some(Err(error)) => return Err(error),
                    None => return Ok(true),
                }
            }
            Ok(false)
        });
        if done.map_err(|_| fail())? {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

impl Io {
    fn begin_poll(&mut self, key: ConnKey) -> Result<oneshot::Receiver<Vec<u8>>, PollError> {
        let conn = self.conn(key).ok_or(PollError::BadRequest)?;
        let Link::Polling(PollLink { waiting }) = &mut conn.link else { return Err(PollError::BadRequest) };
        if let Err(reason) = conn.session.begin_poll() {
            // A second waiting poll: this one gets 400, the first one a close packet (A24).
            self.end(key, reason, End::Fault(None));
            return Err(PollError::BadRequest);
        }
        let (answer, body) = oneshot::channel();
        *waiting = Some(answer);
        if conn.phase != Phase::Closing {
            self.mark_dirty(key);
        }
        Ok(body)
    }

    /// A request of this session was dropped. Once the session is on WebSocket, that is of no account.
    fn abort_polling(&mut self, key: ConnKey) {
        if self.conn(key).is_some_and(|conn| matches!(conn.link, Link::Polling(_))) {
            self.end(key, CloseReason::TransportError, End::Gone);
        }
    }

    fn begin_post(&mut self, key: ConnKey) -> Result<(), PollError> {
        let conn = self.conn(key).filter(|conn| conn.is_open()).ok_or(PollError::BadRequest)?;
        conn.session.begin_post().map_err(|reason| {
            self.end(key, reason, End::Fault(None));
            PollError::BadRequest
        })
    }
}

/// Ends the session when its request is dropped half way: the client went away (A25).
struct Guard<'a, H: Handler> {
    shard: &'a ShardRef<H>,
    key: ConnKey,
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
            self.shard.turn(|shard| shard.io.abort_polling(self.key));
        }
    }
}
