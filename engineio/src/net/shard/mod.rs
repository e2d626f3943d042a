//! A shard: one thread that owns connections, their sockets and timers, and the application's handler.
//!
//! Everything that happens to a connection happens inside a *turn* ([`turn::ShardRef::turn`]): one synchronous pass
//! that borrows the shard, calls the handler, which answers through the [`Outbox`](crate::Outbox), and reports the
//! closes that resulted. No borrow lasts across an `.await`, and nothing is shared with another thread.
//!
//! | file | what it does |
//! |---|---|
//! | `turn` | the turn, and what happens at its end |
//! | `application` | the shard with its handler; calls to the handler, panics caught |
//! | `hooks`, `fallback` | calls to the application's hooks, panics caught; its answers outside the engine's path |
//! | `opening` | from an admitted handshake to a session |
//! | `session_requests` | what a request needs of a session: find it, begin and end a poll or a POST |
//! | `plain_conn`, `plain_answers` | connections whose polls are answered by the flush itself; their answers |
//! | `probes` | the upgrade of a session |
//! | `outbox` | what a handler sends |
//! | `flush` | the writes at the end of a turn |
//! | `closing` | how sessions and their transports end; a peer that reads too slowly is closed here and in `outbox` |
//! | `gradual_end` | the sessions of a draining server, which end one after another |
//! | `timeouts` | what to do when a deadline comes |
//! | `back_pressure`, `congestion` | when sockets stay unread; which other shards have too much to do |
//! | `io` | the state that the files above work on |
//! | `conn`, `transport` | one session and the transport under it |
//! | `timers`, `jobs` | deadlines; work outside the turns |
//! | `watching`, `stats` | counters, and a look at all sessions, for whoever watches the server |

pub(in crate::net) mod application;
mod back_pressure;
mod closing;
mod congestion;
pub(in crate::net) mod conn;
pub(in crate::net) mod fallback;
mod flush;
mod gradual_end;
pub(in crate::net) mod hooks;
pub(in crate::net) mod io;
mod jobs;
pub(in crate::net) mod opening;
mod outbox;
mod plain_answers;
pub(in crate::net) mod plain_conn;
mod probes;
mod session_requests;
mod stats;
mod timeouts;
pub(in crate::net) mod timers;
pub(in crate::net) mod transport;
pub(in crate::net) mod turn;
pub(in crate::net) mod watching;
