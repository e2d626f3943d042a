//! HTTP/1.1 on one connection: plain requests are read here and hyper parses the rest, [`crate::http`] decides, and the
//! folder `transport` handles polls and POSTs.
//!
//! | file | what it does |
//! |---|---|
//! | `plain` | the task of a connection, as long as its requests are plain |
//! | `service` | turns a request into its answer |
//! | `hooks` | calls the application's hooks and waits for them |
//! | `connection` | the requests that hyper reads, and the end of a connection |
//! | `head_timeout` | how long a request head may take |
//! | `write_timeout` | how long a peer may go without reading any byte of an answer |

pub(in crate::net) mod connection;
mod head_timeout;
mod hooks;
pub(in crate::net) mod plain;
pub(in crate::net) mod service;
mod write_timeout;
