//! What other threads, and other servers, do to the sockets of a server of several shards, over real connections.

#[path = "../client/mod.rs"]
mod client;
mod cluster;
mod emit;
mod operations;
mod support;
