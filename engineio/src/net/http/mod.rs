//! HTTP/1.1 on one connection: hyper parses it, [`crate::http`] decides, the folder `transport` does what polls and POSTs ask for.
//!
//! | file | what it does |
//! |---|---|
//! | `service` | from a request to its answer |
//! | `hooks` | what the application's hooks say, awaited |
//! | `connection` | the requests of one connection, and its end |
//! | `head_timeout` | how long a request head may take |
//! | `write_timeout` | how long a peer may take no byte of an answer |

pub(in crate::net) mod connection;
mod head_timeout;
mod hooks;
pub(in crate::net) mod service;
mod write_timeout;
