//! The requests of one connection, one after the other, and its end.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt, sync::Notify};

use super::{
    super::{peer::stream::PeerStream, shard::turn::ShardRef, transport::websocket::ReadLoop},
    head_timeout::HeadTimeout,
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

/// Speaks HTTP with a connection of which `early` was read already. What comes of it is a WebSocket to go on with, or the
/// connection's end.
pub(in crate::net) async fn serve<H: Handler + 'static>(
    shard: ShardRef<H>,
    stream: PeerStream,
    early: Bytes,
    remote: SocketAddr,
) -> Option<ReadLoop<H>> {
    let config = shard.turn(|shard| Rc::clone(&shard.io.config));
    let switch = Rc::default();
    let patience = config.close_timeout;
    let edge = EngineHttp::new(shard.clone(), config, remote, Rc::clone(&switch));
    let (stream, early) = serve_http(edge, stream, early).await?;
    match switch.take() {
        Some(switch) => switch.run(shard, stream, early, remote).await,
        None => {
            stream.close_in_stages(patience).await;
            None
        }
    }
}

/// Speaks HTTP until the connection breaks (`None`), or is to be closed or taken over: its stream, and what was read beyond
/// the last request.
async fn serve_http<H: Handler + 'static>(
    edge: EngineHttp<H>,
    stream: PeerStream,
    early: Bytes,
) -> Option<(PeerStream, Vec<u8>)> {
    let (_speaking, drain) = InFlight::begin(&edge.shard)?;
    let shard = edge.shard.clone();
    let mut drained = pin!(drain.notified());
    let (mut told, mut done) = (false, false);
    let head = Rc::new(HeadTimeout::new());
    let mut overdue = pin!(head.exceeded(edge.config.head_timeout));
    // The rule of a WebSocket: a peer that takes no byte for `ping_timeout` is gone.
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
        // hyper calls a connection done although its last response may not be written whole. Asked again it shuts the
        // stream down, which [`WriteTimeout`] leaves to us, and before that it writes.
        if !done {
            match Pin::new(&mut http).poll(cx) {
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Ok(())) => done = true,
                Poll::Pending => {}
            }
        }
        if done && let Poll::Ready(ended) = Pin::new(&mut http).poll(cx) {
            return Poll::Ready(Some(ended));
        }
        // After hyper: what came in time may have lain unread, because the process stood still.
        overdue.as_mut().poll(cx).map(|()| None)
    });
    let ended = speaking.await;
    last_words(&shard, ended, http.into_parts()).await
}

/// What hyper leaves unsaid at the end of a connection that speaks HTTP; `ended` is `None` when a head was overdue.
async fn last_words<H: Handler, S>(
    shard: &ShardRef<H>,
    ended: Option<hyper::Result<()>>,
    parts: http1::Parts<TokioIo<WriteTimeout>, S>,
) -> Option<(PeerStream, Vec<u8>)> {
    let mut stream = parts.io.into_inner();
    let refusal = match ended {
        Some(Ok(())) => None,
        Some(Err(error)) => {
            tracing::debug!(%error, "connection ended");
            match error {
                // RFC 9113, 3.4: the preface of HTTP/2, which is not spoken, is made to fail. The one head that hyper
                // leaves unanswered.
                error if error.is_parse_version_h2() => Some(StatusCode::BAD_REQUEST),
                error if error.is_parse() => None,
                _ => return None,
            }
        }
        None => {
            tracing::debug!("connection ended: no request within head_timeout");
            // RFC 9112, 2.2: empty lines begin no request. RFC 9110, 15.5.9: one that has begun is answered.
            let begun = parts.read_buf.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
            Some(begun.then_some(StatusCode::REQUEST_TIMEOUT)?)
        }
    };
    if let Some(status) = refusal {
        let answer = shard.turn(|shard| encode(&answer::closing(status), shard.io.date.now()));
        // Its peer may not have read the answers before it.
        stream.write_all(&answer).await.ok()?;
    }
    let (stream, unread) = stream.into_inner();
    Some((stream, [&parts.read_buf, &*unread].concat()))
}

/// Counts a connection as long as it speaks HTTP: a server that shuts down waits for the responses it owes.
pub(in crate::net) struct InFlight<H: Handler>(ShardRef<H>);

impl<H: Handler> InFlight<H> {
    /// For a request that another server passes on: that server's own shutdown decides whether it comes.
    #[cfg(feature = "tower")]
    pub(in crate::net) fn one(shard: &ShardRef<H>) -> Self {
        shard.turn(|shard| shard.io.http += 1);
        Self(shard.clone())
    }

    /// `None` when the server is shutting down.
    fn begin(shard: &ShardRef<H>) -> Option<(Self, Rc<Notify>)> {
        let drain = shard.turn(|shard| {
            let io = &mut shard.io;
            io.http += usize::from(!io.draining);
            (!io.draining).then(|| Rc::clone(&io.drain))
        })?;
        Some((Self(shard.clone()), drain))
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
        head.end();
        let (parts, body) = request.into_parts();
        let mut answer: Self::Future = Box::pin(async move {
            let response = edge.answer(&parts, body).await;
            head.begin();
            Ok(response.map(Full::new))
        });
        // hyper may see the end of the stream before it polls this for the first time, and drop it. A request that came
        // counts all the same: it begins now. (hyper polls again at once, with a waker.)
        match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(response) => Box::pin(std::future::ready(response)),
            Poll::Pending => answer,
        }
    }
}
