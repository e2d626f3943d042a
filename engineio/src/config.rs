//! [`Config`]: the options, limits and intervals of an Engine.IO server, with the reference's names and defaults.

use std::time::Duration;

use crate::{
    Message, SharedFrame,
    http::{Cookie, Cors, HttpCompression, Origins, cookie::InvalidCookie},
    packet::Outbound,
    session::{Intervals, Transport},
    ws::deflate::PerMessageDeflate,
};

/// Options, limits and intervals. The defaults are those of Node's `engine.io` 6.6; sizes are in bytes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The path prefix that belongs to the engine. Whether it ends with a slash makes no difference, see
    /// `add_trailing_slash`. Default `/engine.io/`.
    pub path: String,
    /// Whether the slash at the end of `path` belongs to it (`addTrailingSlash`): then `/engine.io/` and what is below are
    /// the engine's, and `/engine.io` is not. Default true.
    pub add_trailing_slash: bool,
    /// The transports that are served; one that is not is unknown (code 0). Default both.
    pub transports: Vec<Transport>,
    /// Whether the handshake of a polling session names WebSocket as an upgrade (`allowUpgrades`). A client that upgrades
    /// all the same is served, as by the reference. Default true.
    pub allow_upgrades: bool,
    /// Whether protocol v3, of version 2 clients of Socket.IO, is spoken too (`allowEIO3`). Default false.
    pub allow_eio3: bool,
    /// Time between a pong (or the handshake) and the next ping. Default 25 s.
    pub ping_interval: Duration,
    /// How long a pong may take; in v3, how long after `ping_interval` a ping may still come. Default 20 s.
    pub ping_timeout: Duration,
    /// How long an upgrade may take from the second transport's handshake to packet `5`. Default 10 s.
    pub upgrade_timeout: Duration,
    /// The largest HTTP body, and the largest WebSocket message, that is accepted (`maxHttpBufferSize`); of a compressed
    /// message both before and after it is inflated. Default 1,000,000.
    pub max_payload: usize,
    /// Queued bytes (and 32 for every frame, which costs more than its bytes) above which volatile packets are dropped and the peer
    /// is no longer read from. At or above `outbound_hard` there is no such limit. Default 64 KiB.
    pub outbound_soft: usize,
    /// Queued bytes above which the peer is closed as a slow consumer. Default 1 MiB.
    pub outbound_hard: usize,
    /// How long a closed connection may take to go: to take what is queued for it, and to close its side. Default 5 s.
    pub close_timeout: Duration,
    /// How long a request head may take (408 if one has begun), and so how long a connection may be idle between requests. Default 10 s.
    pub head_timeout: Duration,
    /// How long a request body may take. Default 30 s.
    pub body_timeout: Duration,
    /// Which origins may talk to this server; enforced on every request and upgrade. Default: every origin.
    pub origins: Origins,
    /// What browsers are told about who may read the answers; with it, preflights are answered. Default `None`.
    pub cors: Option<Cors>,
    /// The cookie that a polling handshake sets. Default `None`.
    pub cookie: Option<Cookie>,
    /// A message that every session gets right behind its handshake (`initialPacket`). Default `None`.
    pub initial_packet: Option<Message<'static>>,
    /// Compression of the bodies that answer polls, for clients that take it. Default on, from 1024 bytes.
    pub http_compression: Option<HttpCompression>,
    /// Compression of WebSocket messages (RFC 7692), for clients that offer it. Default `None`: it costs time, memory and
    /// the one encoding that serves all.
    pub per_message_deflate: Option<PerMessageDeflate>,
    /// How the OPEN packet of a session that begins on WebSocket follows the answer 101. Default [`OpenPacket::Apart`].
    pub open_packet: OpenPacket,
    /// The most sessions at a time, beyond which a handshake gets 503; 0 is no limit. Default 0.
    pub max_sessions: usize,
    /// The most jobs that one shard may have under way ([`Outbox::start_job`](crate::Outbox::start_job)). Default 1,024.
    pub max_jobs: usize,
    /// Whether a session that begins on WebSocket is a plain one: its frames are the messages as they are, without packet
    /// types; there is no OPEN packet, and no heartbeat, so a peer that vanishes is noticed only when something is sent to
    /// it. For an application with a protocol of its own, and for suites that know WebSocket alone. What is sent is to be
    /// made by [`SharedFrame::websocket_message`]. Not together with `allow_eio3`, nor with polling among `transports`.
    /// Default false.
    pub plain_websockets: bool,
}

/// How the OPEN packet of a session that begins on WebSocket follows the answer 101.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OpenPacket {
    /// In a write of its own right after it, as by the reference.
    #[default]
    Apart,
    /// In the same write, where the server's own short way answers the handshake: a system call and a segment less for each
    /// connection. Official clients do not mind; see [`OpenPacket::Delayed`] for who does.
    WithAnswer,
    /// That much later. For scripts that begin to listen for messages only once they have heard that their WebSocket is
    /// open, and miss a packet that they read together with the answer.
    Delayed(Duration),
}

impl Config {
    /// The intervals of the heartbeat.
    #[must_use]
    pub const fn intervals(&self) -> Intervals {
        Intervals { ping_interval: self.ping_interval, ping_timeout: self.ping_timeout }
    }

