//! [`OtherRequest`]: a request for a path outside the engine's, which the application answers.

use std::{fmt, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Response, StatusCode, request::Parts};

use super::super::shards::handle::Handle;
use crate::hooks::Outcome;

/// A request for a path outside the engine's ([`Server::fallback`](super::super::Server::fallback)).
#[derive(Debug, Clone, Copy)]
pub struct OtherRequest<'a> {
    /// Method, path and headers.
    pub parts: &'a Parts,
    /// The peer of the connection.
    pub remote: SocketAddr,
    /// A handle to the server's shards, for an answer that needs them.
    pub handle: &'a Handle,
}

/// The function that answers such requests.
#[derive(Clone)]
#[expect(clippy::type_complexity, reason = "this is the definition")]
pub(in crate::net) struct Fallback(Arc<dyn Fn(&OtherRequest<'_>) -> Outcome<Response<Bytes>> + Send + Sync>);

impl fmt::Debug for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback").finish_non_exhaustive()
    }
}

impl Default for Fallback {
    /// Answers all of them with 404.
    fn default() -> Self {
        Self::new(|_| {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NOT_FOUND;
            Outcome::Ready(response)
        })
    }
}

impl Fallback {
    pub(in crate::net) fn new(
        answer: impl Fn(&OtherRequest<'_>) -> Outcome<Response<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(answer))
    }

    pub(in crate::net) fn answer(&self, request: &OtherRequest<'_>) -> Outcome<Response<Bytes>> {
        (self.0)(request)
    }
}
