//! Many small rooms at a fixed rate over all: the cost of a message when almost every message goes to other sockets.

use clap::Args;
use serde::Serialize;

use crate::load::{Offer, Plan, Rooms as Load};
use crate::row::{Bench, Row, fill};
use crate::subject::Setup;

/// CPU per delivery in many small rooms
#[derive(Debug, Args, Serialize)]
pub struct Rooms {
    /// How many rooms
    #[arg(long, default_value_t = 1000)]
    rooms: usize,
    /// Members of each
    #[arg(long, default_value_t = 10)]
    members: usize,
    /// Messages a second over all rooms
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// Times each delivery too, which costs the generator something
    #[arg(long)]
    latency: bool,
}

impl Row for Rooms {
    const NAME: &'static str = "rooms";

    fn title(&self) -> String {
        let Self { rooms, members, rate, .. } = self;
        format!("Many rooms: {rooms} rooms of {members}, {rate} messages/s over all")
    }

    fn shrink(&mut self) {
        (self.rooms, self.members) = (50, 10);
    }

    fn measure(&self, bench: &mut Bench<'_>) -> anyhow::Result<()> {
        let plan = Plan { rooms: self.rooms, members: self.members, ..Plan::default() };
        let running = bench.start(&Setup::default())?;
        let mut crowd = bench.crowd()?;
        fill(&mut crowd, running.address(), self.rooms * self.members, Some(&plan))?;
        let mut rooms = Load::new(crowd, plan);
        if self.latency {
            rooms.time_deliveries();
        }
        let offer = Offer::PerSecond(self.rate);
        bench.warm_up(&mut rooms, offer)?;
        let case = format!("{} rooms of {}", self.rooms, self.members);
        rooms.take_latencies();
        let mut figures = bench.offer(&running, &mut rooms, offer)?;
        let latencies = rooms.take_latencies();
        for (name, percent) in [("p50_ms", 50), ("p99_ms", 99)] {
            if let Some(latency) = latencies.get(latencies.len() * percent / 100) {
                figures.insert(name.into(), latency.as_secs_f64() * 1e3);
            }
        }
        bench.record(&case, None, figures);
        bench.account(&case, &rooms);
        Ok(())
    }
}
