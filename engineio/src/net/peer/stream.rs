//! [`PeerStream`]: the byte stream under a connection.
//!
//! Mostly it is a TCP socket of the server's own. It may also be any other stream of bytes, such as a TLS session that an
//! application's server has upgraded: the rest of the engine does not see the difference. The TCP case costs one branch a call.

use std::{
    fmt, io,
    io::IoSlice,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};

/// The most that is read, and thrown away, of a connection that has been answered and closed.
const MAX_DISCARDED: u64 = 4 * 1024 * 1024;

/// What a stream that is no TCP socket must be able to do.
pub(in crate::net) trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// See the module.
#[derive(Debug)]
pub(in crate::net) enum PeerStream {
    /// A socket of this shard's reactor.
    Tcp(TcpStream),
    /// Any other stream.
    Other(Box<OtherStream>),
}

/// A stream that is no TCP socket.
pub(in crate::net) struct OtherStream {
    stream: Pin<Box<dyn Duplex>>,
    writable: Arc<Writable>,
    /// The stream keeps bytes that it was given (TLS may), because it could not send them yet.
    unflushed: bool,
    /// The write side is to end, and that takes time.
    ending: bool,
}

/// What a blocked write registers: such a stream cannot be asked whether it takes more, so it is noted when it says so.
#[derive(Default)]
struct Writable {
    /// It was woken since the last write.
    woken: AtomicBool,
    /// Whom to wake in turn: the connection's task, once that is known.
    task: Mutex<Option<Waker>>,
}

impl Wake for Writable {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl fmt::Debug for OtherStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtherStream").field("unflushed", &self.unflushed).finish_non_exhaustive()
    }
}

impl From<TcpStream> for PeerStream {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

/// A stream on its way from one thread to another: known to no reactor.
#[derive(Debug)]
pub(in crate::net) enum DetachedStream {
    Tcp(std::net::TcpStream),
    /// It works on any thread, as long as the runtime that made it runs.
    Other(Box<OtherStream>),
}

impl DetachedStream {
    /// Makes this thread's reactor watch it.
    pub(in crate::net) fn attach(self) -> io::Result<PeerStream> {
        Ok(match self {
            Self::Tcp(stream) => PeerStream::Tcp(TcpStream::from_std(stream)?),
            Self::Other(stream) => PeerStream::Other(stream),
        })
    }
}

impl PeerStream {
    /// Takes it from this thread's reactor.
    pub(in crate::net) fn detach(self) -> io::Result<DetachedStream> {
        Ok(match self {
            Self::Tcp(stream) => DetachedStream::Tcp(stream.into_std()?),
            Self::Other(stream) => DetachedStream::Other(stream),
        })
    }

    /// Writes what it takes now. After [`io::ErrorKind::WouldBlock`] see [`PeerStream::poll_unblocked`].
    pub(in crate::net) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Other(other) => other.try_write(bytes),
        }
    }

    /// Whether it may take more after a write has blocked; registers `cx` otherwise.
    pub(in crate::net) fn poll_unblocked(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Other(other) => other.poll_unblocked(cx),
        }
    }

    /// Ends the write side; an error means that the peer was faster.
    pub(in crate::net) fn shut_down_write(&mut self) {
        // `shutdown(2)` does not block. Another stream may need more than one call: it goes on when it is read.
        match self {
            Self::Tcp(stream) => {
                let _ = Pin::new(stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
            }
            Self::Other(other) => other.end(),
        }
    }

    /// Has the peer see a reset instead of a polite close when this is dropped, where the stream can do that.
    pub(in crate::net) fn reset_on_drop(&self) {
        if let Self::Tcp(stream) = self {
            // Best effort: without it the close is polite, and the kernel keeps the unread bytes a while.
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// Closes in stages (RFC 9112, 9.6): closed with bytes unread, TCP resets the connection, and a peer that is still
    /// sending (a body that was refused by its length, say) loses the answer.
    pub(in crate::net) async fn close_in_stages(mut self, patience: Duration) {
        let discard = async {
            self.shutdown().await?;
            tokio::io::copy(&mut self.take(MAX_DISCARDED), &mut tokio::io::sink()).await
        };
        // However it ends, the connection is over.
        let _ = tokio::time::timeout(patience, discard).await;
    }
}

impl OtherStream {
    /// Only the feature `tower` meets streams that are not the server's own.
    #[cfg(feature = "tower")]
    pub(in crate::net) fn new(stream: impl Duplex + 'static) -> Self {
        Self { stream: Box::pin(stream), writable: Arc::default(), unflushed: false, ending: false }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writable.woken.store(false, Ordering::Relaxed);
        let waker = Arc::clone(&self.writable).into();
        let Poll::Ready(written) = self.stream.as_mut().poll_write(&mut Context::from_waker(&waker), bytes)? else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        self.flush()?;
        Ok(written)
    }

    /// A stream with a buffer of its own (TLS) may send nothing before it is flushed. Where that takes time the connection's
    /// task is woken, as by a blocked write, and goes on with it when it reads.
    fn flush(&mut self) -> io::Result<()> {
        let waker = Arc::clone(&self.writable).into();
        self.unflushed = self.stream.as_mut().poll_flush(&mut Context::from_waker(&waker))?.is_pending();
        Ok(())
    }

    /// Ends the write side, which includes what the stream keeps. Where that takes time it goes on as [`OtherStream::flush`] does.
    fn end(&mut self) {
        let waker = Arc::clone(&self.writable).into();
        // An error means that the peer was faster.
        self.ending = self.stream.as_mut().poll_shutdown(&mut Context::from_waker(&waker)).is_pending();
    }

    /// Has the task of `cx` woken by what a write, a flush or the end of the write side waits for.
    fn register(&self, cx: &Context<'_>) {
        let mut task = self.writable.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !task.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
    }

    fn poll_unblocked(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.register(cx);
        // Registered before it is asked: a wake in between is not missed.
        if self.writable.woken.load(Ordering::Acquire) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Other(other) => {
                // Before it is flushed: a stream that could not send all of its first bytes wakes nobody otherwise.
                other.register(cx);
                if other.ending {
                    other.end();
                } else if other.unflushed {
                    other.flush()?;
                }
                other.stream.as_mut().poll_read(cx, buffer)
            }
        }
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Other(other) => {
                let written = other.stream.as_mut().poll_write(cx, bytes);
                // Whoever writes frames one by one (a probe) does not flush; it reads next.
                other.unflushed |= written.is_ready();
                written
            }
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Other(other) => other.stream.as_mut().poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Other(other) => other.stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Other(other) => other.stream.as_mut().poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Other(other) => other.stream.as_mut().poll_shutdown(cx),
        }
    }
}
