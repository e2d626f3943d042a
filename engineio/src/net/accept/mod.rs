//! From the operating system's new connections to what each of them is: a WebSocket, HTTP, or another shard's.
//!
//! | file | what it does |
//! |---|---|
//! | `listener` | accepts, backs off when descriptors run out, and places |
//! | `connection` | a connection's first bytes, and its task |
//! | `first_request` | a WebSocket handshake in the first bytes, answered without hyper |
//! | `tower` | requests that another server passes on |

pub(in crate::net) mod connection;
mod first_request;
pub(in crate::net) mod listener;
#[cfg(feature = "tower")]
pub(in crate::net) mod tower;
