//! A TCP connection and its first bytes: which shard it belongs to, and what it becomes there.
//!
//! The sid in the first request's query names the shard of its session. A connection that came to another shard is
//! passed to that one, with the bytes read so far. This is only an optimisation. If the first bytes are not understood
//! here, hyper reads them, and any shard can serve a request whose session is on another one.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::{
    super::{
        http,
        peer::{stream::PeerStream, unread::Unread},
        shard::{io::ShardIo, turn::ShardRef},
        shards::{
            command::{PassedStream, StreamPurpose},
            connections::ConnectionGuard,
            http_connections::HttpConnectionGuard,
            peer::Peer,
        },
        transport::{upgrade::Probing, websocket::ReadLoop},
    },
    first_request::{self, Answer, First},
};
use crate::{Handler, proxy_protocol, slab::Key};

/// The task of one TCP connection. The state before a WebSocket is on the heap and is freed when the WebSocket begins,
/// so an idle connection has only its read loop.
struct Connection<H> {
    stage: Stage<H>,
    _counted: ConnectionGuard,
}

enum Stage<H> {
    /// Until the connection ends or becomes a WebSocket with a session. The guard is missing if the listener is the
    /// application's.
    Arriving(Pin<Box<dyn Future<Output = Option<ReadLoop<H>>>>>, Option<HttpConnectionGuard>),
    Reading(ReadLoop<H>),
}

impl<H: Handler> Future for Connection<H> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            match &mut this.stage {
                Stage::Reading(read_loop) => return read_loop.poll(cx),
                Stage::Arriving(arriving, http) => {
                    // It is idle, and its descriptor is needed.
                    if http.as_ref().is_some_and(|http| http.must_close(cx.waker())) {
                        return Poll::Ready(());
                    }
                    match ready!(arriving.as_mut().poll(cx)) {
                        Some(read_loop) => this.stage = Stage::Reading(read_loop),
                        None => return Poll::Ready(()),
                    }
                }
            }
        }
    }
}

/// Starts the task of a connection that comes from the listener or from another shard.
pub(in crate::net) fn begin_passed<H: Handler + 'static>(shard: &ShardRef<H>, passed: PassedStream) {
    let PassedStream { stream, remote, early, counted, http, purpose } = passed;
    let stream = match stream.attach() {
        Ok(stream) => stream,
        Err(error) => return tracing::error!(%error, "cannot serve a connection"),
    };
    let (shard, peer) = (shard.clone(), Peer::new(remote, Some(Arc::clone(&http.conn))));
    let arriving: Pin<Box<dyn Future<Output = _>>> = match purpose {
        StreamPurpose::Serve => Box::pin(begin(shard, stream, peer, early)),
        StreamPurpose::Probe(probe, wire) => {
            peer.busy();
            Box::pin(Probing::new(shard, probe, wire, stream, Unread::new(early.into())).run())
        }
    };
    tokio::task::spawn_local(Connection { stage: Stage::Arriving(arriving, Some(http)), _counted: counted });
}

/// Starts the task of a connection; `arriving` is its first part.
#[cfg(feature = "tower")]
pub(in crate::net) fn spawn<H: Handler + 'static>(
    counted: ConnectionGuard,
    arriving: impl Future<Output = Option<ReadLoop<H>>> + 'static,
) {
    tokio::task::spawn_local(Connection { stage: Stage::Arriving(Box::pin(arriving), None), _counted: counted });
}

/// Serves a connection until it is a WebSocket or over. `early` holds the bytes that were read already.
async fn begin<H: Handler + 'static>(
    shard: ShardRef<H>,
    mut stream: PeerStream,
    peer: Peer,
    early: Bytes,
) -> Option<ReadLoop<H>> {
    let (mut peer, mut early) = (peer, early);
    if early.is_empty() && expects_proxy_header(&shard, &peer) {
        // Rare and long futures are boxed, so that they cost the other connections no memory.
        early = Box::pin(read_proxy_header(&shard, &mut stream, &mut peer)).await?;
    }
    #[cfg(feature = "tls")]
    {
        (stream, early) = super::tls::begin(&shard, stream, early, &peer).await?;
    }
    shard.uncongested().await;
    let first = if early.is_empty() {
        let mut waiting = WaitingForFirst(&shard, None);
        // A peer that sends nothing at all is closed without an answer.
        std::future::poll_fn(|cx| poll_first(&shard, &mut stream, &peer, &mut waiting.1, cx)).await?
    } else {
        shard.turn(|shard| first_request::look(shard, &early, &peer))
    };
    match first {
        First::Elsewhere(target, early) => {
            shard.pass_stream(stream, early, &peer, target, StreamPurpose::Serve);
            None
        }
        First::Http(early) => Box::pin(http::plain::serve(shard, stream, early, peer)).await,
        First::Answered(Answer { response, switch, early }) => {
            let written = if response.is_empty() { 0 } else { stream.try_write(&response).unwrap_or_default() };
            if let Some(rest) = response.get(written..).filter(|rest| !rest.is_empty()) {
                Box::pin(write_rest(&shard, &mut stream, rest)).await?;
            }
            match switch {
                Some(switch) => switch.run(shard, stream, early, &peer).await,
                None => {
                    let timeout = shard.turn(|shard| shard.io.config.close_timeout);
                    Box::pin(stream.close_in_stages(timeout)).await;
                    None
                }
            }
        }
    }
}

