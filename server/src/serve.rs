//! Serving: puts configuration, engine and chat together, says where it listens, and ends in order.

use std::{
    future::poll_fn,
    io::Write as _,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use engineio::{
    OpenPacket,
    http::{Cors, CorsOrigins, Origins},
    net::{Running, Server},
};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    chat::{Chat, Shared},
    config::{Config, Shutdown},
    dev,
    http::{self, Readiness},
    logging,
};

/// The listen queue: a restart brings every client back at once.
const BACKLOG: i32 = 4096;

/// Serves until SIGTERM or SIGINT, then ends every connection; a second signal ends at once. Some threads may still be running
/// when it returns: the caller is to end the process.
///
/// # Errors
/// The address cannot be bound, or the operating system gives no threads.
pub(crate) fn run(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(serve(config));
    // Not waiting for what is left of the threads: a second signal means now.
    runtime.shutdown_background();
    served
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let mut signals =
        Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
    let listener = listen(config.listen).with_context(|| format!("cannot listen on {}", config.listen))?;
    let (config, readiness) = (Arc::new(config), Readiness::default());
    let running = start(&config, &readiness, listener)?;
    logging::warn(&config.warnings);
    announce(&config, running.local_addr())?;
    signals.next().await;
    tracing::info!("shutting down");
    readiness.drain();
    let Shutdown { timeout, drain } = config.shutdown;
    running.shutdown(drain.min(timeout));
    let joined = tokio::task::spawn_blocking(move || running.join());
    match end(joined, signals.next(), timeout).await {
        End::Joined(joined) => joined.context("waiting for the shards")?,
        End::Signal => tracing::info!("a second signal: ending at once"),
        End::Timeout => tracing::warn!("not all shards ended within shutdown.timeout; ending without them"),
    }
    Ok(())
}

/// Why a shutdown is over.
#[derive(Debug, PartialEq, Eq)]
enum End<T> {
    /// All shards have ended.
    Joined(T),
    /// A second signal came.
    Signal,
    /// `shutdown.timeout` is over.
    Timeout,
}

/// Waits for whichever comes first.
async fn end<T>(joined: impl Future<Output = T>, signal: impl Future<Output = ()>, timeout: Duration) -> End<T> {
    let (mut joined, mut signal) = (pin!(joined), pin!(signal));
    let first = poll_fn(|cx| {
        if let Poll::Ready(joined) = joined.as_mut().poll(cx) {
            return Poll::Ready(End::Joined(joined));
        }
        signal.as_mut().poll(cx).map(|()| End::Signal)
    });
    tokio::time::timeout(timeout, first).await.unwrap_or(End::Timeout)
}

fn listen(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    // The next process may listen while connections of the last one are still ending.
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
        .fallback(move |parts, _| http::answer(parts, &readiness))
        .serve(listener, move || socketio::Server::new(socketio.clone(), Chat::new(&shared)))
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
    /// Waits for the next signal of either kind.
    async fn next(&mut self) {
        poll_fn(|cx| match (self.terminate.poll_recv(cx), self.interrupt.poll_recv(cx)) {
            (Poll::Pending, Poll::Pending) => Poll::Pending,
            _ => Poll::Ready(()),
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[test]
    fn a_shutdown_ends_with_the_shards_or_with_a_signal_or_with_its_timeout() {
        const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            assert_eq!(end(ready(1), pending(), NEVER).await, End::Joined(1));
            assert_eq!(end(pending::<i32>(), ready(()), NEVER).await, End::Signal);
            assert_eq!(end(pending::<i32>(), pending(), Duration::from_millis(10)).await, End::Timeout);
        });
    }
}
