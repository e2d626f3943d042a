//! [`CaughtHooks`]: the application's hooks, called so that a panic in one affects only the answer it was called for.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use http::HeaderMap;

use crate::{
    error::ConnectionError,
    hooks::{ConnectionErrorEvent, Hooks, IdGenerationError, Outcome, Request, SidPart, Verdict},
    http::admission::Panicked,
};

/// Makes each shard's hooks, on the shard's own thread.
#[derive(Clone)]
pub(in crate::net) struct HooksFactory(pub(in crate::net) Arc<dyn Fn() -> Box<dyn Hooks> + Send + Sync>);

impl fmt::Debug for HooksFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HooksFactory").finish_non_exhaustive()
    }
}

/// One shard's hooks, if the application has any.
pub(in crate::net) struct CaughtHooks(Option<Box<dyn Hooks>>);

impl fmt::Debug for CaughtHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CaughtHooks").field(&self.0.is_some()).finish()
    }
}

impl CaughtHooks {
    pub(in crate::net) fn new(factory: Option<&HooksFactory>) -> Self {
        Self(factory.map(|factory| (factory.0)()))
    }

    pub(in crate::net) const fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Whether this request may become a session. Without hooks it may.
    pub(in crate::net) fn allow_request(&mut self, request: &Request<'_>) -> Result<Outcome<Verdict>, Panicked> {
        self.call(|hooks| hooks.allow_request(request)).unwrap_or(Ok(Outcome::Ready(Verdict::Allow)))
    }

    /// The application's choice for the secret part of the new sid; `None` without hooks.
    pub(in crate::net) fn generate_id(
        &mut self,
        request: &Request<'_>,
    ) -> Result<Outcome<Result<Option<SidPart>, IdGenerationError>>, Panicked> {
        self.call(|hooks| hooks.generate_id(request)).unwrap_or(Ok(Outcome::Ready(Ok(None))))
    }

    /// Lets the application change the headers of an answer; `first` if it is the session's first answer.
    pub(in crate::net) fn change_headers(&mut self, headers: &mut HeaderMap, request: &Request<'_>, first: bool) {
        // After a panic the headers are sent as they are.
        if first {
            let _ = self.call(|hooks| hooks.initial_headers(headers, request));
        }
        let _ = self.call(|hooks| hooks.headers(headers, request));
    }

    /// Tells the application about a refused request.
    pub(in crate::net) fn connection_error(
        &mut self,
        error: ConnectionError,
        message: Option<&str>,
        request: Request<'_>,
    ) {
        let _ = self.call(|hooks| {
            let own = error.error.to_string();
            hooks.on_connection_error(&ConnectionErrorEvent { error, message: message.unwrap_or(&own), request });
        });
    }

    /// `None` if there are no hooks.
    fn call<R>(&mut self, call: impl FnOnce(&mut dyn Hooks) -> R) -> Option<Result<R, Panicked>> {
        let hooks = self.0.as_deref_mut()?;
        let result = catch_unwind(AssertUnwindSafe(|| call(hooks)));
        Some(result.map_err(|_| {
            tracing::error!("a hook panicked");
            Panicked
        }))
    }
}
