//! What server and generator used during a load.

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::figure::{Figures, GENERATOR_BUSY, GENERATOR_US, PER_SECOND, SERVER_US, SERVER_USER};
use crate::running::{Running, core_ticks, generator_cpu};

/// A measurement in progress.
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
    /// Starts a measurement.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Proc`] if the system does not say.
    pub fn start(running: &'a Running) -> Result<Self, Error> {
        let ticks = core_ticks(running.generator_core())?;
        let server_ticks = running.user_and_kernel_ticks()?;
        let (generator_cpu, server_cpu) = (generator_cpu()?, running.cpu()?);
        Ok(Self { running, start: Instant::now(), server_cpu, generator_cpu, ticks, server_ticks })
    }

    /// CPU time of the server since the start.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn server_cpu(&self) -> Result<Duration, Error> {
        Ok(self.running.cpu()?.saturating_sub(self.server_cpu))
    }

    /// Ends the measurement. Returns the figures for `deliveries` deliveries.
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
        // Ticks are coarse; over a short time the process's own clock may be more exact.
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
