//! One TCP connection as HTTP/1.1: hyper parses it, [`crate::http`] decides, and a WebSocket handshake takes the raw
//! stream back.

use std::{
    cell::RefCell,
    convert::Infallible,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version, header, request::Parts};
use http_body_util::Full;
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::Service,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};

use super::{
    Fallback,
    conn::{Link, PollLink, WsLink},
    patient::Patient,
    polling::{self, PollError},
    probe::{self, Probing},
    shard::{RETRY_AFTER, ShardRef},
    websocket::ReadLoop,
};
use crate::{
    Config, ConnKey, Handler, Handshake, Refusal,
    error::HandshakeError,
    http::{self as engine, Action, Route},
    session::Transport,
    ws,
};

/// The largest request head, and the most header fields of one.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 100;

/// The longest path and query.
const MAX_TARGET: usize = 8 * 1024;

/// The most that is read, and thrown away, of a connection that has been answered and closed.
const MAX_DISCARDED: u64 = 4 * 1024 * 1024;

/// What follows on a connection whose handshake was answered 101.
enum Takeover {
    /// A new session.
    Open(Box<Parts>),
    /// The probe of an upgrade.
    Probe(ConnKey, u64),
    /// A WebSocket too many: closed at once (A37).
    Refuse,
}

/// The service of one connection.
struct Edge<H> {
    shard: ShardRef<H>,
    config: Rc<Config>,
    fallback: Fallback,
    remote: SocketAddr,
    takeover: Rc<RefCell<Option<Takeover>>>,
}

impl<H> Clone for Edge<H> {
    fn clone(&self) -> Self {
        Self {
            shard: self.shard.clone(),
            config: Rc::clone(&self.config),
            fallback: self.fallback.clone(),
            remote: self.remote,
            takeover: Rc::clone(&self.takeover),
        }
    }
}

/// Serves a connection to its end, whatever it turns out to be.
pub(super) async fn serve<H: Handler + 'static>(
    shard: ShardRef<H>,
    fallback: Fallback,
    stream: TcpStream,
    remote: SocketAddr,
) {
    let config = shard.turn(|shard| Rc::clone(&shard.io.config));
    let takeover = Rc::default();
    let patience = config.close_timeout;
    let edge = Edge { shard: shard.clone(), config, fallback, remote, takeover: Rc::clone(&takeover) };
    // On the heap, and gone before a WebSocket lives on: an idle connection must not carry hyper's state.
    let Some((stream, early)) = Box::pin(serve_http(edge, stream)).await else { return };
    let Some(takeover) = takeover.take() else { return Box::pin(linger(stream, patience)).await };
    // Boxed for the same reason: what lives on is the read loop alone.
    let read_loop = match takeover {
        Takeover::Open(parts) => open(shard, stream, early, &parts, remote),
        Takeover::Probe(key, id) => Box::pin(Probing::new(shard, key, id, stream, early).run()).await,
        Takeover::Refuse => {
            Box::pin(probe::refuse(stream, None)).await;
            None
        }
    };
    if let Some(read_loop) = read_loop {
        read_loop.run().await;
    }
}

/// Speaks HTTP until the connection breaks (`None`), or is to be closed or taken over: its stream, and what was read beyond
/// the last request.
async fn serve_http<H: Handler + 'static>(edge: Edge<H>, stream: TcpStream) -> Option<(TcpStream, Vec<u8>)> {
    let (_speaking, drain) = Speaking::begin(&edge.shard)?;
    let mut drained = pin!(drain.notified());
    let mut told = false;
    // The rule of a WebSocket: a peer that takes no byte for `ping_timeout` is gone.
    let stream = Patient::new(stream, edge.config.ping_timeout);
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
        http.poll_without_shutdown(cx)
    });
    if let Err(error) = speaking.await {
        tracing::debug!(%error, "connection ended");
        // Such a request has been answered.
        if !error.is_parse() {
            return None;
        }
    }
    let parts = http.into_parts();
    Some((parts.io.into_inner().into_inner(), parts.read_buf.to_vec()))
}

/// Closes in stages (RFC 9112, 9.6): closed with bytes unread, TCP resets the connection, and a peer that is still sending
/// (a body that was refused by its length, say) loses the answer.
async fn linger(mut stream: TcpStream, patience: Duration) {
    let discard = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(MAX_DISCARDED), &mut tokio::io::sink()).await
    };
    // However it ends, the connection is over.
    let _ = tokio::time::timeout(patience, discard).await;
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

