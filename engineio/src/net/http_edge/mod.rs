//! One TCP connection as HTTP/1.1: hyper parses it, [`crate::http`] decides, and a WebSocket handshake takes the raw
//! stream back ([`takeover`]).

pub(super) mod head_wait;
pub(super) mod response;
mod takeover;

use std::{
    cell::RefCell,
    convert::Infallible,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version, header, request::Parts};
use http_body_util::Full;
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::Service,
};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{
    conn::{Link, PollLink},
    opening::{Admitted, UNAVAILABLE},
    outq::PollBody,
    owner::Owner,
    patient::Patient,
    peer_wire::PeerWire,
    polling::{self, Refused, Visit},
    shard::ShardRef,
    websocket::ReadLoop,
};
use crate::{
    Config, Handler, Handshake, Protocol, hooks,
    http::{
        self as engine, Action, Query, Route, answer,
        encode::encode,
        plain::{MAX_FIELDS, MAX_HEAD, MAX_TARGET},
    },
    session::Transport,
};
use head_wait::HeadWait;
use response::{check_websocket, finish};

pub(super) use takeover::{Takeover, hand_over, linger};

/// The service of one connection, or of one request that another server passes on.
pub(super) struct Edge<H> {
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

/// Speaks HTTP with a connection of which `early` was read already, and whose first head is due since `since`. What comes of it is a WebSocket to go on with, or the
/// connection's end.
pub(super) async fn serve<H: Handler + 'static>(
    shard: ShardRef<H>,
    stream: TcpStream,
    early: Bytes,
    remote: SocketAddr,
    (speaking, since): (Speaking<H>, Instant),
) -> Spoken<H> {
    let config = shard.turn(|shard| Rc::clone(&shard.io.config));
    let takeover = Rc::default();
    let patience = config.close_timeout;
    let edge = Edge::new(shard.clone(), config, remote, Rc::clone(&takeover));
    let (stream, unread) = match serve_http(edge, stream, early, since).await {
        Left::Free { stream, unread, since } => return Spoken::Free { stream, unread, since, speaking },
        Left::Closing { stream, unread } => (stream, unread),
        Left::Broken => return Spoken::Over(None),
    };
    drop(speaking);
    let takeover: Option<Takeover> = takeover.take();
    Spoken::Over(match takeover {
        Some(takeover) => takeover.go_on(shard, stream, unread, remote).await,
        None => {
            linger(stream, patience).await;
            None
        }
    })
}

/// What comes of a connection that hyper has spoken with.
pub(super) enum Spoken<H: Handler> {
    /// It is between two requests, and a head has been due since `since`.
    Free { stream: TcpStream, unread: Vec<u8>, since: Instant, speaking: Speaking<H> },
    /// It is a WebSocket to go on with, or at its end.
    Over(Option<ReadLoop<H>>),
}

/// How hyper leaves a connection; `unread` was read beyond the last request.
enum Left {
    /// Between two requests.
    Free {
        stream: TcpStream,
        unread: Vec<u8>,
        since: Instant,
    },
    /// To be closed or taken over.
    Closing {
        stream: TcpStream,
        unread: Vec<u8>,
    },
    Broken,
}

/// Why hyper speaks no more.
enum Ended {
    /// It says so.
    Hyper(hyper::Result<()>),
    /// A head was overdue.
    Overdue,
    /// It is between two requests, since then; it need not wait for the next one.
    Free(Instant),
}

