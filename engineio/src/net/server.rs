//! [`Server`] and [`Running`]: the shards' threads, from start to end.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, Mutex, PoisonError, mpsc},
    task::Poll,
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::Response;

use super::{
    accept::listener,
    driver::Driver,
    shard::{
        application::Shard,
        fallback::{Fallback, OtherRequest},
        hooks::{CaughtHooks, HooksFactory},
        turn::ShardRef,
    },
    shards::{handle::Handle, registry::Registry},
};
use crate::{
    Config, Handler,
    hooks::{Hooks, Outcome},
};

#[cfg(feature = "tls")]
use super::shards::tls::Tls;

#[cfg(feature = "tower")]
use super::accept::tower::EngineService;

/// A shard's state is unknown, because its code panicked, or because the handler panicked in a call that was for no
/// connection (a flush, a timer). The shard and its connections have ended. The owner of the process decides what
/// happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("shard {shard} is broken: a panic left it in an unknown state")]
pub struct BrokenShard {
    /// The number of the shard.
    pub shard: u16,
}

/// A server that has not been started.
///
/// ```no_run
/// # use engineio::{Config, ConnKey, CloseReason, Handler, Handshake, Message, Outbox, SharedFrame, net::Server};
/// struct Echo;
///
/// impl Handler for Echo {
///     fn on_open(&mut self, _: &mut dyn Outbox, _: ConnKey, _: &Handshake<'_>) {}
///     fn on_message(&mut self, outbox: &mut dyn Outbox, conn: ConnKey, message: Message<'_>) {
///         let packet = engineio::packet::Outbound::Message(message);
///         let _ = outbox.send(conn, &SharedFrame::packet(&packet));
///     }
///     fn on_close(&mut self, _: &mut dyn Outbox, _: ConnKey, _: CloseReason) {}
/// }
///
/// let listener = std::net::TcpListener::bind("127.0.0.1:3000")?;
/// let running = Server::new(Config::default()).serve(listener, || Echo)?;
/// running.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Server {
    config: Config,
    fallback: Fallback,
    hooks: Option<HooksFactory>,
    shards: u16,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

impl Server {
    /// A server with one shard and these options, which answers 404 outside the engine's path.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            fallback: Fallback::default(),
            hooks: None,
            shards: 1,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// How many shards, and so threads, serve. Default 1; 0 counts as 1. More shards than processors gain nothing.
    #[must_use]
    pub fn shards(mut self, shards: u16) -> Self {
        self.shards = shards.max(1);
        self
    }

