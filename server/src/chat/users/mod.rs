//! What all shards must know of a user together. Its state is shared and locked; nothing here knows a socket or a home.

mod account;
mod accounts;
mod bans;
mod rates;
mod slots;
mod stripe;

pub(super) use account::Account;
pub(super) use accounts::{Accounts, Gone, PastRoom, ReserveError, SocketReservation};
pub(super) use bans::{Bans, MAX_BANS};
pub(super) use rates::Question;
pub(super) use slots::Slot;
