//! One TCP connection as HTTP/1.1: hyper parses it, [`crate::http`] decides, and a WebSocket handshake takes the raw
//! stream back ([`takeover`]).

pub(super) mod response;
mod takeover;

use std::{
    cell::RefCell,
    convert::Infallible,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version, header, request::Parts};
use http_body_util::Full;
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::Service,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, sync::Notify};

use super::{
    conn::{Link, PollLink},
    owner::Owner,
    patient::Patient,
    polling::{self, Refused},
    shard::ShardRef,
    websocket::ReadLoop,
};
use crate::{
    Config, Handler, Handshake, Sid,
    error::HandshakeError,
    http::{self as engine, Action, Route},
    session::Transport,
};
use response::{check_websocket, empty, finish, refusal, refused, switching_protocols, text, with_type};

pub(super) use takeover::{Takeover, hand_over, linger};

/// The largest request head, and the most header fields of one.
pub(super) const MAX_HEAD: usize = 16 * 1024;
pub(super) const MAX_HEADERS: usize = 100;

/// The longest path and query.
const MAX_TARGET: usize = 8 * 1024;

/// The service of one connection.
struct Edge<H> {
    shard: ShardRef<H>,
    config: Rc<Config>,
    remote: SocketAddr,
    takeover: Rc<RefCell<Option<Takeover>>>,
}

impl<H> Clone for Edge<H> {
    fn clone(&self) -> Self {
        Self {
            shard: self.shard.clone(),
            config: Rc::clone(&self.config),
            remote: self.remote,
            takeover: Rc::clone(&self.takeover),
        }
    }
}

/// Speaks HTTP with a connection of which `early` was read already. What comes of it is a WebSocket to go on with, or the
/// connection's end.
pub(super) async fn serve<H: Handler + 'static>(
    shard: ShardRef<H>,
    stream: TcpStream,
    early: Bytes,
    remote: SocketAddr,
) -> Option<ReadLoop<H>> {
    let config = shard.turn(|shard| Rc::clone(&shard.io.config));
    let takeover = Rc::default();
    let patience = config.close_timeout;
    let edge = Edge { shard: shard.clone(), config, remote, takeover: Rc::clone(&takeover) };
    let (stream, early) = serve_http(edge, stream, early).await?;
    match takeover.take() {
        Some(takeover) => takeover.go_on(shard, stream, early, remote).await,
        None => {
            linger(stream, patience).await;
            None
        }
    }
}

/// Speaks HTTP until the connection breaks (`None`), or is to be closed or taken over: its stream, and what was read beyond
/// the last request.
async fn serve_http<H: Handler + 'static>(
    edge: Edge<H>,
    stream: TcpStream,
    early: Bytes,
) -> Option<(TcpStream, Vec<u8>)> {
    let (_speaking, drain) = Speaking::begin(&edge.shard)?;
    let mut drained = pin!(drain.notified());
    let (mut told, mut done) = (false, false);
    // The rule of a WebSocket: a peer that takes no byte for `ping_timeout` is gone.
    let stream = Patient::new(stream, early, edge.config.ping_timeout);
    let mut http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(edge.config.head_timeout)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), edge);
    let speaking = std::future::poll_fn(|cx| {
        if !told && drained.as_mut().poll(cx).is_ready() {
            told = true;
            Pin::new(&mut http).graceful_shutdown();
        }
        // hyper calls a connection done although its last response may not be written whole. Asked again it shuts the
        // stream down, which [`Patient`] leaves to us, and before that it writes.
        if !done {
            ready!(Pin::new(&mut http).poll(cx))?;
            done = true;
        }
        Pin::new(&mut http).poll(cx)
    });
    if let Err(error) = speaking.await {
        tracing::debug!(%error, "connection ended");
        // Such a request has been answered.
        if !error.is_parse() {
            return None;
        }
    }
    let parts = http.into_parts();
    let (stream, unread) = parts.io.into_inner().into_inner();
    Some((stream, [&parts.read_buf, &*unread].concat()))
}

/// Counts a connection as long as it speaks HTTP: a server that shuts down waits for the responses it owes.
struct Speaking<H: Handler>(ShardRef<H>);

impl<H: Handler> Speaking<H> {
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

impl<H: Handler> Drop for Speaking<H> {
    fn drop(&mut self) {
        self.0.turn(|shard| shard.io.http -= 1);
    }
}

impl<H: Handler + 'static> Service<Request<Incoming>> for Edge<H> {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let edge = self.clone();
        let mut answer: Self::Future = Box::pin(async move { Ok(edge.answer(request).await.map(Full::new)) });
        // hyper may see the end of the stream before it polls this for the first time, and drop it. A request that came
        // counts all the same: it begins now. (hyper polls again at once, with a waker.)
        match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(response) => Box::pin(std::future::ready(response)),
            Poll::Pending => answer,
        }
    }
}

