//! Sockets, clocks and tasks: the only place of the crate that has them.
//!
//! A server is one or more *shards*. A shard is one thread with a tokio runtime of its own; it owns its connections, their
//! sockets, their timers and one [`Handler`]. Shards share mailboxes and a few counters, nothing else.
//!
//! | file | what it does |
//! |---|---|
//! | `listener`, `arrival` | accepts, backs off, and places; a connection's first bytes, and its task |
//! | `handshake` | a WebSocket handshake in the first bytes, answered without hyper |
//! | `http_edge` | HTTP through hyper; hands WebSockets over |
//! | `plain_http`, `plain_conn` | long-polling without hyper: the task of a connection, and what the shard keeps of it |
//! | `hooked` | the application's hooks |
//! | `tower` | requests that another server passes on |
//! | `patient` | a time limit for peers that do not read a response |
//! | `opening` | from a handshake to a session |
//! | `owner` | the way from a request to the shard of its session |
//! | `polling` | GET and POST of long-polling |
//! | `probe` | the WebSocket of an upgrade |
//! | `websocket`, `peer_wire` | the read loop of a WebSocket; how its peer wants its frames |
//! | `shard`, `conn` | who owns what; events to the handler, closes |
//! | `outbox`, `outq`, `flush` | what a handler sends; what waits for a peer; the writes at the end of a turn |
//! | `driver`, `timers` | the task that ends turns; deadlines |
//! | `mailbox`, `congestion` | letters between shards; what a sender does when they pile up |
//! | `jobs` | work that a handler has done elsewhere |
//! | `counts`, `entropy`, `date` | sessions and connections of all shards; random bytes; the time as HTTP writes it |

mod arrival;
mod congestion;
mod conn;
mod counts;
mod date;
mod driver;
mod entropy;
mod flush;
mod handshake;
mod hooked;
mod http_edge;
mod jobs;
mod listener;
mod mailbox;
mod opening;
mod outbox;
mod outq;
mod owner;
mod patient;
mod peer_wire;
mod plain_conn;
mod plain_http;
mod polling;
mod probe;
mod shard;
mod timers;
#[cfg(feature = "tower")]
mod tower;
mod websocket;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use bytes::Bytes;
use counts::Common;
use driver::Driver;
use hooked::{Hooked, HooksFactory};
use http::{Response, StatusCode, request::Parts};
use mailbox::Letter;
use shard::ShardRef;

#[cfg(feature = "tower")]
pub use tower::EngineService;

use crate::{Config, Handler, hooks::Hooks};

/// The exit code of a process whose shard's state is broken (`EX_SOFTWARE`).
const BROKEN: i32 = 70;

/// Answers requests for paths outside the engine's: method, path and headers, and the peer's address.
#[derive(Clone)]
#[expect(clippy::type_complexity, reason = "this is the definition")]
struct Fallback(Arc<dyn Fn(&Parts, SocketAddr) -> Response<Bytes> + Send + Sync>);

impl std::fmt::Debug for Fallback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fallback").finish_non_exhaustive()
    }
}

impl std::ops::Deref for Fallback {
    type Target = dyn Fn(&Parts, SocketAddr) -> Response<Bytes> + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

/// A server that is not running yet.
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
/// running.join();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Server {
    config: Config,
    fallback: Fallback,
    hooks: Option<HooksFactory>,
    shards: u16,
}

