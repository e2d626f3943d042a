//! [`EngineHttp`]: turns a request into its answer.

use std::{
    cell::RefCell,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::{Arc, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header, request::Parts};
use hyper::body::Body;

use super::{
    super::{
        peer::{send_queue::PollBody, wire_format::WireFormat},
        shard::{
            application::Admitting,
            fallback::{BodyError, OtherBody, OtherRequest},
            io::ShardIo,
            opening::Admitted,
            transport::{ActiveTransport, PollingTransport},
            turn::ShardRef,
        },
        shards::{handle::Handle, peer::Peer, session_request::SessionQuery},
        transport::{polling, session_shard::SessionShard, switching::SwitchProtocol},
    },
    hooks,
};
use crate::{
    Config, Handler, Handshake, Protocol, SettingNames,
    error::{ConnectionError, ErrorContext, HandshakeError},
    hooks::{Outcome, Request},
    http::{
        self as engine, Action, Query, Refused, Route,
        admission::{Question, UNAVAILABLE},
        answer,
        head::check_head,
        route::check_websocket,
    },
    session::Transport,
};

/// The service for one connection, or for one request that another server passes on.
pub(in crate::net) struct EngineHttp<H> {
    pub(super) shard: ShardRef<H>,
    pub(super) config: Rc<Config>,
    pub(super) peer: Peer,
    switch: Rc<RefCell<Option<SwitchProtocol>>>,
}

impl<H> Clone for EngineHttp<H> {
    fn clone(&self) -> Self {
        Self {
            shard: self.shard.clone(),
            config: Rc::clone(&self.config),
            peer: self.peer.clone(),
            switch: Rc::clone(&self.switch),
        }
    }
}

/// An answer that is not a refusal, and its relation to a session, which decides which hooks see it.
enum Served {
    /// The first answer of a session.
    First(Response<Bytes>),
    /// A later answer of a session.
    More(Response<Bytes>),
    /// An answer without a session.
    Apart(Response<Bytes>),
}

/// A request for the engine.
#[derive(Clone, Copy)]
struct Asked<'a> {
    parts: &'a Parts,
    /// The headers, with the `Host` that the client sent.
    judged: &'a HeaderMap,
    query: &'a Query<'a>,
    remote: SocketAddr,
}

impl<'a> Asked<'a> {
    const fn request(self) -> Request<'a> {
        let Self { parts: Parts { method, uri, headers, .. }, query, remote, .. } = self;
        Request { method, uri, query, headers, remote }
    }

    /// `client` is [`Asked::client`].
    fn handshake(self, transport: Transport, client: Option<IpAddr>) -> Handshake<'a> {
        let Self { parts: Parts { uri, headers, .. }, remote, .. } = self;
        let protocol = self.query.protocol();
        Handshake { transport, protocol, sid: None, uri, headers, remote, client }
    }

    fn client(self, config: &Config) -> Option<IpAddr> {
        config.trusted_proxies.client(self.remote.ip(), &self.parts.headers)
    }

    /// The value of `Sec-WebSocket-Accept`, if this is a correct WebSocket handshake.
    fn check_websocket(self, body: &impl Body) -> Result<String, Refused> {
        let Parts { method, headers, version, .. } = self.parts;
        check_websocket(method, headers, *version, !body.is_end_stream())
    }

    /// The answer to a GET that speaks `protocol`.
    fn poll(self, body: PollBody, protocol: Protocol) -> answer::Poll<'a> {
        let PollBody { bytes, binary, compress } = body;
        answer::Poll { body: bytes, binary, compress, jsonp: self.query.jsonp_for(protocol) }
    }
}

/// Reads the body of a request that the application answers.
async fn read_other<B>(body: B, max: usize, timeout: Duration) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    // Its length may say enough.
    if body.size_hint().lower() > max as u64 {
        return Err(BodyError::TooLarge);
    }
    match tokio::time::timeout(timeout, polling::read(body, max, max)).await {
        Ok(Ok(Some(body))) => Ok(body),
        Ok(Ok(None) | Err(Refused::TooLarge)) => Err(BodyError::TooLarge),
        Ok(Err(_)) => Err(BodyError::Incomplete),
        Err(_) => Err(BodyError::TimedOut),
    }
}

