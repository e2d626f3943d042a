//! The handshake of TLS, before a connection's first bytes.

use std::{future::poll_fn, io, rc::Rc, sync::Arc, task::Poll};

use bytes::Bytes;
use rustls::ServerConfig;
use tokio::net::TcpStream;

use super::super::{
    peer::{stream::PeerStream, tls::TlsStream},
    shard::turn::ShardRef,
    shards::peer::Peer,
};
use crate::Handler;

/// Begins TLS on a connection that is still plain, where the server wants it. `early` holds the bytes that were read already.
/// Returns the stream, and those that nobody has dealt with. `None`: the connection is to be closed.
pub(super) async fn begin<H: Handler>(
    shard: &ShardRef<H>,
    stream: PeerStream,
    early: Bytes,
    peer: &Peer,
) -> Option<(PeerStream, Bytes)> {
    let config = || shard.turn(|shard| shard.io.registry.tls.as_ref().map(|tls| tls.config()));
    match stream {
        PeerStream::Tcp(tcp) => match config() {
            // Rare and long futures are boxed, so that they cost the other connections no memory.
            Some(config) => Some((Box::pin(shake_hands(shard, tcp, config, early, peer)).await?, Bytes::new())),
            None => Some((PeerStream::Tcp(tcp), early)),
        },
        // It comes from another shard, or from another server.
        stream => Some((stream, early)),
    }
}

/// Shakes hands within `head_timeout`.
async fn shake_hands<H: Handler>(
    shard: &ShardRef<H>,
    tcp: TcpStream,
    config: Arc<ServerConfig>,
    early: Bytes,
    peer: &Peer,
) -> Option<PeerStream> {
    let (timeout, turns) = shard.turn(|shard| (shard.io.config.head_timeout, Rc::clone(&shard.io.handshakes)));
    let shaking = async {
        let mut stream = TlsStream::new(tcp, config)?;
        if early.is_empty() {
            stream.tcp().readable().await?;
        }
        // The first step costs most: it signs. The semaphore is never closed.
        let turn = turns.acquire().await.ok();
        // Sessions that have something to say are read before the next ones begin.
        tokio::task::yield_now().await;
        stream.take_in(&early)?;
        let first = poll_fn(|cx| Poll::Ready(stream.poll_handshake(cx))).await;
        drop((turn, early));
        match first {
            Poll::Ready(done) => done?,
            Poll::Pending => poll_fn(|cx| stream.poll_handshake(cx)).await?,
        }
        io::Result::Ok(stream)
    };
    match tokio::time::timeout(timeout, shaking).await {
        Ok(Ok(stream)) => Some(stream.into()),
        Ok(Err(error)) => {
            tracing::debug!(remote = %peer.remote, %error, "no TLS handshake");
            None
        }
        Err(_) => None,
    }
}
