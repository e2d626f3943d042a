//! The engine as a tower service: requests that a hyper or axum application passes on.
//!
//! A request goes to a shard by letter and is served there as if it had come on a connection of the shard's own; the answer
//! comes back by a oneshot channel. A WebSocket's TCP stream is taken out of the application's server and moves to the
//! shard, so that from then on it costs what any other does.

use std::{
    convert::Infallible,
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    body::Body,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::{net::TcpStream, sync::oneshot};
use tower_service::Service;

use super::{
    arrival,
    counts::Common,
    http_edge::{Edge, Speaking, Takeover},
    mailbox::Letter,
    shard::ShardRef,
    websocket::ReadLoop,
};
use crate::{Handler, http::Query};

type AnyBody = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

/// A handle to a running server, for an application that has a listener of its own. Clones are the same server. Made by
/// [`super::Server::attach`].
///
/// Requests must come with their whole path. The peer's address is the [`SocketAddr`] among the request's extensions, if a
/// layer put one there, and `0.0.0.0:0` otherwise. WebSockets need a server that lets connections be upgraded and whose
/// stream is a tokio `TcpStream`, as `axum::serve` is; over any other the upgraded connection is closed, and logged. Once
/// the engine has shut down every answer is 503.
#[derive(Debug, Clone)]
pub struct EngineService {
    common: Arc<Common>,
    next: Arc<AtomicU16>,
}

/// A request on its way to a shard.
pub(super) struct Passed {
    request: Request<AnyBody>,
    remote: SocketAddr,
    answer: oneshot::Sender<Answered>,
}

/// The answer, and where the stream of a WebSocket is to be sent.
struct Answered {
    response: Response<Bytes>,
    upgrade: Option<oneshot::Sender<(std::net::TcpStream, Bytes)>>,
}

impl EngineService {
    pub(super) fn new(common: Arc<Common>) -> Self {
        Self { common, next: Arc::default() }
    }

    /// The shard of the session that a request names, or one after the other.
    fn shard_of(&self, query: &Query<'_>) -> u16 {
        let shards = self.common.shards();
        let named = query.named_sid().map(|sid| sid.shard()).filter(|shard| *shard < shards);
        named.unwrap_or_else(|| self.next.fetch_add(1, Ordering::Relaxed) % shards)
    }

    async fn pass(self, mut request: Request<AnyBody>) -> Response<Full<Bytes>> {
        let on_upgrade = request.extensions_mut().remove::<OnUpgrade>();
        let remote = request.extensions().get().copied();
        let remote = remote.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        let shard = self.shard_of(&Query::parse(request.uri()));
        let (answer, answered) = oneshot::channel();
        if let Some(mailbox) = self.common.mailboxes.get(usize::from(shard)) {
            mailbox.put(Letter::Request(Box::new(Passed { request, remote, answer })));
        }
        // The shard has ended: the letter was dropped.
        let Ok(Answered { response, upgrade }) = answered.await else {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return response;
        };
        if let (Some(upgrade), Some(on_upgrade)) = (upgrade, on_upgrade) {
            tokio::spawn(async move {
                match on_upgrade.await.map(take_stream) {
                    // A shard that has ended has no use for it.
                    Ok(Some(taken)) => drop(upgrade.send(taken)),
                    Ok(None) => tracing::error!("an upgraded connection is no TCP stream of tokio; it is closed"),
                    Err(error) => tracing::debug!(%error, "a connection ended before it was upgraded"),
                }
            });
        }
        response.map(Full::new)
    }
}

/// The TCP stream in an upgraded connection, and what was read beyond the handshake.
fn take_stream(upgraded: Upgraded) -> Option<(std::net::TcpStream, Bytes)> {
    // hyper-util's server that speaks both versions wraps the stream once more.
    let (stream, early) = match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => (parts.io, parts.read_buf),
        Err(upgraded) => {
            let parts = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
            (parts.io, parts.read_buf)
        }
    };
    let stream = stream.into_inner();
    // As on streams of our own listener; without it small packets only come later.
    let _ = stream.set_nodelay(true);
    Some((stream.into_std().ok()?, early))
}

impl<B> Service<Request<B>> for EngineService
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        let service = self.clone();
        Box::pin(async move { Ok(service.pass(request).await) })
    }
}

/// Serves a request that was passed on to this shard.
pub(super) fn serve<H: Handler + 'static>(shard: &ShardRef<H>, passed: Passed) {
    let connected = shard.turn(|shard| shard.io.common.connect(shard.io.id));
    arrival::spawn(connected, answer(shard.clone(), passed));
}

async fn answer<H: Handler + 'static>(shard: ShardRef<H>, passed: Passed) -> Option<ReadLoop<H>> {
    let Passed { request, remote, answer: mut asker } = passed;
    let (takeover, speaking) = (Rc::default(), Speaking::one(&shard));
    let edge = Edge::new(shard.clone(), shard.turn(|shard| Rc::clone(&shard.io.config)), remote, Rc::clone(&takeover));
    shard.uncongested().await;
    let response = {
        let (parts, body) = request.into_parts();
        let mut answering = pin!(edge.answer(&parts, body));
        // Whoever asked may be gone before there is an answer: then the request is dropped, as hyper drops it.
        std::future::poll_fn(|cx| match answering.as_mut().poll(cx) {
            Poll::Ready(response) => Poll::Ready(Some(response)),
            Poll::Pending => asker.poll_closed(cx).map(|()| None),
        })
        .await?
    };
    let takeover: Option<Takeover> = takeover.take();
    let (upgrade, upgraded) = takeover.is_some().then(oneshot::channel).unzip();
    asker.send(Answered { response, upgrade }).ok()?;
    drop(speaking);
    let (stream, early) = upgraded?.await.ok()?;
    let stream = TcpStream::from_std(stream).ok()?;
    takeover?.go_on(shard, stream, early.into(), remote).await
}
