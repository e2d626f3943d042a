//! [`TlsStream`]: a TCP socket with TLS on it (RFC 8446, RFC 5246), by rustls.
//!
//! What it owns is rustls' state and the socket; the plaintext goes straight into the reader's buffer. Nothing is sealed while sealed
//! bytes wait for the socket, so at most one write (64 KiB) waits here, beside the queue that the limits count.

use std::{
    fmt, io,
    io::{IoSlice, Read as _, Write as _},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustls::{ServerConfig, ServerConnection};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// A TCP socket with TLS. See the module.
pub(in crate::net) struct TlsStream {
    tcp: TcpStream,
    tls: ServerConnection,
    /// The peer has been told that nothing more comes.
    ended: bool,
}

/// The same, while no reactor watches the socket.
pub(in crate::net) struct DetachedTls {
    tcp: std::net::TcpStream,
    tls: ServerConnection,
    ended: bool,
}

impl fmt::Debug for TlsStream {
    /// Without keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("tcp", &self.tcp).finish_non_exhaustive()
    }
}

impl fmt::Debug for DetachedTls {
    /// Without keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DetachedTls").field("tcp", &self.tcp).finish_non_exhaustive()
    }
}

/// Reads and writes what the socket can at once.
struct AtOnce<'a>(&'a TcpStream);

impl io::Read for AtOnce<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl io::Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TlsStream {
    /// The server's side of a handshake that has not begun.
    ///
    /// # Errors
    /// rustls does not accept its own configuration.
    pub(in crate::net) fn new(tcp: TcpStream, config: Arc<ServerConfig>) -> io::Result<Self> {
        let tls = ServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Self { tcp, tls, ended: false })
    }

    /// Takes in bytes that were read from the socket before.
    ///
    /// # Errors
    /// They are no TLS.
    pub(in crate::net) fn take_in(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.tls.read_tls(&mut bytes)?;
            self.process()?;
        }
        Ok(())
    }

    /// Goes on with the handshake until it is done.
    pub(in crate::net) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_send(cx))?;
            if !self.tls.is_handshaking() {
                return Poll::Ready(Ok(()));
            }
            if ready!(self.poll_receive(cx))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Waits for bytes of the peer, and has rustls deal with them. How many there were; 0 at the end.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            match self.tls.read_tls(&mut AtOnce(&self.tcp)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.tcp.poll_read_ready(cx))?,
                Err(error) => return Poll::Ready(Err(error)),
                Ok(count) => {
                    self.process()?;
                    return Poll::Ready(Ok(count));
                }
            }
        }
    }

    fn process(&mut self) -> io::Result<()> {
        let processed = self.tls.process_new_packets();
        processed.map(drop).map_err(|error| {
            // The alert says why; whether it can be sent does not matter any more.
            let _ = self.tls.write_tls(&mut AtOnce(&self.tcp));
            io::Error::new(io::ErrorKind::InvalidData, error)
        })
    }

    /// Sends what is sealed.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut AtOnce(&self.tcp)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(self.tcp.poll_write_ready(cx))?,
                Err(error) => return Poll::Ready(Err(error)),
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The socket below.
    pub(in crate::net) const fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Whether sealed bytes wait for the socket.
    pub(in crate::net) fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// Removes the socket from this thread's reactor.
    pub(in crate::net) fn detach(self) -> io::Result<DetachedTls> {
        Ok(DetachedTls { tcp: self.tcp.into_std()?, tls: self.tls, ended: self.ended })
    }
}

impl DetachedTls {
    /// Registers the socket with this thread's reactor.
    pub(in crate::net) fn attach(self) -> io::Result<TlsStream> {
        Ok(TlsStream { tcp: TcpStream::from_std(self.tcp)?, tls: self.tls, ended: self.ended })
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match this.tls.reader().read(buffer.initialize_unfilled()) {
                Ok(count) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // Many peers close without a word. What they send says itself where it ends.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            let received = this.poll_receive(cx)?;
            // Some records are answered: with new keys, for one.
            if this.tls.wants_write() {
                let _ = this.poll_send(cx)?;
            }
            ready!(received);
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Poll::Ready(this.tls.writer().write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Poll::Ready(this.tls.writer().write_vectored(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_send(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !std::mem::replace(&mut this.ended, true) {
            this.tls.send_close_notify();
        }
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.tcp).poll_shutdown(cx)
    }
}
