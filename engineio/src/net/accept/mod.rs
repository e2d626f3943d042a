//! New connections, from the operating system to what each becomes: a WebSocket, HTTP, or a connection of another
//! shard.
//!
//! | file | what it does |
//! |---|---|
//! | `listener` | accepts, backs off when descriptors run out, and chooses a shard |
//! | `connection` | a connection's first bytes, and its task |
//! | `first_request` | a WebSocket handshake in the first bytes, answered without hyper |
//! | `tls` | the handshake of TLS |
//! | `tower` | requests that another server passes on |

pub(in crate::net) mod connection;
mod first_request;
pub(in crate::net) mod listener;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tower")]
pub(in crate::net) mod tower;
