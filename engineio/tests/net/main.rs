//! The server on real sockets: a client that is honest, slow, gone, or hostile, and what each of them gets.

mod handshake;
mod lifecycle;
mod polling;
mod slow_peers;
mod support;
mod upgrade;
mod websocket;