/// Logs a refusal that is probably a mistake in somebody's configuration, with what to do about it.
fn log_refusal(io: &ShardIo, error: ConnectionError, asked: Asked<'_>) {
    let SettingNames { origins, hosts, allow_eio3 } = io.config.setting_names;
    let headers = asked.judged;
    let host = headers.get(header::HOST).map_or(&[][..], HeaderValue::as_bytes);
    // Another shard may be logging; a panic under the lock leaves the log whole.
    let mut refusals = io.registry.refusals.lock().unwrap_or_else(PoisonError::into_inner);
    match error.context {
        Some(ErrorContext::InvalidOrigin) => {
            let origin = headers.get(header::ORIGIN).map_or(&[][..], HeaderValue::as_bytes);
            if let Some(origin) = refusals.take(origin, io.now) {
                let host: String = String::from_utf8_lossy(host).chars().take(200).collect();
                tracing::warn!(
                    origin,
                    host,
                    "a page of another origin is refused. If it is yours, add the origin to {origins}, or let the proxy \
                     pass on the Host that the browser sent"
                );
            }
        }
        Some(ErrorContext::InvalidHost) => {
            if let Some(host) = refusals.take(host, io.now) {
                tracing::warn!(
                    host,
                    "a request for a foreign host is refused. If the name is yours, add it to {hosts}"
                );
            }
        }
        _ if error.error == HandshakeError::UnsupportedProtocolVersion
            && asked.query.names_v3()
            && refusals.take(b"EIO=3", io.now).is_some() =>
        {
            tracing::warn!(
                "a client of Engine.IO v3 (socket.io-client 2) is refused. If it is yours, set {allow_eio3} to true"
            );
        }
        _ => {}
    }
}