    /// Serves TLS instead of plain TCP on the listener. ALPN is the configuration's: it should name `http/1.1` and nothing else. A
    /// handshake has [`Config::head_timeout`]; until it is done the connection counts as any other without a session. With
    /// [`Config::proxy_protocol`] the header comes before the handshake. [`Handle::set_tls`] replaces the configuration.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, config: Arc<rustls::ServerConfig>) -> Self {
        self.tls = Some(Tls::new(config));
        self
    }

    /// Sets the function that answers requests outside the engine's path, at once or later ([`Outcome`]). It runs on a
    /// shard's thread and must not block. A pending answer has no time limit; it ends when the client disconnects. The body of a
    /// request is read only if the function asks for it ([`OtherBody`](super::OtherBody)).
    #[must_use]
    pub fn fallback(
        mut self,
        answer: impl Fn(&OtherRequest<'_>) -> Outcome<Response<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        self.fallback = Fallback::new(answer);
        self
    }

    /// Sets the application's hooks, which decide who may connect and with which id, change headers, and are told of
    /// refusals. `factory` makes each shard's hooks, on the shard's own thread; a request uses those of the shard its
    /// connection is on. Default: none. Without hooks most WebSocket handshakes are answered without hyper.
    ///
    /// A panic in a hook that decides refuses the handshake; a panic in any other hook leaves the answer unchanged. A
    /// pending hook has no time limit; it ends when the client disconnects.
    #[must_use]
    pub fn hooks<K: Hooks + 'static>(mut self, factory: impl Fn() -> K + Send + Sync + 'static) -> Self {
        self.hooks = Some(HooksFactory(Arc::new(move || Box::new(factory()))));
        self
    }

    /// Starts the server; connections are accepted when this returns. `factory` makes each shard's handler, on the
    /// shard's own thread.
    ///
    /// # Errors
    /// When the operating system cannot provide a runtime or a thread, `listener` cannot be used, a factory panics, or
    /// the configuration contradicts itself ([`io::ErrorKind::InvalidInput`], with the
    /// [`ConfigError`](crate::ConfigError) of [`Config::validate`] inside).
    pub fn serve<H: Handler + 'static>(
        self,
        listener: std::net::TcpListener,
        factory: impl Fn() -> H + Send + Sync + 'static,
    ) -> io::Result<Running> {
        self.serve_with_handle(listener, move |_| factory())
    }

    /// [`Server::serve`] with a factory that gets the server's handle, for handlers that send messages to shards from elsewhere.
    ///
    /// # Errors
    /// As [`Server::serve`].
    pub fn serve_with_handle<H: Handler + 'static>(
        self,
        listener: std::net::TcpListener,
        factory: impl Fn(&Handle) -> H + Send + Sync + 'static,
    ) -> io::Result<Running> {
        let local_addr = listener.local_addr()?;
        self.start(local_addr, Some(listener), factory)
    }

    /// Starts the server for an application that has its own listener and passes requests on; see [`EngineService`].
    /// [`Running::local_addr`] is not meaningful then.
    ///
    /// # Errors
    /// As [`Server::serve`].
    #[cfg(feature = "tower")]
    pub fn attach<H: Handler + 'static>(
        self,
        factory: impl Fn() -> H + Send + Sync + 'static,
    ) -> io::Result<(Running, EngineService)> {
        self.attach_with_handle(move |_| factory())
    }

    /// [`Server::attach`] with a factory that gets the server's handle.
    ///
    /// # Errors
    /// As [`Server::serve`].
    #[cfg(feature = "tower")]
    pub fn attach_with_handle<H: Handler + 'static>(
        self,
        factory: impl Fn(&Handle) -> H + Send + Sync + 'static,
    ) -> io::Result<(Running, EngineService)> {
        let running = self.start((std::net::Ipv4Addr::UNSPECIFIED, 0).into(), None, factory)?;
        let service = EngineService::new(running.handle());
        Ok((running, service))
    }

    fn start<H: Handler + 'static>(
        self,
        local_addr: SocketAddr,
        mut listener: Option<std::net::TcpListener>,
        factory: impl Fn(&Handle) -> H + Send + Sync + 'static,
    ) -> io::Result<Running> {
        self.config.validate().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let registry = Registry::new(self.shards, self.config.max_pending);
        #[cfg(feature = "tls")]
        let registry = registry.with_tls(self.tls);
        let registry = Arc::new(registry);
        let (ended, ends) = mpsc::channel();
        let mut running = Running { local_addr, registry, threads: Vec::new(), ends: Mutex::new(ends) };
        let (started, ready) = mpsc::channel();
        let factory = Arc::new(factory);
        for id in 0..self.shards {
            let thread = ShardThread {
                id,
                registry: Arc::clone(&running.registry),
                config: self.config.clone(),
                fallback: self.fallback.clone(),
                hooks: self.hooks.clone(),
                listener: listener.take(),
                started: started.clone(),
            };
            let (factory, ended) = (Arc::clone(&factory), ended.clone());
            let spawned = thread::Builder::new().name(format!("shard-{id}")).spawn(move || {
                let result = thread.run(&*factory);
                // The receiver may be gone.
                let _ = ended.send(result);
            });
            match spawned {
                Ok(thread) => running.threads.push(thread),
                Err(error) => return Err(running.give_up(error)),
            }
        }
        // The threads hold the other senders: when all are gone, no message will come.
        drop(started);
        for _ in 0..self.shards {
            let result = ready.recv().unwrap_or_else(|_| Err(io::Error::other("a shard ended before it began")));
            if let Err(error) = result {
                return Err(running.give_up(error));
            }
        }
        Ok(running)
    }
}

/// What the thread of one shard starts with.
struct ShardThread {
    id: u16,
    registry: Arc<Registry>,
    config: Config,
    fallback: Fallback,
    hooks: Option<HooksFactory>,
    /// Only the first shard has it.
    listener: Option<std::net::TcpListener>,
    started: mpsc::Sender<io::Result<()>>,
}

