//! [`PeerStream`]: the byte stream under a connection.
//!
//! Usually it is a TCP socket of the server itself, or one with TLS on it (feature `tls`). It may also be any other byte stream,
//! which an application's server has upgraded. The rest of the engine does not see the difference. The TCP case costs one
//! branch for each call.

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

#[cfg(feature = "tls")]
use super::tls::{DetachedTls, TlsStream};
use super::traffic;

/// The most bytes that are read and discarded from a connection that has been answered and closed.
pub(in crate::net) const MAX_DISCARDED: u32 = 4 * 1024 * 1024;

/// What a stream other than a TCP socket must be able to do.
pub(in crate::net) trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

/// A peer's byte stream. See the module.
#[derive(Debug)]
pub(in crate::net) enum PeerStream {
    /// A socket watched by this shard's reactor.
    Tcp(TcpStream),
    /// Such a socket with TLS on it.
    #[cfg(feature = "tls")]
    Tls(Box<BufferedStream<TlsStream>>),
    /// Any other stream.
    Other(Box<OtherStream>),
}

/// Any stream.
pub(in crate::net) type OtherStream = BufferedStream<Pin<Box<dyn Duplex>>>;

/// A stream that may keep bytes back that it was given.
pub(in crate::net) struct BufferedStream<S> {
    stream: S,
    writable: Arc<Writable>,
    /// The stream has buffered bytes that it could not send yet (TLS may do this).
    unflushed: bool,
    /// The write side must end, but its end has blocked.
    ending: bool,
}

/// The waker for a blocked write. Such a stream cannot be asked whether it is writable, so this records when it says
/// so.
#[derive(Default)]
struct Writable {
    /// The stream has woken it since the last write.
    woken: AtomicBool,
    /// The connection's task, which it wakes in turn, once that is known.
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

impl<S> fmt::Debug for BufferedStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedStream").field("unflushed", &self.unflushed).finish_non_exhaustive()
    }
}

impl From<TcpStream> for PeerStream {
    fn from(stream: TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

#[cfg(feature = "tls")]
impl From<TlsStream> for PeerStream {
    fn from(stream: TlsStream) -> Self {
        let unflushed = stream.wants_write();
        Self::Tls(Box::new(BufferedStream { stream, writable: Arc::default(), unflushed, ending: false }))
    }
}

/// A stream that moves from one thread to another: no reactor watches it.
#[derive(Debug)]
pub(in crate::net) enum DetachedStream {
    Tcp(std::net::TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<DetachedTls>),
    /// It works on any thread while the runtime that made it is running.
    Other(Box<OtherStream>),
}

impl DetachedStream {
    /// Registers the stream with this thread's reactor.
    pub(in crate::net) fn attach(self) -> io::Result<PeerStream> {
        Ok(match self {
            Self::Tcp(stream) => PeerStream::Tcp(TcpStream::from_std(stream)?),
            #[cfg(feature = "tls")]
            Self::Tls(stream) => PeerStream::from(stream.attach()?),
            Self::Other(stream) => PeerStream::Other(stream),
        })
    }
}

impl PeerStream {
    /// Removes the stream from this thread's reactor.
    pub(in crate::net) fn detach(self) -> io::Result<DetachedStream> {
        Ok(match self {
            Self::Tcp(stream) => DetachedStream::Tcp(stream.into_std()?),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => DetachedStream::Tls(Box::new(tls.stream.detach()?)),
            Self::Other(stream) => DetachedStream::Other(stream),
        })
    }

    /// Writes as many bytes as the stream accepts now. After [`io::ErrorKind::WouldBlock`] see
    /// [`PeerStream::poll_unblocked`].
    pub(in crate::net) fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        traffic::count_write(match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.try_write(bytes),
            Self::Other(other) => other.try_write(bytes),
        })
    }

    /// Goes on sending what the stream has taken and kept back, for a task that may not read it now.
    pub(in crate::net) fn flush_on(&mut self, cx: &Context<'_>) -> io::Result<()> {
        match self {
            Self::Tcp(_) => Ok(()),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.flush_on(cx),
            Self::Other(other) => other.flush_on(cx),
        }
    }

