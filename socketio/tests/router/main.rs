//! The router with sockets: several shards, other threads, many sockets at once.

mod client;
mod hooks;
mod limits;
mod threads;