impl ShardThread {
    fn run<H: Handler + 'static>(self, factory: &impl Fn(&Handle) -> H) -> Result<(), BrokenShard> {
        let (id, registry) = (self.id, Arc::clone(&self.registry));
        let result = catch_unwind(AssertUnwindSafe(|| self.serve(factory)));
        registry.end(id);
        result.unwrap_or(Err(BrokenShard { shard: id }))
    }

    fn serve<H: Handler + 'static>(self, factory: &impl Fn(&Handle) -> H) -> Result<(), BrokenShard> {
        let Self { id, registry, config, fallback, hooks, listener, started } = self;
        let mut builder = tokio::runtime::Builder::new_current_thread();
        // How many tasks of busy peers may run before the reactor is polled again. With tokio's default of 61, a peer
        // that floods one core makes every other peer wait for 61 of its budgets.
        builder.enable_all().event_interval(16);
        let runtime = match builder.build_local(tokio::runtime::LocalOptions::default()) {
            Ok(runtime) => runtime,
            Err(error) => {
                // The receiver is waiting for this message, or has given up.
                let _ = started.send(Err(error));
                return Ok(());
            }
        };
        let result = runtime.block_on(async {
            let listener = match listener.map(listener::listen).transpose() {
                Ok(listener) => listener,
                Err(error) => {
                    let _ = started.send(Err(error));
                    return Ok(());
                }
            };
            let hooks = CaughtHooks::new(hooks.as_ref());
            let handler = factory(&Handle::new(Arc::clone(&registry)));
            let shard = ShardRef::new(Shard::new(id, registry, config, fallback, hooks, handler));
            let accepting = listener
                .map(|listener| tokio::task::spawn_local(listener::accept(listener, shard.clone())).abort_handle());
            let _ = started.send(Ok(()));
            drop(started);
            // The driver gets a task of its own: `block_on` would poll it between any two other tasks.
            let driver = tokio::task::spawn_local(Driver::new(shard.clone(), accepting).run());
            let (mut broken, mut driver) = (pin!(shard.breaks()), pin!(driver));
            poll_fn(|cx| match (broken.as_mut().poll(cx), driver.as_mut().poll(cx)) {
                (Poll::Pending, Poll::Pending) => Poll::Pending,
                (Poll::Pending, Poll::Ready(Ok(()))) => Poll::Ready(Ok(())),
                _ => Poll::Ready(Err(BrokenShard { shard: id })),
            })
            .await
        });
        if result.is_err() {
            tracing::error!(shard = id, "a shard is broken; its connections end");
        }
        // A blocking job must not delay the end.
        runtime.shutdown_background();
        result
    }
}

/// A running server.
#[derive(Debug)]
pub struct Running {
    local_addr: SocketAddr,
    registry: Arc<Registry>,
    threads: Vec<thread::JoinHandle<()>>,
    /// How each shard ended.
    ends: Mutex<mpsc::Receiver<Result<(), BrokenShard>>>,
}

impl Running {
    /// The address that connections are accepted on.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// A handle with which any thread reaches the shards.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle::new(Arc::clone(&self.registry))
    }

    /// See [`Handle::shutdown`].
    pub fn shutdown(&self, within: Duration) {
        self.registry.shut_down(within);
    }

    /// See [`Handle::drain`].
    pub fn drain(&self, over: Duration) {
        self.registry.drain(over);
    }

    /// Waits until every shard has stopped, or one is broken.
    ///
    /// # Errors
    /// The first shard that broke. The others are still running then, but nobody can wait for them any more: a [`Handle`] can shut
    /// them down. If it was shard 0, which accepts, no new connection is accepted.
    pub fn join(self) -> Result<(), BrokenShard> {
        let ends = self.ends.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Each thread sends one result.
        for _ in &self.threads {
            ends.recv().unwrap_or(Ok(()))?;
        }
        // All threads are about to end. After this none of their values is left, such as those that the factory holds.
        self.threads.into_iter().for_each(|thread| drop(thread.join()));
        Ok(())
    }

    /// Stops the shards that have started, because another one could not start.
    fn give_up(self, error: io::Error) -> io::Error {
        self.shutdown(Duration::ZERO);
        // If a thread panicked, that is the reason.
        self.threads.into_iter().for_each(|thread| drop(thread.join()));
        error
    }
}