/// Speaks HTTP until a request was served, or the connection is over.
async fn serve_http<H: Handler + 'static>(edge: Edge<H>, stream: TcpStream, early: Bytes, since: Instant) -> Left {
    let drain = edge.shard.turn(|shard| Rc::clone(&shard.io.drain));
    let shard = edge.shard.clone();
    let mut drained = pin!(drain.notified());
    // The hooks see every request, so hyper keeps them all.
    let keeps = shard.turn(|shard| shard.hooks.is_some());
    let (mut told, mut done) = (false, false);
    let head = Rc::new(HeadWait::since(since));
    let mut overdue = pin!(head.exceeded(edge.config.head_timeout));
    // The rule of a WebSocket: a peer that takes no byte for `ping_timeout` is gone.
    let stream = Patient::new(stream, early, edge.config.ping_timeout, Rc::clone(&head));
    let mut http = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_FIELDS)
        .serve_connection(TokioIo::new(stream), Requests { edge, head: Rc::clone(&head) });
    let speaking = std::future::poll_fn(|cx| {
        if !told && drained.as_mut().poll(cx).is_ready() {
            told = true;
            Pin::new(&mut http).graceful_shutdown();
        }
        // hyper calls a connection done although its last response may not be written whole. Asked again it shuts the
        // stream down, which [`Patient`] leaves to us, and before that it writes.
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
        // After hyper: what came in time may have lain unread, because the process stood still.
        overdue.as_mut().poll(cx).map(|()| Ended::Overdue)
    });
    let ended = speaking.await;
    last_words(&shard, ended, http.into_parts()).await
}

/// What hyper leaves unsaid where it ends.
async fn last_words<H: Handler, S>(
    shard: &ShardRef<H>,
    ended: Ended,
    parts: http1::Parts<TokioIo<Patient>, S>,
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
                // RFC 9113, 3.4: the preface of HTTP/2, which is not spoken, is made to fail. The one head that hyper
                // leaves unanswered.
                error if error.is_parse_version_h2() => Some(StatusCode::BAD_REQUEST),
                error if error.is_parse() => None,
                _ => return Left::Broken,
            }
        }
        Ended::Overdue => {
            tracing::debug!("connection ended: no request within head_timeout");
            // RFC 9112, 2.2: empty lines begin no request. RFC 9110, 15.5.9: one that has begun is answered.
            let begun = parts.read_buf.iter().any(|byte| !matches!(byte, b'\r' | b'\n'));
            if !begun {
                return Left::Broken;
            }
            Some(StatusCode::REQUEST_TIMEOUT)
        }
    };
    if let Some(status) = refusal {
        let answer = shard.turn(|shard| encode(&response::closing(status), shard.io.date.now()));
        // Its peer may not have read the answers before it.
        if stream.write_all(&answer).await.is_err() {
            return Left::Broken;
        }
    }
    let (stream, unread) = stream.into_inner();
    Left::Closing { stream, unread: [&parts.read_buf, &*unread].concat() }
}

/// Counts a connection as long as it speaks HTTP: a server that shuts down waits for the responses it owes.
pub(super) struct Speaking<H: Handler>(ShardRef<H>);

impl<H: Handler> Speaking<H> {
    /// For a request that another server passes on: that server's own shutdown decides whether it comes.
    #[cfg(feature = "tower")]
    pub(super) fn one(shard: &ShardRef<H>) -> Self {
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

impl<H: Handler> Drop for Speaking<H> {
    fn drop(&mut self) {
        self.0.turn(|shard| shard.io.http -= 1);
    }
}

/// The requests of one connection, one after the other.
struct Requests<H> {
    edge: Edge<H>,
    head: Rc<HeadWait>,
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
        // hyper may see the end of the stream before it polls this for the first time, and drop it. A request that came
        // counts all the same: it begins now. (hyper polls again at once, with a waker.)
        match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(response) => Box::pin(std::future::ready(response)),
            Poll::Pending => answer,
        }
    }
}

/// An answer that is no refusal, and what it is to a session: that decides which hooks see it.
enum Served {
    /// The first of a session.
    First(Response<Bytes>),
    /// Another one.
    More(Response<Bytes>),
    /// It concerns none.
    Apart(Response<Bytes>),
}

/// A request for the engine.
#[derive(Clone, Copy)]
struct Asked<'a> {
    parts: &'a Parts,
    query: &'a Query<'a>,
    remote: SocketAddr,
}

impl<'a> Asked<'a> {
    const fn request(self) -> hooks::Request<'a> {
        let Self { parts: Parts { method, uri, headers, .. }, query, remote } = self;
        hooks::Request { method, uri, query, headers, remote }
    }

    const fn handshake(self, transport: Transport) -> Handshake<'a> {
        Handshake { transport, uri: &self.parts.uri, headers: &self.parts.headers, remote: self.remote }
    }

    /// The answer to a GET that speaks `protocol`.
    fn poll(self, body: PollBody, protocol: Protocol) -> answer::Poll<'a> {
        let PollBody { bytes, binary, compress } = body;
        answer::Poll { body: bytes, binary, compress, jsonp: self.query.jsonp_for(protocol) }
    }
}

