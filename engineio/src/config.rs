//! [`Config`]: the options, limits and intervals of an Engine.IO server, with the names and defaults of Node's server.

use std::{borrow::Cow, net::IpAddr, time::Duration};

use http::{HeaderMap, HeaderValue, header};

use crate::{
    Message, SharedFrame,
    http::{Cookie, Cors, Files, Hosts, HttpCompression, Origins, TrustedProxies, cookie::InvalidCookie},
    packet::Outbound,
    session::{Intervals, Transport},
    ws::deflate::PerMessageDeflate,
};

/// Options, limits and intervals. The defaults are those of Node's `engine.io` 6.6, called "the reference" here. Sizes
/// are in bytes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The path prefix that belongs to the engine. Its last slash makes no difference; see `add_trailing_slash`.
    /// Default `/engine.io/`.
    pub path: String,
    /// Whether the slash at the end of `path` is required (`addTrailingSlash`). If it is, `/engine.io/` and the paths
    /// below it belong to the engine, and `/engine.io` does not. Default true.
    pub add_trailing_slash: bool,
    /// The transports that are served; any other counts as unknown (code 0). Default both.
    pub transports: Vec<Transport>,
    /// Whether the handshake of a polling session offers WebSocket as an upgrade (`allowUpgrades`). A client that
    /// upgrades without the offer is served all the same, as by the reference. Default true.
    pub allow_upgrades: bool,
    /// Whether protocol v3, which version 2 clients of Socket.IO speak, is served too (`allowEIO3`). Such clients make
    /// the ids of their sockets from the session's id, so with them that is no secret any more. Default false.
    pub allow_eio3: bool,
    /// Time between a pong (or the handshake) and the next ping. Default 25 s.
    pub ping_interval: Duration,
    /// How long a pong may take; in v3, how late after `ping_interval` the client's ping may come. Default 20 s.
    pub ping_timeout: Duration,
    /// How long an upgrade may take from the second transport's handshake to packet `5`. Default 10 s.
    pub upgrade_timeout: Duration,
    /// The largest HTTP body and the largest WebSocket message that is accepted, in bytes (`maxHttpBufferSize`). A
    /// compressed message must fit both before and after it is inflated. Default 1,000,000.
    pub max_payload: usize,
    /// The largest message and HTTP body that is accepted of a session until the application accepts it
    /// ([`Outbox::accept`](crate::Outbox::accept)), in bytes. So a client that nobody knows cannot fill the memory with
    /// unfinished messages. A session that exceeds it ends with [`CloseReason::TooLong`](crate::CloseReason::TooLong), and its
    /// peer is told what [`Handler::last_frame`](crate::Handler::last_frame) says. The handshake names `max_payload` all the same. Default: no limit but `max_payload`.
    pub max_unaccepted: usize,
    /// Soft limit of a connection's queue, in bytes. Each frame counts 32 bytes more than its length, because it costs
    /// more. Above the limit volatile packets are dropped and the peer is no longer read from. At or above
    /// `outbound_hard` there is no soft limit. Default 64 KiB.
    pub outbound_soft: usize,
    /// Queued bytes above which the peer is closed as a slow consumer. Default 1 MiB.
    pub outbound_hard: usize,
    /// How long a closed connection may take to read what is queued for it and to close its side. Default 5 s.
    pub close_timeout: Duration,
    /// How long a request head may take from its first byte (408 if it takes longer), and how long a new connection may
    /// take to send its first byte. Default 10 s.
    pub head_timeout: Duration,
    /// How long a connection may be idle between requests. It should be longer than the same time of a proxy in front of
    /// the server: otherwise the proxy may send a request just when the connection is closed, and answers 502. When the
    /// descriptors run short, idle connections are closed earlier, the one that has been idle for the longest time first.
    /// Default 75 s. (Node's is 5 s.)
    pub keep_alive: Duration,
    /// How long a request body may take. Default 30 s.
    pub body_timeout: Duration,
    /// Which origins may talk to this server; enforced on every request and upgrade. Default: every origin.
    pub origins: Origins,
    /// For which hosts requests on the engine's path are answered. Default: every host.
    pub hosts: Hosts,
    /// The proxies whose word counts about the client's address ([`Handshake::client`](crate::Handshake::client)) and the
    /// host that it asked for. Default: none.
    pub trusted_proxies: TrustedProxies,
    /// Whether connections from trusted proxies begin with a header of the PROXY protocol ([`crate::proxy_protocol`]). One
    /// without a header is closed. Default false.
    pub proxy_protocol: bool,
    /// What the log calls the settings that allow a refused origin, a refused host, and Engine.IO v3. For applications
    /// with settings of their own. Default `Config::origins`, `Config::hosts` and `Config::allow_eio3`.
    pub setting_names: SettingNames,
    /// The CORS headers, which tell browsers whose pages may read the answers; with them, preflights are answered too.
    /// Default `None`.
    pub cors: Option<Cors>,
    /// The cookie that a polling handshake sets. Default `None`.
    pub cookie: Option<Cookie>,
    /// A message that every session gets right after its handshake (`initialPacket`). Default `None`.
    pub initial_packet: Option<Message<'static>>,
    /// Files that are served below `path`, such as the bundles of a client. Default none.
    pub files: Files,
    /// Compression of the bodies that answer polls, for clients that accept it. Default on, from 1024 bytes to 32 KiB.
    pub http_compression: Option<HttpCompression>,
    /// Compression of WebSocket messages (RFC 7692), for clients that offer it. Default `None`, because compression
    /// costs time and memory, and a message can then no longer be encoded once for all recipients.
    pub per_message_deflate: Option<PerMessageDeflate>,
    /// When the OPEN packet of a session that begins on WebSocket is sent, relative to the answer 101. Default
    /// [`OpenPacket::Apart`].
    pub open_packet: OpenPacket,
    /// The most sessions at one time; a handshake beyond it gets 503. 0 means no limit. Default 0.
    pub max_sessions: usize,
    /// The most TCP connections at one time, for a reserve of file descriptors: when there are as many, those without a
    /// request are closed, the one that has been idle for the longest time first. If there is none, a new connection is
    /// closed at once. 0 means no limit. Default 0.
    pub max_connections: usize,
    /// The most TCP connections of one client address (in IPv6 of one /64) on which no request of a session has come.
    /// When there are as many, the one that has been idle for the longest time is closed. Trusted proxies are not
    /// counted. 0 means no limit. Default 0.
    pub max_pending: usize,
    /// The most jobs that one shard may run at the same time ([`Outbox::start_job`](crate::Outbox::start_job)). Default
    /// 1,024.
    pub max_jobs: usize,
    /// Whether sessions on WebSocket are plain: each frame is a message, without a packet type. There is no OPEN packet
    /// and no heartbeat, so a vanished peer is noticed only when something is sent to it. This is for applications with
    /// a protocol of their own, and for test suites that know only WebSocket. Messages must be made with
    /// [`SharedFrame::websocket_message`]. Excludes `allow_eio3`, and polling among `transports`. Default false.
    pub plain_websockets: bool,
}

