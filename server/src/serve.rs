//! Serving: joins configuration, engine and chat, says where it listens, and ends in order.

use std::{
    future::poll_fn,
    io::Write as _,
    net::SocketAddr,
    sync::Arc,
    task::Poll,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use engineio::{
    OpenPacket,
    hooks::Outcome,
    http::{Cors, CorsOrigins, Origins},
    net::{Running, Server},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    chat::{Chat, Shared},
    config::Config,
    dev,
    http::{self, Readiness},
    logging,
};

/// The longest the connections may take to end, whatever `shutdown.timeout` allows: clients of the source document give up
/// for ever 12.5 s after a loss, so the next process must listen soon.
const DRAIN: Duration = Duration::from_secs(3);

/// The listen queue: a restart brings every client back at once.
const BACKLOG: i32 = 4096;

/// Serves until SIGTERM or SIGINT, then ends every connection; a second signal ends at once.
///
/// # Errors
/// The address cannot be bound, or the operating system gives no threads.
pub(crate) fn run(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _inside = runtime.enter();
    let mut signals =
        Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
    let listener = listen(config.listen).with_context(|| format!("cannot listen on {}", config.listen))?;
    let (config, readiness) = (Arc::new(config), Readiness::default());
    let running = start(&config, &readiness, listener)?;
    logging::warn(&config.warnings);
    announce(&config, running.local_addr())?;
    runtime.block_on(signals.next());
    tracing::info!("shutting down");
    readiness.drain();
    running.shutdown(config.shutdown.timeout.min(DRAIN));
    let mut joined = runtime.spawn_blocking(move || running.join());
    runtime.block_on(async {
        let mut joined = std::pin::Pin::new(&mut joined);
        poll_fn(|cx| match (joined.as_mut().poll(cx), signals.poll_next(cx)) {
            (Poll::Pending, Poll::Pending) => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await;
    });
    // Not waiting for threads: a second signal means now.
    std::process::exit(0);
}

fn listen(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    // A restart must not wait for the last process's connections to be forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn start(config: &Arc<Config>, readiness: &Readiness, listener: std::net::TcpListener) -> std::io::Result<Running> {
    let readiness = readiness.clone();
    let shared = Arc::new(Shared::new(Arc::clone(config), config.workers));
    let socketio = socketio_config(config);
    // Bounded by the configuration, far below.
    let shards = u16::try_from(config.workers).unwrap_or(u16::MAX);
    Server::new(engine_config(config))
        .shards(shards)
        .fallback(move |request| Outcome::Ready(http::answer(request.parts, &readiness)))
        .serve(listener, move || socketio::Server::new(socketio.clone(), Chat::new(Arc::clone(&shared))))
}

fn engine_config(config: &Config) -> engineio::Config {
    let mut engine = engineio::Config::default();
    engine.path = "/socket.io/".to_owned();
    engine.ping_interval = config.engine.ping_interval;
    engine.ping_timeout = config.engine.ping_timeout;
    engine.upgrade_timeout = config.engine.upgrade_timeout;
    engine.max_payload = config.engine.max_payload;
    engine.outbound_soft = config.limits.outbound_soft;
    engine.outbound_hard = config.limits.outbound_hard;
    engine.max_sessions = config.limits.connections;
    engine.open_packet = OpenPacket::WithAnswer;
    if config.http.allow_origin.iter().any(|origin| origin == "*") {
        engine.origins = Origins::Any;
        engine.cors = Some(Cors::default());
    } else {
        engine.origins =
            Origins::Listed { origins: config.http.allow_origin.clone(), own: true, loopback: config.development };
        // Who may talk to the server may read its answers.
        engine.cors = Some(Cors::with_origins(CorsOrigins::Reflect));
    }
    engine
}

fn socketio_config(config: &Config) -> socketio::Config {
    let mut socketio = socketio::Config::default();
    socketio.connect_timeout = match config.limits.connect_timeout {
        // Switched off: longer than any process lives, and far from overflowing the clock.
        Duration::ZERO => Duration::from_secs(100 * 365 * 24 * 3600),
        timeout => timeout,
    };
    socketio.packet.attachment_bytes = config.engine.max_payload;
    socketio
}

/// The lines that scripts and people wait for.
fn announce(config: &Config, address: SocketAddr) -> anyhow::Result<()> {
    let mut lines = format!("listening on http://{address}\n");
    if config.development {
        lines.push_str(&dev::token_lines(&config.auth, SystemTime::now().duration_since(UNIX_EPOCH)?)?);
    }
    // Nobody may be reading standard output; that is no reason not to serve.
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(lines.as_bytes()).and_then(|()| output.flush());
    Ok(())
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn poll_next(&mut self, cx: &mut std::task::Context<'_>) -> Poll<()> {
        match (self.terminate.poll_recv(cx), self.interrupt.poll_recv(cx)) {
            (Poll::Pending, Poll::Pending) => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    async fn next(&mut self) {
        poll_fn(|cx| self.poll_next(cx)).await;
    }
}
