//! The names of the figures that all rows have.

use std::collections::BTreeMap;

/// Figures by name.
pub type Figures = BTreeMap<String, f64>;

/// Above this share the generator's core counts as saturated. Then the generator may be what limits the deliveries per
/// second. The CPU per delivery is the server's own all the same.
pub const SATURATED: f64 = 0.95;

/// CPU of the server process, in microseconds per delivery.
pub const SERVER_US: &str = "server_cpu_us_per_delivery";
/// The share of the server's CPU that was spent in user space; the rest is the kernel's.
pub const SERVER_USER: &str = "server_user_share";
/// CPU of the generator, in microseconds per delivery.
pub const GENERATOR_US: &str = "generator_cpu_us_per_delivery";
/// Deliveries per second of wall-clock time.
pub const PER_SECOND: &str = "deliveries_per_second";
/// Share of the time in which the generator's core was busy, by any process.
pub const GENERATOR_BUSY: &str = "generator_core_busy";
