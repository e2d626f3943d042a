//! One peer: its byte stream, the form it wants its frames in, and what waits to be written to it.

pub(in crate::net) mod send_queue;
pub(in crate::net) mod stream;
pub(in crate::net) mod unread;
pub(in crate::net) mod wire_format;
