//! Connecting: TCP, then TLS where the URL says so.

use std::{
    io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, lookup_host},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{error::ClientError, target::Target};

/// A TCP connection, perhaps with TLS on it.
#[derive(Debug)]
pub(crate) enum Stream {
    /// TCP alone.
    Plain(TcpStream),
    /// TLS on TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection, and how it came to be.
#[derive(Debug)]
pub(crate) struct Connected {
    /// The connection.
    pub(crate) stream: Stream,
    /// Who is at its other end.
    pub(crate) address: SocketAddr,
    /// How long the name and TCP took.
    pub(crate) tcp: Duration,
    /// The version of TLS, and how long its handshake took.
    pub(crate) tls: Option<(String, Duration)>,
}

/// Makes connections to one server.
#[derive(Clone)]
pub(crate) struct Connector {
    target: Target,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Connector {
    /// For this server. With TLS the operating system's certificate authorities count, and those in `authorities`, a PEM file.
    ///
    /// # Errors
    /// There is no authority to trust, or the host's name cannot be in a certificate.
    pub(crate) fn new(target: Target, authorities: Option<&Path>) -> anyhow::Result<Self> {
        let tls = if target.tls {
            let name =
                ServerName::try_from(target.host.clone()).context("the host's name cannot be in a certificate")?;
            Some((TlsConnector::from(Arc::new(tls_config(authorities)?)), name))
        } else {
            None
        };
        Ok(Self { target, tls })
    }

    /// The server.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// The name, TCP or TLS.
    pub(crate) async fn connect(&self) -> Result<Connected, ClientError> {
        let Target { host, port, .. } = &self.target;
        let start = Instant::now();
        let resolve = |error| ClientError::Resolve { host: host.clone(), error };
        let addresses: Vec<SocketAddr> = lookup_host((host.as_str(), *port)).await.map_err(resolve)?.collect();
        let failed = |error| ClientError::Connect { address: format!("{host}:{port}"), error };
        let tcp = TcpStream::connect(addresses.as_slice()).await.map_err(failed)?;
        let address = tcp.peer_addr().map_err(failed)?;
        tcp.set_nodelay(true).map_err(failed)?;
        let tcp_time = start.elapsed();
        let Some((connector, name)) = &self.tls else {
            return Ok(Connected { stream: Stream::Plain(tcp), address, tcp: tcp_time, tls: None });
        };
        let start = Instant::now();
        let stream = connector.connect(name.clone(), tcp).await.map_err(ClientError::Tls)?;
        let version = stream.get_ref().1.protocol_version();
        let version = version.map_or_else(|| "unknown".to_owned(), |version| format!("{version:?}"));
        let tls = Some((version, start.elapsed()));
        Ok(Connected { stream: Stream::Tls(Box::new(stream)), address, tcp: tcp_time, tls })
    }
}

fn tls_config(authorities: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(file) = authorities {
        let read = || anyhow::Ok(CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>()?);
        let (added, _) = roots.add_parsable_certificates(read().with_context(|| format!("--ca {}", file.display()))?);
        anyhow::ensure!(added > 0, "--ca {}: there is no certificate in it", file.display());
    }
    anyhow::ensure!(
        !roots.is_empty(),
        "this machine trusts no certificate authority; install ca-certificates, or use --ca"
    );
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    // A WebSocket of HTTP/2 is another protocol, which the server does not have.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
