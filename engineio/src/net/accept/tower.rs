//! The engine as a tower service: requests that a hyper or axum application passes on.
//!
//! A request goes to a shard through the same door as everything from other threads ([`Handle`]) and is served there as if it had
//! come on a connection of the shard's own; the answer comes back by a oneshot channel. A WebSocket's stream is taken out of
//! the application's server and moves to the shard, so that from then on it costs what any other does.

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
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Body,
    upgrade::{OnUpgrade, Upgraded},
};
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::{net::TcpStream, sync::oneshot};
use tower_service::Service;

use super::{
    super::{
        http::{connection::InFlight, service::EngineHttp},
        peer::stream::{DetachedStream, OtherStream},
        shard::turn::ShardRef,
        shards::{
            command::{AnyBody, Command, PassedAnswer, PassedRequest},
            handle::{Handle, ShardGone},
        },
        transport::{switching::SwitchProtocol, websocket::ReadLoop},
    },
    connection,
};
use crate::{Handler, http::Query};

/// A running server, for an application that has a listener of its own. Clones are the same server. Made by
/// [`Server::attach`](crate::net::Server::attach).
///
/// Requests must come with their whole path. The peer's address is the [`SocketAddr`] among the request's extensions, if a
/// layer put one there, and `0.0.0.0:0` otherwise. WebSockets need a server that lets connections be upgraded. Over a tokio
/// `TcpStream`, as in `axum::serve`, they cost what they cost on a listener of the engine's own; over any other stream (TLS, a
/// Unix socket) the stream stays with the runtime of the application's server, which must go on running. While a shard has too
/// much to do, requests for it wait. Once the engine has shut down every answer is 503.
#[derive(Debug, Clone)]
pub struct EngineService {
    handle: Handle,
    next: Arc<AtomicU16>,
}

impl EngineService {
    pub(in crate::net) fn new(handle: Handle) -> Self {
        Self { handle, next: Arc::default() }
    }

    /// The shard of the session that a request names, or one after the other of those that have not ended.
    fn shard_of(&self, query: &Query<'_>) -> u16 {
        let shards = self.handle.shards();
        let named = query.named_sid().map(|sid| sid.shard()).filter(|shard| *shard < shards);
        named.unwrap_or_else(|| {
            let next = self.next.fetch_add(1, Ordering::Relaxed);
            let after = |step| ((u32::from(next) + u32::from(step)) % u32::from(shards)) as u16;
            (0..shards).map(after).find(|shard| self.handle.serves(*shard)).unwrap_or(0)
        })
    }

    /// Has a shard answer a request.
    async fn ask(&self, shard: u16, request: Request<AnyBody>, remote: SocketAddr) -> Result<PassedAnswer, ShardGone> {
        let (answer, answered) = oneshot::channel();
        self.handle.put(shard, Command::Request(Box::new(PassedRequest { request, remote, answer }))).await?;
        answered.await.map_err(|_| ShardGone(shard))
    }

    async fn pass(self, mut request: Request<AnyBody>) -> Response<Full<Bytes>> {
        let on_upgrade = request.extensions_mut().remove::<OnUpgrade>();
        let remote = request.extensions().get().copied();
        let remote = remote.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        let shard = self.shard_of(&Query::parse(request.uri()));
        let Ok(PassedAnswer { response, upgrade }) = self.ask(shard, request, remote).await else {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return response;
        };
        if let (Some(upgrade), Some(on_upgrade)) = (upgrade, on_upgrade) {
            tokio::spawn(async move {
                match on_upgrade.await.map(take_stream) {
                    // A shard that has ended has no use for it.
                    Ok(Some(taken)) => drop(upgrade.send(taken)),
                    Ok(None) => tracing::error!("the stream of an upgraded connection cannot be taken; it is closed"),
                    Err(error) => tracing::debug!(%error, "a connection ended before it was upgraded"),
                }
            });
        }
        response.map(Full::new)
    }
}

/// The stream in an upgraded connection, and what was read beyond the handshake. `None` when the operating system does not give
/// a TCP stream out.
fn take_stream(upgraded: Upgraded) -> Option<(DetachedStream, Bytes)> {
    // hyper-util's server that speaks both versions wraps the stream once more.
    let (stream, early) = match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => (parts.io, parts.read_buf),
        Err(upgraded) => match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => (parts.io, parts.read_buf),
            // Not a TCP stream of tokio: it is driven as what it is.
            Err(upgraded) => {
                let other = OtherStream::new(TokioIo::new(upgraded));
                return Some((DetachedStream::Other(Box::new(other)), Bytes::new()));
            }
        },
    };
    let stream = stream.into_inner();
    // As on streams of our own listener; without it small packets only come later.
    let _ = stream.set_nodelay(true);
    Some((DetachedStream::Tcp(stream.into_std().ok()?), early))
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
pub(in crate::net) fn serve<H: Handler + 'static>(shard: &ShardRef<H>, passed: PassedRequest) {
    let counted = shard.turn(|shard| shard.io.registry.connections.count(shard.io.id));
    connection::spawn(counted, answer(shard.clone(), passed));
}

async fn answer<H: Handler + 'static>(shard: ShardRef<H>, passed: PassedRequest) -> Option<ReadLoop<H>> {
    let PassedRequest { request, remote, answer: mut asker } = passed;
    let (switch, in_flight) = (Rc::default(), InFlight::one(&shard));
    let config = shard.turn(|shard| Rc::clone(&shard.io.config));
    let engine = EngineHttp::new(shard.clone(), config, remote, Rc::clone(&switch));
    shard.uncongested().await;
    let response = {
        let (parts, body) = request.into_parts();
        let mut answering = pin!(engine.answer(&parts, body));
        // Whoever asked may be gone before there is an answer: then the request is dropped, as hyper drops it.
        std::future::poll_fn(|cx| match answering.as_mut().poll(cx) {
            Poll::Ready(response) => Poll::Ready(Some(response)),
            Poll::Pending => asker.poll_closed(cx).map(|()| None),
        })
        .await?
    };
    let switch: Option<SwitchProtocol> = switch.take();
    let (upgrade, upgraded) = switch.is_some().then(oneshot::channel).unzip();
    asker.send(PassedAnswer { response, upgrade }).ok()?;
    drop(in_flight);
    let (stream, early) = upgraded?.await.ok()?;
    switch?.run(shard, stream.attach().ok()?, early.into(), remote).await
}