impl<H: Handler + 'static> Edge<H> {
    pub(super) const fn new(
        shard: ShardRef<H>,
        config: Rc<Config>,
        remote: SocketAddr,
        takeover: Rc<RefCell<Option<Takeover>>>,
    ) -> Self {
        Self { shard, config, remote, takeover }
    }

    /// `parts` by reference: a future keeps what it was given beside what it makes of it.
    pub(super) async fn answer<B>(&self, parts: &Parts, body: B) -> Response<Bytes>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if let Err(status) = check_head(&parts.uri, &parts.headers, parts.version) {
            return response::closing(status);
        }
        if !engine::matches_path(&self.config, parts.uri.path()) {
            let fallback = self.shard.turn(|shard| shard.io.fallback.clone());
            return fallback(parts, self.remote);
        }
        let query = Query::parse(&parts.uri);
        let asked = Asked { parts, query: &query, remote: self.remote };
        let (mut response, hooked) = match self.serve(asked, body).await {
            Ok(Served::First(response)) => (response, Some(true)),
            Ok(Served::More(response)) => (response, Some(false)),
            Ok(Served::Apart(response)) => (response, None),
            Err(refused) => (self.refuse(asked, refused), None),
        };
        finish(&self.config, &parts.headers, &mut response);
        if let Some(first) = hooked {
            self.shard.change_headers(response.headers_mut(), &asked.request(), first);
        }
        response
    }

    fn refuse(&self, asked: Asked<'_>, refused: Refused) -> Response<Bytes> {
        if let Refused::Coded(error, message) = &refused {
            self.shard.connection_error(*error, message.as_deref(), asked.request());
        }
        response::refused(refused, &asked.parts.headers)
    }

    async fn serve<B>(&self, asked: Asked<'_>, body: B) -> Result<Served, Refused>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let Parts { method, headers, .. } = asked.parts;
        match engine::route::route_query(asked.query, method, headers, &self.config)? {
            Route::Preflight => Ok(Served::Apart(answer::preflight(headers, &self.config))),
            Route::Open(Transport::Polling) => Box::pin(self.open_polling(asked)).await.map(Served::First),
            Route::Open(Transport::WebSocket) => Box::pin(self.open_websocket(asked, &body)).await.map(Served::First),
            Route::Session(sid, action) => {
                let visit = Visit { sid, action, protocol: asked.query.protocol() };
                self.session(asked, body, visit).await.map(Served::More)
            }
        }
    }

    /// Whether this handshake may become a session.
    async fn admit(&self, asked: Asked<'_>, transport: Transport) -> Result<Admitted, Refused> {
        let (shard, request) = (&self.shard, asked.request());
        let place = shard.turn(|shard| shard.reserve())?;
        shard.allow_request(&request).await?;
        let protocol = shard.turn(|shard| shard.ask_handler(&asked.handshake(transport), asked.query))?;
        let id = shard.generate_id(&request).await?;
        Ok(Admitted { place, protocol, id, answer: None })
    }

    async fn open_polling(&self, asked: Asked<'_>) -> Result<Response<Bytes>, Refused> {
        let admitted = self.admit(asked, Transport::Polling).await?;
        let protocol = admitted.protocol;
        let (sid, body) = self.shard.turn(|shard| {
            // The server may have begun to drain while the application was asked.
            if shard.io.draining {
                return Err(UNAVAILABLE);
            }
            let link = PollLink { takes_binary: asked.query.takes_binary(), ..PollLink::default() };
            let (key, sid) = shard.open(admitted, Link::Polling(link), &asked.handshake(Transport::Polling));
            let body = shard.io.take_body(key).ok_or(UNAVAILABLE)?;
            Ok((sid, body))
        })?;
        let (poll, headers) = (asked.poll(body, protocol), &asked.parts.headers);
        Ok(answer::handshake(poll, &sid.to_string(), headers, &self.config))
    }

    async fn open_websocket(&self, asked: Asked<'_>, body: &impl Body) -> Result<Response<Bytes>, Refused> {
        let accept = check_websocket(asked.parts, !body.is_end_stream())?;
        let admitted = self.admit(asked, Transport::WebSocket).await?;
        let Parts { uri, headers, .. } = asked.parts;
        let (wire, extensions) = PeerWire::negotiate(&self.config, asked.query, admitted.protocol, headers);
        let opening = Box::new((uri.clone(), headers.clone()));
        self.takeover.replace(Some(Takeover::Open { admitted, wire, opening }));
        Ok(answer::switching_protocols(&accept, extensions, headers))
    }

    async fn session<B>(&self, asked: Asked<'_>, body: B, visit: Visit) -> Result<Response<Bytes>, Refused>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let headers = &asked.parts.headers;
        let owner = Owner::of(&visit.sid, &self.shard).ok_or(Refused::UNKNOWN)?;
        match visit.action {
            Action::Upgrade => Box::pin(self.begin_upgrade(&owner, asked, &body, visit)).await,
            Action::Poll => {
                let body = polling::poll(&owner, visit).await?;
                Ok(asked.poll(body, visit.protocol).answer(headers, &self.config))
            }
            Action::Post => {
                let form = engine::post_body(headers, asked.query, visit.protocol);
                Box::pin(polling::post(&owner, visit, form, body, &self.config)).await?;
                Ok(answer::posted(headers))
            }
            Action::WebSocketWithoutUpgrade | Action::Other => {
                let found = owner.visit(move |io| io.visited(visit)).await;
                found.unwrap_or(Err(Refused::UNKNOWN))?;
                // `WebSocketWithoutUpgrade` has no place in any session.
                Err(Refused::BadRequest)
            }
        }
    }

    async fn begin_upgrade(
        &self,
        owner: &Owner<'_, H>,
        asked: Asked<'_>,
        body: &impl Body,
        visit: Visit,
    ) -> Result<Response<Bytes>, Refused> {
        let checked = check_websocket(asked.parts, !body.is_end_stream());
        let valid = checked.is_ok();
        let found = owner.visit(move |io| {
            let key = io.visited(visit)?;
            Ok(valid.then(|| (key, io.begin_probe(key))))
        });
        let reserved = found.await.unwrap_or(Err(Refused::UNKNOWN))?;
        let accept = checked?;
        let headers = &asked.parts.headers;
        let (wire, extensions) = PeerWire::negotiate(&self.config, asked.query, visit.protocol, headers);
        let takeover = match reserved {
            Some((key, Ok(id))) => Takeover::Probe { owner: owner.shard(), key, id, wire },
            _ => Takeover::Refuse,
        };
        self.takeover.replace(Some(takeover));
        Ok(answer::switching_protocols(&accept, extensions, headers))
    }
}

