//! A WebSocket that wants to take a polling session over: from its handshake to packet `5`.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};

use super::{
    conn::{Link, PollLink, Probe as ProbeSlot, WsLink},
    outq::PollBody,
    peer_wire::PeerWire,
    shard::{Io, ShardRef},
    websocket::ReadLoop,
};
use crate::{
    ConnKey, Handler, SharedFrame,
    packet::{Inbound, Outbound},
    session::{Probe, UpgradeError},
    ws::{Decoder, Item},
};

/// How long a refused WebSocket may take to close its side.
const REFUSED_LINGER: Duration = Duration::from_secs(1);

impl Io {
    /// Reserves the session for a new probing WebSocket, and names it.
    pub(super) fn begin_probe(&mut self, key: ConnKey) -> Result<u64, UpgradeError> {
        let (now, timeout, id) = (self.now, self.config.upgrade_timeout, self.next_probe());
        let conn = self.conn(key).filter(|conn| conn.is_open()).ok_or(UpgradeError::Taken)?;
        conn.session.begin_upgrade(now, timeout)?;
        conn.probe = Some(Box::new(ProbeSlot { id, task: None }));
        self.look_at(key, now + timeout);
        Ok(id)
    }

    /// Whether probe `id` still has the session reserved.
    fn holds_probe(&mut self, key: ConnKey, id: u64) -> bool {
        self.conn(key).is_some_and(|conn| conn.is_open() && conn.probe.as_ref().is_some_and(|probe| probe.id == id))
    }

    /// Like [`Io::holds_probe`], and wakes `cx` when that changes.
    fn watch_probe(&mut self, key: ConnKey, id: u64, cx: &Context<'_>) -> bool {
        let held = self.holds_probe(key, id);
        if let Some(probe) = self.conn(key).and_then(|conn| conn.probe.as_mut()).filter(|_| held) {
            probe.task = Some(cx.waker().clone());
        }
        held
    }

    /// Hands the probe's packet to the session; `None` when the upgrade is over.
    fn probe(&mut self, key: ConnKey, id: u64, packet: &Inbound<'_>) -> Option<Probe> {
        let now = self.now;
        if !self.holds_probe(key, id) {
            return None;
        }
        let session = &mut self.conn(key)?.session;
        let probe = session.handle_probe(now, packet).ok()?;
        let next = session.poll_timeout();
        if probe == Probe::Pong {
            // The noop that releases a waiting poll.
            self.look_at(key, next);
        }
        Some(probe)
    }

    /// Moves the session to the WebSocket that completed its upgrade. What is queued goes out there, in order.
    fn adopt(&mut self, key: ConnKey, stream: TcpStream, wire: PeerWire) -> bool {
        let Some(conn) = self.conns.get_mut(key.0).filter(|conn| conn.is_open()) else { return false };
        conn.probe = None;
        let form = conn.poll_form();
        if !wire.is_plain() {
            conn.out.adapt(wire.wire(&self.config));
        }
        if let Link::Polling(PollLink { waiting: Some(poll), .. }) =
            std::mem::replace(&mut conn.link, Link::WebSocket(WsLink::new(stream, wire)))
        {
            conn.session.end_poll();
            // A poll that still waits is answered with a close packet (gotcha 45); a client that upgrades has none.
            let _ = poll.send(PollBody::of(SharedFrame::close(None), form));
        }
        self.mark_dirty(key);
        true
    }

    /// Gives the reservation back; polling lives on (A35).
    pub(super) fn abandon_probe(&mut self, key: ConnKey, id: u64) {
        if self.holds_probe(key, id)
            && let Some(conn) = self.conn(key)
        {
            conn.probe = None;
            conn.session.abandon_upgrade();
        }
    }
}

/// A probing WebSocket.
#[derive(Debug)]
pub(super) struct Probing<H> {
    shard: ShardRef<H>,
    key: ConnKey,
    id: u64,
    stream: TcpStream,
    wire: PeerWire,
    decoder: Decoder,
    /// Bytes that were read and not decoded yet.
    pending: Vec<u8>,
}

impl<H: Handler> Probing<H> {
    pub(super) fn new(
        shard: ShardRef<H>,
        (key, id): (ConnKey, u64),
        wire: PeerWire,
        stream: TcpStream,
        pending: Vec<u8>,
    ) -> Self {
        let decoder = shard.turn(|shard| wire.decoder(&shard.io.config));
        Self { shard, key, id, stream, wire, decoder, pending }
    }

    /// Runs the probe; after an upgrade, the session's read loop is to be run.
    pub(super) async fn run(mut self) -> Option<ReadLoop<H>> {
        while let Some(probe) = self.next().await {
            match probe {
                Probe::Pong => {
                    let pong = SharedFrame::packet(&Outbound::Pong("probe"));
                    if self.stream.write_all(pong.websocket()).await.is_err() {
                        break;
                    }
                }
                Probe::Upgraded => {
                    let Self { shard, key, stream, wire, decoder, pending, .. } = self;
                    let adopted = shard.turn(|shard| shard.io.adopt(key, stream, wire));
                    return adopted.then(|| ReadLoop::new(shard, key, decoder, pending));
                }
            }
        }
        self.shard.turn(|shard| shard.io.abandon_probe(self.key, self.id));
        refuse(self.stream, None).await;
        None
    }

    /// The next step of the upgrade; `None` when it failed, expired, or the session is over.
    async fn next(&mut self) -> Option<Probe> {
        loop {
            let mut bytes = self.pending.as_mut_slice();
            let item = self.decoder.decode(&mut bytes).ok()?;
            let rest = bytes.to_vec();
            let text = match item {
                Some(Item::Text(text)) => Some(text),
                // Control frames are no packets; the probe does not live long enough to need pongs.
                Some(Item::Ping(_) | Item::Pong) => None,
                Some(Item::Binary(_) | Item::Close(_)) => return None,
                None => {
                    self.pending = self.read().await?;
                    continue;
                }
            };
            let probe = text.map(|text| {
                let packet = self.wire.protocol().decode_text(&text).ok()?;
                self.shard.turn(|shard| shard.io.probe(self.key, self.id, &packet))
            });
            self.pending = rest;
            if let Some(probe) = probe {
                return probe;
            }
        }
    }

    /// Reads more, as long as the session holds this probe.
    async fn read(&mut self) -> Option<Vec<u8>> {
        let mut bytes = [0; 512];
        let count = std::future::poll_fn(|cx| {
            let held = self.shard.turn(|shard| shard.io.watch_probe(self.key, self.id, cx));
            if !held {
                return Poll::Ready(None);
            }
            let mut buffer = ReadBuf::new(&mut bytes);
            Pin::new(&mut self.stream)
                .poll_read(cx, &mut buffer)
                .map(|result| result.ok().map(|()| buffer.filled().len()).filter(|count| *count > 0))
        })
        .await?;
        bytes.get(..count).map(<[u8]>::to_vec)
    }
}

/// Closes a WebSocket that got its 101 but has no session: a close frame, then the peer's end of stream or the time-out.
pub(super) async fn refuse(mut stream: TcpStream, code: Option<u16>) {
    let goodbye = async {
        stream.write_all(SharedFrame::close(code).websocket()).await?;
        stream.shutdown().await?;
        let mut sink = [0; 512];
        while stream.read(&mut sink).await? > 0 {}
        io::Result::Ok(())
    };
    // The peer may be gone, or stay: either way there is nothing left to tell it.
    let _ = tokio::time::timeout(REFUSED_LINGER, goodbye).await;
}
