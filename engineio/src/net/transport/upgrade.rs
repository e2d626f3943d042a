//! A WebSocket that upgrades a polling session: from its handshake to packet `5`.

use std::{
    pin::Pin,
    task::{Poll, ready},
    time::Duration,
};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::{
    super::{
        peer::{
            stream::{MAX_DISCARDED, PeerStream},
            unread::Unread,
            wire_format::WireFormat,
        },
        shard::turn::ShardRef,
        shards::session_request::ProbeKey,
    },
    websocket::ReadLoop,
};
use crate::{
    Handler, SharedFrame,
    packet::Outbound,
    session::ProbeStep,
    ws::{Decoder, Item},
};

/// How long a refused WebSocket may take to close its side.
const REFUSED_LINGER: Duration = Duration::from_secs(1);

/// A probing WebSocket.
#[derive(Debug)]
pub(in crate::net) struct Probing<H> {
    shard: ShardRef<H>,
    probe: ProbeKey,
    stream: PeerStream,
    wire: WireFormat,
    decoder: Decoder,
    pending: Option<Box<Unread>>,
}

impl<H: Handler> Probing<H> {
    pub(in crate::net) fn new(
        shard: ShardRef<H>,
        probe: ProbeKey,
        wire: WireFormat,
        stream: PeerStream,
        pending: Option<Box<Unread>>,
    ) -> Self {
        let decoder = shard.turn(|shard| wire.decoder(&shard.io.config));
        Self { shard, probe, stream, wire, decoder, pending }
    }

    /// Runs the probe. After an upgrade, the caller must run the returned read loop of the session.
    pub(in crate::net) async fn run(mut self) -> Option<ReadLoop<H>> {
        let code = loop {
            match self.next().await {
                Ok(ProbeStep::Pong) => {
                    if let Err(code) = self.write(&SharedFrame::packet(&Outbound::Pong("probe"))).await {
                        break code;
                    }
                }
                Ok(ProbeStep::Upgraded) => {
                    let Self { shard, probe: ProbeKey { conn, .. }, stream, wire, decoder, pending } = self;
                    let adopted = shard.turn(|shard| shard.io.adopt_websocket(conn, stream, wire));
                    return adopted.then(|| ReadLoop::new(shard, conn, decoder, pending));
                }
                Err(code) => break code,
            }
        };
        self.shard.turn(|shard| shard.io.abandon_probe(self.probe));
        refuse(self.stream, code).await;
        None
    }

    /// The next step of the upgrade. `Err` has the code of the close frame: the upgrade failed or expired, or the
    /// session is over.
    async fn next(&mut self) -> Result<ProbeStep, Option<u16>> {
        loop {
            let Some(mut unread) = self.pending.take() else {
                self.pending = Unread::new(self.read().await.ok_or(None)?);
                continue;
            };
            let mut bytes = unread.rest();
            // An invalid WebSocket frame: fail the connection (RFC 6455, 7.1.7).
            let item = self.decoder.decode(&mut bytes).map_err(|error| Some(error.close_code()))?;
            let left = bytes.len();
            let (mut step, mut pong) = (None, None);
            match item {
                Some(Item::Text(text)) => {
                    let packet = self.wire.protocol().decode_text(&text).map_err(|_| None)?;
                    let handled = self.shard.turn(|shard| shard.io.handle_probe(self.probe, &packet));
                    step = Some(handled.ok_or(None)?);
                }
                // RFC 6455, 5.5.2: a ping must be answered, also during a probe.
                Some(Item::Ping(payload)) => pong = Some(SharedFrame::websocket_pong(&payload)),
                Some(Item::Pong) => {}
                Some(Item::Binary(_)) => return Err(None),
                Some(Item::Close(frame)) => return Err(frame.map(|(code, _)| code)),
                // All bytes are consumed; the decoder keeps an incomplete frame.
                None => continue,
            }
            self.pending = unread.keep_last(left);
            if let Some(pong) = pong {
                self.write(&pong).await?;
            }
            if let Some(step) = step {
                return Ok(step);
            }
        }
    }

    /// Writes a frame. A slow peer has as long as the session holds this probe.
    async fn write(&mut self, frame: &SharedFrame) -> Result<(), Option<u16>> {
        let mut bytes = frame.websocket();
        std::future::poll_fn(|cx| {
            if !self.shard.turn(|shard| shard.io.watch_probe(self.probe, cx)) {
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
            let held = self.shard.turn(|shard| shard.io.watch_probe(self.probe, cx));
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

/// Closes a WebSocket that got its 101 but has no session: sends a close frame, then waits for the peer's end of
/// stream, at most [`REFUSED_LINGER`] and [`MAX_DISCARDED`] bytes.
pub(in crate::net) async fn refuse(mut stream: PeerStream, code: Option<u16>) {
    let closing = async {
        stream.write_all(SharedFrame::close(code).websocket()).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(MAX_DISCARDED.into()), &mut tokio::io::sink()).await
    };
    // Whether the peer has gone or not, there is nothing left to tell it.
    let _ = tokio::time::timeout(REFUSED_LINGER, closing).await;
}
