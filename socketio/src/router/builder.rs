//! [`Router`]: which handlers there are, and the start of the server.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    path::Path,
    sync::Arc,
    time::Duration,
};

use engineio::net;

use super::{
    app::{App, Settings},
    callback::{Callback, Handler, OnAuthorize, OnConnect, OnDisconnect, OnEvent},
    error::EventError,
    extract::Ack,
    io::SocketIo,
    pattern::Pattern,
    routes::{NamespaceRoutes, Routes},
    shard::RouterShard,
    socket::Socket,
    type_map::{Requirements, TypeMap},
};
use crate::{
    adapter::{EventData as RawEvent, ServerReply},
    config::{Config, DynamicNamespaces},
    recovery::{Options, Recovery},
    server::Server,
};

/// A change of the engine's server before it starts.
struct ServerChange(Box<dyn FnOnce(net::Server) -> net::Server + Send>);

impl fmt::Debug for ServerChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerChange").finish_non_exhaustive()
    }
}

/// An application that is being put together. See [the module](super).
#[derive(Debug)]
pub struct Router {
    engine: engineio::Config,
    config: Config,
    settings: Settings,
    shards: u16,
    change: Vec<ServerChange>,
    state: TypeMap,
    namespaces: BTreeMap<String, Namespace>,
}

impl Default for Router {
    fn default() -> Self {
        Self::new()
    }
}

impl Router {
    /// A router with the namespace `/` and no handlers, on the path `/socket.io/`, with one shard.
    #[must_use]
    pub fn new() -> Self {
        let mut engine = engineio::Config::default();
        engine.path = "/socket.io/".to_owned();
        let (config, settings) = (Config::default(), Settings::default());
        let mut router = Self {
            engine,
            config,
            settings,
            shards: 1,
            change: Vec::new(),
            state: TypeMap::default(),
            namespaces: BTreeMap::new(),
        };
        router.of("/");
        router
    }

    /// A namespace, for which handlers are to be added. A name may have parts that vary: `/orders-{id}` stands for all names with
    /// something in place of `{id}` that has no `/`. Clients cannot connect to other namespaces.
    ///
    /// # Panics
    /// When it does not begin with `/`, or its braces are wrong.
    #[expect(clippy::panic, reason = "a mistake of the programmer, found at the start")]
    pub fn of(&mut self, nsp: &str) -> &mut Namespace {
        let pattern = Pattern::parse(nsp).unwrap_or_else(|error| panic!("{error}"));
        self.namespaces.entry(nsp.to_owned()).or_insert_with(|| Namespace::new(pattern))
    }