    /// Whether the stream may accept more after a write has blocked; registers `cx` otherwise.
    pub(in crate::net) fn poll_unblocked(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.poll_unblocked(cx),
            Self::Other(other) => other.poll_unblocked(cx),
        }
    }

    /// Ends the write side. An error means that the peer closed first.
    pub(in crate::net) fn shut_down_write(&mut self) {
        // `shutdown(2)` does not block. Another stream may need more than one call: it continues when it is read.
        match self {
            Self::Tcp(stream) => {
                let _ = Pin::new(stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
            }
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.end(),
            Self::Other(other) => other.end(),
        }
    }

    /// Makes the peer see a reset instead of a normal close when this is dropped, if the stream can do that.
    pub(in crate::net) fn reset_on_drop(&self) {
        let tcp = match self {
            Self::Tcp(stream) => Some(stream),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => Some(tls.stream.tcp()),
            Self::Other(_) => None,
        };
        if let Some(stream) = tcp {
            // Best effort: without it the close is a normal one, and the kernel keeps the unread bytes for a while.
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
    }

    /// Closes in stages (RFC 9112, 9.6). A TCP socket that is closed with unread bytes resets the connection; a peer
    /// that is still sending (a body refused because of its length, say) would then lose the answer. Waits `timeout` at
    /// most.
    pub(in crate::net) async fn close_in_stages(mut self, timeout: Duration) {
        let discard = async {
            self.shutdown().await?;
            tokio::io::copy(&mut self.take(MAX_DISCARDED.into()), &mut tokio::io::sink()).await
        };
        // Whatever the result, the connection is over.
        let _ = tokio::time::timeout(timeout, discard).await;
    }
}

#[cfg(feature = "tower")]
impl OtherStream {
    /// Only the feature `tower` uses streams that are not the server's own sockets.
    pub(in crate::net) fn new(stream: impl Duplex + 'static) -> Self {
        Self { stream: Box::pin(stream), writable: Arc::default(), unflushed: false, ending: false }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> BufferedStream<S> {
    fn try_write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writable.woken.store(false, Ordering::Relaxed);
        let waker = Arc::clone(&self.writable).into();
        let Poll::Ready(written) = Pin::new(&mut self.stream).poll_write(&mut Context::from_waker(&waker), bytes)?
        else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        self.flush()?;
        Ok(written)
    }

    /// A stream with its own buffer (TLS) may send nothing until it is flushed. If the flush blocks, the connection's
    /// task is woken later, as after a blocked write, and continues the flush when it reads.
    fn flush(&mut self) -> io::Result<()> {
        let waker = Arc::clone(&self.writable).into();
        self.unflushed = Pin::new(&mut self.stream).poll_flush(&mut Context::from_waker(&waker))?.is_pending();
        Ok(())
    }

    fn flush_on(&mut self, cx: &Context<'_>) -> io::Result<()> {
        if !self.unflushed || self.ending {
            return Ok(());
        }
        self.register(cx);
        self.flush()
    }

    /// Ends the write side, after the bytes that the stream has buffered. If that blocks it continues as
    /// [`OtherStream::flush`] does.
    fn end(&mut self) {
        let waker = Arc::clone(&self.writable).into();
        // An error means that the peer closed first.
        self.ending = Pin::new(&mut self.stream).poll_shutdown(&mut Context::from_waker(&waker)).is_pending();
    }

    /// Registers the task of `cx` to be woken when a blocked write, flush or end of the write side can continue.
    fn register(&self, cx: &Context<'_>) {
        let mut task = self.writable.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !task.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *task = Some(cx.waker().clone());
        }
    }

    fn poll_unblocked(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.register(cx);
        // The waker is registered before the check, so a wake in between is not missed.
        if self.writable.woken.load(Ordering::Acquire) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Before it is flushed: a stream that could not send all of its first bytes wakes nobody otherwise.
        self.register(cx);
        if self.ending {
            self.end();
        } else if self.unflushed {
            self.flush()?;
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        // A probe writes frames one by one and does not flush; it reads next.
        self.unflushed |= written.is_ready();
        written
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.poll_read(cx, buffer),
            Self::Other(other) => other.poll_read(cx, buffer),
        };
        traffic::count_read(buffer.filled().len().saturating_sub(before));
        read
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        traffic::count_poll_write(match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.poll_write(cx, bytes),
            Self::Other(other) => other.poll_write(cx, bytes),
        })
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        traffic::count_poll_write(match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => Pin::new(&mut tls.stream).poll_write_vectored(cx, slices),
            Self::Other(other) => other.stream.as_mut().poll_write_vectored(cx, slices),
        })
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.stream.is_write_vectored(),
            Self::Other(other) => other.stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => Pin::new(&mut tls.stream).poll_flush(cx),
            Self::Other(other) => other.stream.as_mut().poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => Pin::new(&mut tls.stream).poll_shutdown(cx),
            Self::Other(other) => other.stream.as_mut().poll_shutdown(cx),
        }
    }
}
