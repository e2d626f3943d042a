//! Serving: puts configuration, engine and chat together, says where it listens, and ends in order.

use std::{
    future::poll_fn,
    io::Write as _,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use engineio::{
    ShardMessage,
    net::{Handle, Running, Server},
};
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    admin,
    chat::{AliveCheck, Chat, Shared},
    config::{Config, Shutdown, StoreKind},
    descriptors, dev, engine,
    http::{self, Api, Port, Readiness, Site},
    logging,
    reload::{Loaded, Reloader, Source},
    store::{ShardAnswers, SqliteStore, Store},
    tls,
    webhooks::Webhooks,
};

/// How long the shards may take to pass the last answers of the store on.
const TOLD_WITHIN: Duration = Duration::from_millis(500);

/// How long the end of the process may wait for webhooks that are not sent yet.
const LAST_WEBHOOKS: Duration = Duration::from_secs(2);

/// The listen queue: a restart brings every client back at once.
const BACKLOG: i32 = 4096;

/// Serves until SIGTERM, SIGINT, or SIGHUP of a terminal that is gone, then ends every connection; a second signal ends at once. Any
/// other SIGHUP has the configuration read again. Some threads may still be running when it returns: the caller is to end the
/// process.
///
/// # Errors
/// The address cannot be bound, the operating system gives no threads, or a shard is broken ([`engineio::net::BrokenShard`]).
pub(crate) fn run(loaded: Loaded, source: Source) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = runtime.block_on(serve(loaded, source));
    // Not waiting for what is left of the threads: a second signal means now.
    runtime.shutdown_background();
    served
}

async fn serve(loaded: Loaded, source: Source) -> anyhow::Result<()> {
    let given = &loaded.config;
    let mut signals = Signals::listen()?;
    let listener = listen(given.listen).with_context(|| format!("cannot listen on {}", given.listen))?;
    let listen_admin =
        |address| listen(address).with_context(|| format!("cannot listen on {address} (http.admin_listen)"));
    let admin = given.http.admin_listen.map(listen_admin).transpose()?;
    let connections = descriptors::raise(given.workers);
    let config = Arc::new(engine::effective(given.clone(), connections));
    let answers = ShardAnswers::default();
    let store = open_store(&config, &answers)?;
    let readiness = Readiness::new(store.as_ref().map(|store| Arc::clone(store.health())));
    let webhooks = Webhooks::start(&config.webhooks).map_err(anyhow::Error::msg)?;
    let verifier = loaded.verifier.clone().with_jwks(&config.auth, None)?;
    let shared = Shared::new(Arc::clone(&config), config.workers, store.clone());
    let shared = Arc::new(shared.checking_by(verifier).with_webhooks(webhooks.clone()));
    let api = Api::new(&config, shared.api());
    let site = || Site::new(readiness.clone(), Arc::clone(&shared), api.clone(), webhooks.clone());
    let engine = engine(&config, site(), connections, loaded.tls.as_ref());
    let running = start(engine, &config, Arc::clone(&shared), answers, listener)?;
    let shards = running.handle();
    let start_admin = |listener| {
        let site = site();
        admin::start(listener, shards.clone(), shared.config(), move |request| {
            http::answer(request, &site, Port::Admin)
        })
    };
    let admin = admin.map(start_admin).transpose()?;
    logging::warn(&config.warnings());
    announce(&config, running.local_addr(), admin.as_ref().map(Running::local_addr))?;
    tell_systemd(NotifyState::Ready);
    let mut reloader = Reloader::new(source, loaded, connections, (shared, api, webhooks.clone()), shards.clone());
    let mut joined = pin!(tokio::task::spawn_blocking(move || running.join()));
    let name = loop {
        match next_event(joined.as_mut(), signals.next()).await {
            // Nobody told the shards to end.
            Event::Joined(result) => return Ok(result??),
            Event::Signal(RELOAD) => reloader.reload().await,
            Event::Signal(name) => break name,
        }
    };
    tracing::info!(signal = name, "shutting down");
    tell_systemd(NotifyState::Stopping);
    readiness.drain();
    let Shutdown { timeout, drain } = config.shutdown;
    let ended = async {
        if let Some(store) = store {
            flush(store, &shards).await;
        }
        shards.shutdown(drain.min(timeout));
        let joined = joined.await;
        let _ = tokio::task::spawn_blocking(move || webhooks.close(LAST_WEBHOOKS)).await;
        joined
    };
    match tokio::time::timeout(timeout, next_event(pin!(ended), signals.next_end())).await {
        Ok(Event::Joined(result)) => result??,
        Ok(Event::Signal(name)) => tracing::info!(signal = name, "a second signal: ending at once"),
        Err(_) => tracing::warn!("not everything ended within shutdown.timeout; ending without it"),
    }
    Ok(())
}

/// Opens the store that the configuration names, unless that is memory.
fn open_store(config: &Config, answers: &ShardAnswers) -> anyhow::Result<Option<Arc<dyn Store>>> {
    match config.store.kind {
        StoreKind::Memory => Ok(None),
        StoreKind::Sqlite => {
            let store = SqliteStore::open(&config.data_dir, &config.store, config.recovery.max_disconnection, || {
                answers.clone()
            })?;
            Ok(Some(Arc::new(store)))
        }
    }
}

