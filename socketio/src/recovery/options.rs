//! [`Options`]: how long and how much is kept.

use std::time::Duration;

/// How long and how much is kept.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// How long after the end of its connection a client may come back. Default 2 min.
    pub max_disconnection: Duration,
    /// How long the server may take to notice that a connection is broken: at least the engine's `ping_interval` and
    /// `ping_timeout` together. Events are kept for so much longer than `max_disconnection`. Default 60 s.
    pub detection: Duration,
    /// The most bytes of events that are kept, on all shards together. Default 16 MiB.
    pub log_bytes: usize,
    /// The most sockets without connection that are kept. Default 10,000.
    pub sessions: usize,
    /// The most bytes that these may take, with their rooms and data. Default 16 MiB.
    pub session_bytes: usize,
    /// Whether a client that is recovered is admitted by [`Handler::readmit`](crate::Handler::readmit) alone. Otherwise
    /// [`Handler::authorize`](crate::Handler::authorize) decides about it first, as about every client, and
    /// [`Io::recovered_data`](crate::Io::recovered_data) has what was saved. A decision that comes later
    /// ([`Decision::Later`](crate::Decision::Later)) makes the client a new socket. Default `true`, as in Node.
    pub skip_middlewares: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_disconnection: Duration::from_secs(120),
            detection: Duration::from_secs(60),
            log_bytes: 16 * 1024 * 1024,
            sessions: 10_000,
            session_bytes: 16 * 1024 * 1024,
            skip_middlewares: true,
        }
    }
}
