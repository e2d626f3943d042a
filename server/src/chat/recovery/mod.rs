//! Connection state recovery: a client whose connection broke gets its socket back, and the messages that it missed, out of the history.
//! What the client sees is Node's protocol: the answer to CONNECT has a private id (`pid`), and each `message` ends with an argument more,
//! its offset. A client that comes back sends both.
//!
//! A *session* is a socket over all its connections. The server keeps its id, its user, and its rooms. For each room it keeps a position
//! ([`Position`](crate::store::Position)): what came up to there the client has, or need not have. The offset says what else it has. What
//! is missing is read from the store.
//!
//! Sessions of this run are in memory ([`Sessions`]). So that they outlive a crash, the store is told of them as they change
//! ([`SessionChange`](crate::store::SessionChange)); it is asked only for sessions of earlier runs.
//!
//! | file | what it does |
//! |---|---|
//! | `positions` | offsets |
//! | `pid` | private ids |
//! | `sessions` | the sessions of this run |
//!
//! What a claim goes through is in `socket::recovery`; what homes do for it, in `home::recovery`.

mod digits;
mod pid;
mod positions;
mod sessions;

pub(super) use pid::Pid;
pub(super) use positions::Positions;
pub(super) use sessions::{Claim, Session, Sessions};