    /// Gives handlers a value, which they have as [`State<T>`](super::State). There is one of each type.
    pub fn state<T: Clone + Send + Sync + 'static>(&mut self, state: T) -> &mut Self {
        drop(self.state.insert(state));
        self
    }

    /// How many shards, and so threads, serve; see [`net::Server::shards`].
    pub const fn shards(&mut self, shards: u16) -> &mut Self {
        self.shards = shards;
        self
    }

    /// The options of Engine.IO: path, heartbeat, CORS, limits.
    pub const fn engine(&mut self) -> &mut engineio::Config {
        &mut self.engine
    }

    /// The options of Socket.IO. The router sets the names of the namespaces.
    pub const fn config(&mut self) -> &mut Config {
        &mut self.config
    }

    /// Changes the engine's server before it starts: what it answers outside the engine's path ([`net::Server::fallback`]), and who
    /// may open a session and with which id and headers ([`net::Server::hooks`]).
    ///
    /// ```
    /// # use socketio::engineio::hooks::{Hooks, Outcome, Request, Verdict};
    /// # let mut app = socketio::router::Router::new();
    /// struct OnlyWithKey;
    ///
    /// impl Hooks for OnlyWithKey {
    ///     fn allow_request(&mut self, request: &Request<'_>) -> Outcome<Verdict> {
    ///         let has_key = request.headers.contains_key("x-api-key");
    ///         Outcome::Ready(if has_key { Verdict::Allow } else { Verdict::Refuse { message: None } })
    ///     }
    /// }
    ///
    /// app.server(|server| server.hooks(|| OnlyWithKey));
    /// ```
    pub fn server(&mut self, change: impl FnOnce(net::Server) -> net::Server + Send + 'static) -> &mut Self {
        self.change.push(ServerChange(Box::new(change)));
        self
    }

    /// Gives clients whose connection broke for a short time their sockets back, with id, rooms, data, extensions and the events that
    /// they missed ([`recovery`](crate::recovery)). [`Namespace::on_connect`] is called for them too:
    /// [`Socket::is_recovered`] tells. The authorisations are not asked again, unless the options say so.
    pub fn recovery(&mut self, options: Options) -> &mut Self {
        self.config.recovery = Some(Recovery::new(options));
        self
    }

    /// How handlers are treated.
    pub const fn settings(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// Gives browsers the bundles of the official client, at `/socket.io/socket.io.js` and so on. They are read here, from a folder;
    /// see [`client_files`](crate::client_files()).
    ///
    /// # Errors
    /// As [`client_files`](crate::client_files()).
    pub fn serve_client(&mut self, folder: impl AsRef<Path>) -> io::Result<&mut Self> {
        self.engine.files = crate::client_files(folder)?;
        Ok(self)
    }

    /// Starts the server. Connections are accepted when this returns.
    ///
    /// # Errors
    /// When the address cannot be listened on, or as [`Router::serve_on`].
    pub fn serve(self, address: impl ToSocketAddrs) -> io::Result<Running> {
        self.serve_on(TcpListener::bind(address)?)
    }

    /// Starts the server on a listener.
    ///
    /// # Errors
    /// As [`net::Server::serve`]; and when a handler takes a [`State`](super::State) that was not given ([`io::ErrorKind::InvalidInput`]).
    pub fn serve_on(self, listener: TcpListener) -> io::Result<Running> {
        let (engine, shards) = self.build()?;
        let app = Arc::clone(&shards.app);
        let server = engine.serve_with_handle(listener, move |handle| shards.shard(Some(handle)))?;
        Ok(Running { server, io: SocketIo::new(app) })
    }

    /// Starts the server for an application that has its own listener, and makes the service to mount in it.
    ///
    /// # Errors
    /// As [`Router::serve_on`].
    #[cfg(feature = "tower")]
    pub fn attach(self) -> io::Result<(Running, net::EngineService)> {
        let (engine, shards) = self.build()?;
        let app = Arc::clone(&shards.app);
        let (server, service) = engine.attach_with_handle(move |handle| shards.shard(Some(handle)))?;
        Ok((Running { server, io: SocketIo::new(app) }, service))
    }

    /// The application without sockets, for a test with the engine's kit (`engineio::testing`): a handler of one shard. Handlers that
    /// wait are jobs there.
    ///
    /// # Errors
    /// When a handler takes a [`State`](super::State) that was not given.
    pub fn test(self) -> io::Result<(Server<RouterShard>, SocketIo)> {
        let (_, shards) = self.build()?;
        Ok((shards.shard(None), SocketIo::new(Arc::clone(&shards.app))))
    }

    fn build(self) -> io::Result<(net::Server, Shards)> {
        let Self { engine, mut config, settings, shards, change, state, namespaces } = self;
        let server =
            change.into_iter().fold(net::Server::new(engine).shards(shards), |server, change| (change.0)(server));
        let (mut routes, mut names) = (Routes::default(), Vec::new());
        config.namespaces.clear();
        // A socket knows its rooms, whoever made it join them.
        config.room_events = true;
        for (name, namespace) in namespaces {
            if let Some(missing) = namespace.requirements.missing(&state) {
                let error = format!("a handler of {name} takes State<{missing}>, which Router::state was not given");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
            }
            let Namespace { pattern, routes: handlers, .. } = namespace;
            routes.has_outgoing |= !handlers.outgoing.is_empty();
            if pattern.is_literal() {
                config.namespaces.push(name.clone());
                routes.listed.insert(name, Arc::new(handlers));
            } else {
                routes.patterns.push((Arc::new(pattern), Arc::new(handlers)));
                names.push(name);
            }
        }
        let patterns: Vec<_> = routes.patterns.iter().map(|(pattern, _)| Arc::clone(pattern)).collect();
        if !patterns.is_empty() {
            let is_dynamic = move |name: &str| patterns.iter().any(|pattern| pattern.matches(name).is_some());
            config.dynamic_namespaces = Some(DynamicNamespaces::new(is_dynamic));
        }
        Ok((server, Shards { app: Arc::new(App::new(config, settings, state, names)), routes: Arc::new(routes) }))
    }
}

/// Makes the handler of each shard.
struct Shards {
    app: Arc<App>,
    routes: Arc<Routes>,
}

impl Shards {
    fn shard(&self, engine: Option<&net::Handle>) -> Server<RouterShard> {
        if let Some(engine) = engine {
            // Each shard has the same.
            let _ = self.app.engine.set(engine.clone());
        }
        Server::new(self.app.config.clone(), RouterShard::new(Arc::clone(&self.app), Arc::clone(&self.routes)))
    }
}

/// The handlers of a namespace, or of all that fit a pattern. Made by [`Router::of`].
pub struct Namespace {
    pattern: Pattern,
    requirements: Requirements,
    routes: NamespaceRoutes,
}

impl Namespace {
    fn new(pattern: Pattern) -> Self {
        Self { pattern, requirements: Requirements::default(), routes: NamespaceRoutes::default() }
    }

