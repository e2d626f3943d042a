//! [`SwitchProtocol`]: what a connection becomes after its handshake was answered 101.

use http::{HeaderMap, Uri};

use super::{
    super::{
        peer::{stream::PeerStream, unread::Unread, wire_format::WireFormat},
        shard::{
            opening::Admitted,
            transport::{ActiveTransport, WebSocketTransport},
            turn::ShardRef,
        },
        shards::{command::StreamPurpose, peer::Peer, session_request::ProbeKey},
    },
    upgrade::{self, Probing},
    websocket::ReadLoop,
};
use crate::{Handler, Handshake, OpenPacket, session::Transport};

/// What a connection becomes. See the module.
#[derive(Debug)]
pub(in crate::net) enum SwitchProtocol {
    /// A new session, with the request that opened it.
    Open { admitted: Admitted, wire: WireFormat, opening: Box<(Uri, HeaderMap)> },
    /// The probe of an upgrade, on the shard that owns the session.
    Probe { shard: u16, probe: ProbeKey, wire: WireFormat },
    /// The session has a WebSocket already: close this one at once.
    Refuse,
}

impl SwitchProtocol {
    /// Continues with a connection whose answer 101 has been sent. `early` holds the bytes that were read after the
    /// handshake. The result is the read loop of a session, or `None` if the connection is over.
    pub(in crate::net) async fn run<H: Handler>(
        self,
        shard: ShardRef<H>,
        stream: PeerStream,
        early: Vec<u8>,
        peer: &Peer,
    ) -> Option<ReadLoop<H>> {
        // It is no HTTP connection that may be closed while it is idle.
        peer.busy();
        match self {
            Self::Open { admitted, wire, opening } => {
                if let OpenPacket::Delayed(delay) = shard.turn(|shard| shard.io.config.open_packet) {
                    Box::pin(tokio::time::sleep(delay)).await;
                }
                let websocket = WebSocketTransport::new(stream, wire);
                open(shard, admitted, websocket, early, &opening, peer)
            }
            Self::Probe { shard: target, probe, wire } => {
                if target == shard.turn(|shard| shard.io.id) {
                    return Box::pin(Probing::new(shard, probe, wire, stream, Unread::new(early)).run()).await;
                }
                shard.pass_stream(stream, early.into(), peer, target, StreamPurpose::Probe(probe, wire));
                None
            }
            Self::Refuse => {
                Box::pin(upgrade::refuse(stream, None)).await;
                None
            }
        }
    }
}

/// The first transport of a new session is a WebSocket: sends the OPEN packet, then calls the handler.
fn open<H: Handler>(
    shard: ShardRef<H>,
    admitted: Admitted,
    websocket: WebSocketTransport,
    early: Vec<u8>,
    (uri, headers): &(Uri, HeaderMap),
    peer: &Peer,
) -> Option<ReadLoop<H>> {
    let (key, decoder) = shard.turn(|shard| {
        let (transport, remote) = (Transport::WebSocket, peer.remote);
        let (client, protocol) = (admitted.client, admitted.terms.protocol);
        let handshake = Handshake { transport, protocol, sid: None, uri, headers, remote, client };
        // It was admitted before the 101; the server may have begun to shut down since.
        if shard.io.draining {
            return None;
        }
        let decoder = websocket.wire.decoder(&shard.io.config);
        let (key, _) = shard.open(admitted, ActiveTransport::WebSocket(websocket), &handshake);
        // At once: nothing else will come that could share the write.
        shard.io.flush_conn(key);
        Some((key, decoder))
    })?;
    Some(ReadLoop::new(shard, key, decoder, Unread::new(early)))
}
