//! [`Readiness`]: whether new clients should be sent here.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Ready until the server begins to shut down. Clones share one state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// The server began to shut down.
    pub(crate) fn drain(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the server is shutting down.
    pub(super) fn is_draining(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
