//! [`Config`]: limits and time-outs of a Socket.IO server.

use std::{fmt, sync::Arc, time::Duration};

use crate::{adapter::Adapter, parser, recovery::Recovery};

/// Limits and time-outs. Defaults are those of Node's `socket.io` 4.8 where it has them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The namespaces that exist from start to end. Default: `/`.
    pub namespaces: Vec<String>,
    /// The other names that clients may connect to. A CONNECT to any other gets `Invalid namespace`. Default: none.
    pub dynamic_namespaces: Option<DynamicNamespaces>,
    /// How long a client may stay without being connected to a namespace. Default 45 s.
    pub connect_timeout: Duration,
    /// How long the attachments of a packet may take after its text. Default 10 s.
    pub attachment_timeout: Duration,
    /// The most namespaces one client may be connected to. Default 16.
    pub namespaces_per_client: usize,
    /// The most acknowledgements that one socket may owe. Default 256.
    pub acks_per_socket: usize,
    /// Connection state recovery. Default: off.
    pub recovery: Option<Recovery>,
    /// The most bytes that the answers to one broadcast may have together. A socket whose answer is more counts as
    /// one that did not answer. Default 16 MiB.
    pub broadcast_answers: usize,
    /// Whether [`Handler::on_room_event`](crate::Handler::on_room_event) is called. Default: no.
    pub room_events: bool,
    /// The way to other servers. Default: there are none.
    pub adapter: Option<Arc<dyn Adapter>>,
    /// Limits of one packet.
    pub packet: parser::Limits,
    /// The format of packets, which must be that of the clients. Default: JSON.
    pub parser: parser::Parser,
}

impl Config {
    /// Whether a name that is not listed may be the name of a namespace.
    #[must_use]
    pub fn is_dynamic_namespace(&self, name: &str) -> bool {
        self.dynamic_namespaces.as_ref().is_some_and(|test| test.allows(name))
    }

    /// Encodes packets in the format that the configuration names.
    #[must_use]
    pub const fn encoder(&self) -> parser::Encoder {
        parser::Encoder::new(self.parser)
    }

    /// Whether a socket may be on another shard than its id names.
    pub(crate) const fn sockets_move(&self) -> bool {
        self.recovery.is_some()
    }

    /// Whether clients may connect to a namespace of this name.
    #[must_use]
    pub fn is_namespace(&self, name: &str) -> bool {
        self.namespaces.iter().any(|listed| listed == name) || self.is_dynamic_namespace(name)
    }
}

/// Names of namespaces that exist while a client is connected to them ([`Config::dynamic_namespaces`]). A test tells them from names that
/// are refused. [`Handler::authorize`](crate::Handler::authorize) may refuse each client all the same.
///
/// ```
/// let mut config = socketio::Config::default();
/// config.dynamic_namespaces = Some(socketio::config::DynamicNamespaces::new(|name| name.starts_with("/orders-")));
/// assert!(config.is_namespace("/orders-7"));
/// ```
#[derive(Clone)]
pub struct DynamicNamespaces(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl DynamicNamespaces {
    /// The names that `test` allows. It runs on the shards' threads, and at each CONNECT and broadcast to a name that does not
    /// exist, so it must be quick.
    #[must_use]
    pub fn new(test: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(test))
    }

    fn allows(&self, name: &str) -> bool {
        name.starts_with('/') && (self.0)(name)
    }
}

impl fmt::Debug for DynamicNamespaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicNamespaces").finish_non_exhaustive()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            namespaces: vec!["/".to_owned()],
            dynamic_namespaces: None,
            connect_timeout: Duration::from_secs(45),
            attachment_timeout: Duration::from_secs(10),
            namespaces_per_client: 16,
            acks_per_socket: 256,
            recovery: None,
            broadcast_answers: 16 * 1024 * 1024,
            room_events: false,
            adapter: None,
            packet: parser::Limits::default(),
            parser: parser::Parser::default(),
        }
    }
}
