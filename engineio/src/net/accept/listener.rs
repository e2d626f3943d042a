//! Accepts connections, chooses a shard for each, and continues after the file descriptors ran out.
//!
//! The acceptor is on the first shard. A connection for another shard is sent there as a command, and was never
//! registered with this shard's reactor.

use std::{
    io,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use mio::net::TcpListener;
use tokio::io::{Interest, unix::AsyncFd};

use super::{
    super::{
        peer::stream::DetachedStream,
        shard::turn::ShardRef,
        shards::{
            command::{Command, PassedStream, StreamPurpose},
            http_connections::HttpConnectionGuard,
            registry::Registry,
        },
    },
    connection,
};
use crate::{Config, Handler};

/// How long to wait before the next attempt when the process or the machine has no descriptor left.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How long to wait until their shards have closed them.
const SHORT_BACK_OFF: Duration = Duration::from_millis(2);

/// A socket that this thread waits on. (It is mio's: its `accept` returns a non-blocking stream with one system call.)
pub(in crate::net) fn listen(listener: std::net::TcpListener) -> io::Result<AsyncFd<TcpListener>> {
    listener.set_nonblocking(true)?;
    // Otherwise small packets wait for the peer's delayed acknowledgements. On Linux accepted connections inherit it.
    socket2::SockRef::from(&listener).set_tcp_nodelay(true)?;
    #[expect(deprecated, reason = "its successor is unsafe, for types whose descriptor changes; this one's does not")]
    AsyncFd::with_interest(TcpListener::from_std(listener), Interest::READABLE)
}

/// Accepts forever. Each connection becomes a task on its shard's thread.
pub(in crate::net) async fn accept<H: Handler + 'static>(listener: AsyncFd<TcpListener>, shard: ShardRef<H>) {
    let (id, registry) = shard.turn(|shard| (shard.io.id, Arc::clone(&shard.io.registry)));
    let (mut starved, mut last, mut full) = (false, id, None);
    loop {
        match listener.async_io(Interest::READABLE, TcpListener::accept).await {
            Ok((stream, remote)) => {
                if std::mem::take(&mut starved) {
                    tracing::info!("accepting again");
                }
                if !cfg!(target_os = "linux") {
                    let _ = stream.set_nodelay(true);
                }
                // It may have changed.
                let config = shard.turn(|shard| Rc::clone(&shard.io.config));
                let Some(http) = admit(&registry, &config, remote, &mut full) else { continue };
                last = registry.connections.least_loaded(last);
                let counted = registry.connections.count(last);
                let passed = PassedStream {
                    stream: DetachedStream::Tcp(stream.into()),
                    remote,
                    early: Bytes::new(),
                    counted,
                    http,
                    purpose: StreamPurpose::Serve,
                };
                if last == id {
                    connection::begin_passed(&shard, passed);
                } else {
                    shard.turn(|shard| shard.io.outgoing.push(last, Command::Stream(Box::new(passed))));
                }
            }
            // The peer disconnected before it was accepted, which is not our problem.
            Err(error) if is_peers_fault(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut starved, true) {
                    tracing::error!(%error, "cannot accept; connections wait");
                }
                let closed = registry.http.close_idle(registry.http.share());
                tracing::debug!(closed, "closed idle connections");
                tokio::time::sleep(if closed > 0 { SHORT_BACK_OFF } else { BACK_OFF }).await;
            }
        }
    }
}

/// Counts a new connection. `None`: there are too many, and none that is idle could make room for it.
/// `full` is when a look at all of them last found no room. They are not looked at again for a moment: otherwise that would be the
/// price of each connection that somebody opens.
fn admit(
    registry: &Registry,
    config: &Config,
    remote: SocketAddr,
    full: &mut Option<Instant>,
) -> Option<HttpConnectionGuard> {
    let now = Instant::now();
    let over = match config.max_connections {
        0 => 0,
        max => (registry.connections.total() + 1).saturating_sub(max),
    };
    let was_full = full.is_some_and(|at| now.duration_since(at) < SHORT_BACK_OFF);
    if over > 0 && (was_full || !registry.http.make_room(over)) {
        if !was_full {
            *full = Some(now);
        }
        tracing::debug!(%remote, "closed at once: there are max_connections, and none is idle");
        return None;
    }
    let http = registry.http.add(now);
    let counts = !config.trusted_proxies.trusts(remote.ip());
    (!counts || http.conn.count_for(remote.ip())).then_some(http)
}

fn is_peers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_accepted_connection_does_not_block_and_does_not_delay() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listener = listen(socket).unwrap();
        let _client = std::net::TcpStream::connect(address).unwrap();
        let (stream, _) = listener.async_io(Interest::READABLE, TcpListener::accept).await.unwrap();
        if cfg!(target_os = "linux") {
            assert!(stream.nodelay().unwrap());
        }
        assert!(socket2::SockRef::from(&stream).nonblocking().unwrap());
    }
}