impl<H: Handler + 'static> Edge<H> {
    async fn answer(self, request: Request<Incoming>) -> Response<Bytes> {
        let (parts, body) = request.into_parts();
        if let Err(status) = check_head(&parts.uri, &parts.headers, parts.version) {
            let mut response = empty(status);
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return response;
        }
        if !parts.uri.path().starts_with(&self.config.path) {
            let fallback = self.shard.turn(|shard| shard.io.fallback.clone());
            return fallback(&parts, self.remote);
        }
        let mut response = if self.config.origins.allow(&parts.headers) {
            match engine::route(&parts.method, &parts.uri, &parts.headers, &self.config) {
                Ok(Route::Preflight) => engine::answer::preflight(&parts.headers, &self.config),
                Ok(Route::Open(Transport::Polling)) => self.open_polling(&parts),
                Ok(Route::Open(Transport::WebSocket)) => self.open_websocket(&parts, &body),
                Ok(Route::Session(sid, action)) => {
                    self.session(&parts, body, sid, action).await.unwrap_or_else(refused)
                }
                Err(error) => refusal(error.error),
            }
        } else {
            refusal(HandshakeError::Forbidden)
        };
        finish(&self.config, &parts.headers, &mut response);
        response
    }

    fn open_polling(&self, parts: &Parts) -> Response<Bytes> {
        let handshake = self.handshake(parts, Transport::Polling);
        let opened = self.shard.turn(|shard| {
            let place = shard.admit(&handshake)?;
            let key = shard.open(place, Link::Polling(PollLink::default()), &handshake);
            Ok(shard.io.take_body(key))
        });
        opened.map_or_else(refusal, text)
    }

    fn open_websocket(&self, parts: &Parts, body: &Incoming) -> Response<Bytes> {
        let accept = match check_websocket(parts, !body.is_end_stream()) {
            Ok(accept) => accept,
            Err(refused) => return refused,
        };
        let handshake = self.handshake(parts, Transport::WebSocket);
        let place = match self.shard.turn(|shard| shard.admit(&handshake)) {
            Ok(place) => place,
            Err(error) => return refusal(error),
        };
        let opening = Box::new((parts.uri.clone(), parts.headers.clone()));
        self.takeover.replace(Some(Takeover::Open { place, opening }));
        switching_protocols(&accept)
    }

    const fn handshake<'a>(&self, parts: &'a Parts, transport: Transport) -> Handshake<'a> {
        Handshake { transport, uri: &parts.uri, headers: &parts.headers, remote: self.remote }
    }

    async fn session(
        &self,
        parts: &Parts,
        body: Incoming,
        sid: Sid,
        action: Action,
    ) -> Result<Response<Bytes>, Refused> {
        let owner = Owner::of(&sid, &self.shard).ok_or(Refused::Unknown)?;
        match action {
            Action::Upgrade => self.begin_upgrade(&owner, parts, &body, sid).await,
            Action::Poll => polling::poll(&owner, sid).await.map(text),
            Action::Post => {
                let octets = is_octet_stream(&parts.headers);
                polling::post(&owner, sid, octets, body, &self.config).await?;
                Ok(with_type("text/html", Bytes::from_static(b"ok")))
            }
            Action::WebSocketWithoutUpgrade | Action::Other => {
                let found = owner.visit(move |io| io.polling(&sid, action)).await;
                found.unwrap_or(Err(Refused::Unknown))?;
                Err(if action == Action::Other { Refused::BadRequest } else { Refused::NotPolling })
            }
        }
    }

    async fn begin_upgrade(
        &self,
        owner: &Owner<'_, H>,
        parts: &Parts,
        body: &Incoming,
        sid: Sid,
    ) -> Result<Response<Bytes>, Refused> {
        let checked = check_websocket(parts, !body.is_end_stream());
        let valid = checked.is_ok();
        let found = owner.visit(move |io| {
            let key = io.lookup(&sid, Action::Upgrade).ok_or(Refused::Unknown)?;
            Ok(valid.then(|| (key, io.begin_probe(key))))
        });
        let reserved = found.await.unwrap_or(Err(Refused::Unknown))?;
        Ok(match (checked, reserved) {
            (Ok(accept), Some((key, probe))) => {
                let takeover = match probe {
                    Ok(id) => Takeover::Probe { owner: owner.shard(), key, id },
                    Err(_) => Takeover::Refuse,
                };
                self.takeover.replace(Some(takeover));
                switching_protocols(&accept)
            }
            (Err(refused), _) => refused,
            (Ok(_), None) => refusal(HandshakeError::BadRequest),
        })
    }
}

/// What hyper lets through and a proxy in front may read differently: RFC 9112, 3.2 (one `Host`) and 6.1 (one
/// `Transfer-Encoding`).
pub(super) fn check_head(uri: &Uri, headers: &HeaderMap, version: Version) -> Result<(), StatusCode> {
    let count = |name| headers.get_all(name).iter().count();
    let hosts = count(header::HOST);
    if hosts > 1 || (hosts == 0 && version >= Version::HTTP_11) || count(header::TRANSFER_ENCODING) > 1 {
        return Err(StatusCode::BAD_REQUEST);
    }
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > MAX_TARGET { Err(StatusCode::URI_TOO_LONG) } else { Ok(()) }
}

fn is_octet_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes() == b"application/octet-stream")
}
