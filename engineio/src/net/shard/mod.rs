//! A shard: one thread that owns connections, their sockets, timers, and the application's handler.
//!
//! Everything that happens to a connection happens inside a *turn* ([`turn::ShardRef::turn`]): one synchronous pass that borrows
//! the shard, lets the handler answer through the [`Outbox`](crate::Outbox), and reports what was closed on the way. Nothing is
//! borrowed across an `.await`, nothing is shared with another thread.
//!
//! | file | what it does |
//! |---|---|
//! | `turn` | the turn, and what happens at its end |
//! | `application` | the shard with its handler; calls of the handler, panics caught |
//! | `hooks`, `fallback` | calls of the application's hooks, panics caught; its answers outside the engine's path |
//! | `opening` | from an admitted handshake to a session |
//! | `session_requests` | what a request asks of a session: find it, begin and end a poll or a POST |
//! | `plain_conn`, `plain_answers` | connections whose polls are answered where their packets are flushed; what they are sent |
//! | `probes` | the upgrade of a session |
//! | `outbox` | what a handler sends |
//! | `flush` | the writes at the end of a turn |
//! | `closing` | how sessions and their transports end; a peer that reads too slowly is cut here and in `outbox` |
//! | `timeouts` | what a deadline asks for |
//! | `back_pressure`, `congestion` | when sockets stay unread; which other shards have too much to do |
//! | `io` | the state that the above work on |
//! | `conn`, `transport` | one session and the transport under it |
//! | `timers`, `jobs` | deadlines; work that is done elsewhere |

pub(in crate::net) mod application;
mod back_pressure;
mod closing;
mod congestion;
pub(in crate::net) mod conn;
pub(in crate::net) mod fallback;
mod flush;
pub(in crate::net) mod hooks;
pub(in crate::net) mod io;
mod jobs;
pub(in crate::net) mod opening;
mod outbox;
mod plain_answers;
pub(in crate::net) mod plain_conn;
mod probes;
mod session_requests;
mod timeouts;
pub(in crate::net) mod timers;
pub(in crate::net) mod transport;
pub(in crate::net) mod turn;
