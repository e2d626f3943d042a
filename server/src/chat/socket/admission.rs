//! [`Admission`]: what a CONNECT brings.

use crate::{
    auth::Claims,
    chat::{recovery::Pid, users::SocketReservation},
};

/// What a CONNECT with a valid token brings: its claims, and one of the sockets that its user may have.
#[derive(Debug)]
pub(crate) struct Admission {
    pub(super) claims: Claims,
    pub(super) reservation: SocketReservation,
    /// Its session's, if it begins one.
    pub(super) pid: Option<Pid>,
}
