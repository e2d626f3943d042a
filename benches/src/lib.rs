//! End-to-end load generator for the chat server and its peers.
//!
//! A binary starts each server under test as a child process on a core of its own, speaks the chat to it over raw
//! loopback sockets from another core, and reports what the *server process* paid: CPU per delivery, memory per
//! client. Every delivery is verified, so a server cannot look fast by losing messages.
//!
//! The generator has to cost less per delivery than what it measures. So it runs one readiness loop on one thread,
//! reads into one shared buffer, counts frames where they lie and parses no JSON on the receive path.
//!
//! | module | does |
//! |---|---|
//! | [`frames`] | RFC 6455 frames as a client sees them: scan what a server sent, encode what a client sends |
//! | [`handshake`] | one client from TCP connect to a joined room, blocking |
//! | [`crowd`] | many connected clients on one readiness loop |
//! | [`ledger`] | exactly-once and order of every delivery |
//! | [`load`] | how messages are offered: a window in flight, or a fixed rate |
//! | [`subject`] | the server under test: start, pin, CPU time, memory, stop |
//! | [`report`] | medians, ratios, tables, machine facts, JSON |
//! | [`samples`], [`memory`] | inputs and an in-memory server of the micro benchmarks and the instruction guard |
//!
//! A new scenario is a new binary in `src/bin` made of these; a new peer is a new [`subject::Subject`].

pub mod crowd;
pub mod error;
pub mod frames;
pub mod handshake;
pub mod ledger;
pub mod load;
pub mod memory;
pub mod report;
pub mod samples;
pub mod subject;
