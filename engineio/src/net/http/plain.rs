//! Long-polling without hyper: the task of a connection with plain requests ([`crate::http::plain`]).
//!
//! A GET of a session on this shard waits in the shard (`shard/plain_conn.rs`). A short POST to such a session is
//! handled in the turn that reads it. Every other plain request is answered by the code that answers hyper's requests
//! ([`EngineHttp`]); its body is read here. A request that is not plain passes the connection to hyper, from the
//! request's first byte on. The connection comes back when hyper has served that request.
//!
//! ```text
//!   Idle --- GET of a session here ----> Polling --- packets ---> Idle
//!   Idle --- another plain request ----> Serving --- response --> Idle
//!   Idle --- anything else ------------> hyper --- response, and no body ---> Idle
//!   any  --- end of stream, time-out, last answer --> closed
//! ```

use std::{
    fmt, io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, Response, request::Parts};
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, ReadBuf};

use super::{
    super::{
        peer::stream::PeerStream,
        shard::{
            application::Shard,
            io::ShardIo,
            plain_conn::{Doing, HeadWait, Sent},
            turn::ShardRef,
        },
        shards::{peer::Peer, session_request::SessionQuery},
        transport::{
            polling::{deliver_short, is_short},
            websocket::ReadLoop,
        },
    },
    connection::{self, InFlight, Spoken},
    service::EngineHttp,
    write_timeout::EXTRA_POLLS,
};
use crate::{
    Handler,
    http::{
        Action, PostBody, Query, Route,
        head::MAX_HEAD,
        plain::{self, Head, Plain},
        post_body,
        route::route_query,
    },
    payload::Form,
    slab::Key,
};

/// How many requests of one connection are handled before other tasks run.
const BUDGET: usize = 16;

/// The most bytes that one read returns when no body is due, and so the most that wait behind a poll.
const READ: usize = 16 * 1024;

/// Serves a connection. `early` holds the bytes that were read already. The result is the read loop of a WebSocket, or
/// `None` if the connection is over.
pub(in crate::net) async fn serve<H: Handler + 'static>(
    shard: ShardRef<H>,
    stream: PeerStream,
    early: Bytes,
    peer: Peer,
) -> Option<ReadLoop<H>> {
    let mut in_flight = InFlight::begin(&shard)?;
    // The application's hooks may take time and must see every request, so with hooks hyper serves them all.
    let (mut since, hooked) = shard.turn(|shard| (shard.io.now, shard.hooks.is_some()));
    let (mut stream, mut unread, mut kept) = (stream, Vec::from(early), false);
    loop {
        if !hooked {
            let key = shard.turn(|shard| shard.io.add_plain(stream, unread, HeadWait { since, kept }, peer.clone()));
            let mut requests = Requests { shard: shard.clone(), key, peer: peer.clone(), serving: None, ended: false };
            (stream, unread, since) = match std::future::poll_fn(|cx| requests.poll(cx)).await {
                End::Unusual { stream, unread, since } => (stream, unread, since),
                End::Polite(stream) => {
                    drop(in_flight);
                    let timeout = shard.turn(|shard| shard.io.config.close_timeout);
                    Box::pin(stream.close_in_stages(timeout)).await;
                    return None;
                }
                End::Gone => return None,
            };
        }
        let serving = connection::serve(shard.clone(), stream, unread.into(), peer.clone(), (in_flight, since));
        match Box::pin(serving).await {
            Spoken::Over(read_loop) => return read_loop,
            Spoken::Free { stream: free, unread: rest, since: from, in_flight: still } => {
                (stream, unread, since, in_flight, kept) = (free, rest, from, still, true);
            }
        }
    }
}

/// How this task ends.
#[derive(Debug)]
enum End {
    /// The next request is for hyper; `unread` holds its first bytes.
    Unusual { stream: PeerStream, unread: Vec<u8>, since: Instant },
    /// The connection must be closed in stages: its peer may still be reading.
    Polite(PeerStream),
    /// The connection is closed already.
    Gone,
}

/// The result of a turn.
enum Step {
    /// Nothing to do until the task is woken.
    Wait,
    /// The task must serve this request.
    Serve(Box<Parts>),
    /// Bytes of the body came, for the request that the task serves.
    Body,
    End(End),
}

/// The task of a connection with plain requests.
struct Requests<H: Handler> {
    shard: ShardRef<H>,
    key: Key,
    peer: Peer,
    serving: Option<Pin<Box<dyn Future<Output = Response<Bytes>>>>>,
    ended: bool,
}

impl<H: Handler> Drop for Requests<H> {
    /// The connection is closed while it is idle, or what it served has panicked: the shard has the stream, and a peer
    /// would wait for ever.
    fn drop(&mut self) {
        if !self.ended {
            self.shard.turn_unless_broken(|shard| drop(shard.io.plain.conns.remove(self.key)));
        }
    }
}

