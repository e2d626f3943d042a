//! TLS: certificate and key out of their files, as what rustls serves with.

use std::{path::Path, sync::Arc};

use rustls::{
    ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs::{self, Ticketer},
    server::ProducesTickets,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{Error, PemObject as _},
};

use crate::config::{ConfigError, Tls};

static VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

/// What certificates change under: the keys of the tickets with which clients come back without a full handshake.
#[derive(Debug, Clone)]
pub(crate) struct Tickets(Arc<dyn ProducesTickets>);

impl Tickets {
    /// New keys, which change by themselves.
    ///
    /// # Errors
    /// There is no randomness.
    pub(crate) fn new() -> Result<Self, ConfigError> {
        Ticketer::new().map(Self).map_err(|error| ConfigError::new("tls", error.to_string()))
    }
}

/// What the listener serves with.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    /// For the engine.
    pub(crate) config: Arc<ServerConfig>,
    chain: Vec<CertificateDer<'static>>,
}

impl Served {
    /// Whether both show the same certificate.
    pub(crate) fn has_same_certificate(&self, other: &Self) -> bool {
        self.chain == other.chain
    }
}

/// What the listener serves with; `None` without TLS.
///
/// # Errors
/// A file cannot be read or holds something else, or the key is not the certificate's.
pub(crate) fn load(tls: &Tls, tickets: &Tickets) -> Result<Option<Served>, ConfigError> {
    let Some((cert, key)) = tls.cert.as_deref().zip(tls.key.as_deref()) else { return Ok(None) };
    let (chain, private) = (certificates(cert)?, private_key(key)?);
    let with_versions = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(VERSIONS)
        .map_err(|error| ConfigError::new("tls", error.to_string()))?;
    let mut config = with_versions.with_no_client_auth().with_single_cert(chain.clone(), private).map_err(|error| {
        let reason = match error {
            rustls::Error::InconsistentKeys(_) => format!("is not the key of the certificate in {}", cert.display()),
            error => format!("cannot be used with {}: {error}", cert.display()),
        };
        ConfigError::new("tls.key", format!("{} {reason}", key.display()))
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = Arc::clone(&tickets.0);
    // One is enough to come back with.
    config.send_tls13_tickets = 1;
    Ok(Some(Served { config: Arc::new(config), chain }))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let chain: Result<Vec<_>, Error> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match chain {
        Ok(chain) if chain.is_empty() => Err(wrong("tls.cert", path, Error::NoItemsFound)),
        Ok(chain) => Ok(chain),
        Err(error) => Err(wrong("tls.cert", path, error)),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, ConfigError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| wrong("tls.key", path, error))
}

/// In words that repeat nothing of the file: it may be the key.
fn wrong(key: &'static str, path: &Path, error: Error) -> ConfigError {
    let path = path.display();
    let reason = match error {
        Error::Io(error) => format!("{path} cannot be read: {error}"),
        Error::NoItemsFound if key == "tls.cert" => format!("{path} holds no certificate in PEM"),
        Error::NoItemsFound => {
            format!(
                "{path} holds no private key in PEM that is not encrypted (openssl pkey -in FILE takes the password off)"
            )
        }
        _ => format!("{path} is not valid PEM"),
    };
    ConfigError::new(key, reason)
}
