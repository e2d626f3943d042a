//! Calls the application's hooks for a handshake, and waits for their answers.

use super::super::shard::turn::ShardRef;
use crate::{
    Handler,
    hooks::{IdGenerationError, Outcome, Request, SidPart, Verdict},
    http::admission::Panicked,
};

/// Whether this request may become a session.
pub(super) async fn allow_request<H: Handler>(shard: &ShardRef<H>, request: &Request<'_>) -> Result<Verdict, Panicked> {
    Ok(get(shard.turn(|shard| shard.hooks.allow_request(request))?).await)
}

/// The application's choice for the secret part of the new sid.
pub(super) async fn generate_id<H: Handler>(
    shard: &ShardRef<H>,
    request: &Request<'_>,
) -> Result<Option<SidPart>, IdGenerationError> {
    let result = match shard.turn(|shard| shard.hooks.generate_id(request)) {
        Ok(outcome) => get(outcome).await,
        Err(Panicked) => Err(IdGenerationError("the hook panicked".to_owned())),
    };
    result.inspect_err(|error| tracing::warn!(%error, "a handshake is refused"))
}

async fn get<T>(outcome: Outcome<T>) -> T {
    match outcome {
        Outcome::Ready(value) => value,
        Outcome::Pending(future) => future.await,
    }
}
