//! The cost of growth: more members in a room, more connections outside it, a second worker. CPU per delivery, and
//! memory.
//!
//! Workers are measured three times. On one core, a second worker adds only the cost of passing messages between
//! workers. On both cores, the generator competes for one of them. On both cores with a light generator, the workers
//! can use both, and the figure is the deliveries per second.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Args;
use serde::Serialize;

use crate::figure::{Figures, GENERATOR_BUSY, GENERATOR_US, PER_SECOND, SERVER_US};
use crate::handshake::{Opened, token};
use crate::load::{Offer, Plan, Rooms};
use crate::meter::Meter;
use crate::outcome::{Column, Point};
use crate::row::{Bench, Row, fill};
use crate::running::{Cores, Running};
use crate::subject::{Ability, SECRET, Setup};

/// How long to wait for bytes that discarding clients have not received yet.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// CPU per delivery, divided by that of one worker on the same cores: the cost of passing messages between workers.
const TO_ONE: &str = "ratio_to_one_worker";

/// CPU per delivery and memory as rooms, connections and workers grow
#[derive(Debug, Args, Serialize)]
pub struct Growth {
    /// Members of the room, with as many connections and one worker
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000,5000,10000")]
    members: Vec<usize>,
    /// Connections, of which `--room` are in the room
    #[arg(long, value_delimiter = ',', default_value = "1000,5000,10000,19000")]
    connections: Vec<usize>,
    /// Workers, with a room of `--room`
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    workers: Vec<usize>,
    /// Members of the room while connections or workers grow
    #[arg(long, default_value_t = 1000)]
    room: usize,
    /// Messages in flight
    #[arg(long, default_value_t = 16)]
    in_flight: usize,
    /// Members whose deliveries are checked one by one in the case with the light generator; the others only count
    /// bytes
    #[arg(long, default_value_t = 50)]
    checked: usize,
}

impl Row for Growth {
    const NAME: &'static str = "growth";

    fn title(&self) -> String {
        format!("Growth: one room, {} messages in flight", self.in_flight)
    }

    fn columns(&self) -> (Column, Vec<Column>) {
        let others = [
            (TO_ONE, "ratio to 1 worker", 3),
            ("pss_mib", "PSS MiB", 1),
            (PER_SECOND, "deliveries/s", 0),
            ("busiest_thread", "busiest thread's share", 2),
            (GENERATOR_US, "generator us/delivery", 3),
            (GENERATOR_BUSY, "generator core busy", 2),
        ];
        let others = others.map(|(figure, label, digits)| Column::new(figure, label, digits));
        (Column::new(SERVER_US, "CPU us/delivery", 3), others.to_vec())
    }

    fn needs(&self) -> &'static [Ability] {
        if self.workers.iter().any(|workers| *workers > 1) { &[Ability::Workers] } else { &[] }
    }

    fn shrink(&mut self) {
        (self.members, self.connections, self.room) = (vec![10, 200], vec![200, 400], 100);
    }

    fn measure(&self, bench: &mut Bench<'_>) -> anyhow::Result<()> {
        let pinned = &bench.common.cores.clone();
        for &members in &self.members {
            let at = Point { axis: "members of the room".into(), value: members as f64 };
            let case = format!("{members} members");
            let figures = self.load(bench, &case, [members, members, 1], pinned)?;
            bench.record(&case, Some(at), figures);
        }
        for &clients in &self.connections {
            let at = Point { axis: "connections".into(), value: clients as f64 };
            let case = format!("{clients} connections, room of {}", self.room);
            let figures = self.load(bench, &case, [clients, self.room.min(clients), 1], pinned)?;
            bench.record(&case, Some(at), figures);
        }
        let both = Cores { server_core: vec![pinned.server_core[0], pinned.generator_core], ..pinned.clone() };
        let places = [
            (pinned, "one core, room of", false),
            (&both, "both cores, room of", false),
            (&both, "both cores, light generator, room of", true),
        ];
        for (cores, place, light) in places {
            let mut one = None;
            for &workers in &self.workers {
                let plural = if workers == 1 { "worker" } else { "workers" };
                let case = format!("{workers} {plural} on {place} {}", self.room);
                let mut figures = if light {
                    self.light_load(bench, &case, workers, cores)?
                } else {
                    self.load(bench, &case, [self.room, self.room, workers], cores)?
                };
                // Within this run, as all ratios: the machine's speed changes between runs by more than a second worker
                // costs.
                let cpu = figures.get(SERVER_US).copied().unwrap_or_default();
                if workers == 1 {
                    one = Some(cpu);
                }
                figures.extend(one.map(|one| (TO_ONE.to_owned(), cpu / one)));
                bench.record(&case, None, figures);
            }
        }
        Ok(())
    }
}

