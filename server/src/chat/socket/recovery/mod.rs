//! Clients that come back and claim their sessions.
//!
//! A claim goes through these steps, and the answer to the CONNECT waits for the last of them:
//!
//! 1. The session is found: among those without a connection, on the shard of a connection that still seems to live, or in the store,
//!    if it began in an earlier run.
//! 2. The homes of its rooms count the client in, and say up to where they have sent messages. What comes later is held here.
//! 3. What it missed up to there comes from the store.
//! 4. The client gets the answer, what it missed, and what was held. From here on it is a socket like any other.
//!
//! Where a step fails, the client gets a new socket.
//!
//! | file | what it does |
//! |---|---|
//! | `claim` | these steps |
//! | `kept` | sessions of connected sockets, and of those whose connection ended |
//! | `state`, `returning` | what a shard knows; a client that comes back, until its claim is decided |

mod claim;
mod kept;
mod returning;
mod state;

pub(in crate::chat) use state::Recovery;
