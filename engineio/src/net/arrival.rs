//! A TCP connection and its first bytes: which shard it belongs to, and what goes on there.
//!
//! The sid in the first request's query names the shard of its session; a connection that came to another one is handed
//! over whole, with the bytes read so far. That is only the short way: whatever is not understood here is for hyper to
//! read from the first byte on, and a request whose session is elsewhere is served from any shard.

use std::{
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use http::Uri;
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
};

use super::{
    counts::Connected,
    http_edge::{self, MAX_HEAD, MAX_HEADERS, hand_over},
    mailbox::{Errand, Handover},
    probe::Probing,
    shard::{Io, ShardRef},
    websocket::ReadLoop,
};
use crate::{Handler, http::named_sid};

/// A connection as the operating system gave it, or another shard.
pub(super) fn take_over<H: Handler + 'static>(shard: &ShardRef<H>, handover: Handover) {
    let Handover { stream, remote, early, connected, errand } = handover;
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => return tracing::error!(%error, "a connection is lost"),
    };
    let shard = shard.clone();
    match errand {
        Errand::Serve => drop(tokio::task::spawn_local(serve(shard, stream, remote, early, connected))),
        Errand::Probe(key, id) => drop(tokio::task::spawn_local(async move {
            let probing = Probing::new(shard, key, id, stream, early);
            run(Box::pin(probing.run()).await, connected).await;
        })),
    }
}

/// Serves a connection to its end, whatever it turns out to be. `early`: what was read of it already.
async fn serve<H: Handler + 'static>(
    shard: ShardRef<H>,
    stream: TcpStream,
    remote: SocketAddr,
    early: Vec<u8>,
    connected: Connected,
) {
    // On the heap, and gone before a WebSocket lives on: an idle connection must not carry hyper's state.
    run(Box::pin(begin(shard, stream, remote, early)).await, connected).await;
}

async fn run<H: Handler>(read_loop: Option<ReadLoop<H>>, connected: Connected) {
    if let Some(read_loop) = read_loop {
        read_loop.run().await;
    }
    drop(connected);
}

async fn begin<H: Handler + 'static>(
    shard: ShardRef<H>,
    mut stream: TcpStream,
    remote: SocketAddr,
    mut early: Vec<u8>,
) -> Option<ReadLoop<H>> {
    shard.uncongested().await;
    if early.is_empty() {
        let patience = shard.turn(|shard| shard.io.config.head_timeout);
        let first = std::future::poll_fn(|cx| poll_first(&shard, &mut stream, cx));
        // A peer that says nothing at all is closed without a word.
        early = tokio::time::timeout(patience, first).await.ok()??;
        if let Some(target) = shard.turn(|shard| shard.io.owner_elsewhere(&early)) {
            hand_over(&shard, stream, early, remote, target, Errand::Serve);
            return None;
        }
    }
    http_edge::serve(shard, stream, early, remote).await
}

/// The first bytes; `None` when the peer is gone.
fn poll_first<H: Handler>(shard: &ShardRef<H>, stream: &mut TcpStream, cx: &mut Context<'_>) -> Poll<Option<Vec<u8>>> {
    shard.turn(|shard| {
        let mut buffer = ReadBuf::new(&mut shard.scratch);
        let read = Pin::new(stream).poll_read(cx, &mut buffer);
        read.map(|result| result.ok().map(|()| buffer.filled().to_vec()).filter(|bytes| !bytes.is_empty()))
    })
}

impl Io {
    /// The shard that owns the session named by the request that begins with `bytes`, if that is another one. `None` also
    /// when the head is not whole, or not what was expected.
    fn owner_elsewhere(&self, bytes: &[u8]) -> Option<u16> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Request::new(&mut fields);
        let Ok(httparse::Status::Complete(..=MAX_HEAD)) = head.parse(bytes) else { return None };
        let uri: Uri = head.path?.parse().ok()?;
        if !uri.path().starts_with(&self.config.path) {
            return None;
        }
        let shard = named_sid(&uri)?.shard();
        (shard != self.id && shard < self.common.shards()).then_some(shard)
    }
}
