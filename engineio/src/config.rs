//! [`Config`]: the limits and intervals of an Engine.IO server, with the reference's names and defaults.

use std::time::Duration;

use crate::http::Origins;

/// Limits and intervals. The defaults are those of Node's `engine.io` 6.6; sizes are in bytes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The path prefix that belongs to the engine. Default `/engine.io/`.
    pub path: String,
    /// Time between a pong (or the handshake) and the next ping. Default 25 s.
    pub ping_interval: Duration,
    /// How long a pong may take. Default 20 s.
    pub ping_timeout: Duration,
    /// How long an upgrade may take from the second transport's handshake to packet `5`. Default 10 s.
    pub upgrade_timeout: Duration,
    /// The largest HTTP body, and the largest WebSocket message, that is accepted. Default 1,000,000.
    pub max_payload: usize,
    /// Queued bytes (and 32 for every frame, which costs more than its bytes) above which volatile packets are dropped and the peer is no longer read from. Default 64 KiB.
    pub outbound_soft: usize,
    /// Queued bytes above which the peer is closed as a slow consumer. Default 1 MiB.
    pub outbound_hard: usize,
    /// How long a closed connection may take to go: to take what is queued for it, and to close its side. Default 5 s.
    pub close_timeout: Duration,
    /// How long a request head may take. Default 10 s.
    pub head_timeout: Duration,
    /// How long a request body may take. Default 30 s.
    pub body_timeout: Duration,
    /// Which origins may talk to this server; enforced on every request and upgrade. Default: every origin.
    pub origins: Origins,
    /// Whether allowed origins get CORS headers and preflights are answered. Default false.
    pub cors: bool,
    /// The most sessions at a time, beyond which a handshake gets 503; 0 is no limit. Default 0.
    pub max_sessions: usize,
    /// Whether a session that begins on WebSocket is a plain one: its frames are the messages as they are, without packet
    /// types; there is no OPEN packet, and no heartbeat, so a peer that vanishes is noticed only when something is sent to
    /// it. For an application with a protocol of its own, and for suites that know WebSocket alone. What is sent is to be
    /// made by [`SharedFrame::websocket_message`](crate::SharedFrame::websocket_message). Default false.
    pub plain_websockets: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "/engine.io/".to_owned(),
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            max_payload: 1_000_000,
            outbound_soft: 64 * 1024,
            outbound_hard: 1024 * 1024,
            close_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            origins: Origins::Any,
            cors: false,
            max_sessions: 0,
            plain_websockets: false,
        }
    }
}
