//! Counters and rates that guard the server: per address before a session exists, per user and socket afterwards.
//! A rate of zero is no limit.

mod addresses;
mod strikes;
mod unproven;

pub(crate) use addresses::{AddressLimits, AddressRefusal, Addresses, Standing};
pub(crate) use strikes::Strikes;
pub(crate) use unproven::Place;
