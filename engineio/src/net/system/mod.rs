//! What comes from the operating system: random bytes and the time of day.

pub(in crate::net) mod date;
pub(in crate::net) mod entropy;
