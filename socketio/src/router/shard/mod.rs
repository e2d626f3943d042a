//! [`RouterShard`]: the router as the [`Handler`](crate::Handler) of one shard. It finds the handlers of the application, runs them,
//! and carries out their commands.

mod carry_out;
mod handler;
mod run;
mod state;

pub use state::RouterShard;
