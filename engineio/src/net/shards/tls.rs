//! [`Tls`]: the certificate, and what else TLS needs, of the connections that come.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use rustls::ServerConfig;

/// See the module.
pub(in crate::net) struct Tls(RwLock<Arc<ServerConfig>>);

impl fmt::Debug for Tls {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    pub(in crate::net) const fn new(config: Arc<ServerConfig>) -> Self {
        Self(RwLock::new(config))
    }

    /// For a connection that begins now.
    pub(in crate::net) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// For connections that begin later.
    pub(in crate::net) fn replace(&self, config: Arc<ServerConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }
}
