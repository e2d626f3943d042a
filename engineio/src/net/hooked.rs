//! The application's hooks, called so that a panic in one costs no more than the answer it was asked for.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use http::HeaderMap;

use super::{opening::UNAVAILABLE, polling::Refused, shard::ShardRef};
use crate::{
    Handler,
    error::{ConnectionError, ErrorContext, HandshakeError},
    hooks::{ConnectionErrorEvent, Hooks, IdGenerationError, Outcome, Request, SidPart, Verdict},
};

/// Makes each shard's hooks, on the shard's own thread.
#[derive(Clone)]
pub(super) struct HooksFactory(pub(super) Arc<dyn Fn() -> Box<dyn Hooks> + Send + Sync>);

impl fmt::Debug for HooksFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HooksFactory").finish_non_exhaustive()
    }
}

/// One shard's hooks, if the application has any.
pub(super) struct Hooked(Option<Box<dyn Hooks>>);

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hooked").field(&self.0.is_some()).finish()
    }
}

/// A hook panicked.
struct Panicked;

impl Hooked {
    pub(super) fn new(factory: Option<&HooksFactory>) -> Self {
        Self(factory.map(|factory| (factory.0)()))
    }

    pub(super) const fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// `None`: there are no hooks.
    fn call<R>(&mut self, call: impl FnOnce(&mut dyn Hooks) -> R) -> Option<Result<R, Panicked>> {
        let hooks = self.0.as_deref_mut()?;
        let result = catch_unwind(AssertUnwindSafe(|| call(hooks)));
        Some(result.map_err(|_| {
            tracing::error!("a hook panicked");
            Panicked
        }))
    }

    fn change(&mut self, headers: &mut HeaderMap, change: impl FnOnce(&mut dyn Hooks, &mut HeaderMap)) {
        // After a panic the headers go as they are.
        let _ = self.call(|hooks| change(hooks, headers));
    }
}

impl<H: Handler> ShardRef<H> {
    /// May this request become a session? After a panic nobody knows, and the client may come back.
    pub(super) async fn allow_request(&self, request: &Request<'_>) -> Result<(), Refused> {
        let verdict = match self.turn(|shard| shard.hooks.call(|hooks| hooks.allow_request(request))) {
            None => Verdict::Allow,
            Some(Err(Panicked)) => return Err(UNAVAILABLE.into()),
            Some(Ok(outcome)) => get(outcome).await,
        };
        verdict.check().map_err(|(error, message)| Refused::Coded(error, message.map(str::to_owned)))
    }

    /// What the application chooses of the new session's sid.
    pub(super) async fn generate_id(&self, request: &Request<'_>) -> Result<Option<SidPart>, Refused> {
        let result = match self.turn(|shard| shard.hooks.call(|hooks| hooks.generate_id(request))) {
            None => return Ok(None),
            Some(Err(Panicked)) => Err(IdGenerationError("the hook panicked".to_owned())),
            Some(Ok(outcome)) => get(outcome).await,
        };
        result.map_err(|error| {
            tracing::warn!(%error, "a handshake is refused");
            HandshakeError::BadRequest.within(ErrorContext::IdGenerationError).into()
        })
    }

    /// Lets the application change the headers of an answer; `first`: of a session's first one.
    pub(super) fn change_headers(&self, headers: &mut HeaderMap, request: &Request<'_>, first: bool) {
        self.turn(|shard| {
            if first {
                shard.hooks.change(headers, |hooks, headers| hooks.initial_headers(headers, request));
            }
            shard.hooks.change(headers, |hooks, headers| hooks.headers(headers, request));
        });
    }

    /// Tells the application of a request that is refused.
    pub(super) fn connection_error(&self, error: ConnectionError, message: Option<&str>, request: Request<'_>) {
        self.turn(|shard| {
            let _ = shard.hooks.call(|hooks| {
                let own = error.error.to_string();
                hooks.on_connection_error(&ConnectionErrorEvent { error, message: message.unwrap_or(&own), request });
            });
        });
    }
}

async fn get<T>(outcome: Outcome<T>) -> T {
    match outcome {
        Outcome::Ready(value) => value,
        Outcome::Pending(future) => future.await,
    }
}
