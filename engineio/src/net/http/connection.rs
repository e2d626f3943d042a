//! The requests of one connection that hyper serves, and the end of the connection.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::Service,
};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use super::{
    super::{
        peer::stream::PeerStream,
        shard::turn::ShardRef,
        shards::peer::Peer,
        transport::{switching::SwitchProtocol, websocket::ReadLoop},
    },
    head_timeout::{HeadTimeout, Limits},
    service::EngineHttp,
    write_timeout::WriteTimeout,
};
use crate::{
    Handler,
    http::{
        answer,
        encode::encode,
        head::{MAX_HEAD, MAX_HEADERS},
    },
};

/// Serves a connection with hyper. `early` holds the bytes that were read already, which are not nothing; the head they
/// begin has been due since `since`.
pub(super) async fn serve<H: Handler + 'static>(
    shard: ShardRef<H>,
    stream: PeerStream,
    early: Bytes,
    peer: Peer,
    (in_flight, since): (InFlight<H>, Instant),
) -> Spoken<H> {
    let config = shard.turn(|shard| Rc::clone(&shard.io.config));
    let switch = Rc::default();
    let timeout = config.close_timeout;
    let edge = EngineHttp::new(shard.clone(), config, peer.clone(), Rc::clone(&switch));
    let (stream, unread) = match serve_http(edge, stream, early, since).await {
        Left::Free { stream, unread, since } => return Spoken::Free { stream, unread, since, in_flight },
        Left::Closing { stream, unread } => (stream, unread),
        Left::Broken => return Spoken::Over(None),
    };
    drop(in_flight);
    let switch: Option<SwitchProtocol> = switch.take();
    Spoken::Over(match switch {
        Some(switch) => switch.run(shard, stream, unread, &peer).await,
        None => {
            stream.close_in_stages(timeout).await;
            None
        }
    })
}

/// What becomes of a connection after hyper served it.
pub(super) enum Spoken<H: Handler> {
    /// It is between two requests, and has been since `since`.
    Free { stream: PeerStream, unread: Vec<u8>, since: Instant, in_flight: InFlight<H> },
    /// It is a WebSocket, or over.
    Over(Option<ReadLoop<H>>),
}

/// The state in which hyper leaves a connection. `unread` was read after the last request.
enum Left {
    /// Between two requests.
    Free {
        stream: PeerStream,
        unread: Vec<u8>,
        since: Instant,
    },
    /// It must be closed or switched to another protocol.
    Closing {
        stream: PeerStream,
        unread: Vec<u8>,
    },
    Broken,
}

/// Why hyper stopped.
enum Ended {
    /// hyper's own result.
    Hyper(hyper::Result<()>),
    /// A head was overdue.
    Overdue,
    /// The connection has been between two requests since then; hyper need not wait for the next one.
    Free(Instant),
}

/// Speaks HTTP until a request was served, or the connection is over.
async fn serve_http<H: Handler + 'static>(
    edge: EngineHttp<H>,
    stream: PeerStream,
    early: Bytes,
    since: Instant,
) -> Left {
    // The hooks must see every request, so hyper keeps serving.
    let (drain, keeps) = edge.shard.turn(|shard| (Rc::clone(&shard.io.drain), shard.hooks.is_some()));
    let shard = edge.shard.clone();
    let mut drained = pin!(drain.notified());
    let (mut told, mut done) = (false, false);
    let limits = Limits { head: edge.config.head_timeout, keep_alive: edge.config.keep_alive };
    let head = Rc::new(HeadTimeout::new(limits, since, edge.peer.clone()));
    let mut overdue = pin!(tokio::time::sleep_until(head.deadline()));
    // The same rule as for a WebSocket: a peer that reads no byte for `ping_timeout` is gone.
    let stream = WriteTimeout::new(stream, early, edge.config.ping_timeout, Rc::clone(&head));
    let mut http = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), Requests { edge, head: Rc::clone(&head) });
    let speaking = std::future::poll_fn(|cx| {
        if !told && drained.as_mut().poll(cx).is_ready() {
            told = true;
            Pin::new(&mut http).graceful_shutdown();
        }
        // hyper reports a connection as done although its last response may not be written completely. Polled again it
        // writes, and then shuts the stream down, which [`WriteTimeout`] leaves to us.
        if !done {
            match Pin::new(&mut http).poll(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(Ended::Hyper(Err(error))),
                Poll::Ready(Ok(())) => done = true,
                Poll::Pending => {}
            }
        }
        if done && let Poll::Ready(ended) = Pin::new(&mut http).poll(cx) {
            return Poll::Ready(Ended::Hyper(ended));
        }
        if let Some(since) = head.free_since().filter(|_| !keeps && !told && !done) {
            return Poll::Ready(Ended::Free(since));
        }
        // After hyper: input that came in time may have been unread, because the process stalled.
        head.poll_exceeded(overdue.as_mut(), cx).map(|()| Ended::Overdue)
    });
    let ended = speaking.await;
    send_final_answer(&shard, ended, http.into_parts()).await
}

