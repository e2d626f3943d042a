//! [`App`]: what all shards and sockets of an application share.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{recovered::Extensions, type_map::TypeMap};
use crate::{config::Config, recovery::Options};

/// See the module.
#[derive(Debug)]
pub struct App {
    /// Tells the applications of one process apart.
    pub(crate) number: u64,
    pub(crate) config: Config,
    pub(crate) settings: Settings,
    pub(crate) state: TypeMap,
    /// The patterns of namespaces, which are no names of namespaces.
    pub(crate) patterns: Vec<String>,
    /// Of sockets that may come back.
    pub(crate) recoverable: Extensions,
    /// The way to the shards from other threads. A test without sockets has none.
    pub(crate) engine: OnceLock<engineio::net::Handle>,
}

/// How the router treats handlers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// A handler that keeps its shard busy for longer is logged as a warning, with its event's name. Default 50 ms.
    pub blocking_after: Duration,
    /// How many events of one socket may wait for their turn where they are handled in order
    /// ([`Namespace::ordered`](super::Namespace::ordered)). Default 128.
    pub queued_events: usize,
    /// How many bytes these events may have together. One that has more may wait alone. Default 1 MiB.
    pub queued_bytes: usize,
    /// How many handlers of one client may wait at the same time, in all its namespaces together, so that no client takes all of
    /// `engineio::Config::max_jobs`. Default 128.
    pub waiting_handlers: usize,
    /// How long [`Socket::emit_with_ack`](super::Socket::emit_with_ack) waits for an answer, unless it says so. Default 10 s.
    pub ack_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            blocking_after: Duration::from_millis(50),
            queued_events: 128,
            queued_bytes: 1024 * 1024,
            waiting_handlers: 128,
            ack_timeout: Duration::from_secs(10),
        }
    }
}

impl App {
    /// How sockets may come back, if the core recovers them by itself.
    pub(crate) fn recovery(&self) -> Option<&Options> {
        Some(self.config.recovery.as_ref()?.store()?.options())
    }

    pub(crate) fn new(config: Config, settings: Settings, state: TypeMap, patterns: Vec<String>) -> Self {
        static APPS: AtomicU64 = AtomicU64::new(0);
        let number = APPS.fetch_add(1, Ordering::Relaxed);
        Self { number, config, settings, state, patterns, recoverable: Extensions::default(), engine: OnceLock::new() }
    }
}
