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
use crate::chat::AliveCheck;

/// How long the shards together may take to say that they are alive. A shard that is merely busy answers within milliseconds.
const ALIVE_WITHIN: Duration = Duration::from_secs(1);

/// Ready until the server begins to shut down, as long as every shard deals with what it is sent. Clones share one state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// The server began to shut down.
    pub(crate) fn drain(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// The answer to `/readyz`.
    pub(super) async fn check(self, shards: Handle) -> Response<Bytes> {
        if self.0.load(Ordering::Relaxed) {
            return text(StatusCode::SERVICE_UNAVAILABLE, "draining\n");
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
