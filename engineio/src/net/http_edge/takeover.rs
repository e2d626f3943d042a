//! What follows on a connection that has spoken HTTP to its end.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Uri};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::super::{
    conn::{Link, WsLink},
    mailbox::{Errand, Handover, Letter},
    opening::Admitted,
    peer_wire::PeerWire,
    probe::{self, Probing},
    shard::ShardRef,
    websocket::ReadLoop,
};
use crate::{ConnKey, Handler, Handshake, OpenPacket, session::Transport};

/// The most that is read, and thrown away, of a connection that has been answered and closed.
const MAX_DISCARDED: u64 = 4 * 1024 * 1024;

/// What follows on a connection whose handshake was answered 101.
#[derive(Debug)]
pub(in crate::net) enum Takeover {
    /// A new session, and the request that opened it.
    Open { admitted: Admitted, wire: PeerWire, opening: Box<(Uri, HeaderMap)> },
    /// The probe of an upgrade, on the shard that owns the session.
    Probe { owner: u16, key: ConnKey, id: u64, wire: PeerWire },
    /// A WebSocket too many: closed at once (A37).
    Refuse,
}

impl Takeover {
    /// Goes on with a connection whose 101 is out, and of which `early` was read beyond the handshake.
    pub(in crate::net) async fn go_on<H: Handler>(
        self,
        shard: ShardRef<H>,
        stream: TcpStream,
        early: Vec<u8>,
        remote: SocketAddr,
    ) -> Option<ReadLoop<H>> {
        match self {
            Self::Open { admitted, wire, opening } => {
                if let OpenPacket::Delayed(delay) = shard.turn(|shard| shard.io.config.open_packet) {
                    Box::pin(tokio::time::sleep(delay)).await;
                }
                let link = WsLink::new(stream, wire);
                open(shard, admitted, link, early, &opening, remote)
            }
            Self::Probe { owner, key, id, wire } => {
                if owner == shard.turn(|shard| shard.io.id) {
                    return Box::pin(Probing::new(shard, (key, id), wire, stream, early).run()).await;
                }
                hand_over(&shard, stream, early.into(), remote, owner, Errand::Probe(key, id, wire));
                None
            }
            Self::Refuse => {
                Box::pin(probe::refuse(stream, None)).await;
                None
            }
        }
    }
}

/// Gives a connection to another shard.
pub(in crate::net) fn hand_over<H: Handler>(
    shard: &ShardRef<H>,
    stream: TcpStream,
    early: Bytes,
    remote: SocketAddr,
    target: u16,
    errand: Errand,
) {
    match stream.into_std() {
        Ok(stream) => shard.turn(|shard| {
            let connected = shard.io.common.connect(target);
            let handover = Handover { stream, remote, early, connected, errand };
            shard.io.outgoing.push(target, Letter::Stream(Box::new(handover)));
        }),
        Err(error) => tracing::debug!(%error, "a connection could not be handed over"),
    }
}

/// The first WebSocket of a new session: OPEN packet, then the handler.
fn open<H: Handler>(
    shard: ShardRef<H>,
    admitted: Admitted,
    link: WsLink,
    early: Vec<u8>,
    (uri, headers): &(Uri, HeaderMap),
    remote: SocketAddr,
) -> Option<ReadLoop<H>> {
    let (key, decoder) = shard.turn(|shard| {
        let handshake = Handshake { transport: Transport::WebSocket, uri, headers, remote };
        // It was admitted before the 101; the server may have begun to drain since.
        if shard.io.draining {
            return None;
        }
        let decoder = link.wire.decoder(&shard.io.config);
        let (key, _) = shard.open(admitted, Link::WebSocket(link), &handshake);
        // At once: nothing can come that it could be sent together with.
        shard.io.flush_conn(key);
        Some((key, decoder))
    })?;
    Some(ReadLoop::new(shard, key, decoder, early))
}

/// Closes in stages (RFC 9112, 9.6): closed with bytes unread, TCP resets the connection, and a peer that is still sending
/// (a body that was refused by its length, say) loses the answer.
pub(in crate::net) async fn linger(mut stream: TcpStream, patience: Duration) {
    let discard = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(MAX_DISCARDED), &mut tokio::io::sink()).await
    };
    // However it ends, the connection is over.
    let _ = tokio::time::timeout(patience, discard).await;
}
