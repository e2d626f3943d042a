//! [`Config`]: limits and time-outs of a Socket.IO server.

use std::time::Duration;

use crate::parser;

/// Limits and time-outs. Defaults are those of Node's `socket.io` 4.8 where it has them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// The namespaces that exist; a CONNECT to any other gets `Invalid namespace`. Default: `/`.
    pub namespaces: Vec<String>,
    /// How long a client may stay without being connected to a namespace. Default 45 s.
    pub connect_timeout: Duration,
    /// How long the attachments of a packet may take after its text. Default 10 s.
    pub attachment_timeout: Duration,
    /// The most namespaces one client may be connected to. Default 16.
    pub namespaces_per_client: usize,
    /// The most acknowledgements that one socket may owe. Default 256.
    pub acks_per_socket: usize,
    /// Limits of one packet.
    pub packet: parser::Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            namespaces: vec!["/".to_owned()],
            connect_timeout: Duration::from_secs(45),
            attachment_timeout: Duration::from_secs(10),
            namespaces_per_client: 16,
            acks_per_socket: 256,
            packet: parser::Limits::default(),
        }
    }
}
