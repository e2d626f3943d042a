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

    /// No request has been served on its connection since `now`.
    pub(in crate::net) fn idle(&self, now: Instant) {
        if let Some(http) = &self.http {
            http.idle(now);
        }
    }
}
