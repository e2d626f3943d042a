//! CPU per heartbeat: a ping, its pong and the timers, for clients that do nothing else. It measures two servers with
//! the same clients, one with a short interval and one whose first ping comes after the measurement. The difference is
//! the cost of the heartbeats.

use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use serde::Serialize;

use crate::crowd::Crowd;
use crate::figure::Figures;
use crate::meter::Meter;
use crate::outcome::Column;
use crate::row::{Bench, Row, fill};
use crate::subject::Setup;

const HEARTBEAT_US: &str = "server_cpu_us_per_heartbeat";

/// CPU per heartbeat
#[derive(Debug, Args, Serialize)]
pub struct Heartbeat {
    /// Idle clients
    #[arg(long, default_value_t = 2000)]
    clients: usize,
    /// The short interval, in milliseconds
    #[arg(long, default_value_t = 500)]
    interval_ms: u64,
    /// Seconds without messages, measured once with heartbeats and once without
    #[arg(long, default_value_t = 10.0)]
    silence: f64,
}

impl Row for Heartbeat {
    const NAME: &'static str = "heartbeat";

    fn title(&self) -> String {
        format!("Heartbeats: {} idle clients, one ping every {} ms against none", self.clients, self.interval_ms)
    }

    fn columns(&self) -> (Column, Vec<Column>) {
        let others = [("heartbeats", "heartbeats", 0), ("server_busy", "server core busy", 3)];
        let others = others.map(|(figure, label, digits)| Column::new(figure, label, digits));
        (Column::new(HEARTBEAT_US, "CPU us/heartbeat", 2), others.to_vec())
    }

    fn shrink(&mut self) {
        (self.clients, self.interval_ms, self.silence) = (100, 200, 1.0);
    }

    fn measure(&self, bench: &mut Bench<'_>) -> anyhow::Result<()> {
        let short = Duration::from_millis(self.interval_ms);
        // No ping until the measurement is over, including the opening of the clients.
        let long = Duration::from_secs_f64(self.silence) + Duration::from_secs(300);
        let (_, silent, none) = self.phase(bench, long)?;
        ensure!(none == 0, "{none} heartbeats with an interval of {long:?}");
        let (mut figures, busy, heartbeats) = self.phase(bench, short)?;
        ensure!(heartbeats > 0, "no heartbeat in {} s with an interval of {short:?}", self.silence);
        figures.insert(HEARTBEAT_US.into(), (busy - silent) * 1e6 / heartbeats as f64);
        figures.insert("heartbeats".into(), heartbeats as f64);
        bench.record("heartbeat", None, figures);
        Ok(())
    }
}

impl Heartbeat {
    /// The figures, the server's CPU seconds, and the number of heartbeats with this `interval`.
    fn phase(&self, bench: &Bench<'_>, interval: Duration) -> anyhow::Result<(Figures, f64, u64)> {
        let running = bench.start(&Setup { ping_interval: Some(interval), ..Setup::default() })?;
        // At the generator's pace, not asleep: waking a sleeping reader would count as the server's CPU.
        let mut crowd: Crowd = bench.crowd()?;
        fill(&mut crowd, running.address(), self.clients, None)?;
        crowd.idle(interval.min(Duration::from_secs(1)))?;
        let (meter, before) = (Meter::start(&running)?, crowd.heartbeats());
        crowd.idle(Duration::from_secs_f64(self.silence))?;
        let heartbeats = crowd.heartbeats() - before;
        let busy = meter.server_cpu()?.as_secs_f64();
        Ok((meter.stop(heartbeats)?, busy, heartbeats))
    }
}
