//! [`SocketIo`]: all sockets of a server, from anywhere.

use std::sync::Arc;

use super::{app::App, operator::Operator};

/// All sockets of a running server: for other threads, jobs, HTTP handlers. [`Running::io`](super::Running::io) gives it, handlers have it
/// as an argument, and [`Socket::io`](super::Socket::io) gives it too.
#[derive(Debug, Clone)]
pub struct SocketIo {
    app: Arc<App>,
}

impl SocketIo {
    pub(crate) const fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    /// The sockets of one namespace. A pattern is none: say `/orders-7`, not `/orders-{id}`.
    pub fn of(&self, nsp: &str) -> Operator {
        Operator::new(Arc::clone(&self.app), nsp.into())
    }

    /// The engine's handle, for what it can do beyond this; `None` in a test without sockets.
    #[must_use]
    pub fn engine(&self) -> Option<&engineio::net::Handle> {
        self.app.engine.get()
    }
}