/// Closes the store: what it has accepted is stored, and senders hear of it while they are still connected. From then on another
/// process may open it.
async fn flush(store: Arc<dyn Store>, shards: &Handle) {
    // Ends early only where the store panicked, which says so itself.
    let _ = tokio::task::spawn_blocking(move || store.close()).await;
    // The answers lie in front of the shards; a shard that has answered this has dealt with them.
    let told = async {
        for shard in 0..shards.shards() {
            let _ = shards.ask(shard, |reply| ShardMessage::new(AliveCheck(reply))).await;
        }
    };
    let _ = tokio::time::timeout(TOLD_WITHIN, told).await;
}

/// What a server waits for.
#[derive(Debug, PartialEq, Eq)]
enum Event<T> {
    /// All shards have ended, or one is broken.
    Joined(T),
    /// This signal came.
    Signal(&'static str),
}

/// Waits for whichever comes first.
async fn next_event<T>(
    mut joined: Pin<&mut impl Future<Output = T>>,
    signal: impl Future<Output = &'static str>,
) -> Event<T> {
    let mut signal = pin!(signal);
    poll_fn(|cx| match joined.as_mut().poll(cx) {
        Poll::Ready(joined) => Poll::Ready(Event::Joined(joined)),
        Poll::Pending => signal.as_mut().poll(cx).map(Event::Signal),
    })
    .await
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

/// The engine, ready to start.
fn engine(config: &Config, site: Site, connections: Option<usize>, tls: Option<&tls::Served>) -> Server {
    let port = if config.http.admin_listen.is_some() { Port::Public } else { Port::Only };
    // Bounded by the configuration, far below.
    let shards = u16::try_from(config.workers).unwrap_or(u16::MAX);
    let mut engine = engine::config(config);
    engine.max_connections = connections.unwrap_or(0);
    let server = Server::new(engine).shards(shards).fallback(move |request| http::answer(request, &site, port));
    match tls {
        Some(tls) => server.tls(Arc::clone(&tls.config)),
        None => server,
    }
}

fn start(
    engine: Server,
    config: &Config,
    shared: Arc<Shared>,
    answers: ShardAnswers,
    listener: std::net::TcpListener,
) -> std::io::Result<Running> {
    let socketio = engine::socketio_config(config);
    engine.serve_with_handle(listener, move |handle| {
        answers.connect(handle);
        socketio::Server::new(socketio.clone(), Chat::new(&shared))
    })
}

/// The lines that scripts and people wait for.
fn announce(config: &Config, address: SocketAddr, admin: Option<SocketAddr>) -> anyhow::Result<()> {
    let scheme = if config.tls.cert.is_some() { "https" } else { "http" };
    let mut lines = format!("listening on {scheme}://{address}\n");
    if let Some(admin) = admin {
        lines.push_str(&format!("admin on http://{admin}\n"));
    }
    if config.development {
        lines.push_str(&dev::token_lines(&config.auth, SystemTime::now().duration_since(UNIX_EPOCH)?)?);
    }
    // Nobody may be reading standard output; that is no reason not to serve.
    let mut output = std::io::stdout().lock();
    let _ = output.write_all(lines.as_bytes()).and_then(|()| output.flush());
    Ok(())
}

/// Says to systemd, if that has started this process and asks (`Type=notify`), what it does.
fn tell_systemd(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "systemd cannot be told");
    }
}

/// What [`Signals::next`] calls a SIGHUP that asks for the configuration to be read again.
const RELOAD: &str = "reload";

/// The signals that the process waits for.
struct Signals {
    /// Those that end it, by their names.
    ends: Vec<(&'static str, Signal)>,
    hangup: Signal,
    /// Whether its terminal's end is its own.
    needs_terminal: bool,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        // Before SIGHUP is listened for. Under `nohup` the process is to stay when its terminal closes.
        let needs_terminal = has_terminal() && !is_hangup_ignored();
        let ends = vec![("SIGTERM", signal(SignalKind::terminate())?), ("SIGINT", signal(SignalKind::interrupt())?)];
        Ok(Self { ends, hangup: signal(SignalKind::hangup())?, needs_terminal })
    }

    /// Waits for the next signal that ends the process.
    async fn next_end(&mut self) -> &'static str {
        loop {
            match self.next().await {
                RELOAD => {}
                name => return name,
            }
        }
    }

    /// Waits for the next signal of any kind.
    async fn next(&mut self) -> &'static str {
        poll_fn(|cx| {
            let mut came =
                self.ends.iter_mut().filter_map(|(name, signal)| signal.poll_recv(cx).is_ready().then_some(*name));
            if let Some(name) = came.next() {
                return Poll::Ready(name);
            }
            // A terminal closes, and so ends what it started: not without telling the clients. Where it is still there, or where
            // there never was one, somebody sent the signal.
            let needs_terminal = self.needs_terminal;
            self.hangup.poll_recv(cx).map(|_| if needs_terminal && !has_terminal() { "SIGHUP" } else { RELOAD })
        })
        .await
    }
}

/// Whether the process has a terminal that is not closed.
fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// Whether whoever started the process had it ignore SIGHUP.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // A mask, in which signal 1 is the lowest bit.
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[test]
    fn the_end_of_the_shards_counts_before_a_signal() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            assert_eq!(next_event(pin!(ready(1)), pending()).await, Event::Joined(1));
            assert_eq!(next_event(pin!(ready(1)), ready("SIGTERM")).await, Event::Joined(1));
            assert_eq!(next_event(pin!(pending::<i32>()), ready("SIGTERM")).await, Event::Signal("SIGTERM"));
        });
    }
}
