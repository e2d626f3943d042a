//! One peer: its byte stream, the format of its frames, and the queue of what will be written to it.

pub(in crate::net) mod send_queue;
pub(in crate::net) mod stream;
#[cfg(feature = "tls")]
pub(in crate::net) mod tls;
pub(in crate::net) mod traffic;
pub(in crate::net) mod unread;
pub(in crate::net) mod wire_format;
