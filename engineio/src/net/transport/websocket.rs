//! The read loop of one WebSocket, which is the connection's only task.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, ReadBuf};

use super::super::{
    peer::{stream::MAX_DISCARDED, unread::Unread},
    shard::{
        application::Shard,
        conn::{Conn, End, Phase},
        transport::ActiveTransport,
        turn::ShardRef,
    },
};
use crate::{
    CloseReason, ConnKey, Handler, Message, Outbox, Protocol, SharedFrame,
    packet::{DecodeError, Inbound},
    ws::{Decoder, Item, ProtocolError},
};

/// How many packets one socket may bring in one turn, before other tasks run.
const BUDGET: usize = 64;

/// How often a socket is read in one turn, at most 64 KiB each time.
const READS: usize = 2;

/// The task of one WebSocket. See the module.
#[derive(Debug)]
pub(in crate::net) struct ReadLoop<H> {
    shard: ShardRef<H>,
    key: ConnKey,
    decoder: Decoder,
    /// Bytes that were read before this loop began, or that were beyond the last turn's budget.
    pending: Option<Box<Unread>>,
}

impl<H: Handler> ReadLoop<H> {
    pub(in crate::net) const fn new(
        shard: ShardRef<H>,
        key: ConnKey,
        decoder: Decoder,
        pending: Option<Box<Unread>>,
    ) -> Self {
        Self { shard, key, decoder, pending }
    }

    /// Runs until the shard has removed the connection.
    pub(in crate::net) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { shard, key, decoder, pending } = self;
        shard.turn(|shard| read_in_turn(shard, *key, decoder, pending, cx))
    }
}

/// One turn: continues a blocked write, then reads and passes on what is there, within the budget.
fn read_in_turn<H: Handler>(
    shard: &mut Shard<H>,
    key: ConnKey,
    decoder: &mut Decoder,
    pending: &mut Option<Box<Unread>>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    if !write_on(shard, key, cx) {
        return Poll::Ready(());
    }
    let mut budget = BUDGET;
    if let Some(mut unread) = pending.take() {
        let left = take_in(shard, key, decoder, unread.rest(), &mut budget);
        *pending = unread.keep_last(left);
    }
    for _ in 0..READS {
        if shard.io.pauses(key) {
            return Poll::Pending;
        }
        if budget == 0 {
            break;
        }
        let count = match poll_read(shard, key, decoder.discarded(), cx) {
            Poll::Pending => {
                // The connection only lingers: nobody will read what is unfinished.
                if !shard.io.is_open(key) {
                    decoder.end();
                }
                return Poll::Pending;
            }
            Poll::Ready(None) => return Poll::Ready(()),
            Poll::Ready(Some(count)) => count,
        };
        // Taken out of the shard, so that the handler can be called while the bytes are borrowed.
        let mut scratch = std::mem::take(&mut shard.scratch);
        let bytes = scratch.get_mut(..count).unwrap_or_default();
        let left = take_in(shard, key, decoder, bytes, &mut budget);
        if left > 0 {
            // Nothing is pending: earlier pending bytes were consumed, or nothing more would have been read.
            *pending = Unread::new(scratch.get(count.saturating_sub(left)..count).unwrap_or_default().to_vec());
        }
        shard.scratch = scratch;
    }
    // Other tasks first; there may be more to read here.
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// Registers the task, and continues a blocked write; `false` when the connection is gone.
fn write_on<H: Handler>(shard: &mut Shard<H>, key: ConnKey, cx: &mut Context<'_>) -> bool {
    loop {
        let Some(ws) = shard.io.websocket_mut(key) else { return false };
        if !ws.task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            ws.task = Some(cx.waker().clone());
        }
        // Until it blocks again and `cx` is registered for that, or everything is written.
        if ws.blocked.is_none() || ws.poll_unblocked(cx).is_pending() {
            return true;
        }
        shard.io.flush_conn(key);
    }
}

/// Reads into the shard's buffer; `None` when the connection is over. `discarded` bytes came after the session's end.
fn poll_read<H: Handler>(
    shard: &mut Shard<H>,
    key: ConnKey,
    discarded: u32,
    cx: &mut Context<'_>,
) -> Poll<Option<usize>> {
    let Shard { io, scratch, .. } = shard;
    let Some(Conn { transport: ActiveTransport::WebSocket(ws), phase, .. }) = io.conn(key) else {
        return Poll::Ready(None);
    };
    // A peer that floods a closed connection must not keep the shard busy.
    if *phase != Phase::Open && discarded >= MAX_DISCARDED / 2 {
        if !ws.is_finished() {
            // A reset would destroy what is queued, which the peer may still read. The task is woken when the close frame
            // is written, or when the connection is removed.
            return Poll::Pending;
        }
        if discarded >= MAX_DISCARDED {
            ws.stream.reset_on_drop();
            io.remove(key);
            return Poll::Ready(None);
        }
    }
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

/// Decodes `bytes` and passes on the items. Returns how many bytes at the end are left: those beyond the budget, or
/// those that came while the connection pauses. The bytes of a closed connection are discarded.
fn take_in<H: Handler>(
    shard: &mut Shard<H>,
    key: ConnKey,
    decoder: &mut Decoder,
    mut bytes: &mut [u8],
    budget: &mut usize,
) -> usize {
    while let Some((protocol, max_message)) = shard.io.open_protocol(key) {
        decoder.set_max_message(max_message);
        if *budget == 0 || shard.io.pauses(key) {
            return bytes.len();
        }
        *budget -= 1;
        match decoder.decode(&mut bytes) {
            Ok(Some(item)) => on_item(shard, key, protocol, item),
            Ok(None) => return 0,
            // Known only by a message that it may not send yet. It is told why, before the connection fails.
            Err(error @ ProtocolError::MessageTooBig) if max_message < shard.io.config.max_payload => {
                shard.io.end(key, CloseReason::TooLong, End::Fault(Some(error.close_code())));
            }
            // An invalid WebSocket frame: fail the connection (RFC 6455, 7.1.7).
            Err(error) => shard.io.end(key, CloseReason::TransportError, End::Fault(Some(error.close_code()))),
        }
    }
    decoder.discard(bytes);
    0
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
        // Not an Engine.IO packet: Node closes without a code.
        Err(_) => shard.io.end(key, CloseReason::ParseError, End::Fault(None)),
    }
}