impl Server {
    /// A server of one shard with these limits, which answers 404 outside the engine's path.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let not_found = |_: &Parts, _| {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        };
        Self { config, fallback: Fallback(Arc::new(not_found)), hooks: None, shards: 1 }
    }

    /// How many shards, that is threads, serve. Default 1; 0 counts as 1. One more than the machine has processors gains
    /// nothing.
    #[must_use]
    pub fn shards(mut self, shards: u16) -> Self {
        self.shards = shards.max(1);
        self
    }

    /// Lets `answer` serve the paths outside the engine's. It runs on the shard's thread and must not block.
    #[must_use]
    pub fn fallback(mut self, answer: impl Fn(&Parts, SocketAddr) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        self.fallback = Fallback(Arc::new(answer));
        self
    }

    /// Lets the application say who may connect and with which id, change headers, and hear of refusals. `factory` makes
    /// each shard's hooks, on the shard's own thread; a request meets those of the shard its connection is on. Default:
    /// none, and then most WebSocket handshakes are answered without the HTTP library.
    ///
    /// A panic in a hook that decides refuses the handshake, one in another leaves the answer as it is. What a hook awaits
    /// has no time limit but the client's patience.
    #[must_use]
    pub fn hooks<K: Hooks + 'static>(mut self, factory: impl Fn() -> K + Send + Sync + 'static) -> Self {
        self.hooks = Some(HooksFactory(Arc::new(move || Box::new(factory()))));
        self
    }

    /// Starts serving; connections are accepted when this returns. `factory` makes each shard's handler, on the shard's
    /// own thread.
    ///
    /// # Errors
    /// When the operating system gives no runtime or no thread, `listener` cannot be used, a factory panics, or the
    /// configured cookie cannot stand in a header ([`io::ErrorKind::InvalidInput`]).
    pub fn serve<H: Handler + 'static>(
        self,
        listener: std::net::TcpListener,
        factory: impl Fn() -> H + Send + Sync + 'static,
    ) -> io::Result<Running> {
        let local_addr = listener.local_addr()?;
        self.start(local_addr, Some(listener), factory)
    }

    /// Starts serving the requests that an application with a listener of its own passes on; see [`EngineService`].
    /// [`Running::local_addr`] says nothing then.
    ///
    /// # Errors
    /// As [`Server::serve`].
    #[cfg(feature = "tower")]
    pub fn attach<H: Handler + 'static>(
        self,
        factory: impl Fn() -> H + Send + Sync + 'static,
    ) -> io::Result<(Running, EngineService)> {
        let running = self.start((std::net::Ipv4Addr::UNSPECIFIED, 0).into(), None, factory)?;
        let service = EngineService::new(Arc::clone(&running.common));
        Ok((running, service))
    }

    fn start<H: Handler + 'static>(
        self,
        local_addr: SocketAddr,
        mut listener: Option<std::net::TcpListener>,
        factory: impl Fn() -> H + Send + Sync + 'static,
    ) -> io::Result<Running> {
        if let Some(cookie) = &self.config.cookie {
            cookie.set_cookie("sid").map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        }
        let common = Arc::new(Common::new(self.shards));
        let mut running = Running { local_addr, common, threads: Vec::new() };
        let (started, ready) = mpsc::channel();
        let factory = Arc::new(factory);
        for id in 0..self.shards {
            let seat = Seat {
                id,
                common: Arc::clone(&running.common),
                config: self.config.clone(),
                fallback: self.fallback.clone(),
                hooks: self.hooks.clone(),
                listener: listener.take(),
                started: started.clone(),
            };
            let factory = Arc::clone(&factory);
            let thread = thread::Builder::new().name(format!("shard-{id}")).spawn(move || seat.run(&*factory));
            match thread {
                Ok(thread) => running.threads.push(thread),
                Err(error) => return Err(running.give_up(error)),
            }
        }
        // The threads have the others: when all are gone, no message will come.
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

/// What the thread of one shard begins with.
struct Seat {
    id: u16,
    common: Arc<Common>,
    config: Config,
    fallback: Fallback,
    hooks: Option<HooksFactory>,
    /// The first shard has it.
    listener: Option<std::net::TcpListener>,
    started: mpsc::Sender<io::Result<()>>,
}

impl Seat {
    fn run<H: Handler + 'static>(self, factory: &impl Fn() -> H) {
        let Self { id, common, config, fallback, hooks, listener, started } = self;
        let mut builder = tokio::runtime::Builder::new_current_thread();
        // How many visits to busy peers may pass before the others are looked at: with tokio's own 61, a peer that
        // floods one core makes everybody wait for 61 of its budgets.
        builder.enable_all().event_interval(16);
        let runtime = match builder.build_local(tokio::runtime::LocalOptions::default()) {
            Ok(runtime) => runtime,
            Err(error) => return drop(started.send(Err(error))),
        };
        let ended = runtime.block_on(async {
            let listener = match listener.map(listener::listen).transpose() {
                Ok(listener) => listener,
                Err(error) => {
                    // The receiver waits for this very message, or has given up.
                    let _ = started.send(Err(error));
                    return Ok(());
                }
            };
            let hooks = Hooked::new(hooks.as_ref());
            let shard = ShardRef::new(id, Arc::clone(&common), config, fallback, hooks, factory());
            let accepting = listener
                .map(|listener| tokio::task::spawn_local(listener::accept(listener, shard.clone())).abort_handle());
            let _ = started.send(Ok(()));
            drop(started);
            // A task of its own: tokio would poll it between any two tasks if it were the one that is blocked on.
            tokio::task::spawn_local(Driver::new(shard, accepting).run()).await
        });
        if ended.is_err() {
            tracing::error!("a shard is broken; the process ends");
            std::process::exit(BROKEN);
        }
        if let Some(mailbox) = common.mailboxes.get(usize::from(id)) {
            mailbox.close();
        }
        // A job that blocks must not hold up the end.
        runtime.shutdown_background();
    }
}

/// A server that is running.
#[derive(Debug)]
pub struct Running {
    local_addr: SocketAddr,
    common: Arc<Common>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Running {
    /// The address that connections are accepted on.
    #[must_use]
    pub const fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Stops accepting, ends every session at its transport (so that clients come back by themselves), and stops once
    /// all are gone or `within` is over.
    pub fn shutdown(&self, within: Duration) {
        self.common.close();
        self.common.mailboxes.iter().for_each(|mailbox| mailbox.put(Letter::Shutdown { within }));
    }

    /// Waits until every shard has stopped. A shard whose state is broken ends the process with exit code 70.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                std::process::exit(BROKEN);
            }
        }
    }

    /// Stops the shards that have begun, because another one could not.
    fn give_up(self, error: io::Error) -> io::Error {
        self.shutdown(Duration::ZERO);
        // One that panicked is the reason.
        self.threads.into_iter().for_each(|thread| drop(thread.join()));
        error
    }
}
