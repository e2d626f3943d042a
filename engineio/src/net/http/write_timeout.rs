//! A stream whose peer must read: a write that makes no progress for too long is an error. It first returns bytes that
//! were read from the stream earlier, and reports the end of the stream a little late.
//!
//! hyper waits forever for a peer that does not read its response, and [`HeadTimeout`], which limits heads, must know
//! about such a peer. And hyper drops a request as soon as it reads the end of the stream after it, even if the answer
//! is ready. A peer that sends a complete request and closes its side at once (`nc -N`, a page that is being closed)
//! would get an answer only by chance, depending on its segments. A peer that disconnected would lose the packets of
//! its last POST.

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

/// How many more times the reader is polled before it gets the end of the stream. In the first poll the earlier bytes
/// are handled; tasks that this woke (the driver, which ends the turn) run before the second.
pub(super) const EXTRA_POLLS: u8 = 2;

/// A stream with a write time-out. See the module.
#[derive(Debug)]
pub(super) struct WriteTimeout {
    stream: PeerStream,
    /// Bytes that were read earlier, not by hyper.
    early: Bytes,
    timeout: Duration,
    /// Runs while a write is blocked.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Is told of blocked writes.
    head: Rc<HeadTimeout>,
    /// How many times the end of the stream was held back.
    held_back: u8,
}

impl WriteTimeout {
    pub(super) const fn new(stream: PeerStream, early: Bytes, timeout: Duration, head: Rc<HeadTimeout>) -> Self {
        Self { stream, early, timeout, stalled: None, head, held_back: 0 }
    }

    /// The stream, and the bytes to read before it.
    pub(super) fn into_inner(self) -> (PeerStream, Bytes) {
        (self.stream, self.early)
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.head.set_blocked(written.is_pending());
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let timeout = self.timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for WriteTimeout {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
            if buffer.filled().len() == before && self.held_back < EXTRA_POLLS {
                self.held_back += 1;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if buffer.filled().len() > before {
                self.head.on_read();
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

    /// Under TLS bytes that were written may not have been sent. A response is over only when they have.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.judge(cx, flushed)
    }

    /// Does nothing: the stream is taken back, to be closed in stages or to become a WebSocket.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
