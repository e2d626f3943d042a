//! What all shards must know of a user together. Its state is shared and locked; nothing here knows a socket or a home.

mod account;
mod accounts;

pub(super) use account::Account;
pub(super) use accounts::{Accounts, Gone, PastRoom, SocketReservation};