/// The first WebSocket of a new session: OPEN packet, then the handler.
fn open<H: Handler>(
    shard: ShardRef<H>,
    stream: TcpStream,
    early: Vec<u8>,
    parts: &Parts,
    remote: SocketAddr,
) -> Option<ReadLoop<H>> {
    let (key, decoder) = shard.turn(|shard| {
        let handshake = Handshake { transport: Transport::WebSocket, uri: &parts.uri, headers: &parts.headers, remote };
        // It was admitted before the 101; the server may have begun to drain since.
        if shard.io.draining {
            return None;
        }
        let key = shard.open(Link::WebSocket(WsLink::new(stream)), &handshake);
        Some((key, ws::Decoder::new(shard.io.config.max_payload)))
    })?;
    Some(ReadLoop::new(shard, key, decoder, early))
}

impl<H: Handler + 'static> Service<Request<Incoming>> for Edge<H> {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let edge = self.clone();
        Box::pin(async move { Ok(edge.answer(request).await) })
    }
}

impl<H: Handler + 'static> Edge<H> {
    async fn answer(self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        if let Err(status) = check_head(&parts) {
            let mut response = empty(status);
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            return response;
        }
        if !parts.uri.path().starts_with(&self.config.path) {
            return (self.fallback)(&parts, self.remote).map(Full::new);
        }
        let mut response = if self.config.origins.allow(&parts.headers) {
            match engine::route(&parts.method, &parts.uri, &parts.headers, &self.config) {
                Ok(Route::Preflight) => engine::answer::preflight(&parts.headers, &self.config).map(Full::new),
                Ok(Route::Open(Transport::Polling)) => self.open_polling(&parts),
                Ok(Route::Open(Transport::WebSocket)) => self.open_websocket(&parts, &body),
                Ok(Route::Session(sid, action)) => match self.shard.turn(|shard| shard.io.lookup(&sid, action)) {
                    Some(key) => self.session(&parts, body, key, action).await,
                    None => refusal(HandshakeError::SidUnknown),
                },
                Err(error) => refusal(error.error),
            }
        } else {
            refusal(HandshakeError::Forbidden)
        };
        self.add_cors(&parts, &mut response);
        if !response.status().is_success() && ws::handshake::is_upgrade(&parts.headers) && response.status() != 101 {
            // Whoever asked for a WebSocket and did not get one has no use for the connection.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// The application's say, then the version: the last checks of a handshake.
    fn admit(&self, parts: &Parts, transport: Transport) -> Result<(), HandshakeError> {
        self.shard.turn(|shard| {
            let io = &shard.io;
            let limit = io.config.max_sessions;
            if io.draining || (limit > 0 && io.conns.len() >= limit) {
                return Err(HandshakeError::Unavailable { retry_after: RETRY_AFTER });
            }
            let handshake = Handshake { transport, uri: &parts.uri, headers: &parts.headers, remote: self.remote };
            shard.admit(&handshake).map_err(|refusal| match refusal {
                Refusal::Forbidden => HandshakeError::Forbidden,
                Refusal::Unavailable { retry_after } => HandshakeError::Unavailable { retry_after },
            })
        })?;
        engine::Query::parse(&parts.uri).check_protocol(&self.config).map(|_| ())
    }

    fn open_polling(&self, parts: &Parts) -> Response<Full<Bytes>> {
        if let Err(error) = self.admit(parts, Transport::Polling) {
            return refusal(error);
        }
        let body = self.shard.turn(|shard| {
            let handshake = Handshake {
                transport: Transport::Polling,
                uri: &parts.uri,
                headers: &parts.headers,
                remote: self.remote,
            };
            let key = shard.open(Link::Polling(PollLink::default()), &handshake);
            shard.io.take_body(key)
        });
        text(body)
    }

    fn open_websocket(&self, parts: &Parts, body: &Incoming) -> Response<Full<Bytes>> {
        let accept = match check_websocket(parts, body) {
            Ok(accept) => accept,
            Err(refused) => return refused,
        };
        if let Err(error) = self.admit(parts, Transport::WebSocket) {
            return refusal(error);
        }
        let (mut kept, ()) = Request::new(()).into_parts();
        kept.uri = parts.uri.clone();
        kept.headers = parts.headers.clone();
        self.takeover.replace(Some(Takeover::Open(Box::new(kept))));
        switching_protocols(&accept)
    }

    async fn session(&self, parts: &Parts, body: Incoming, key: ConnKey, action: Action) -> Response<Full<Bytes>> {
        let transport = self.shard.turn(|shard| shard.io.conn(key).map(|conn| conn.session.transport()));
        match action {
            Action::Upgrade => self.begin_upgrade(parts, &body, key),
            // A session on WebSocket has nothing to say over HTTP (A10).
            _ if transport != Some(Transport::Polling) => refusal(HandshakeError::BadRequest),
            Action::WebSocketWithoutUpgrade => refusal(HandshakeError::BadRequest),
            Action::Poll => match polling::poll(&self.shard, key).await {
                Ok(body) => text(body),
                Err(error) => poll_refusal(error),
            },
            // Engine.IO v4 bodies are text; the reference closes the session on v3's binary type (A28).
            Action::Post if is_octet_stream(&parts.headers) => {
                self.shard.turn(|shard| shard.io.end_bad_request(key));
                empty(StatusCode::BAD_REQUEST)
            }
            Action::Post => match polling::post(&self.shard, key, body).await {
                Ok(()) => with_type("text/html", Bytes::from_static(b"ok")),
                Err(error) => poll_refusal(error),
            },
            Action::Other => empty(StatusCode::BAD_REQUEST),
        }
    }

    fn begin_upgrade(&self, parts: &Parts, body: &Incoming, key: ConnKey) -> Response<Full<Bytes>> {
        let accept = match check_websocket(parts, body) {
            Ok(accept) => accept,
            Err(refused) => return refused,
        };
        let takeover = match self.shard.turn(|shard| shard.io.begin_probe(key)) {
            Ok(id) => Takeover::Probe(key, id),
            Err(_) => Takeover::Refuse,
        };
        self.takeover.replace(Some(takeover));
        switching_protocols(&accept)
    }

    fn add_cors(&self, parts: &Parts, response: &mut Response<Full<Bytes>>) {
        engine::answer::finish(response, &parts.headers, &self.config);
    }
}

/// The value of `Sec-WebSocket-Accept`, or the answer to a request that is no WebSocket handshake.
#[expect(clippy::result_large_err, reason = "once a connection, and it goes out as it is")]
fn check_websocket(parts: &Parts, body: &Incoming) -> Result<String, Response<Full<Bytes>>> {
    // RFC 6455, 4.1: at least HTTP/1.1. A body has no place there, and its bytes would be read as frames.
    if parts.version < Version::HTTP_11 || !body.is_end_stream() {
        return Err(refusal(HandshakeError::BadRequest));
    }
    ws::handshake::check(&parts.method, &parts.headers).map_err(|error| {
        let mut response = Response::new(Full::new(Bytes::from(error.to_string())));
        *response.status_mut() = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
        if error.status() == 405 {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET"));
        }
        if error.status() == 426 {
            // RFC 6455, 4.4: tell which version is spoken.
            response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        response
    })
}

/// What hyper lets through and a proxy in front may read differently: RFC 9112, 3.2 (one `Host`) and 6.1 (one
/// `Transfer-Encoding`).
fn check_head(parts: &Parts) -> Result<(), StatusCode> {
    let count = |name| parts.headers.get_all(name).iter().count();
    let hosts = count(header::HOST);
    if hosts > 1 || (hosts == 0 && parts.version >= Version::HTTP_11) || count(header::TRANSFER_ENCODING) > 1 {
        return Err(StatusCode::BAD_REQUEST);
    }
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > MAX_TARGET { Err(StatusCode::URI_TOO_LONG) } else { Ok(()) }
}

fn is_octet_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| value.as_bytes() == b"application/octet-stream")
}

fn switching_protocols(accept: &str) -> Response<Full<Bytes>> {
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

fn refusal(error: HandshakeError) -> Response<Full<Bytes>> {
    let mut response = with_type("application/json", Bytes::from(error.body()));
    *response.status_mut() = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    if let HandshakeError::Unavailable { retry_after } = error {
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}

fn poll_refusal(error: PollError) -> Response<Full<Bytes>> {
    let mut response = empty(match error {
        PollError::BadRequest => StatusCode::BAD_REQUEST,
        PollError::TimedOut => StatusCode::REQUEST_TIMEOUT,
        PollError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
    });
    if error == PollError::TimedOut {
        // RFC 9110, 15.5.9: the server has decided to close the connection.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// The answer to a poll or a polling handshake (A23).
fn text(body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = with_type("text/plain; charset=UTF-8", Bytes::from(body));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn with_type(content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
