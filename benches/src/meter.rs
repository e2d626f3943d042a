//! What server and generator paid for a stretch of load.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::outcome::Figures;
use crate::running::{Running, core_ticks, generator_cpu};

/// The generator's core counts as saturated above this share: then it may be what limits the deliveries per second.
/// CPU per delivery stays the server's own.
pub const SATURATED: f64 = 0.95;

/// CPU of the server process, in microseconds per delivery.
pub const SERVER_US: &str = "server_cpu_us_per_delivery";
/// The share of the server's CPU that was spent in user space; the rest is the kernel's.
pub const SERVER_USER: &str = "server_user_share";
/// CPU of the generator, in microseconds per delivery.
pub const GENERATOR_US: &str = "generator_cpu_us_per_delivery";
/// Deliveries per second of wall-clock time.
pub const PER_SECOND: &str = "deliveries_per_second";
/// Share of the time in which the generator's core was busy, with whatever.
pub const GENERATOR_BUSY: &str = "generator_core_busy";

/// A measurement under way.
#[derive(Debug)]
pub struct Meter<'a> {
    running: &'a Running,
    start: Instant,
    server_cpu: Duration,
    generator_cpu: Duration,
    ticks: (u64, u64),
    server_ticks: (u64, u64),
}

impl<'a> Meter<'a> {
    /// Starts one.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Proc`] if the system does not tell.
    pub fn start(running: &'a Running) -> Result<Self, Error> {
        let ticks = core_ticks(running.generator_core())?;
        let server_ticks = running.user_and_kernel_ticks()?;
        let (generator_cpu, server_cpu) = (generator_cpu()?, running.cpu()?);
        Ok(Self { running, start: Instant::now(), server_cpu, generator_cpu, ticks, server_ticks })
    }

    /// CPU of the server since the start.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn server_cpu(&self) -> Result<Duration, Error> {
        Ok(self.running.cpu()?.saturating_sub(self.server_cpu))
    }

    /// Ends it: what `deliveries` cost.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn stop(self, deliveries: u64) -> Result<Figures, Error> {
        let seconds = self.start.elapsed().as_secs_f64();
        let server = self.server_cpu()?.as_secs_f64();
        let generator = generator_cpu()?.saturating_sub(self.generator_cpu).as_secs_f64();
        let (busy, idle) = core_ticks(self.running.generator_core())?;
        let (busy, idle) = (busy.saturating_sub(self.ticks.0), idle.saturating_sub(self.ticks.1));
        let (user, kernel) = self.running.user_and_kernel_ticks()?;
        let (user, kernel) = (user - self.server_ticks.0, kernel - self.server_ticks.1);
        let each = 1e6 / deliveries.max(1) as f64;
        // Ticks are coarse; over a short stretch the process's own clock may know better.
        let share = (busy as f64 / (busy + idle).max(1) as f64).max(generator / seconds).min(1.0);
        Ok(Figures::from([
            ("seconds".into(), seconds),
            ("deliveries".into(), deliveries as f64),
            (SERVER_US.into(), server * each),
            (SERVER_USER.into(), user as f64 / (user + kernel).max(1) as f64),
            (GENERATOR_US.into(), generator * each),
            (PER_SECOND.into(), deliveries as f64 / seconds),
            ("server_busy".into(), server / seconds),
            (GENERATOR_BUSY.into(), share),
        ]))
    }
}
