//! [`OtherRequest`]: a request for a path outside the engine's, which the application answers.

use std::{cell::Cell, fmt, net::SocketAddr, pin::Pin, sync::Arc};

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
    /// The body, which is read if the application asks for it.
    pub body: &'a OtherBody,
}

/// Why an application did not get the body of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// It is longer than the application allows. The connection is closed after the answer.
    #[error("the body is too large")]
    TooLarge,
    /// It did not come within [`Config::body_timeout`](crate::Config::body_timeout).
    #[error("the body did not come in time")]
    TimedOut,
    /// It broke off, or was read before.
    #[error("the body is incomplete")]
    Incomplete,
}

/// Reads a body of at most so many bytes.
type Read = Box<dyn FnOnce(usize) -> Reading>;

type Reading = Pin<Box<dyn Future<Output = Result<Bytes, BodyError>>>>;

/// The body of an [`OtherRequest`]. Nothing of it is read unless the application asks for it, so it can first look at the head: who
/// may not ask anything cannot make the server keep bytes either.
pub struct OtherBody(Cell<Option<Read>>);

impl fmt::Debug for OtherBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtherBody").finish_non_exhaustive()
    }
}

impl OtherBody {
    /// A body that `read` reads, of at most so many bytes.
    pub(in crate::net) fn new(read: impl FnOnce(usize) -> Reading + 'static) -> Self {
        Self(Cell::new(Some(Box::new(read))))
    }

    /// A body that is there already, for tests of an application's answers.
    #[must_use]
    pub fn of(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::new(move |max| {
            let body = if bytes.len() > max { Err(BodyError::TooLarge) } else { Ok(bytes) };
            Box::pin(std::future::ready(body))
        })
    }

    /// Reads the body, of at most `max` bytes, within [`Config::body_timeout`](crate::Config::body_timeout). The future can outlive the
    /// request that it was taken from, for [`Outcome::Pending`]. A body can be read once.
    ///
    /// # Errors
    /// When the future ends: [`BodyError`].
    pub fn read(&self, max: usize) -> impl Future<Output = Result<Bytes, BodyError>> + use<> {
        let reading = self.0.take().map(|read| read(max));
        async move {
            match reading {
                Some(reading) => reading.await,
                None => Err(BodyError::Incomplete),
            }
        }
    }
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
