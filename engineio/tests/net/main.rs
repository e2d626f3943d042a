//! The server on real sockets: clients that are honest, slow, gone or hostile, and what each of them gets.

#[cfg(feature = "tower")]
mod any_stream;
mod congestion;
mod deflate;
mod files;
mod first_bytes;
mod handshake;
mod heads;
mod hooks;
mod lifecycle;
mod options;
mod other_threads;
mod plain_http;
mod polling;
mod shards;
mod slow_peers;
mod stall;
mod stats;
mod support;
mod upgrade;
mod v3;
mod websocket;

/// How many shards the servers of the tests in this module have.
const SHARDS: u16 = 1;
/// Whether a connection has carried a request before the test uses it, and so stays on its first shard.
const STAYS: bool = false;

/// The same tests, with connections that are passed to the shard of their first request's session.
#[expect(clippy::duplicate_mod, reason = "compiled with other constants")]
#[path = "."]
mod four_shards {
    mod deflate;
    mod handshake;
    mod hooks;
    mod lifecycle;
    mod polling;
    #[expect(dead_code, reason = "not every test module is used here")]
    mod support;
    mod upgrade;
    mod v3;
    mod websocket;

    const SHARDS: u16 = 4;
    const STAYS: bool = false;
}

/// The same tests, with requests that mostly concern sessions on other shards than their connection's.
#[expect(clippy::duplicate_mod, reason = "compiled with other constants")]
#[path = "."]
mod foreign_requests {
    mod plain_http;
    mod polling;
    #[expect(dead_code, reason = "not every test module is used here")]
    mod support;
    mod upgrade;

    const SHARDS: u16 = 3;
    const STAYS: bool = true;
}
