//! [`Admission`]: what a client is admitted as.

use crate::{
    adapter::EventData,
    state::ids::{SocketId, SocketKey},
};

/// What a client is admitted as, when that is more than a new socket: [`Decision::AdmitAs`](crate::Decision::AdmitAs) and
/// [`Io::admit_as`](crate::Io::admit_as). It is for an application that recovers clients out of a store of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admission {
    /// The private id that the client is to send when it comes back ([`RecoveryRequest::pid`](crate::recovery::RecoveryRequest::pid)).
    /// A secret: whoever sends it gets the session. Without one, clients send none.
    pub pid: Option<String>,
    /// The socket that the client was. `None`: it gets a new one.
    pub recovered: Option<Recovered>,
}

/// A socket that a client gets back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The id that the socket had. Its old connection must have ended; on this shard it is ended, if it has not.
    pub id: SocketId,
    /// The rooms that it is to be in.
    pub rooms: Vec<String>,
    /// The events that it missed, in order. Of each the last argument is its offset, as it was the first time. They
    /// are written after the answer to the CONNECT, so that a client whose connection breaks among them has the offset of the last one that
    /// it heard.
    pub missed: Vec<EventData>,
}

/// A client that was admitted ([`Io::admit_as`](crate::Io::admit_as)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admitted {
    /// Its socket.
    pub socket: SocketKey,
    /// Whether it is the socket that the client was. `false` although [`Admission::recovered`] was given: what the client missed
    /// is more than may be queued for it, so it got a new socket, which is in no room.
    pub recovered: bool,
}