/// Sends the answers that hyper leaves out when it stops.
async fn send_final_answer<H: Handler, S>(
    shard: &ShardRef<H>,
    ended: Ended,
    parts: http1::Parts<TokioIo<WriteTimeout>, S>,
) -> Left {
    let mut stream = parts.io.into_inner();
    let refusal = match ended {
        Ended::Free(since) => {
            let (stream, unread) = stream.into_inner();
            return Left::Free { stream, unread: [&parts.read_buf, &*unread].concat(), since };
        }
        Ended::Hyper(Ok(())) => None,
        Ended::Hyper(Err(error)) => {
            tracing::debug!(%error, "connection ended");
            match error {
                // RFC 9113, 3.4: the preface of HTTP/2, which is not supported, is made to fail. It is the one head
                // that hyper does not answer.
                error if error.is_parse_version_h2() => Some(StatusCode::BAD_REQUEST),
                error if error.is_parse() => None,
                _ => return Left::Broken,
            }
        }
        Ended::Overdue => {
            tracing::debug!("connection ended: no request in time");
            // RFC 9112, 2.2: empty lines do not begin a request. RFC 9110, 15.5.9: a request that has begun is
            // answered.
            let begun = parts.read_buf.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
            if !begun {
                return Left::Broken;
            }
            Some(StatusCode::REQUEST_TIMEOUT)
        }
    };
    if let Some(status) = refusal {
        let answer = shard.turn(|shard| encode(&answer::closing(status), shard.io.date.now()));
        // The peer may not have read the answers before it.
        if stream.write_all(&answer).await.is_err() {
            return Left::Broken;
        }
    }
    let (stream, unread) = stream.into_inner();
    Left::Closing { stream, unread: [&parts.read_buf, &*unread].concat() }
}

/// Counts a connection as long as it speaks HTTP: a server that shuts down waits for responses under way.
pub(in crate::net) struct InFlight<H: Handler>(ShardRef<H>);

impl<H: Handler> InFlight<H> {
    /// For a request that another server passes on: that server's shutdown decides whether the response is sent.
    #[cfg(feature = "tower")]
    pub(in crate::net) fn one(shard: &ShardRef<H>) -> Self {
        shard.turn(|shard| shard.io.http += 1);
        Self(shard.clone())
    }

    /// `None` when the server is shutting down.
    pub(super) fn begin(shard: &ShardRef<H>) -> Option<Self> {
        let begins = shard.turn(|shard| {
            let io = &mut shard.io;
            io.http += usize::from(!io.draining);
            !io.draining
        });
        begins.then(|| Self(shard.clone()))
    }
}

impl<H: Handler> Drop for InFlight<H> {
    fn drop(&mut self) {
        self.0.turn_unless_broken(|shard| shard.io.http -= 1);
    }
}

/// The requests of one connection, one after the other.
struct Requests<H> {
    edge: EngineHttp<H>,
    head: Rc<HeadTimeout>,
}

impl<H: Handler + 'static> Service<Request<Incoming>> for Requests<H> {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (edge, head) = (self.edge.clone(), Rc::clone(&self.head));
        let (parts, body) = request.into_parts();
        head.end(!body.is_end_stream());
        let mut answer: Self::Future = Box::pin(async move {
            let response = edge.answer(&parts, body).await;
            head.begin();
            Ok(response.map(Full::new))
        });
        // hyper may see the end of the stream before it first polls this, and drop it. A request that arrived counts
        // all the same, so it begins now. (hyper polls again at once, with a waker.)
        match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(response) => Box::pin(std::future::ready(response)),
            Poll::Pending => answer,
        }
    }
}
