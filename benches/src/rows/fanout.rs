//! One room: saturated, at half of what the server can deliver, and at a rate so low that nothing can be batched.

use clap::Args;
use serde::Serialize;

use crate::figure::PER_SECOND;
use crate::load::{Offer, Plan, Rooms};
use crate::outcome::Point;
use crate::row::{Bench, Row, fill};
use crate::subject::Setup;

/// CPU per delivery in one room
#[derive(Debug, Args, Serialize)]
pub struct Fanout {
    /// Members of the room; several sizes as a list
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000,5000")]
    clients: Vec<usize>,
    /// Members that send, in turn
    #[arg(long, default_value_t = 1)]
    senders: usize,
    /// Messages in flight when saturated
    #[arg(long, default_value_t = 16)]
    in_flight: usize,
    /// Messages a second in the low-rate phase
    #[arg(long, default_value_t = 20)]
    rate: u32,
}

impl Row for Fanout {
    const NAME: &'static str = "fanout";

    fn title(&self) -> String {
        "Fan-out: one room, 128-byte messages".to_owned()
    }

    fn shrink(&mut self) {
        self.clients = vec![10, 100, 500];
    }

    fn measure(&self, bench: &mut Bench<'_>) -> anyhow::Result<()> {
        for &members in &self.clients {
            let plan = Plan { members, senders: self.senders, ..Plan::default() };
            let running = bench.start(&Setup::default())?;
            let mut crowd = bench.crowd()?;
            fill(&mut crowd, running.address(), members, Some(&plan))?;
            let mut rooms = Rooms::new(crowd, plan);
            let saturated = Offer::InFlight(self.in_flight);
            bench.warm_up(&mut rooms, saturated)?;
            let mut measure = |phase: &str, offer| -> anyhow::Result<f64> {
                let figures = bench.offer(&running, &mut rooms, offer)?;
                let rate = figures.get(PER_SECOND).copied().unwrap_or_default() / members as f64;
                let at = Point { axis: format!("members of the room, {phase}"), value: members as f64 };
                bench.record(&format!("{members} members, {phase}"), Some(at), figures);
                Ok(rate)
            };
            let capacity = measure("saturated", saturated)?;
            measure("half of own capacity", Offer::PerSecond(((capacity / 2.0) as u32).max(1)))?;
            measure(&format!("{} messages/s", self.rate), Offer::PerSecond(self.rate))?;
            bench.account(&format!("{members} members"), &rooms);
        }
        Ok(())
    }
}