impl Growth {
    /// Starts a server with these numbers of clients, members of the room, and workers, and measures it.
    fn load(
        &self,
        bench: &mut Bench<'_>,
        case: &str,
        [clients, members, workers]: [usize; 3],
        cores: &Cores,
    ) -> anyhow::Result<Figures> {
        let plan = Plan { members, ..Plan::default() };
        let setup = Setup { workers, ..Setup::default() };
        let running = Running::start(bench.server, &bench.common.paths, cores, &setup)?;
        let mut crowd = bench.crowd()?;
        fill(&mut crowd, running.address(), clients, Some(&plan))?;
        // Before the load: this is idle memory, without history and queues.
        let pss = running.pss()? as f64 / f64::from(1 << 20);
        let mut rooms = Rooms::new(crowd, plan);
        let offer = Offer::InFlight(self.in_flight);
        bench.warm_up(&mut rooms, offer)?;
        let before = running.thread_cpu()?;
        let mut figures = bench.offer(&running, &mut rooms, offer)?;
        figures.insert("pss_mib".into(), pss);
        figures.insert("busiest_thread".into(), busiest(&before, &running.thread_cpu()?));
        bench.account(case, &rooms);
        Ok(figures)
    }

    /// A room of which the generator checks only some members, and for the others lets the kernel discard what they
    /// receive. So a server on both cores can use them, one worker on each.
    fn light_load(&self, bench: &mut Bench<'_>, case: &str, workers: usize, cores: &Cores) -> anyhow::Result<Figures> {
        let plan = Plan { members: self.checked.clamp(1, self.room), ..Plan::default() };
        let setup = Setup { workers, ..Setup::default() };
        let running = Running::start(bench.server, &bench.common.paths, cores, &setup)?;
        running.spread("shard-", &cores.server_core)?;
        let mut crowd = bench.crowd()?;
        fill(&mut crowd, running.address(), plan.members, Some(&plan))?;
        for member in plan.members..self.room {
            let mut opened = Opened::connect(running.address(), &token(SECRET, member)?)?;
            opened.join(&Plan::id(0))?;
            crowd.add_discarding(opened)?;
        }
        let at_first: Vec<u64> = crowd.discarded()?.collect();
        let mut rooms = Rooms::new(crowd, plan);
        let offer = Offer::InFlight(self.in_flight);
        bench.warm_up(&mut rooms, offer)?;
        await_bytes(&mut rooms, &at_first)?;
        let (sent, deliveries) = (rooms.sent(), rooms.deliveries());
        let (before, meter) = (running.thread_cpu()?, Meter::start(&running)?);
        rooms.offer(offer, Duration::from_secs_f64(bench.common.seconds))?;
        await_bytes(&mut rooms, &at_first)?;
        let others = (rooms.sent() - sent) * at_first.len();
        let mut figures = meter.stop(rooms.deliveries() - deliveries + others as u64)?;
        figures.insert("busiest_thread".into(), busiest(&before, &running.thread_cpu()?));
        bench.account(case, &rooms);
        Ok(figures)
    }
}

/// Waits until every discarding client has received all bytes of every message. `at_first` are the bytes each had
/// received before.
fn await_bytes(rooms: &mut Rooms, at_first: &[u64]) -> anyhow::Result<()> {
    let start = Instant::now();
    let owed = rooms.sent() as u64 * rooms.frame_len().unwrap_or_default();
    while rooms.crowd().discarded()?.zip(at_first).any(|(bytes, first)| bytes != first + owed) {
        ensure!(start.elapsed() < TIME_LIMIT, "members got other numbers of bytes than were owed to them");
        rooms.crowd().idle(Duration::from_millis(1))?;
    }
    Ok(())
}

/// The busiest thread's share of the CPU time between `before` and `after`: it shows whether workers share the work.
fn busiest(before: &BTreeMap<String, Duration>, after: &BTreeMap<String, Duration>) -> f64 {
    let spent = |(thread, cpu): (&String, &Duration)| *cpu - before.get(thread).copied().unwrap_or_default();
    let total: Duration = after.iter().map(spent).sum();
    after.iter().map(spent).max().unwrap_or_default().as_secs_f64() / total.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computes_the_busiest_thread_s_share_since_before() {
        let threads = |all: &[(&str, u64)]| -> BTreeMap<String, Duration> {
            all.iter().map(|(thread, seconds)| ((*thread).to_owned(), Duration::from_secs(*seconds))).collect()
        };
        let (before, after) = (threads(&[("1", 9), ("2", 1)]), threads(&[("1", 10), ("2", 3), ("3", 1)]));
        assert!((busiest(&before, &after) - 0.5).abs() < 1e-9);
    }
}