impl<H: Handler + 'static> EngineHttp<H> {
    pub(in crate::net) const fn new(
        shard: ShardRef<H>,
        config: Rc<Config>,
        peer: Peer,
        switch: Rc<RefCell<Option<SwitchProtocol>>>,
    ) -> Self {
        Self { shard, config, peer, switch }
    }

    /// `parts` is borrowed, because a future keeps its arguments in addition to what it makes of them.
    pub(in crate::net) async fn answer<B>(&self, parts: &Parts, body: B) -> Response<Bytes>
    where
        B: Body<Data = Bytes> + Unpin + 'static,
    {
        if let Err(status) = check_head(&parts.uri, &parts.headers, parts.version) {
            return answer::closing(status);
        }
        if !engine::matches_path(&self.config, parts.uri.path()) {
            return self.answer_other(parts, body).await;
        }
        let remote = self.peer.remote;
        let judged = self.config.judged_headers(remote.ip(), &parts.headers);
        if let Some(mut file) = self.file(parts) {
            answer::finish(&mut file, &judged, &self.config);
            return file;
        }
        let query = Query::parse(&parts.uri);
        let asked = Asked { parts, judged: &judged, query: &query, remote };
        let (mut response, hooked) = match self.serve(asked, body).await {
            Ok(Served::First(response)) => {
                self.peer.has_session();
                (response, Some(true))
            }
            Ok(Served::More(response)) => {
                self.peer.has_session();
                (response, Some(false))
            }
            Ok(Served::Apart(response)) => (response, None),
            Err(refused) => (self.refuse(asked, refused), None),
        };
        answer::finish(&mut response, asked.judged, &self.config);
        if let Some(first) = hooked {
            let (headers, request) = (response.headers_mut(), asked.request());
            self.shard.turn(|shard| shard.hooks.change_headers(headers, &request, first));
        }
        response
    }

    /// The file that is asked for, if it is one below the engine's path.
    fn file(&self, parts: &Parts) -> Option<Response<Bytes>> {
        let Config { files, http_compression, .. } = &*self.config;
        if files.is_empty() {
            return None;
        }
        let name = engine::below_path(&self.config, parts.uri.path())?;
        files.answer(&parts.method, name, &parts.headers, http_compression.as_ref())
    }

    /// The application's answer to a request outside the engine's path.
    async fn answer_other<B>(&self, parts: &Parts, body: B) -> Response<Bytes>
    where
        B: Body<Data = Bytes> + Unpin + 'static,
    {
        let (fallback, handle) =
            self.shard.turn(|shard| (shard.fallback.clone(), Handle::new(Arc::clone(&shard.io.registry))));
        let timeout = self.config.body_timeout;
        let body = OtherBody::new(move |max| Box::pin(read_other(body, max, timeout)));
        match fallback.answer(&OtherRequest { parts, remote: self.peer.remote, handle: &handle, body: &body }) {
            Outcome::Ready(response) => response,
            Outcome::Pending(response) => response.await,
        }
    }

    fn refuse(&self, asked: Asked<'_>, refused: Refused) -> Response<Bytes> {
        self.shard.turn(|shard| {
            shard.io.watching.stats.count_refused(refused.reason());
            if let Refused::Coded(error, message) = &refused {
                log_refusal(&shard.io, *error, asked);
                shard.hooks.connection_error(*error, message.as_deref(), asked.request());
            }
        });
        refused.answer(&asked.parts.headers)
    }

    async fn serve<B>(&self, asked: Asked<'_>, body: B) -> Result<Served, Refused>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let Parts { method, headers, .. } = asked.parts;
        match engine::route::route_query(asked.query, method, asked.judged, &self.config)? {
            Route::Preflight => Ok(Served::Apart(answer::preflight(headers, &self.config))),
            Route::Open(Transport::Polling) => Box::pin(self.open_polling(asked)).await.map(Served::First),
            Route::Open(Transport::WebSocket) => Box::pin(self.open_websocket(asked, &body)).await.map(Served::First),
            Route::Session(sid, action) => {
                let query = SessionQuery { sid, action, protocol: asked.query.protocol() };
                self.session(asked, body, query).await.map(Served::More)
            }
        }
    }

    /// Whether this handshake may become a session. Waits for the hooks' answers.
    async fn admit(&self, asked: Asked<'_>, transport: Transport) -> Result<Admitted, Refused> {
        let (shard, request) = (&self.shard, asked.request());
        let (mut admitting, client) = (Admitting::default(), asked.client(&self.config));
        loop {
            shard.turn(|shard| shard.admit(&mut admitting, &asked.handshake(transport, client), asked.query))?;
            if admitting.admission.question() == Question::SidPart {
                return admitting.finish(hooks::generate_id(shard, &request).await, client);
            }
            let verdict = hooks::allow_request(shard, &request).await;
            admitting.admission.verdict(verdict.as_ref().map_err(|panicked| *panicked))?;
        }
    }

    async fn open_polling(&self, asked: Asked<'_>) -> Result<Response<Bytes>, Refused> {
        let admitted = self.admit(asked, Transport::Polling).await?;
        let (protocol, client) = (admitted.terms.protocol, admitted.client);
        let headers = &asked.parts.headers;
        let (sid, poll) = self.shard.turn(|shard| {
            // The server may have begun to shut down while the application decided.
            if shard.io.draining {
                return Err(Refused::from(UNAVAILABLE));
            }
            let takes_binary = asked.query.takes_binary();
            let polling = ActiveTransport::Polling(PollingTransport { takes_binary, ..PollingTransport::default() });
            let (key, sid) = shard.open(admitted, polling, &asked.handshake(Transport::Polling, client));
            let mut poll = asked.poll(shard.io.take_body(key).ok_or(UNAVAILABLE)?, protocol);
            shard.io.limit_compression(&mut poll, headers);
            Ok((sid, poll))
        })?;
        Ok(answer::handshake(poll, &sid.to_string(), headers, &self.config))
    }

    async fn open_websocket(&self, asked: Asked<'_>, body: &impl Body) -> Result<Response<Bytes>, Refused> {
        let accept = asked.check_websocket(body)?;
        let admitted = self.admit(asked, Transport::WebSocket).await?;
        let Parts { uri, headers, .. } = asked.parts;
        let (wire, extensions) = WireFormat::negotiate(&self.config, asked.query, admitted.terms.protocol, headers);
        let opening = Box::new((uri.clone(), headers.clone()));
        self.switch.replace(Some(SwitchProtocol::Open { admitted, wire, opening }));
        Ok(answer::switching_protocols(&accept, extensions, headers))
    }

    async fn session<B>(&self, asked: Asked<'_>, body: B, query: SessionQuery) -> Result<Response<Bytes>, Refused>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let headers = &asked.parts.headers;
        let session = SessionShard::of(&query.sid, &self.shard).ok_or(Refused::UNKNOWN)?;
        match query.action {
            Action::Upgrade => Box::pin(self.begin_upgrade(&session, asked, &body, query)).await,
            Action::Poll => {
                let body = polling::poll(&session, query).await?;
                let mut poll = asked.poll(body, query.protocol);
                if poll.compress && headers.contains_key(header::ACCEPT_ENCODING) {
                    self.shard.turn(|shard| shard.io.limit_compression(&mut poll, headers));
                }
                Ok(poll.answer(headers, &self.config))
            }
            Action::Post => {
                let form = engine::post_body(headers, asked.query, query.protocol);
                Box::pin(polling::post(&session, query, form, body, &self.config)).await?;
                Ok(answer::posted(headers))
            }
            Action::WebSocketWithoutUpgrade | Action::Other => {
                session.find(query).await?;
                // `WebSocketWithoutUpgrade` is invalid in every session.
                Err(Refused::BadRequest)
            }
        }
    }

    async fn begin_upgrade(
        &self,
        session: &SessionShard<'_, H>,
        asked: Asked<'_>,
        body: &impl Body,
        query: SessionQuery,
    ) -> Result<Response<Bytes>, Refused> {
        let checked = asked.check_websocket(body);
        let reserved = session.begin_probe(query, checked.is_ok()).await?;
        let accept = checked?;
        let headers = &asked.parts.headers;
        let (wire, extensions) = WireFormat::negotiate(&self.config, asked.query, query.protocol, headers);
        let switch = match reserved {
            Some(probe) => SwitchProtocol::Probe { shard: session.id(), probe, wire },
            None => SwitchProtocol::Refuse,
        };
        self.switch.replace(Some(switch));
        Ok(answer::switching_protocols(&accept, extensions, headers))
    }
}
