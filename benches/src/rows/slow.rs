//! Slow consumers: some members of a room stop reading. It measures what the server keeps for them, whether the others
//! notice, and whether the slow members are disconnected.
//!
//! Two servers are measured one after the other: the same room with everybody reading, then with slow members. The
//! difference is the cost of the slow members.

use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;
use serde::Serialize;

use crate::figure::{Figures, SERVER_US};
use crate::load::{Offer, Plan, Rooms};
use crate::meter::Meter;
use crate::outcome::Column;
use crate::row::{Bench, Row, fill};
use crate::running::Running;
use crate::subject::{Setup, Subject};

/// How long to wait, after the load, for the end of a slow client's connection.
const NOTICE: Duration = Duration::from_secs(5);
/// How many messages the chat server's store keeps here. It is small, so that the history does not look like a cost of
/// slow consumers.
const STORED: usize = 100;
/// The chat server's `limits.outbound_hard`, in bytes.
const OUTBOUND_HARD: f64 = 1_048_576.0;
/// How much memory may differ from the run without slow clients, in bytes.
const SLACK: f64 = 4.0 * 1_048_576.0;
const MIB: f64 = 1_048_576.0;

/// Memory and latency when some members of a room stop reading
#[derive(Debug, Args, Serialize)]
pub struct Slow {
    /// Members of the room
    #[arg(long, default_value_t = 50)]
    members: usize,
    /// How many of them stop reading
    #[arg(long, default_value_t = 10)]
    slow: usize,
    /// Bytes of each message's text
    #[arg(long, default_value_t = 4096)]
    bytes: usize,
    /// Messages a second
    #[arg(long, default_value_t = 400)]
    rate: u32,
    /// Seconds of load: long enough to fill the sockets' buffers too, about 4 MiB each
    #[arg(long, default_value_t = 15.0)]
    load: f64,
}

impl Row for Slow {
    const NAME: &'static str = "slow";

    fn title(&self) -> String {
        let Self { members, slow, bytes, rate, .. } = self;
        format!("Slow consumers: {slow} of {members} members stop reading, {bytes} bytes x {rate}/s")
    }

    fn columns(&self) -> (Column, Vec<Column>) {
        let others = [
            ("before_mib", "MiB before", 1),
            ("peak_mib", "MiB at the peak", 1),
            ("p99_ms", "p99 ms of the others", 2),
            ("p99_calm_ms", "p99 ms without slow ones", 2),
            ("p99_ratio", "ratio", 2),
            ("closed", "slow ones closed", 0),
            (SERVER_US, "CPU us/delivery", 3),
        ];
        let others = others.map(|(figure, label, digits)| Column::new(figure, label, digits));
        (Column::new("growth_mib", "MiB grown by, of that without slow ones", 1), others.to_vec())
    }

    fn shrink(&mut self) {
        // Few members, for a short time; only the deliveries to the others are checked.
        (self.members, self.slow, self.rate, self.load) = (20, 4, 1000, 1.0);
    }

    fn measure(&self, bench: &mut Bench<'_>) -> anyhow::Result<()> {
        ensure!(self.slow < self.members, "--slow must be below --members");
        let calm = self.phase(bench, 0)?;
        let mut figures = self.phase(bench, self.slow)?;
        let of = |figures: &Figures, name: &str| figures.get(name).copied().unwrap_or_default();
        let (grown, grown_calm) = (of(&figures, "grown_mib"), of(&calm, "grown_mib"));
        let (p99, p99_calm) = (of(&figures, "p99_ms"), of(&calm, "p99_ms"));
        let closed = of(&figures, "closed");
        figures.insert("growth_mib".into(), (grown - grown_calm).max(0.0));
        figures.insert("p99_calm_ms".into(), p99_calm);
        figures.insert("p99_ratio".into(), p99 / p99_calm);
        let case = format!("{} of {} slow", self.slow, self.members);
        bench.record(&case, None, figures);
        if bench.server == Subject::ChatServer && !bench.common.quick {
            let allowed = (self.slow as f64 * OUTBOUND_HARD + SLACK) / MIB;
            ensure!(grown - grown_calm <= allowed, "grew by {grown} MiB, {grown_calm} without slow clients");
            ensure!(closed == self.slow as f64, "closed {closed} of {} slow clients", self.slow);
        }
        Ok(())
    }
}

impl Slow {
    /// Starts a server and measures it; the last `slow` of its members do not read.
    fn phase(&self, bench: &mut Bench<'_>, slow: usize) -> anyhow::Result<Figures> {
        let running = bench.start(&Setup { stored: Some(STORED), ..Setup::default() })?;
        let everybody = Plan { members: self.members, text: self.bytes, ..Plan::default() };
        let mut crowd = bench.crowd()?;
        fill(&mut crowd, running.address(), self.members, Some(&everybody))?;
        // The slow members are in the room, but the ledger expects no deliveries to them: it ends before their numbers.
        let mut rooms = Rooms::new(crowd, Plan { members: self.members - slow, ..everybody });
        rooms.time_deliveries();
        bench.warm_up(&mut rooms, Offer::PerSecond(self.rate))?;
        for member in self.members - slow..self.members {
            rooms.crowd().pause(member);
        }
        let figures = self.load(&running, &mut rooms, slow)?;
        bench.account(&format!("{slow} slow"), &rooms);
        Ok(figures)
    }

    fn load(&self, running: &Running, rooms: &mut Rooms, slow: usize) -> anyhow::Result<Figures> {
        rooms.take_latencies();
        running.forget_peak()?;
        let (before, _) = running.resident()?;
        let (deliveries, meter) = (rooms.deliveries(), Meter::start(running)?);
        rooms.offer(Offer::PerSecond(self.rate), Duration::from_secs_f64(self.load))?;
        let mut figures = meter.stop(rooms.deliveries() - deliveries)?;
        let (_, peak) = running.resident()?;
        let latencies = rooms.take_latencies();
        let p99 = latencies.get(latencies.len() * 99 / 100).copied().unwrap_or_default();
        figures.insert("before_mib".into(), before as f64 / MIB);
        figures.insert("peak_mib".into(), peak as f64 / MIB);
        figures.insert("grown_mib".into(), peak.saturating_sub(before) as f64 / MIB);
        figures.insert("p99_ms".into(), p99.as_secs_f64() * 1e3);
        figures.insert("closed".into(), cut_off(rooms, self.members - slow..self.members)? as f64);
        Ok(figures)
    }
}

/// How many of `members` the server has closed, that is whose connection ends when they read again.
fn cut_off(rooms: &mut Rooms, members: std::ops::Range<usize>) -> anyhow::Result<usize> {
    let (start, mut open) = (Instant::now(), members.clone().collect::<Vec<_>>());
    while !open.is_empty() && start.elapsed() < NOTICE {
        open.retain(|member| !rooms.crowd().is_cut_off(*member));
        rooms.crowd().idle(Duration::from_millis(10))?;
    }
    Ok(members.len() - open.len())
}