/// What the log calls some settings ([`Config::setting_names`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingNames {
    /// [`Config::origins`].
    pub origins: &'static str,
    /// [`Config::hosts`].
    pub hosts: &'static str,
    /// [`Config::allow_eio3`].
    pub allow_eio3: &'static str,
}

impl Default for SettingNames {
    fn default() -> Self {
        Self { origins: "Config::origins", hosts: "Config::hosts", allow_eio3: "Config::allow_eio3" }
    }
}

/// When the OPEN packet of a session that begins on WebSocket is sent, relative to the answer 101.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OpenPacket {
    /// In its own write right after the answer, as by the reference.
    #[default]
    Apart,
    /// In the same write as the answer, if the handshake was answered without hyper. This saves a system call and a TCP
    /// segment for each connection. Official clients accept it; [`OpenPacket::Delayed`] says which clients do not.
    WithAnswer,
    /// This much later. For scripts that begin to listen for messages only after the `open` event of their WebSocket.
    /// They miss a packet that arrives together with the answer.
    Delayed(Duration),
}

impl Config {
    /// The intervals of the heartbeat.
    #[must_use]
    pub const fn intervals(&self) -> Intervals {
        Intervals { ping_interval: self.ping_interval, ping_timeout: self.ping_timeout }
    }