impl<H: Handler + 'static> Requests<H> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if let Some(serving) = &mut self.serving
                && let Poll::Ready(response) = serving.as_mut().poll(cx)
            {
                self.serving = None;
                self.shard.turn(|shard| shard.io.end_serving(self.key, response));
            }
            match self.shard.turn(|shard| turn(shard, self.key, cx)) {
                Step::Wait => return Poll::Pending,
                Step::Serve(parts) => self.serving = Some(self.answer(parts)),
                Step::Body => {}
                Step::End(end) => {
                    self.ended = true;
                    return Poll::Ready(end);
                }
            }
        }
    }

    /// Answers a request as if it had come from hyper.
    fn answer(&self, parts: Box<Parts>) -> Pin<Box<dyn Future<Output = Response<Bytes>>>> {
        let (config, left) = self.shard.turn(|shard| {
            let left = match shard.io.plain.conns.get(self.key).map(|conn| &conn.doing) {
                Some(Doing::Serving { body_left }) => *body_left,
                _ => 0,
            };
            (Rc::clone(&shard.io.config), left)
        });
        // A plain request does not ask for a WebSocket, so the connection stays HTTP.
        let edge = EngineHttp::new(self.shard.clone(), config, self.peer.clone(), Rc::default());
        let body = RequestBody { shard: self.shard.clone(), key: self.key, left };
        Box::pin(async move { edge.answer(&parts, body).await })
    }
}

/// Runs a turn: continues a blocked write, reads, and handles the requests that are there.
fn turn<H: Handler>(shard: &mut Shard<H>, key: Key, cx: &mut Context<'_>) -> Step {
    if let Some(conn) = shard.io.plain.conns.get_mut(key) {
        conn.register(cx);
    }
    for _ in 0..BUDGET {
        match shard.io.write_plain_on(key, cx) {
            Sent::Broken => return shard.io.end_plain(key),
            Sent::Blocked => return shard.io.wait_plain(key),
            Sent::All => {}
        }
        let Some(conn) = shard.io.plain.conns.get_mut(key) else { return Step::End(End::Gone) };
        if conn.is_idle() && conn.last {
            return shard.io.close_plain(key);
        }
        if conn.is_idle() && conn.unread.len() > conn.partial {
            let unread = std::mem::take(&mut conn.unread);
            let begun = begin(shard, key, &unread);
            if let Some(step) = shard.io.note(key, unread, begun) {
                return step;
            }
            continue;
        }
        if !conn.wants_bytes() {
            return Step::Wait;
        }
        if let Some(step) = read(shard, key, cx) {
            return step;
        }
    }
    // Other tasks first; there may be more to read here.
    cx.waker().wake_by_ref();
    Step::Wait
}

/// Reads, and handles a complete request without copying it; `None` if the turn should continue.
fn read<H: Handler>(shard: &mut Shard<H>, key: Key, cx: &mut Context<'_>) -> Option<Step> {
    // Taken out of the shard, so that the handler can be called while the bytes are borrowed.
    let mut scratch = std::mem::take(&mut shard.scratch);
    let step = match shard.io.read_plain(key, &mut scratch, cx) {
        Poll::Pending => Some(shard.io.wait_plain(key)),
        Poll::Ready(None) => Some(shard.io.on_end_of_plain(key, cx)),
        Poll::Ready(Some(count)) => {
            let bytes = scratch.get(..count).unwrap_or_default();
            take_in(shard, key, bytes)
        }
    };
    shard.scratch = scratch;
    step
}

fn take_in<H: Handler>(shard: &mut Shard<H>, key: Key, bytes: &[u8]) -> Option<Step> {
    let conn = shard.io.plain.conns.get_mut(key)?;
    if conn.is_idle() && conn.unread.is_empty() {
        let begun = begin(shard, key, bytes);
        return shard.io.note(key, bytes, begun);
    }
    conn.unread.extend_from_slice(bytes);
    shard.io.plain.note_head(key, shard.io.now, &shard.io.config);
    let conn = shard.io.plain.conns.get_mut(key)?;
    if conn.is_idle() && !plain::may_be_whole(&conn.unread, conn.partial) {
        // hyper has the same limit, and answers a head beyond it.
        conn.partial = if conn.unread.len() < MAX_HEAD { conn.unread.len() } else { 0 };
    } else if conn.is_idle() {
        conn.partial = 0;
    } else if matches!(conn.doing, Doing::Serving { body_left: 1.. }) {
        return Some(Step::Body);
    }
    None
}