/// What hyper lets through and a proxy in front may read differently: RFC 9112, 3.2 (one `Host`, which names a host) and
/// 6.1 (one `Transfer-Encoding`, and no coding but `chunked`, once: hyper looks at the last one only).
pub(super) fn check_head(uri: &Uri, headers: &HeaderMap, version: Version) -> Result<(), StatusCode> {
    let (mut hosts, mut codings, mut valid) = (0, 0, true);
    // One walk over the few fields there are, instead of a look for each name.
    for (name, value) in headers {
        if name == header::HOST {
            hosts += 1;
            valid &= engine::host::is_valid(value.as_bytes());
        } else if name == header::TRANSFER_ENCODING {
            codings += 1;
            valid &= is_chunked(value);
        }
    }
    if !valid || hosts > 1 || (hosts == 0 && version == Version::HTTP_11) || codings > 1 {
        return Err(StatusCode::BAD_REQUEST);
    }
    let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > MAX_TARGET { Err(StatusCode::URI_TOO_LONG) } else { Ok(()) }
}

/// `chunked`, once, or nothing. RFC 9110, 5.6.1.2: empty elements of a list do not count.
fn is_chunked(codings: &HeaderValue) -> bool {
    let mut codings =
        codings.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|coding| !coding.is_empty());
    codings.next().is_none_or(|coding| coding.eq_ignore_ascii_case(b"chunked")) && codings.next().is_none()
}
