//! [`SwitchProtocol`]: what follows on a connection whose handshake was answered 101.

use std::net::SocketAddr;

use http::{HeaderMap, Uri};

use super::{
    super::{
        peer::{stream::PeerStream, unread::Unread, wire_format::WireFormat},
        shard::{
            opening::Admitted,
            transport::{ActiveTransport, WebSocketTransport},
            turn::ShardRef,
        },
        shards::{command::StreamPurpose, session_request::ProbeKey},
    },
    upgrade::{self, Probing},
    websocket::ReadLoop,
};
use crate::{Handler, Handshake, OpenPacket, session::Transport};

/// See the module.
#[derive(Debug)]
pub(in crate::net) enum SwitchProtocol {
    /// A new session, and the request that opened it.
    Open { admitted: Admitted, wire: WireFormat, opening: Box<(Uri, HeaderMap)> },
    /// The probe of an upgrade, on the shard that owns the session.
    Probe { shard: u16, probe: ProbeKey, wire: WireFormat },
    /// A WebSocket too many: closed at once.
    Refuse,
}

impl SwitchProtocol {
    /// Goes on with a connection whose 101 is out, and of which `early` was read beyond the handshake. What comes of it is the
    /// read loop of a session, or the connection's end.
    pub(in crate::net) async fn run<H: Handler>(
        self,
        shard: ShardRef<H>,
        stream: PeerStream,
        early: Vec<u8>,
        remote: SocketAddr,
    ) -> Option<ReadLoop<H>> {
        match self {
            Self::Open { admitted, wire, opening } => {
                if let OpenPacket::Delayed(delay) = shard.turn(|shard| shard.io.config.open_packet) {
                    Box::pin(tokio::time::sleep(delay)).await;
                }
                let websocket = WebSocketTransport::new(stream, wire);
                open(shard, admitted, websocket, early, &opening, remote)
            }
            Self::Probe { shard: target, probe, wire } => {
                if target == shard.turn(|shard| shard.io.id) {
                    return Box::pin(Probing::new(shard, probe, wire, stream, Unread::new(early)).run()).await;
                }
                shard.pass_stream(stream, early.into(), remote, target, StreamPurpose::Probe(probe, wire));
                None
            }
            Self::Refuse => {
                Box::pin(upgrade::refuse(stream, None)).await;
                None
            }
        }
    }
}

/// The first WebSocket of a new session: OPEN packet, then the handler.
fn open<H: Handler>(
    shard: ShardRef<H>,
    admitted: Admitted,
    websocket: WebSocketTransport,
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
        let decoder = websocket.wire.decoder(&shard.io.config);
        let (key, _) = shard.open(admitted, ActiveTransport::WebSocket(websocket), &handshake);
        // At once: nothing can come that it could be sent together with.
        shard.io.flush_conn(key);
        Some((key, decoder))
    })?;
    Some(ReadLoop::new(shard, key, decoder, Unread::new(early)))
}
