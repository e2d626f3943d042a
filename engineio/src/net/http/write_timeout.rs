//! A TCP stream whose peer must take bytes: a write that makes no progress for too long is an error. What was read of it
//! before comes first, and its end a little later than what came before it.
//!
//! hyper waits for ever for a peer that does not read its response (and [`HeadTimeout`], which limits heads, must know of one). And it drops a request the
//! moment it reads the end of the stream behind it, whether or not the answer is there already: a peer that sends a whole
//! request and shuts its side at once (`nc -N`, a page that is being closed) would get an answer or none as the segments
//! fall. So would one that is gone lose the packets of its last POST.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::{super::peer::stream::PeerStream, head_timeout::HeadTimeout};

/// How many times the reader is polled once more before it hears of the end: the first time what was read before is dealt
/// with, and whom it woke (the driver, which ends the turn) runs before the second.
pub(super) const LATE: u8 = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct WriteTimeout {
    stream: PeerStream,
    /// Read already, and not by hyper.
    early: Bytes,
    patience: Duration,
    /// Runs while a write is blocked.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Hears of blocked writes.
    head: Rc<HeadTimeout>,
    /// How often the end of the stream was kept back.
    kept_back: u8,
}

impl WriteTimeout {
    pub(super) const fn new(stream: PeerStream, early: Bytes, patience: Duration, head: Rc<HeadTimeout>) -> Self {
        Self { stream, early, patience, stalled: None, head, kept_back: 0 }
    }

    /// The stream, and what is to be read before it.
    pub(super) fn into_inner(self) -> (PeerStream, Bytes) {
        (self.stream, self.early)
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.head.set_blocked(written.is_pending());
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for WriteTimeout {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
            if buffer.filled().len() == before && self.kept_back < LATE {
                self.kept_back += 1;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            return Poll::Ready(Ok(()));
        }
        let count = self.early.len().min(buffer.remaining());
        buffer.put_slice(&self.early.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for WriteTimeout {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Nothing: the stream is taken back, to be closed in stages or to become a WebSocket.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
