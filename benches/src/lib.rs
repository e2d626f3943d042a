//! End-to-end load generator for the chat server and its peers.
//!
//! A binary starts each server under test as a child process on its own core, speaks the chat protocol to it over raw
//! loopback sockets from another core, and reports what the *server process* used: CPU per delivery, memory per client.
//! Every delivery is verified, so a server cannot look fast by losing messages.
//!
//! The generator must cost less per delivery than what it measures. So it runs one readiness loop on one thread, reads
//! into one shared buffer, counts frames in place, and parses no JSON on the receive path.
//!
//! | module | what it does |
//! |---|---|
//! | [`frames`] | RFC 6455 frames as a client sees them: scan what a server sent, encode what a client sends |
//! | [`handshake`] | one client from TCP connect to a joined room, blocking |
//! | [`crowd`] | many connected clients on one readiness loop, on WebSockets or long-polling |
//! | [`ledger`] | checks that every delivery comes exactly once and in order |
//! | [`load`] | how messages are offered: a window in flight, or a fixed rate |
//! | [`subject`], [`running`] | the server under test: how to start, pin and stop it; its CPU time and memory |
//! | [`meter`], [`figure`] | what server and generator used during a load; the names of the figures |
//! | [`row`], [`rows`] | one benchmark ("row"): servers and runs interleaved; what each row does |
//! | [`canary`] | what bystanders feel of attacks on the server |
//! | [`herd`] | thousands of clients that come back by themselves when their server ends |
//! | [`reconnect`] | what it costs when clients come back, with their sessions or as new clients |
//! | [`large_store`] | what a store with very many messages costs |
//! | [`outcome`] | a row's result: JSON to keep, tables to read |
//! | [`report`] | medians, ratios, tables, machine facts |
//! | [`plot`] | a row's result as SVG |
//! | [`samples`], [`memory`] | inputs and an in-memory server of the micro benchmarks and the instruction guard |
//!
//! A new row is a file in `rows`; a new peer is a [`subject::Subject`].

pub mod canary;
pub mod crowd;
pub mod error;
pub mod figure;
pub mod frames;
pub mod handshake;
pub mod herd;
pub mod large_store;
pub mod ledger;
pub mod load;
pub mod memory;
pub mod meter;
pub mod outcome;
pub mod plot;
pub mod reconnect;
pub mod report;
pub mod row;
pub mod rows;
pub mod running;
pub mod samples;
pub mod subject;
