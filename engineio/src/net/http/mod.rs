//! HTTP/1.1 on one connection: what is plain is read here, hyper parses the rest, [`crate::http`] decides, the folder `transport`
//! does what polls and POSTs ask for.
//!
//! | file | what it does |
//! |---|---|
//! | `plain` | the task of a connection, as long as its requests are plain |
//! | `service` | from a request to its answer |
//! | `hooks` | what the application's hooks say, awaited |
//! | `connection` | the requests that hyper reads, and the end of a connection |
//! | `head_timeout` | how long a request head may take |
//! | `write_timeout` | how long a peer may take no byte of an answer |

pub(in crate::net) mod connection;
mod head_timeout;
mod hooks;
pub(in crate::net) mod plain;
pub(in crate::net) mod service;
mod write_timeout;
