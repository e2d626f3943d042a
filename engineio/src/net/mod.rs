//! Sockets, clocks and tasks: the only place of the crate that has them.
//!
//! A server is one or more *shards*. A shard is one thread with a tokio runtime of its own; it owns its connections, their
//! sockets, their timers and one [`Handler`], and nothing of it is shared or locked. This version runs one shard; where
//! several will meet (placing of connections, sids that name their shard, the mailbox) is laid already.
//!
//! | file | what it does |
//! |---|---|
//! | `listener` | accepts, and backs off |
//! | `http_edge` | HTTP through hyper; hands WebSockets over |
//! | `patient` | a time limit for peers that do not read a response |
//! | `polling` | GET and POST of long-polling |
//! | `probe` | the WebSocket of an upgrade |
//! | `websocket` | the read loop of a WebSocket |
//! | `shard`, `conn` | who owns what; events to the handler, closes |
//! | `outbox`, `outq`, `flush` | what a handler sends; what waits for a peer; the end-of-turn write, and the driver task |
//! | `timers`, `inbox`, `entropy` | deadlines, orders from other threads, random bytes |

mod conn;
mod entropy;
mod flush;
mod http_edge;
mod inbox;
mod listener;
mod outbox;
mod outq;
mod patient;
mod polling;
mod probe;
mod shard;
mod timers;
mod websocket;

use std::{io, net::SocketAddr, rc::Rc, sync::Arc, thread, time::Duration};

use bytes::Bytes;
use http::{Response, StatusCode, request::Parts};
use inbox::{Command, Mailbox};
use shard::ShardRef;

use crate::{Config, Handler};

/// The exit code of a process whose shard's state is broken (`EX_SOFTWARE`).
const BROKEN: i32 = 70;

/// Answers requests for paths outside the engine's: method, path and headers, and the peer's address.
#[derive(Clone)]
#[expect(clippy::type_complexity, reason = "this is the definition")]
struct Fallback(Arc<dyn Fn(&Parts, SocketAddr) -> Response<Bytes> + Send + Sync>);

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
pub struct Server {
    config: Config,
    fallback: Fallback,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Server {
    /// A server with these limits, which answers 404 outside the engine's path.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let not_found = |_: &Parts, _| {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        };
        Self { config, fallback: Fallback(Arc::new(not_found)) }
    }

    /// Lets `answer` serve the paths outside the engine's. It runs on the shard's thread and must not block.
    #[must_use]
    pub fn fallback(mut self, answer: impl Fn(&Parts, SocketAddr) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        self.fallback = Fallback(Arc::new(answer));
        self
    }

    /// Starts serving; connections are accepted when this returns. `factory` makes the handler on the shard's thread.
    ///
    /// # Errors
    /// When the operating system gives no runtime or no thread, or `listener` cannot be used.
    pub fn serve<H: Handler + 'static>(
        self,
        listener: std::net::TcpListener,
        factory: impl FnOnce() -> H + Send + 'static,
    ) -> io::Result<Running> {
        let local_addr = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let (mailbox, inbox) = inbox::channel();
        let (started, ready) = std::sync::mpsc::channel();
        let body = move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            // How many visits to busy peers may pass before the others are looked at: with tokio's own 61, a peer that
            // floods one core makes everybody wait for 61 of its budgets.
            builder.enable_all().event_interval(16);
            let runtime = match builder.build_local(tokio::runtime::LocalOptions::default()) {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            let config = Rc::new(self.config);
            runtime.block_on(async move {
                let listener = match tokio::net::TcpListener::from_std(listener) {
                    Ok(listener) => listener,
                    Err(error) => return drop(started.send(Err(error))),
                };
                let shard = ShardRef::new(0, config, factory());
                let accepting = tokio::task::spawn_local(listener::accept(listener, shard.clone(), self.fallback));
                // The receiver waits for this very message.
                let _ = started.send(Ok(()));
                flush::drive(shard, inbox, || accepting.abort()).await;
            });
        };
        let thread = thread::Builder::new().name("shard-0".to_owned()).spawn(body)?;
        ready.recv().unwrap_or_else(|_| Err(io::Error::other("the shard ended before it began")))?;
        Ok(Running { local_addr, mailbox, thread })
    }
}

/// A server that is running.
#[derive(Debug)]
pub struct Running {
    local_addr: SocketAddr,
    mailbox: Mailbox,
    thread: thread::JoinHandle<()>,
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
        self.mailbox.send(Command::Shutdown { within });
    }

    /// Waits until the server has stopped. A shard that panicked ends the process with exit code 70: its state is broken.
    pub fn join(self) {
        if self.thread.join().is_err() {
            std::process::exit(BROKEN);
        }
    }
}