fn expects_proxy_header<H: Handler>(shard: &ShardRef<H>, peer: &Peer) -> bool {
    shard.turn(|shard| {
        let config = &shard.io.config;
        config.proxy_protocol && config.trusted_proxies.trusts(peer.remote.ip())
    })
}

/// Reads the header of the PROXY protocol, and notes the client that it names. Returns the bytes behind it. `None`: there
/// is no header within `head_timeout`, and the connection is to be closed.
async fn read_proxy_header<H: Handler>(shard: &ShardRef<H>, stream: &mut PeerStream, peer: &mut Peer) -> Option<Bytes> {
    let timeout = shard.turn(|shard| shard.io.config.head_timeout);
    let mut bytes = Vec::new();
    let reading = async {
        loop {
            match proxy_protocol::read(&bytes) {
                Ok(Some(header)) => return Some(header),
                Ok(None) => {}
                Err(error) => {
                    // It says more than a refusal would: what the proxy sends is not what the operator has configured.
                    tracing::warn!(proxy = %peer.remote.ip(), %error);
                    return None;
                }
            }
            let mut buffer = [0; 512];
            let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
            bytes.extend_from_slice(buffer.get(..count)?);
        }
    };
    let header = tokio::time::timeout(timeout, reading).await.ok()??;
    if let Some(client) = header.client {
        peer.remote = client;
        if !shard.turn(|shard| shard.io.config.trusted_proxies.trusts(client.ip())) && !peer.count() {
            return None;
        }
    }
    Some(Bytes::from(bytes).slice(header.len..))
}

/// The first bytes and what they are; `None` when the peer disconnected or sent nothing for `head_timeout`.
fn poll_first<H: Handler>(
    shard: &ShardRef<H>,
    stream: &mut PeerStream,
    peer: &Peer,
    waiting: &mut Option<Key>,
    cx: &mut Context<'_>,
) -> Poll<Option<First>> {
    shard.turn(|shard| {
        // Taken out of the shard, so that the handler can be called while the bytes are borrowed.
        let mut scratch = std::mem::take(&mut shard.scratch);
        let mut buffer = ReadBuf::new(&mut scratch);
        let first = match Pin::new(stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                Poll::Ready(Some(first_request::look(shard, buffer.filled(), peer)))
            }
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => shard.io.await_first(waiting, cx),
        };
        shard.scratch = scratch;
        if let Some(key) = waiting.take_if(|_| first.is_ready()) {
            shard.io.timers.first_bytes.end(key);
        }
        first
    })
}

/// The entry of a connection that waits for its first bytes. The connection may be closed while it waits.
struct WaitingForFirst<'a, H: Handler>(&'a ShardRef<H>, Option<Key>);

impl<H: Handler> Drop for WaitingForFirst<'_, H> {
    fn drop(&mut self) {
        if let Some(key) = self.1 {
            self.0.turn_unless_broken(|shard| shard.io.timers.first_bytes.end(key));
        }
    }
}

impl ShardIo {
    /// Wakes `cx` after `head_timeout`; the wait is over by then.
    fn await_first<T>(&mut self, waiting: &mut Option<Key>, cx: &Context<'_>) -> Poll<Option<T>> {
        let first_bytes = &mut self.timers.first_bytes;
        let key =
            waiting.get_or_insert_with(|| first_bytes.wait(self.now + self.config.head_timeout, cx.waker().clone()));
        if first_bytes.is_waiting(*key) { Poll::Pending } else { Poll::Ready(None) }
    }
}

/// Writes the rest of a response, as long as the peer reads it.
async fn write_rest<H: Handler>(shard: &ShardRef<H>, stream: &mut PeerStream, rest: &[u8]) -> Option<()> {
    let timeout = shard.turn(|shard| shard.io.config.ping_timeout);
    tokio::time::timeout(timeout, stream.write_all(rest)).await.ok()?.ok()
}
