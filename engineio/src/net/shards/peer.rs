//! [`Peer`]: the other end of a TCP connection.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use super::http_connections::HttpConnection;

/// The other end of a TCP connection. See the module.
#[derive(Debug, Clone)]
pub(in crate::net) struct Peer {
    pub(in crate::net) remote: SocketAddr,
    /// The connection among all HTTP connections; `None` if its listener is the application's.
    http: Option<Arc<HttpConnection>>,
}

impl Peer {
    pub(in crate::net) const fn new(remote: SocketAddr, http: Option<Arc<HttpConnection>>) -> Self {
        Self { remote, http }
    }

    /// A request is being served on its connection.
    pub(in crate::net) fn busy(&self) {
        if let Some(http) = &self.http {
            http.busy();
        }
    }

    /// A request of a session came on its connection.
    pub(in crate::net) fn has_session(&self) {
        if let Some(http) = &self.http {
            http.has_session();
        }
    }

    /// `next` is the same connection on another shard: it counts as this one did.
    pub(in crate::net) fn pass_count(&self, next: &HttpConnection) {
        if self.http.as_ref().is_some_and(|http| http.is_counted()) {
            // There may be too many for a moment: this one is still counted.
            next.count_for(self.remote.ip());
        }
    }

    /// Counts its connection for the client's address. `false`: the address has too many, so this one must be closed.
    pub(in crate::net) fn count(&self) -> bool {
        self.http.as_ref().is_none_or(|http| http.count_for(self.remote.ip()))
    }

    /// No request has been served on its connection since `now`.
    pub(in crate::net) fn idle(&self, now: Instant) {
        if let Some(http) = &self.http {
            http.idle(now);
        }
    }
}
