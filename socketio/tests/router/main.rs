//! The router with sockets: several shards, other threads, many sockets at once, files, the end of a server.

#[path = "../client/mod.rs"]
mod client;
mod hooks;
mod limits;
mod server;
mod threads;