    /// `initial_packet` as a frame: to be made once, and sent behind every OPEN packet.
    #[must_use]
    pub fn initial_frame(&self) -> Option<SharedFrame> {
        self.initial_packet.as_ref().map(|message| SharedFrame::packet(&Outbound::Message(message.clone())))
    }
}

/// Settings of a [`Config`] that contradict each other, or that no server can run with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// `path` must begin with a slash.
    #[error("path must begin with a slash")]
    PathWithoutSlash,
    /// `transports` is empty: no client could connect.
    #[error("transports must name a transport")]
    NoTransport,
    /// This setting must not be zero.
    #[error("{0} must not be zero")]
    Zero(&'static str),
    /// This time is longer than a hundred years: a deadline that far away overflows a clock.
    #[error("{0} must be at most a hundred years")]
    TooLong(&'static str),
    /// `plain_websockets` together with polling among `transports`: polling has packets, a plain WebSocket has none.
    #[error("plain_websockets and polling exclude each other: let transports name websocket alone")]
    PlainWithPolling,
    /// `plain_websockets` together with `allow_eio3`: a plain WebSocket has no packets of any revision.
    #[error("plain_websockets and allow_eio3 exclude each other")]
    PlainWithV3,
    /// The configured cookie cannot stand in a header.
    #[error(transparent)]
    Cookie(#[from] InvalidCookie),
}

/// The longest time that a deadline is set to.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

impl Config {
    /// Checks that a server can run with these settings.
    ///
    /// # Errors
    /// The first [`ConfigError`] that is found.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !self.path.starts_with('/') {
            return Err(ConfigError::PathWithoutSlash);
        }
        if self.transports.is_empty() {
            return Err(ConfigError::NoTransport);
        }
        // A plain WebSocket has no heartbeat.
        let heartbeat = !self.plain_websockets;
        for (name, is_zero) in [
            ("ping_interval", heartbeat && self.ping_interval.is_zero()),
            ("ping_timeout", heartbeat && self.ping_timeout.is_zero()),
            ("upgrade_timeout", self.upgrade_timeout.is_zero()),
            ("head_timeout", self.head_timeout.is_zero()),
            ("body_timeout", self.body_timeout.is_zero()),
            ("max_payload", self.max_payload == 0),
            ("outbound_hard", self.outbound_hard == 0),
        ] {
            if is_zero {
                return Err(ConfigError::Zero(name));
            }
        }
        for (name, time) in [
            ("ping_interval", self.ping_interval),
            ("ping_timeout", self.ping_timeout),
            ("upgrade_timeout", self.upgrade_timeout),
            ("close_timeout", self.close_timeout),
            ("head_timeout", self.head_timeout),
        ] {
            if time > LONGEST {
                return Err(ConfigError::TooLong(name));
            }
        }
        if self.plain_websockets && self.transports.contains(&Transport::Polling) {
            return Err(ConfigError::PlainWithPolling);
        }
        if self.plain_websockets && self.allow_eio3 {
            return Err(ConfigError::PlainWithV3);
        }
        if let Some(cookie) = &self.cookie {
            cookie.set_cookie("sid")?;
        }
        Ok(())
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            path: "/engine.io/".to_owned(),
            add_trailing_slash: true,
            transports: vec![Transport::Polling, Transport::WebSocket],
            allow_upgrades: true,
            allow_eio3: false,
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
            cors: None,
            cookie: None,
            initial_packet: None,
            http_compression: Some(HttpCompression::default()),
            per_message_deflate: None,
            open_packet: OpenPacket::Apart,
            max_sessions: 0,
            max_jobs: 1024,
            plain_websockets: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_packet_stands_behind_the_handshake() {
        let mut config = Config::default();
        assert!(config.initial_frame().is_none());
        config.initial_packet = Some(Message::Text("hi".into()));
        assert_eq!(config.initial_frame().unwrap().polling(), b"4hi");
        config.initial_packet = Some(Message::Binary(vec![1].into()));
        assert_eq!(config.initial_frame().unwrap().websocket(), b"\x82\x01\x01");
    }

    #[test]
    fn what_contradicts_itself_is_named() {
        type Change = fn(&mut Config);
        let rows: [(Change, ConfigError); 9] = [
            (|config| config.path = "engine.io/".to_owned(), ConfigError::PathWithoutSlash),
            (|config| config.transports.clear(), ConfigError::NoTransport),
            (|config| config.ping_interval = Duration::ZERO, ConfigError::Zero("ping_interval")),
            (|config| config.head_timeout = Duration::MAX, ConfigError::TooLong("head_timeout")),
            (|config| config.close_timeout = 2 * LONGEST, ConfigError::TooLong("close_timeout")),
            (|config| config.max_payload = 0, ConfigError::Zero("max_payload")),
            (|config| config.plain_websockets = true, ConfigError::PlainWithPolling),
            (
                |config| {
                    (config.plain_websockets, config.allow_eio3) = (true, true);
                    config.transports = vec![Transport::WebSocket];
                },
                ConfigError::PlainWithV3,
            ),
            (
                |config| config.cookie = Some(Cookie { name: "a;b".to_owned(), ..Cookie::default() }),
                ConfigError::Cookie(InvalidCookie),
            ),
        ];
        assert_eq!(Config::default().validate(), Ok(()));
        for (change, error) in rows {
            let mut config = Config::default();
            change(&mut config);
            assert_eq!(config.validate(), Err(error));
        }
    }
}