/// What the bytes at the front of a connection have begun.
enum Begun {
    /// A request of this many bytes, which is answered or will be.
    Request(usize),
    /// A request whose head has this many bytes, and which the task must serve.
    Serve(usize, Box<Parts>),
    Partial,
    Unusual,
}

/// Handles the request at the front of `bytes`.
fn begin<H: Handler>(shard: &mut Shard<H>, key: Key, bytes: &[u8]) -> Begun {
    let config = Rc::clone(&shard.io.config);
    let Some(remote) = shard.io.plain.conns.get(key).map(|conn| conn.peer.remote) else { return Begun::Unusual };
    let request = match plain::read(bytes, &config) {
        Head::Plain(request) => request,
        Head::Partial => return Begun::Partial,
        Head::Unusual => return Begun::Unusual,
    };
    if let Some(conn) = shard.io.plain.conns.get_mut(key) {
        conn.last |= request.closes;
    }
    let query = Query::of(request.query);
    let head_len = request.head.len();
    let body = bytes.get(head_len..).and_then(|rest| rest.get(..request.body_len));
    let relevant = request.relevant_headers(&config, remote.ip());
    if let Ok(Route::Session(sid, action)) = route_query(&query, &request.method, &relevant, &config)
        && sid.shard() == shard.io.id
        // The answer to a JSONP request is a script.
        && query.jsonp.is_none()
    {
        let session = SessionQuery { sid, action, protocol: query.protocol() };
        match (action, body) {
            (Action::Poll, _) => {
                shard.io.begin_plain_poll(key, session, relevant);
                return Begun::Request(head_len);
            }
            (Action::Post, Some(body)) if !shard.io.is_congested() => {
                if let Some(PostBody::Payload(form)) = post_body(&relevant, &query, session.protocol)
                    && is_short(form, body)
                {
                    deliver(shard, key, session, (form, body), &relevant);
                    return Begun::Request(head_len + body.len());
                }
            }
            _ => {}
        }
    }
    serve_by_task(shard, key, &request)
}

/// Passes on the packets of a POST, and answers it.
fn deliver<H: Handler>(
    shard: &mut Shard<H>,
    key: Key,
    session: SessionQuery,
    (form, body): (Form, &[u8]),
    relevant: &HeaderMap,
) {
    let begun = shard.io.begin_post(session, Some(PostBody::Payload(form)), body.len() as u64);
    let result = begun.and_then(|begun| {
        if body.len() > begun.max_body {
            shard.io.end_long_post(begun.conn);
            return Ok(());
        }
        deliver_short(shard, begun.conn, form, body)
    });
    // A client that has read the answer can rely on the effects of its packets.
    shard.report_closed();
    match result {
        Ok(()) => {
            shard.io.note_session(key);
            shard.io.answer_plain_post(key, relevant);
        }
        Err(refused) => {
            shard.io.watching.stats.count_refused(refused.reason());
            shard.io.answer_plain(key, refused.answer(relevant), relevant);
        }
    }
}

fn serve_by_task<H: Handler>(shard: &mut Shard<H>, key: Key, request: &Plain<'_>) -> Begun {
    let Some((parts, conn)) = request.parts().zip(shard.io.plain.conns.get_mut(key)) else { return Begun::Unusual };
    conn.begin(Doing::Serving { body_left: request.body_len });
    Begun::Serve(request.head.len(), Box::new(parts))
}

impl ShardIo {
    /// Reads into `scratch`; `None` at the end of the stream, or when it is broken.
    fn read_plain(&mut self, key: Key, scratch: &mut [u8], cx: &mut Context<'_>) -> Poll<Option<usize>> {
        let Some(conn) = self.plain.conns.get_mut(key) else { return Poll::Ready(None) };
        let limit = match conn.doing {
            Doing::Serving { body_left } => body_left.max(READ),
            _ => READ,
        };
        let limit = limit.min(scratch.len());
        let mut buffer = ReadBuf::new(scratch.get_mut(..limit).unwrap_or_default());
        let read = ready!(Pin::new(&mut conn.stream).poll_read(cx, &mut buffer));
        Poll::Ready(read.is_ok().then(|| buffer.filled().len()).filter(|count| *count > 0))
    }

    /// Keeps the rest of `bytes`, which were all unread bytes, after the part that `begun` covers.
    fn note<B: AsRef<[u8]> + Into<Vec<u8>>>(&mut self, key: Key, bytes: B, begun: Begun) -> Option<Step> {
        let Some(conn) = self.plain.conns.get_mut(key) else { return Some(Step::End(End::Gone)) };
        let (taken, step) = match begun {
            Begun::Request(len) => (len, None),
            Begun::Serve(len, parts) => (len, Some(Step::Serve(parts))),
            Begun::Partial => {
                conn.partial = bytes.as_ref().len();
                conn.unread = bytes.into();
                self.plain.note_head(key, self.now, &self.config);
                return None;
            }
            Begun::Unusual => {
                conn.unread = bytes.into();
                return Some(self.pass_to_hyper(key));
            }
        };
        conn.partial = 0;
        if let Some(rest) = bytes.as_ref().get(taken..).filter(|rest| !rest.is_empty()) {
            conn.unread = rest.to_vec();
        }
        step
    }

