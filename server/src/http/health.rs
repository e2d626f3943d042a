//! [`Readiness`]: whether new clients should be sent here.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use engineio::{ShardMessage, net::Handle};
use http::{Response, StatusCode};

use super::response::text;
use crate::{chat::AliveCheck, store::Health};

/// How long the shards together may take to say that they are alive. A shard that is merely busy answers within milliseconds.
const ALIVE_WITHIN: Duration = Duration::from_secs(1);

/// Ready until the server begins to shut down, as long as the store works and every shard deals with what it is sent. Clones share one
/// state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness {
    draining: Arc<AtomicBool>,
    /// Of the store; one in memory always works.
    store: Option<Arc<Health>>,
}

impl Readiness {
    /// Of a server with this store.
    pub(crate) fn new(store: Option<Arc<Health>>) -> Self {
        Self { draining: Arc::default(), store }
    }

    /// The server began to shut down.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// What the store has done; `None` of one in memory.
    pub(super) fn store(&self) -> Option<&Health> {
        self.store.as_deref()
    }

    /// The answer to `/readyz`.
    pub(super) async fn check(self, shards: Handle) -> Response<Bytes> {
        if self.draining.load(Ordering::Relaxed) {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
        }
        if let Some(reason) = self.store().and_then(Health::fault) {
            return text(StatusCode::SERVICE_UNAVAILABLE, format!("the store does not work: {reason}\n"));
        }
        match first_silent(&shards).await {
            None => text(StatusCode::OK, "ready\n"),
            Some(shard) => {
                tracing::warn!(shard, "not ready: a shard does not answer");
                text(StatusCode::SERVICE_UNAVAILABLE, format!("shard {shard} does not answer\n"))
            }
        }
    }
}

/// The first shard that does not answer in time, or has ended.
async fn first_silent(shards: &Handle) -> Option<u16> {
    let deadline = tokio::time::Instant::now() + ALIVE_WITHIN;
    for shard in 0..shards.shards() {
        let alive = shards.ask(shard, |reply| ShardMessage::new(AliveCheck(reply)));
        if !matches!(tokio::time::timeout_at(deadline, alive).await, Ok(Ok(()))) {
            return Some(shard);
        }
    }
    None
}
