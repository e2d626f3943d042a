//! The engine as a tower service: requests that a hyper or axum application passes on.
//!
//! A request reaches a shard through a [`Handle`], like everything from other threads, and is served as if it had come
//! on a connection of the shard. The answer comes back through a oneshot channel. A WebSocket's stream is taken out of
//! the application's server and moves to the shard, so it then costs as much as any other.

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
            peer::Peer,
        },
        transport::{switching::SwitchProtocol, websocket::ReadLoop},
    },
    connection,
};
use crate::{Handler, http::Query};

/// A running server, as a service for an application with its own listener. Made by
/// [`Server::attach`](crate::net::Server::attach). All clones are the same server.
///
/// Requests must come with their whole path. The peer's address is the [`SocketAddr`] among the request's extensions,
/// if a layer put one there, otherwise `0.0.0.0:0`. WebSockets need a server that allows connections to be upgraded. On
/// a tokio `TcpStream`, as in `axum::serve`, they cost as much as on the engine's own listener. On any other stream
/// (TLS, a Unix socket) the stream stays with the runtime of the application's server, which must keep running. While a
/// shard's queue is full, requests for it wait. After the engine has shut down every answer is 503.
#[derive(Debug, Clone)]
pub struct EngineService {
    handle: Handle,
    next: Arc<AtomicU16>,
}

impl EngineService {
    pub(in crate::net) fn new(handle: Handle) -> Self {
        Self { handle, next: Arc::default() }
    }

    /// The shard of the session that a request names; otherwise the shards that have not ended take turns.
    fn shard_of(&self, query: &Query<'_>) -> u16 {
        let shards = self.handle.shards();
        let named = query.named_sid().map(|sid| sid.shard()).filter(|shard| *shard < shards);
        named.unwrap_or_else(|| {
            let next = self.next.fetch_add(1, Ordering::Relaxed);
            let after = |step| ((u32::from(next) + u32::from(step)) % u32::from(shards)) as u16;
            (0..shards).map(after).find(|shard| self.handle.serves(*shard)).unwrap_or(0)
        })
    }

    /// Sends a request to a shard and waits for the answer.
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
                    // A shard that has ended does not need it.
                    Ok(Some(taken)) => drop(upgrade.send(taken)),
                    Ok(None) => tracing::error!("the stream of an upgraded connection cannot be taken; it is closed"),
                    Err(error) => tracing::debug!(%error, "a connection ended before it was upgraded"),
                }
            });
        }
        response.map(Full::new)
    }
}

/// The stream of an upgraded connection, and the bytes that were read after the handshake. `None` if the TCP stream
/// cannot be taken out.
fn take_stream(upgraded: Upgraded) -> Option<(DetachedStream, Bytes)> {
    // hyper-util's server for both HTTP versions wraps the stream once more.
    let (stream, early) = match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
        Ok(parts) => (parts.io, parts.read_buf),
        Err(upgraded) => match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => (parts.io, parts.read_buf),
            // Not a tokio TCP stream: it is used as it is.
            Err(upgraded) => {
                let other = OtherStream::new(TokioIo::new(upgraded));
                return Some((DetachedStream::Other(Box::new(other)), Bytes::new()));
            }
        },
    };
    let stream = stream.into_inner();
    // As on streams of our own listener; if it fails, small packets are only slower.
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
    let peer = Peer::new(remote, None);
    let (switch, in_flight) = (Rc::default(), InFlight::one(&shard));
    let config = shard.turn(|shard| Rc::clone(&shard.io.config));
    let engine = EngineHttp::new(shard.clone(), config, peer.clone(), Rc::clone(&switch));
    shard.uncongested().await;
    let response = {
        let (parts, body) = request.into_parts();
        let mut answering = pin!(engine.answer(&parts, body));
        // The asking side may disconnect before there is an answer: then the request is dropped, as hyper would drop
        // it.
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
    switch?.run(shard, stream.attach().ok()?, early.into(), &peer).await
}
