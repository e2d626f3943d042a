//! Memory per idle client: the slope of the server's proportional set size between two numbers of connected,
//! authenticated WebSocket clients, which only answer heartbeats.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::crowd::Crowd;
use crate::figure::Figures;
use crate::outcome::Column;
use crate::row::{Bench, Row, fill};
use crate::subject::Setup;

const BYTES: &str = "bytes_per_client";

/// Memory per idle client
#[derive(Debug, Args, Serialize)]
pub struct IdleMemory {
    /// Clients at the slope's lower end
    #[arg(long, default_value_t = 5000)]
    low: usize,
    /// Clients at its upper end
    #[arg(long, default_value_t = 15_000)]
    high: usize,
    /// Seconds of silence before memory is read
    #[arg(long, default_value_t = 3.0)]
    settle: f64,
}

impl Row for IdleMemory {
    const NAME: &'static str = "idle-memory";

    fn title(&self) -> String {
        format!("Idle clients: memory (PSS) of the server, from {} to {} clients", self.low, self.high)
    }

    fn columns(&self) -> (Column, Vec<Column>) {
        (Column::new(BYTES, "bytes/client", 0), vec![Column::new("pss_high_mib", "PSS MiB at the upper end", 1)])
    }

    fn shrink(&mut self) {
        (self.low, self.high, self.settle) = (500, 1000, 0.3);
    }

    fn measure(&self, bench: &mut Bench<'_>) -> anyhow::Result<()> {
        anyhow::ensure!(self.low < self.high, "--low must be below --high");
        let running = bench.start(&Setup::default())?;
        let mut crowd = Crowd::new(Duration::ZERO)?;
        let mut grow_to = |clients: usize| -> anyhow::Result<f64> {
            fill(&mut crowd, running.address(), clients, None)?;
            crowd.idle(Duration::from_secs_f64(self.settle))?;
            Ok(running.pss()? as f64)
        };
        let (low, high) = (grow_to(self.low)?, grow_to(self.high)?);
        let figures = Figures::from([
            (BYTES.into(), (high - low) / (self.high - self.low) as f64),
            ("pss_low_mib".into(), low / f64::from(1 << 20)),
            ("pss_high_mib".into(), high / f64::from(1 << 20)),
        ]);
        bench.record("idle", None, figures);
        Ok(())
    }
}
