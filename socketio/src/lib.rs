//! Socket.IO v5 server, on top of `engineio`.
//!
//! | module | what it holds |
//! |---|---|
//! | [`json`] | one scanner that checks JSON text and gives its slices |
//! | [`packet`] | the packets a client may send |
//! | [`parser`] | text and binary messages to packets and back |

pub mod json;
pub mod packet;
pub mod parser;
