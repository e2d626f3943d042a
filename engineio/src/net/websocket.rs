//! The read loop of one WebSocket: the only task a connection has.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, ReadBuf};

use super::{
    conn::{Conn, End, Link, Phase},
    shard::{Io, Shard, ShardRef},
};
use crate::{
    CloseReason, ConnKey, Handler, Message, Outbox, Protocol, SharedFrame,
    packet::{DecodeError, Inbound},
    ws::{Decoder, Item},
};

/// How many packets one socket may bring in one visit, before the others have their turn.
const BUDGET: usize = 64;

/// How often its socket is read in one visit, at most 64 KiB each.
const READS: usize = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct ReadLoop<H> {
    shard: ShardRef<H>,
    key: ConnKey,
    decoder: Decoder,
    /// Bytes that were read before this loop began, or beyond the budget of the last visit.
    pending: Vec<u8>,
}

impl<H: Handler> ReadLoop<H> {
    pub(super) const fn new(shard: ShardRef<H>, key: ConnKey, decoder: Decoder, pending: Vec<u8>) -> Self {
        Self { shard, key, decoder, pending }
    }

    /// Runs until the connection is gone from the shard.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { shard, key, decoder, pending } = self;
        shard.turn(|shard| visit(shard, *key, decoder, pending, cx))
    }
}

/// One visit: write what had blocked, then read and hand on what is there, within the budget.
fn visit<H: Handler>(
    shard: &mut Shard<H>,
    key: ConnKey,
    decoder: &mut Decoder,
    pending: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    if !write_on(shard, key, cx) {
        return Poll::Ready(());
    }
    let mut budget = BUDGET;
    if !pending.is_empty() {
        let mut bytes = std::mem::take(pending);
        take_in(shard, key, decoder, &mut bytes, pending, &mut budget);
    }
    for _ in 0..READS {
        if shard.io.pauses(key) {
            return Poll::Pending;
        }
        if budget == 0 {
            break;
        }
        let count = match poll_read(shard, key, cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => return Poll::Ready(()),
            Poll::Ready(Some(count)) => count,
        };
        // Lent out, so that the handler may be called while the bytes are borrowed.
        let mut scratch = std::mem::take(&mut shard.scratch);
        take_in(shard, key, decoder, scratch.get_mut(..count).unwrap_or_default(), pending, &mut budget);
        shard.scratch = scratch;
    }
    // The others first; there may be more here.
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Registers the task, and writes what had blocked; `false` when the connection is gone.
fn write_on<H: Handler>(shard: &mut Shard<H>, key: ConnKey, cx: &mut Context<'_>) -> bool {
    loop {
        let Some(Conn { link: Link::WebSocket(ws), .. }) = shard.io.conn(key) else { return false };
        if !ws.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            ws.task = Some(cx.waker().clone());
        }
        // Until it blocks again, and `cx` is registered for that, or all is written.
        if ws.blocked.is_none() || ws.poll_unblocked(cx).is_pending() {
            return true;
        }
        shard.io.flush_conn(key);
    }
}

/// Reads into the shard's buffer; `None` when the connection is over.
fn poll_read<H: Handler>(shard: &mut Shard<H>, key: ConnKey, cx: &mut Context<'_>) -> Poll<Option<usize>> {
    let Shard { io, scratch, .. } = shard;
    let Some(Conn { link: Link::WebSocket(ws), phase, .. }) = io.conn(key) else { return Poll::Ready(None) };
    let mut buffer = ReadBuf::new(scratch);
    let reason = match Pin::new(&mut ws.stream).poll_read(cx, &mut buffer) {
        Poll::Pending => return Poll::Pending,
        Poll::Ready(Ok(())) if buffer.filled().is_empty() => CloseReason::TransportClose,
        Poll::Ready(Ok(())) => return Poll::Ready(Some(buffer.filled().len())),
        Poll::Ready(Err(_)) => CloseReason::TransportError,
    };
    if *phase == Phase::Open {
        io.end(key, reason, End::Gone);
    } else {
        io.remove(key);
    }
    Poll::Ready(None)
}

/// Decodes `bytes` and hands on what they hold; what exceeds the budget, or comes while the connection pauses, goes to
/// `pending`. The bytes of a closed connection are discarded.
fn take_in<H: Handler>(
    shard: &mut Shard<H>,
    key: ConnKey,
    decoder: &mut Decoder,
    mut bytes: &mut [u8],
    pending: &mut Vec<u8>,
    budget: &mut usize,
) {
    while let Some(protocol) = shard.io.open_protocol(key) {
        if *budget == 0 || shard.io.pauses(key) {
            pending.extend_from_slice(bytes);
            return;
        }
        *budget -= 1;
        match decoder.decode(&mut bytes) {
            Ok(Some(item)) => on_item(shard, key, protocol, item),
            Ok(None) => return,
            // Not a WebSocket frame: fail the connection (RFC 6455, 7.1.7).
            Err(error) => shard.io.end(key, CloseReason::TransportError, End::Fault(Some(error.close_code()))),
        }
    }
}

impl Io {
    /// Back-pressure: a peer that does not take what it is sent is not read from, nor is any while another shard has too
    /// much to do. When it lingers, its bytes are read and discarded, up to the end of its stream. Flushing wakes the read
    /// loop, or the other shard does.
    fn pauses(&mut self, key: ConnKey) -> bool {
        let soft = self.config.outbound_soft;
        let Some(Conn { link: Link::WebSocket(ws), out, phase: Phase::Open, .. }) = self.conn(key) else {
            return false;
        };
        ws.paused = out.cost() > soft;
        ws.paused || self.holds(key)
    }
}

fn on_item<H: Handler>(shard: &mut Shard<H>, key: ConnKey, protocol: Protocol, item: Item<'_>) {
    match item {
        Item::Text(text) if shard.io.config.plain_websockets => shard.receive_plain(key, Message::Text(text)),
        Item::Binary(bytes) if shard.io.config.plain_websockets => shard.receive_plain(key, Message::Binary(bytes)),
        Item::Text(text) => on_packet(shard, key, protocol.decode_text(&text)),
        Item::Binary(bytes) => on_packet(shard, key, protocol.decode_binary(&bytes)),
        Item::Ping(payload) => {
            // A full queue closes the connection; a closed one needs no pong.
            let _ = shard.io.send(key, &SharedFrame::websocket_pong(&payload));
        }
        Item::Pong => {}
        // Answer a close frame with its own code (RFC 6455, 5.5.1).
        Item::Close(frame) => {
            let code = frame.map(|(code, _)| code);
            shard.io.end(key, CloseReason::TransportClose, End::Close(code));
        }
    }
}

fn on_packet<H: Handler>(shard: &mut Shard<H>, key: ConnKey, packet: Result<Inbound<'_>, DecodeError>) {
    match packet {
        Ok(packet) => shard.receive(key, packet),
        // Not an Engine.IO packet: the reference closes without a code (A30, gotcha 11).
        Err(_) => shard.io.end(key, CloseReason::ParseError, End::Fault(None)),
    }
}