    /// Takes over what a running server can change ([`net::Handle::reconfigure`](crate::net::Handle::reconfigure)).
    #[cfg(feature = "net")]
    pub(crate) fn take_changes(&mut self, new: &Self) {
        self.origins.clone_from(&new.origins);
        self.hosts.clone_from(&new.hosts);
        self.cors.clone_from(&new.cors);
        self.trusted_proxies.clone_from(&new.trusted_proxies);
        self.setting_names = new.setting_names;
        self.outbound_soft = new.outbound_soft;
        self.outbound_hard = new.outbound_hard;
        self.max_unaccepted = new.max_unaccepted;
        self.max_sessions = new.max_sessions;
        self.max_pending = new.max_pending;
    }

    /// The largest message of a session that the application has accepted, or has not.
    #[cfg(feature = "net")]
    pub(crate) fn max_message(&self, accepted: bool) -> usize {
        if accepted { self.max_payload } else { self.max_payload.min(self.max_unaccepted) }
    }

    /// The headers by which the origin and the host of a request from `peer` are judged ([`Origins`], [`Hosts`]): where
    /// trusted proxies name the host that the client asked for, `Host` is that one.
    #[must_use]
    pub fn judged_headers<'a>(&self, peer: IpAddr, headers: &'a HeaderMap) -> Cow<'a, HeaderMap> {
        let judged = self.cors.is_some() || self.origins != Origins::Any || self.hosts != Hosts::Any;
        let host = if judged { self.trusted_proxies.host(peer, headers) } else { None };
        let Some(Ok(host)) = host.map(HeaderValue::from_str) else { return Cow::Borrowed(headers) };
        let mut headers = headers.clone();
        headers.insert(header::HOST, host);
        Cow::Owned(headers)
    }

    /// `initial_packet` as a frame. Make it once, and send it after every OPEN packet.
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
    /// `plain_websockets` together with polling among `transports`: polling has packet types, a plain WebSocket has
    /// none.
    #[error("plain_websockets and polling exclude each other: set transports to websocket only")]
    PlainWithPolling,
    /// `plain_websockets` together with `allow_eio3`: a plain WebSocket has no packets of any revision.
    #[error("plain_websockets and allow_eio3 exclude each other")]
    PlainWithV3,
    /// The configured cookie is not valid in a header.
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
        // Only polling has upgrades and bodies.
        let polling = self.transports.contains(&Transport::Polling);
        for (name, is_zero) in [
            ("ping_interval", heartbeat && self.ping_interval.is_zero()),
            ("ping_timeout", heartbeat && self.ping_timeout.is_zero()),
            ("upgrade_timeout", polling && self.upgrade_timeout.is_zero()),
            ("head_timeout", self.head_timeout.is_zero()),
            ("keep_alive", self.keep_alive.is_zero()),
            ("body_timeout", polling && self.body_timeout.is_zero()),
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
            ("keep_alive", self.keep_alive),
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
            max_unaccepted: usize::MAX,
            outbound_soft: 64 * 1024,
            outbound_hard: 1024 * 1024,
            close_timeout: Duration::from_secs(5),
            head_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            origins: Origins::Any,
            hosts: Hosts::Any,
            trusted_proxies: TrustedProxies::default(),
            proxy_protocol: false,
            setting_names: SettingNames::default(),
            cors: None,
            cookie: None,
            initial_packet: None,
            files: Files::default(),
            http_compression: Some(HttpCompression::default()),
            per_message_deflate: None,
            open_packet: OpenPacket::Apart,
            max_sessions: 0,
            max_connections: 0,
            max_pending: 0,
            max_jobs: 1024,
            plain_websockets: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_packet_follows_the_handshake() {
        let mut config = Config::default();
        assert!(config.initial_frame().is_none());
        config.initial_packet = Some(Message::Text("hi".into()));
        assert_eq!(config.initial_frame().unwrap().polling(), b"4hi");
        config.initial_packet = Some(Message::Binary(vec![1].into()));
        assert_eq!(config.initial_frame().unwrap().websocket(), b"\x82\x01\x01");
    }

    #[test]
    fn a_contradiction_is_named() {
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