    /// Sends the response to the request that the task served.
    fn end_serving(&mut self, key: Key, response: Response<Bytes>) {
        let Some(conn) = self.plain.conns.get_mut(key) else { return };
        let Doing::Serving { body_left } = conn.doing else { return };
        // As hyper does: the rest of an unread body is skipped if it has arrived; otherwise it ends the connection.
        let come = body_left.min(conn.unread.len());
        conn.unread = conn.unread.split_off(come);
        conn.partial = 0;
        conn.last |= come < body_left;
        self.send_plain_response(key, response);
    }

    /// Waits, unless the deadline has passed. Called after reading: input that came in time may have been unread,
    /// because the process stalled.
    fn wait_plain(&mut self, key: Key) -> Step {
        let Some(conn) = self.plain.conns.get_mut(key) else { return Step::End(End::Gone) };
        if conn.overdue(self.now).is_none() {
            return Step::Wait;
        }
        if conn.is_blocked() || !conn.has_begun_head() {
            return self.end_plain(key);
        }
        // A head has begun: hyper answers that.
        self.pass_to_hyper(key)
    }

    /// Handles the end of the stream, or a broken stream.
    fn on_end_of_plain(&mut self, key: Key, cx: &Context<'_>) -> Step {
        let Some(conn) = self.plain.conns.get_mut(key) else { return Step::End(End::Gone) };
        // A peer that sends a complete request and closes its side at once is answered all the same, if the answer
        // comes soon.
        if conn.held_back < EXTRA_POLLS {
            conn.held_back += 1;
            cx.waker().wake_by_ref();
            return Step::Wait;
        }
        match conn.doing {
            // The head will not be completed; hyper answers that.
            Doing::Idle if !conn.unread.is_empty() => self.pass_to_hyper(key),
            Doing::Idle => self.close_plain(key),
            Doing::Serving { body_left: 1.. } if !std::mem::replace(&mut conn.ended, true) => Step::Body,
            Doing::Serving { .. } | Doing::Polling { .. } => self.end_plain(key),
        }
    }

    fn pass_to_hyper(&mut self, key: Key) -> Step {
        let since = self.plain.conns.get(key).and_then(|conn| conn.head_since(&self.config)).unwrap_or(self.now);
        self.plain.conns.remove(key).map_or(Step::End(End::Gone), |conn| {
            Step::End(End::Unusual { stream: conn.stream, unread: conn.unread, since })
        })
    }

    fn close_plain(&mut self, key: Key) -> Step {
        Step::End(self.plain.conns.remove(key).map_or(End::Gone, |conn| End::Polite(conn.stream)))
    }

    /// The connection is gone, and with it the session whose GET waited on it.
    fn end_plain(&mut self, key: Key) -> Step {
        let conn = self.plain.conns.remove(key);
        if let Some(Doing::Polling { session, .. }) = conn.map(|conn| conn.doing) {
            self.abort_polling_of(session);
        }
        Step::End(End::Gone)
    }
}

/// The body of a request that the task serves, read from its connection.
struct RequestBody<H> {
    shard: ShardRef<H>,
    key: Key,
    left: usize,
}

impl<H> fmt::Debug for RequestBody<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("left", &self.left).finish_non_exhaustive()
    }
}

impl<H: Handler> Body for RequestBody<H> {
    type Data = Bytes;
    type Error = io::Error;

    /// Keeps no waker: the task that serves the request reads its connection, and polls this again when bytes came.
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let (key, left) = (self.key, self.left);
        let data = self.shard.turn(|shard| {
            let Some(conn) = shard.io.plain.conns.get_mut(key) else { return Poll::Ready(None) };
            if conn.unread.is_empty() {
                return if conn.ended { Poll::Ready(None) } else { Poll::Pending };
            }
            let rest = conn.unread.split_off(left.min(conn.unread.len()));
            let data = std::mem::replace(&mut conn.unread, rest);
            conn.begin(Doing::Serving { body_left: left - data.len() });
            Poll::Ready(Some(data))
        });
        let Some(data) = ready!(data) else {
            self.left = 0;
            return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
        };
        self.left -= data.len();
        Poll::Ready(Some(Ok(Frame::data(data.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}
