//! [`Claiming`]: a client that asks for the socket that it was, while it is found out whether it can have it.

use super::position::Position;
use crate::state::ids::Pid;

/// A CONNECT that asks for an earlier socket.
#[derive(Debug)]
pub(crate) struct Claiming<A> {
    pub(crate) pid: Pid,
    pub(crate) ticket: u64,
    /// What the client has seen; `None` when it has seen no event.
    pub(crate) offset: Option<Position>,
    /// What the application admitted the client with, if it was asked first.
    pub(crate) admission: Option<A>,
    /// The payload of the CONNECT, while it waits.
    pub(crate) auth: Box<str>,
    /// How many shards have not answered.
    pub(crate) unanswered: usize,
    pub(crate) rounds: u8,
}
