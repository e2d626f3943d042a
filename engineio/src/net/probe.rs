//! A WebSocket that wants to take a polling session over: from its handshake to packet `5`.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
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
        if let Link::Polling(PollLink { waiting: Some(waiting), .. }) =
            std::mem::replace(&mut conn.link, Link::WebSocket(WsLink::new(stream, wire)))
        {
            conn.session.end_poll();
            // A poll that still waits is answered with a close packet (gotcha 45); a client that upgrades has none.
            self.answer_waiting(waiting, PollBody::of(SharedFrame::close(None), form));
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
    /// Bytes that were read, of which the first `decoded` are decoded. (They may be many small frames: what is left of them is
    /// not to be moved for each.)
    pending: Vec<u8>,
    decoded: usize,
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
        Self { shard, key, id, stream, wire, decoder, pending, decoded: 0 }
    }

    /// Runs the probe; after an upgrade, the session's read loop is to be run.
    pub(super) async fn run(mut self) -> Option<ReadLoop<H>> {
        let code = loop {
            match self.next().await {
                Ok(Probe::Pong) => {
                    if let Err(code) = self.write(&SharedFrame::packet(&Outbound::Pong("probe"))).await {
                        break code;
                    }
                }
                Ok(Probe::Upgraded) => {
                    let Self { shard, key, stream, wire, decoder, mut pending, decoded, .. } = self;
                    pending.drain(..decoded.min(pending.len()));
                    let adopted = shard.turn(|shard| shard.io.adopt(key, stream, wire));
                    return adopted.then(|| ReadLoop::new(shard, key, decoder, pending));
                }
                Err(code) => break code,
            }
        };
        self.shard.turn(|shard| shard.io.abandon_probe(self.key, self.id));
        refuse(self.stream, code).await;
        None
    }

    /// The next step of the upgrade. `Err`: it failed, expired, or the session is over; the code for the close frame.
    async fn next(&mut self) -> Result<Probe, Option<u16>> {
        loop {
            let len = self.pending.len();
            let mut bytes = self.pending.get_mut(self.decoded..).unwrap_or_default();
            // Not a WebSocket frame: fail the connection (RFC 6455, 7.1.7).
            let item = self.decoder.decode(&mut bytes).map_err(|error| Some(error.close_code()))?;
            self.decoded = len - bytes.len();
            let (mut probe, mut pong) = (None, None);
            match item {
                Some(Item::Text(text)) => {
                    let packet = self.wire.protocol().decode_text(&text).map_err(|_| None)?;
                    probe = Some(self.shard.turn(|shard| shard.io.probe(self.key, self.id, &packet)).ok_or(None)?);
                }
                // RFC 6455, 5.5.2: a ping must be answered, here too.
                Some(Item::Ping(payload)) => pong = Some(SharedFrame::websocket_pong(&payload)),
                Some(Item::Pong) => {}
                Some(Item::Binary(_)) => return Err(None),
                Some(Item::Close(frame)) => return Err(frame.map(|(code, _)| code)),
                None => {
                    self.pending = self.read().await.ok_or(None)?;
                    self.decoded = 0;
                    continue;
                }
            }
            if let Some(pong) = pong {
                self.write(&pong).await?;
            }
            if let Some(probe) = probe {
                return Ok(probe);
            }
        }
    }

    /// Writes a frame. A peer that does not take it has as long as the session holds this probe.
    async fn write(&mut self, frame: &SharedFrame) -> Result<(), Option<u16>> {
        let mut bytes = frame.websocket();
        std::future::poll_fn(|cx| {
            if !self.shard.turn(|shard| shard.io.watch_probe(self.key, self.id, cx)) {
                return Poll::Ready(Err(None));
            }
            while !bytes.is_empty() {
                match ready!(Pin::new(&mut self.stream).poll_write(cx, bytes)) {
                    Ok(count @ 1..) => bytes = bytes.get(count..).unwrap_or_default(),
                    _ => return Poll::Ready(Err(None)),
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
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