    /// Decides who may connect. The handler returns a `Result<T, E>`: the `T` of a client that may is there for its other handlers
    /// ([`Extension<T>`](super::Extension)); the `E`, which becomes a [`ConnectError`](crate::ConnectError), is sent to a client that may
    /// not (`connect_error`). Several are asked in order, and the first that refuses ends it.
    pub fn authorize<M: 'static>(&mut self, handler: impl Handler<OnAuthorize, M>) -> &mut Self {
        self.routes.authorize.push(Callback::new(handler, &mut self.requirements));
        self
    }

    /// Is called when a socket is connected.
    pub fn on_connect<M: 'static>(&mut self, handler: impl Handler<OnConnect, M>) -> &mut Self {
        self.routes.connect.push(Callback::new(handler, &mut self.requirements));
        self
    }

    /// Is called when a socket is gone.
    pub fn on_disconnect<M: 'static>(&mut self, handler: impl Handler<OnDisconnect, M>) -> &mut Self {
        self.routes.disconnect.push(Callback::new(handler, &mut self.requirements));
        self
    }

    /// Is called when a client sends this event. Several handlers of one event are called in order.
    ///
    /// # Panics
    /// When the name is reserved (`connect`, `disconnect`, ...): no client can send it.
    pub fn on<M: 'static>(&mut self, event: &str, handler: impl Handler<OnEvent, M>) -> &mut Self {
        assert!(!crate::packet::is_reserved(event), "no client can send the event {event:?}: the name is reserved");
        let handler = Callback::new(handler, &mut self.requirements);
        self.routes.events.entry(event.into()).or_default().push(handler);
        self
    }

    /// Is called for each event before its handlers; if it returns an error, they are not called.
    pub fn before<M: 'static>(&mut self, handler: impl Handler<OnEvent, M>) -> &mut Self {
        self.routes.before.push(Callback::new(handler, &mut self.requirements));
        self
    }

    /// Is called for each event, besides its own handlers.
    pub fn on_any<M: 'static>(&mut self, handler: impl Handler<OnEvent, M>) -> &mut Self {
        self.routes.any.push(Callback::new(handler, &mut self.requirements));
        self
    }

    /// Is called for events that have no handler of their own.
    pub fn fallback<M: 'static>(&mut self, handler: impl Handler<OnEvent, M>) -> &mut Self {
        self.routes.fallback.push(Callback::new(handler, &mut self.requirements));
        self
    }

    /// Is called for each event that is sent to sockets of the namespace: once for a broadcast, on the shard that begins it.
    pub fn on_any_outgoing(&mut self, hook: impl Fn(&RawEvent) + Send + Sync + 'static) -> &mut Self {
        self.routes.outgoing.push(Arc::new(hook));
        self
    }

    /// Is called for each event that another server sends to this one ([`Operator::server_side_emit`](super::Operator::server_side_emit)).
    /// With a `ServerReply`, that server waits for an answer. There are other servers only where the configuration has an
    /// [`Adapter`](crate::adapter::Adapter).
    pub fn on_server_event(
        &mut self,
        hook: impl Fn(SocketIo, RawEvent, Option<ServerReply>) + Send + Sync + 'static,
    ) -> &mut Self {
        self.routes.server_event = Some(Arc::new(hook));
        self
    }

    /// Is called when an event was not handled: with the socket, the event's name, the reason, and the way to acknowledge it. Without
    /// this, errors are logged: a client's mistakes at level debug, the application's at level warn.
    pub fn on_error(&mut self, hook: impl Fn(&Socket, &str, &EventError, Ack) + Send + Sync + 'static) -> &mut Self {
        self.routes.error = Some(Arc::new(hook));
        self
    }

    /// Handles the events of one socket in order: the next waits until the handlers of the last are done, also those of
    /// [`Namespace::on_connect`].
    pub const fn ordered(&mut self) -> &mut Self {
        self.routes.ordered = true;
        self
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace")
            .field("pattern", &self.pattern)
            .field("routes", &self.routes)
            .finish_non_exhaustive()
    }
}

/// A running server.
#[derive(Debug)]
pub struct Running {
    server: net::Running,
    io: SocketIo,
}

impl Running {
    /// The address that connections are accepted on; not meaningful after [`Router::attach`].
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// All sockets of the server.
    #[must_use]
    pub fn io(&self) -> SocketIo {
        self.io.clone()
    }

    /// Ends the server: see [`net::Handle::shutdown`]. Clients come back by themselves, when there is a server again.
    pub fn shutdown(&self, within: Duration) {
        self.server.shutdown(within);
    }

    /// Ends the server gradually: see [`net::Handle::drain`]. The sessions of its clients end one after another over this time, so
    /// the servers to which they go next are not asked by all at once.
    pub fn drain(&self, over: Duration) {
        self.server.drain(over);
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// See [`net::Running::join`].
    pub fn join(self) -> Result<(), net::BrokenShard> {
        self.server.join()
    }
}
